"""Holds a journal against the seals in it: the recorded copy of a run, a store that a running system keeps, or one that lies still on a disk.

A store that lies still is copied and read through a message server of its own, which tells nothing of what it cannot read: so what does not come is missing.
It refuses to touch what it looks at.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.seals import Seal, Verified, Verifier, digest_of
from tradingsystem.interfaces import Journal
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.server import ServerAddress
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.connecting import connected_journal
from tradingsystem.process.nats_server import NatsServer, NatsServerSettings, free_ports
from tradingsystem.process.private_files import read_password
from tradingsystem.process.state import RunningSystem
from tradingsystem.recorder.segments import DamagedSegment, read_records, segment_paths

SILENCE_SECONDS = 10.0  # a store that tells nothing for so long has nothing more that it can read
STREAM_PREFIX = "JOURNAL_"


class _Reading:
    """Gives entries to the verifier, seals where they stand."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def take(self, seq: int, subject: str, payload: bytes) -> None:
        if subject.split(".")[2:3] == ["seal"]:
            try:
                self._verifier.seal(decode(payload, Seal), seq)
            except Malformed as error:
                self._verifier.verified.problems.append(f"entry {seq} ({subject}) cannot be read: {error}")
        self._verifier.entry(seq, subject, payload)


def verify_recording(folder: Path, store: str = "") -> tuple[Verified, list[str]]:
    """A recorded journal; also what is to be said of its end. Entries that came twice, after a restart, count once; when they differ, that is named."""
    verifier, said = Verifier(store), list[str]()
    reading, seen = _Reading(verifier), dict[int, bytes]()
    try:
        for record in read_records(folder, "journal", said.append):
            digest = digest_of(record.seq, record.subject, record.payload)
            if seen.setdefault(record.seq, digest) != digest:
                verifier.verified.problems.append(f"entry {record.seq} ({record.subject}) was recorded twice, differently")
            elif record.seq > verifier.verified.last_seq:
                reading.take(record.seq, record.subject, record.payload)
    except DamagedSegment as damage:
        verifier.verified.problems.append(str(damage))
    return verifier.verified, said


def verify_running(system: RunningSystem) -> Verified:
    """The store that a running system writes, up to where it was when asked."""

    async def run() -> Verified:
        password = read_password(Path(system.person_password_file))
        async with connected_journal(system.server, system.system, PERSON, password) as journal:
            return await verify_store(journal, system.system)

    return asyncio.run(run())


def verify_folder(nats: Path) -> Verified:
    """A message server's folder that nobody uses now. Raises ``InvalidInput`` when it holds no journal."""
    streams = sorted(path for path in nats.rglob(f"{STREAM_PREFIX}*") if path.is_dir())
    if not streams:
        raise InvalidInput(f"{nats}: no journal in it (no {STREAM_PREFIX}* of a message server)")
    system = streams[0].name.removeprefix(STREAM_PREFIX)

    async def run() -> Verified:
        async with _copied(nats, system) as journal:
            return await verify_store(journal, system)

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def _copied(nats: Path, system: str) -> AsyncIterator[Journal]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "nats"
        shutil.copytree(nats, folder)
        (port,) = free_ports(1)
        settings = NatsServerSettings(system=system, folder=folder, port=port, sync_always=False)
        server = NatsServer(settings, _ready)
        await server.start(timeout_seconds=120.0)
        try:
            password = read_password(settings.password_file(PERSON))
            async with connected_journal(ServerAddress(settings.url), system, PERSON, password, timeout_seconds=60.0) as journal:
                yield journal
        finally:
            await server.stop()


async def _ready(settings: NatsServerSettings) -> None:
    """Until it can be connected to; its streams are there already."""
    async with connected_journal(
        ServerAddress(settings.url), settings.system, PERSON, read_password(settings.password_file(PERSON)), timeout_seconds=60.0
    ):
        return


async def verify_store(journal: Journal, system: str) -> Verified:
    """Everything up to the newest entry there is now."""
    last_seq, verifier = await journal.last_seq(), Verifier(await journal.identity())
    reading, arriving = _Reading(verifier), aiter(journal.read(Subjects(system).journal))
    with contextlib.suppress(StopAsyncIteration, TimeoutError):
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                entry = await anext(arriving)
            if entry.seq <= last_seq:
                reading.take(entry.seq, entry.subject, entry.payload)
    verified = verifier.verified
    if verified.last_seq < last_seq:
        verified.problems.append(f"entries {verified.last_seq + 1} to {last_seq} are missing: the store counts them and cannot read them")
    return verified


def recorded(run: Path) -> Path | None:
    """The recording in a run's folder, or the folder itself; None when there is none."""
    return next((folder for folder in (run, run / "recording") if segment_paths(folder, "journal")), None)
