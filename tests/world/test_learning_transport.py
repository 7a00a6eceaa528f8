"""A candidate goes from a learning job's folder into the object store, once, whatever happens between."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from tests.promises.conftest import nats_server as nats_server
from tests.promises.server import RunningServer
from tests.promises.test_model_stores import opened
from tests.promises.test_model_stores import server as server
from tests.world.learning_data import some_days
from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.bundles.bundle import read_bundle, write_bundle
from tradingsystem.bundles.publishing import version_numbers
from tradingsystem.cli.application import application
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.server import VOLUME_BYTES, ServerAddress
from tradingsystem.process.serving import SHIPPED_MODELS, shipped_key
from tradingsystem.world import learning_days
from tradingsystem.world.learning_store import prepare
from tradingsystem.world.learning_transport import ObjectStore

KEY, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (7, 8))

pytestmark = pytest.mark.nats


def store_of(server: RunningServer) -> ObjectStore:
    """As a job is told."""
    return ObjectStore(ServerAddress(server.settings.url), "testing", server.as_user("learning").password, VOLUME_BYTES)


def write(folder: Path, version: int, key: Ed25519PrivateKey = KEY) -> None:
    """A version that a job has published in its folder."""
    prepare(folder, KEY)
    shipped = read_bundle(SHIPPED_MODELS / "1", shipped_key())
    manifest = msgspec.structs.replace(shipped.manifest, version=version, training_data_kind="live")
    write_bundle(folder / str(version), manifest, shipped.int8_graph, shipped.float_graph, shipped.golden, key)


def far_numbers(server: RunningServer) -> dict[int, bool]:
    """What the object store says."""

    async def main() -> dict[int, bool]:
        async with opened(server, "models") as connection:
            return await NatsModelStore(connection).numbers()

    return asyncio.run(main())


def remove(server: RunningServer, version: int) -> None:
    """As a person."""

    async def main() -> None:
        async with opened(server, PERSON) as connection:
            await NatsModelStore(connection).remove(version)

    asyncio.run(main())


def test_what_a_killed_job_had_published_goes_with_the_next(server: RunningServer, tmp_path: Path) -> None:
    """Everything of ours that is not there, once; neither the release's version nor what no trusted key has signed."""
    far = store_of(server)
    for version in (2, 3):
        write(tmp_path, version)
    write(tmp_path, 4, STRANGER)
    assert far.send(tmp_path) == (2, 3)
    assert far.send(tmp_path) == ()
    assert far_numbers(server) == {2: True, 3: True}


def test_what_an_exchanged_key_signs_goes_too(server: RunningServer, tmp_path: Path) -> None:
    """The folder knows the key that it began with; the job has the new one, whose candidate must not stay behind."""
    write(tmp_path, 2)
    write(tmp_path, 3, STRANGER)
    assert store_of(server).send(tmp_path, STRANGER.public_key().public_bytes_raw()) == (2, 3)


def test_another_folder_goes_on_where_the_first_was(server: RunningServer, tmp_path: Path) -> None:
    """A volume that was lost: versions come back, removed ones do not, and the next number is above all that were ever given."""
    first, second = tmp_path / "first", tmp_path / "second"
    far = store_of(server)
    for version in (2, 3, 4):
        write(first, version)
    far.send(first)
    for version in (2, 4):
        remove(server, version)
    assert far.bring(second) == 4
    assert version_numbers(second) == [3]
    assert far.bring(first) == 4
    assert version_numbers(first) == [1, 3]
    assert read_bundle(second / "3", KEY.public_key().public_bytes_raw()).manifest.version == 3


def learn(server: RunningServer, folder: Path, *words: str) -> tuple[int, str]:
    """The command line of a job in a pod, for a system in Simulation: no key is given."""
    document = {
        "apiVersion": "tradingsystem.dev/v1alpha1",
        "kind": "TradingSystem",
        "metadata": {"name": "testing"},
        "spec": {"mode": "Simulation"},
    }
    (folder / "system.yaml").write_text(msgspec.json.encode(document).decode(), encoding="utf-8")
    (folder / "runs").mkdir(exist_ok=True)
    given = {
        "--system": folder / "system.yaml",
        "--runs": folder / "runs",
        "--store": folder / "store",
        "--report": folder / "reports",
        "--nats-url": server.settings.url,
        "--password-file": server.settings.password_file("learning"),
    }
    command = ["learn", "retrain", *(str(word) for pair in given.items() for word in pair), *words]
    found = CliRunner().invoke(application("learn"), command, catch_exceptions=False)
    return found.exit_code, found.output


def test_a_job_ends_in_the_object_store(server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published, sent, and not again for its hour; a job with another folder has the next number. In Simulation the release's key signs."""
    days = some_days(5, 800, 0.6, kind="simulated")
    monkeypatch.setattr(learning_days, "load_days", lambda *_: days)
    status, told = learn(server, tmp_path, "--scheduled-at", "2026-03-02T23:30")
    assert (status, "version 2 is in the object store" in told) == (0, True), told
    assert read_bundle(tmp_path / "store" / "2", shipped_key()).manifest.simulated
    status, told = learn(server, tmp_path, "--scheduled-at", "2026-03-02T23:30")
    assert (status, "AlreadyPublished: version 2" in told, "object store" in told) == (0, True, False), told
    remove(server, 2)
    shutil.rmtree(tmp_path / "store")
    status, told = learn(server, tmp_path, "--scheduled-at", "2026-03-03T23:30")
    assert (status, "version 3 is in the object store" in told) == (0, True), told


def test_without_a_message_server_nothing_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before hours are spent, with a status that has the cluster try again."""
    monkeypatch.setattr("tradingsystem.process.connecting.LEARNING_SECONDS", 0.5)
    gone = RunningServer(tmp_path / "nats")
    monkeypatch.setattr(learning_days, "load_days", lambda *_: pytest.fail("read"))
    gone.settings.password_file("learning").parent.mkdir(parents=True)
    gone.settings.password_file("learning").write_text("word", encoding="ascii")
    gone.settings.password_file("learning").chmod(0o600)
    status, told = learn(gone, tmp_path)
    assert (status, "NotPublished: no message server" in told) == (1, True), told
