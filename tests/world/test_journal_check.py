"""``tradingsystem journal verify`` on a real message server's store and on a real recording: one flipped byte is found in either."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from tests.promises.server import RunningServer
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessTape
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.cli.journal import verify
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.seals import Seal
from tradingsystem.messages.codec import decode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.state import RunningSystem
from tradingsystem.recorder.service import RecorderService
from tradingsystem.world.journal_check import verify_folder, verify_recording, verify_running

pytestmark = pytest.mark.nats

ENTRIES = 200
SUBJECTS = Subjects("desk")


def payload(number: int) -> bytes:
    return b"<%06d>" % number + bytes(60)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder as an ended run leaves it: the store, and what the recorder made of it, sealed."""
    folder = tmp_path_factory.mktemp("run")
    server = RunningServer(folder / "nats", system="desk")
    server.start()

    async def recorded() -> None:
        own, journal = (NatsJournal(server.as_user(user), bytes_max=1 << 28) for user in ("execution", "recorder"))
        await own.open()
        await journal.open()
        for number in range(1, ENTRIES + 1):
            own.append_later(SUBJECTS.journal_inbox, payload(number))
        await own.flush()
        bus, tape, stop, sealed = InProcessBus(), InProcessTape("desk"), asyncio.Event(), asyncio.Event()

        def heard(seal: Seal) -> None:
            if seal.last_seq >= ENTRIES:
                sealed.set()

        follow = await own.follow(SUBJECTS.journal_seal, 1, lambda entry: heard(decode(entry.payload, Seal)))
        recorder = RecorderService(system="desk", directory=folder / "recording", clock=SystemClock(), bus=bus, journal=journal, tape=tape)
        work = asyncio.create_task(recorder.run(lambda: None, stop))
        await asyncio.wait_for(sealed.wait(), 30)
        await follow.close()
        stop.set()
        await work
        await own.close()
        await journal.close()

    asyncio.run(recorded())
    server.stop()
    return folder


def verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The command's status and words."""
    status = 0
    try:
        verify(folder)
    except typer.Exit as ended:
        status = ended.exit_code
    return status, capsys.readouterr().out


def spoiled(run: Path, tmp_path: Path, pattern: str, spoil: Callable[[bytearray], bytes]) -> Path:
    """A copy of the run, one of its files spoiled."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (path,) = copy.rglob(pattern)
    path.write_bytes(spoil(bytearray(path.read_bytes())))
    return copy


def flipped(data: bytearray) -> bytes:
    """One bit of the payload of entry 77 is another."""
    data[data.index(b"<000077>") + 20] ^= 1
    return bytes(data)


def test_a_sealed_journal_is_as_it_was_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both copies agree, and the command says so."""
    recorded, notes = verify_recording(run / "recording")
    assert (recorded.problems, notes) == ([], [])
    assert recorded.sealed_seq >= ENTRIES
    assert verify_folder(run / "nats").problems == []
    status, said = verified(run, capsys)
    assert status == 0, said
    assert said.count("as it was written") == 2


def test_a_running_store_is_read_as_a_person_may(run: Path, tmp_path: Path) -> None:
    """While the server runs and writes, the person's user reads all of it, up to where it was when asked."""
    shutil.copytree(run / "nats", tmp_path / "nats")
    server = RunningServer(tmp_path / "nats", system="desk")
    server.start()
    note = RunningSystem(
        system="desk",
        mode="Simulation",
        placement="Local",
        supervisor=0,
        nats_url=server.settings.url,
        person_password_file=str(server.settings.password_file("person")),
        run_folder=str(run),
        venues="",
        ports={},
    )
    try:
        verified = verify_running(note)
    finally:
        server.stop()
    assert verified.problems == []
    assert verified.sealed_seq >= ENTRIES


def test_one_flipped_byte_in_the_store_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The server leaves out what it cannot read; the hole has a name."""
    status, said = verified(spoiled(run, tmp_path, "1.blk", flipped), capsys)
    assert status == 1, said
    assert "entry 77 is missing" in said


def test_a_torn_store_is_named(run: Path, tmp_path: Path) -> None:
    """Half of the store's file is gone: so are the entries, by number."""
    problems = verify_folder(spoiled(run, tmp_path, "1.blk", lambda data: bytes(data[: len(data) // 2])) / "nats").problems
    assert problems
    assert "missing" in problems[-1]


def test_a_store_that_lost_its_last_seconds_is_known_by_the_recording(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that ends earlier and is whole in itself has lost what the recording still has."""
    copy = spoiled(run, tmp_path, "1.blk", lambda data: bytes(data[: data.index(b"<000150>") - 60]))
    for index in copy.rglob("index.db"):
        index.unlink()
    status, said = verified(copy, capsys)
    assert status == 1, said
    assert "the store has lost its last entries" in said


def test_one_flipped_byte_in_the_recording_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The batch, its file and its entries."""
    status, said = verified(spoiled(run, tmp_path, "journal-*.arrows", flipped), capsys)
    assert status == 1, said
    assert "is not what was recorded" in said


def test_what_is_no_journal_is_said(tmp_path: Path) -> None:
    """An empty folder is nobody's journal."""
    with pytest.raises(InvalidInput, match="neither a recording"):
        verify(tmp_path)
