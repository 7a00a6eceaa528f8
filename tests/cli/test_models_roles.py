"""Which version does what is asked of the systems that run on a store; one that does not answer is not guessed at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from tests.cli.test_models import put
from tests.promises.model_server import good_bundle
from tests.promises.server import RunningServer
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.bundles.publishing import version_numbers
from tradingsystem.cli import models_roles
from tradingsystem.cli.application import application
from tradingsystem.cli.models_roles import roles_in, roles_of, store_of
from tradingsystem.domain.control import ModelsState
from tradingsystem.domain.errors import TryAgain
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.state import RunningSystem, state_folder

STATE = ModelsState(serving=3, pinned=0, generation=1, refused={"4": "NotBetter: it is not"}, previous=1, kept=(1, 2, 3))


def test_what_models_needs_stays() -> None:
    """Who serves, who served before, who is on trial or waits, and the pin: by its own word, and by what it names even where the word is an older one."""
    state = msgspec.structs.replace(
        STATE, trial=6, phase="Canary", kept=(1, 2, 3, 6), phase_open_seconds=600, phase_open_seconds_needed=3_600
    )
    roles = roles_of("desk", state)
    assert roles.protected == {1, 2, 3, 6}
    assert (roles.of(3), roles.of(1), roles.of(6)) == (["serves at desk"], ["before it at desk"], ["on trial at desk: Canary"])
    assert "10 of 60 minutes of open market" in roles.notes[1]
    assert roles_of("desk", ModelsState(serving=3, pinned=7, generation=1, refused={"7": "gone"}, previous=2)).protected == {2, 3, 7}


@contextmanager
def running(tmp_path: Path, store: Path) -> Iterator[RunningServer]:
    """A system's message server with a journal, and its note, held as a running system holds it."""
    server = RunningServer(tmp_path / "nats", system="desk")
    server.start()
    folder = state_folder("desk")
    held = folder.lock()
    folder.write_note(
        RunningSystem(
            system="desk",
            mode="Simulation",
            placement="Processes",
            supervisor=0,
            nats_url=server.settings.url,
            person_password_file=str(server.settings.password_file("person")),
            run_folder=str(tmp_path),
            venues="",
            ports={},
            models_folder=str(store),
        )
    )
    try:
        yield server
    finally:
        held.close()
        server.stop()


@contextmanager
def saying(server: RunningServer) -> Iterator[None]:
    """The models service's voice: its state again and again."""
    stop = threading.Event()

    async def speak() -> None:
        bus = NatsBus(server.as_user("models"))
        await bus.open()
        while not await asyncio.to_thread(stop.wait, 0.05):
            bus.publish(Subjects("desk").state("models"), encode(STATE))
        await bus.close()

    voice = threading.Thread(target=lambda: asyncio.run(speak()))
    voice.start()
    try:
        yield
    finally:
        stop.set()
        voice.join()


@pytest.mark.nats
def test_a_running_systems_word_protects_its_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its store is the one that is meant; while it says nothing nothing is removed; then all but what it needs."""
    monkeypatch.setenv("TRADINGSYSTEM_STATE", str(tmp_path / "state"))
    store = tmp_path / "store"
    for seed in range(1, 6):
        put(store, good_bundle(seed, seed=seed))
    with running(tmp_path, store) as server:
        assert store_of(None, None) == store
        words = ["models", "gc", "--keep", "1"]
        monkeypatch.setattr(models_roles, "HEARD_SECONDS", 0.3)
        with pytest.raises(TryAgain, match="has not said which version serves"):
            CliRunner().invoke(application("models"), words, catch_exceptions=False)
        monkeypatch.setattr(models_roles, "HEARD_SECONDS", 5.0)
        assert version_numbers(store) == [1, 2, 3, 4, 5]
        with saying(server):
            assert roles_in(store) == [roles_of("desk", STATE)]
            done = CliRunner().invoke(application("models"), words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert version_numbers(store) == [1, 2, 3, 5]
