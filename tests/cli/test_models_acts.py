"""`tradingsystem models promote` and `rollback`: a person's acts over a real message server, obeyed, refused or unheard by the real models service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.test_models_roles import running
from tests.models.test_service import promoting
from tests.models.test_store import OWN, SCHEMA, store
from tests.promises.server import RunningServer
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.adapters.in_process_bus import InProcessJournal
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.cli.application import application
from tradingsystem.domain.errors import InvalidInput, RequestRefused, TryAgain
from tradingsystem.models.online import OnlineWeights
from tradingsystem.models.service import ModelsService
from tradingsystem.models.store import choose

__all__ = ["store"]

pytestmark = pytest.mark.nats


@contextmanager
def models(server: RunningServer, folder: Path) -> Iterator[None]:
    """The models service of system `desk`, ready."""
    started, stop = threading.Event(), threading.Event()

    async def live() -> None:
        bus = NatsBus(server.as_user("models"))
        await bus.open()
        service = ModelsService(
            system="desk",
            pinned=0,
            choose=lambda pinned: choose(folder, OWN, SCHEMA, pinned or None),
            promoting=promoting(folder),
            online=OnlineWeights(enabled=False, members=()),
            clock=SystemClock(),
            bus=bus,
            journal=InProcessJournal("desk"),
        )
        ending = asyncio.Event()
        task = asyncio.create_task(service.run(started.set, ending))
        await asyncio.to_thread(stop.wait)
        ending.set()
        await task
        await bus.close()

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        assert started.wait(20)
        yield
    finally:
        stop.set()
        thread.join()


def say(*words: str) -> str:
    """What is printed; errors are raised as ``main`` prints them with status 2."""
    return CliRunner().invoke(application("models"), ["models", *words, "--by", "Ada"], catch_exceptions=False).output


def test_a_person_promotes_and_takes_back_with_a_reason_or_hears_why_not(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One life: nobody there, no reason, nothing to go back to, a version that is not there, one that serves then, and back."""
    monkeypatch.setenv("TRADINGSYSTEM_STATE", str(tmp_path / "state"))
    with running(tmp_path, store) as server:
        with pytest.raises(InvalidInput, match="says why"):
            say("rollback")
        with pytest.raises(TryAgain, match=r"models does not answer.*tradingsystem status desk.*models pin"):
            say("promote", "2", "--reason", "a drill")
        with models(server, store):
            with pytest.raises(RequestRefused, match="no version before it is loaded"):
                say("rollback", "--reason", "a drill")
            with pytest.raises(RequestRefused, match=r"version 9 does not serve: VersionNotFound.*version 3 still does"):
                say("promote", "9", "--reason", "a drill")
            assert "version 2 serves; to go back to version 3" in say("promote", "2", "--reason", "a drill")
            with pytest.raises(RequestRefused, match="serves already"):
                say("promote", "2", "--reason", "a drill")
            assert "version 3 serves again; version 2 was taken back" in say("rollback", "--reason", "a drill")
