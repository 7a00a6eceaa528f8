"""Which version does what is asked of the systems that run on a store; one that does not answer is not guessed at."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.test_models import put
from tests.promises.model_server import good_bundle
from tests.promises.server import RunningServer
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.bundles.publishing import version_numbers
from tradingsystem.cli import models_roles
from tradingsystem.cli.application import application
from tradingsystem.cli.models_roles import Roles, roles_in, roles_of, store_of
from tradingsystem.domain.control import ModelsAssigned, ModelsState
from tradingsystem.domain.errors import TryAgain
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.state import RunningSystem, state_folder

ASSIGNED = [ModelsAssigned(serving=version) for version in (1, 2, 1, 3)]
STATE = ModelsState(serving=3, pinned=0, generation=1, refused={})


def test_what_served_before_stays() -> None:
    """The newest three that served, each once, the pin, and what stands beside; before anything was journaled only what serves."""
    roles = roles_of("desk", STATE, [*ASSIGNED, ModelsAssigned(serving=3, canary=6, canary_percent=10, shadow=5)])
    assert (roles.served, roles.beside) == ((3, 1, 2), (6, 5))
    assert roles.protected == {1, 2, 3, 5, 6}
    assert (roles.of(3), roles.of(1), roles.of(6)) == (["serves at desk"], ["before it at desk"], ["beside it at desk"])
    assert roles_of("desk", STATE, []).protected == {3}
    pinned = ModelsState(serving=2, pinned=7, generation=2, refused={"7": "gone"})
    assert roles_of("desk", pinned, ASSIGNED) == Roles("desk", (2, 3, 1), 7)
    assert roles_of("desk", pinned, ASSIGNED).protected == {1, 2, 3, 7}


async def journaled(server: RunningServer) -> None:
    """What models has assigned."""
    journal = NatsJournal(server.as_user("models"), bytes_max=1 << 24)
    await journal.open()
    for assigned in ASSIGNED:
        await journal.append(Subjects("desk").journal_model, encode(assigned))
    await journal.close()


@contextmanager
def running(tmp_path: Path, store: Path) -> Iterator[RunningServer]:
    """A system's message server with a journal, and its note, held as a running system holds it."""
    server = RunningServer(tmp_path / "nats", system="desk")
    server.start()
    asyncio.run(journaled(server))
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
            assert roles_in(store) == [Roles("desk", (3, 1, 2), 0)]
            done = CliRunner().invoke(application("models"), words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert version_numbers(store) == [1, 2, 3, 5]
