"""Room is made in a cluster's object store by a person, never at the cost of what the system needs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.test_models_roles import running, saying
from tests.promises.model_store import files
from tests.promises.server import RunningServer
from tests.promises.test_model_stores import opened
from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.cli import models_roles
from tradingsystem.cli.application import application
from tradingsystem.domain.errors import InvalidInput, TryAgain

pytestmark = pytest.mark.nats


def stored(server: RunningServer, *words: str) -> str:
    """What the command prints."""
    given = ("--nats-url", server.settings.url, "--system", "desk", "--password-file", str(server.settings.password_file("person")))
    done = CliRunner().invoke(application("models"), ["models", "stored", *given, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


async def put(server: RunningServer, *versions: int) -> None:
    """As a learning job."""
    async with opened(server, "learning") as connection:
        store = NatsModelStore(connection)
        await store.ensure()
        for version in versions:
            await store.put(version, files(version, 1_000))


def test_the_oldest_go_and_what_the_system_needs_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 to 3 are needed by its own word, 6 is the newest; while it says nothing, nothing goes; before anything was put, that is said."""
    monkeypatch.setenv("TRADINGSYSTEM_STATE", str(tmp_path / "state"))
    with running(tmp_path, tmp_path / "unused") as server:
        with pytest.raises(InvalidInput, match="no object store"):
            stored(server)
        asyncio.run(put(server, 2, 3, 4, 5, 6))
        assert stored(server) == "present: 2, 3, 4, 5, 6\n"
        monkeypatch.setattr(models_roles, "HEARD_SECONDS", 0.3)
        with pytest.raises(TryAgain):
            stored(server, "--keep", "1")
        monkeypatch.setattr(models_roles, "HEARD_SECONDS", 5.0)
        with saying(server):
            assert "would remove: 4, 5\nolder than the newest 1, and needed: 2, 3" in stored(server, "--keep", "1", "--dry-run")
            assert "removed: 4, 5\n" in stored(server, "--keep", "1")
            assert stored(server) == "present: 2, 3, 6\n"
