"""Connections to the message server: for services, however long it takes to appear; for commands, which do not wait; and its streams, made once.

Apart from ``assembling`` only because it is about one adapter and nothing else. It builds no service and reads no secret but the user's password.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from tradingsystem.adapters.in_process_bus import InProcessBus, InProcessTape
from tradingsystem.adapters.model_folder import FolderModelStore
from tradingsystem.adapters.model_mirror import ModelMirror
from tradingsystem.adapters.nats import NatsBus, NatsConnection, NatsSettings
from tradingsystem.adapters.nats_journal import NatsJournal, NatsTape
from tradingsystem.adapters.nats_lease import NatsLease
from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.domain.errors import InvalidInput, TryAgain
from tradingsystem.interfaces import Bus, Delivery, Journal, ModelStore, Subscription
from tradingsystem.messages.server import MESSAGE_BYTES_MAX, ServerAddress, StoreSizes
from tradingsystem.process.nats_server import NatsServerSettings
from tradingsystem.process.private_files import read_password
from tradingsystem.process.serving import SHIPPED, prepare_folder

log = structlog.get_logger()

WARM_UP_ANSWERS = 50
WARM_ANSWER_SECONDS = 0.001
WARM_UP_SECONDS_MAX = 2.0
WAIT_SECONDS = 0.5
LEARNING_SECONDS = 30.0  # a job waits for the message server so long; then it is started again

_Connected = TypeVar("_Connected", NatsBus, NatsJournal)
_Answer = TypeVar("_Answer")


class Kept(Protocol):
    """What keeps something on the message server, in a place that has to be made."""

    async def ensure(self) -> None:
        """Make sure that the place exists. Raises ``TryAgain``."""


_Kept = TypeVar("_Kept", bound=Kept)

LOCAL_SUBJECTS = frozenset({"tape", "frame", "mark", "want", "clock"})
"""What stays inside when all services share a process; beats, states and commands also leave it, since other commands look from outside."""


class SplitBus:
    """The bus of a service that shares its process: market data by the in-process bus, everything else over NATS."""

    def __init__(self, local: InProcessBus, remote: NatsBus) -> None:
        self._local = local
        self._remote = remote

    def _of(self, subject: str) -> Bus:
        return self._local if subject.split(".", 1)[0] in LOCAL_SUBJECTS else self._remote

    def publish(self, subject: str, payload: bytes) -> None:
        """See ``interfaces.Bus``."""
        self._of(subject).publish(subject, payload)

    async def subscribe(self, subject: str, handler: Callable[[Delivery], None], *, pending_max: int = 4096) -> Subscription:
        """See ``interfaces.Bus``."""
        return await self._of(subject).subscribe(subject, handler, pending_max=pending_max)

    async def request(self, subject: str, payload: bytes, timeout_seconds: float) -> bytes:
        """See ``interfaces.Bus``."""
        return await self._of(subject).request(subject, payload, timeout_seconds)

    async def flush(self) -> None:
        """See ``interfaces.Bus``."""
        await self._local.flush()
        await self._remote.flush()


def connection_settings(server: ServerAddress, system: str, user: str, password: str) -> NatsSettings:
    """How ``user`` connects."""
    login = f"{server.login_prefix}{user}" if server.login_prefix else ""
    return NatsSettings(
        url=server.url, system=system, user=user, password=password, login=login, ca_file=server.ca_file, replicas=server.replicas
    )


def server_settings(server: NatsServerSettings, user: str) -> NatsSettings:
    """How ``user`` connects to a server of ours. Raises ``InvalidInput`` when the system has no such user."""
    return connection_settings(ServerAddress(server.url), server.system, user, read_password(server.password_file(user)))


@contextlib.asynccontextmanager
async def connected(server: ServerAddress, system: str, user: str, password: str, timeout_seconds: float = 10.0) -> AsyncIterator[Bus]:
    """A bus for commands and watchers. Raises ``TryAgain`` or ``NotAuthorized``."""
    bus = NatsBus(connection_settings(server, system, user, password))
    await bus.open(timeout_seconds)
    try:
        yield bus
    finally:
        await bus.close()


@contextlib.asynccontextmanager
async def connected_journal(
    server: ServerAddress, system: str, user: str, password: str, timeout_seconds: float = 10.0
) -> AsyncIterator[Journal]:
    """The journal for a person's commands. Raises ``TryAgain`` or ``NotAuthorized``."""
    journal = NatsJournal(connection_settings(server, system, user, password))
    await journal.open(timeout_seconds)
    try:
        yield journal
    finally:
        await journal.close()


@contextlib.asynccontextmanager
async def connected_models(
    server: ServerAddress, system: str, user: str, password: str, bytes_max: int = 0
) -> AsyncIterator[NatsModelStore]:
    """The object store of versions, for a learning job, which makes it with ``bytes_max`` where it is missing, or for a person. Raises ``TryAgain``,
    ``NotAuthorized``, or ``RequestRefused`` when there is no room for it."""
    connection = NatsConnection(connection_settings(server, system, user, password), "models")
    await connection.open(LEARNING_SECONDS)
    try:
        store = NatsModelStore(connection, bytes_max=bytes_max)
        if bytes_max:
            await store.ensure()
        yield store
    finally:
        await connection.close()


def store_of(connection: NatsConnection | None, folder: Path | None) -> ModelStore | None:
    """Where a system's versions are kept: the object store where there is one, else the folder; None where only the package's own serve."""
    if connection is not None:
        return NatsModelStore(connection)
    return FolderModelStore(folder) if folder is not None else None


def mirror_of(store: NatsModelStore, folder: Path) -> ModelMirror:
    """Keeps ``folder`` as ``store`` is; what came with the release stays."""
    return ModelMirror(store, FolderModelStore(folder), kept=frozenset(SHIPPED))


async def brought_models(connection: NatsConnection, folder: Path, keys_file: Path | None, bytes_max: int) -> ModelMirror:
    """``folder`` with the release's version, the keys that ``keys_file`` holds now and later, and every version of the object store, however long the server
    takes to answer. What comes later is brought by the mirror's ``run``."""
    prepare_folder(folder, keys_file)
    store = NatsModelStore(connection, bytes_max=bytes_max)
    mirror = mirror_of(store, folder)

    async def brought() -> ModelMirror:
        await store.ensure()
        await mirror.fill()
        return mirror

    return await _answered(brought, "waits_for_models")


async def opened(make: Callable[[], _Connected]) -> _Connected:
    """A connection, however long the server takes to appear: pods start in any order, and a service that falls for want of it only starts later still.

    Raises ``NotAuthorized``, which waiting does not mend.
    """

    async def connected_now() -> _Connected:
        made = make()
        try:
            await made.open()
        except TryAgain:
            await made.close()
            raise
        return made

    return await _answered(connected_now, "waits_for_nats")


async def remembered_tape(connection: NatsConnection, bytes_max: int) -> NatsTape:
    """The tape, whose memory is there when this returns: what is sealed before is remembered by nobody, and a symbol table may be in it."""
    return await ensured(NatsTape(connection, bytes_max=bytes_max))


async def ensured(kept: _Kept) -> _Kept:
    """The same, once its place is made: a server that goes away in this very moment is waited for like one that is not there yet."""
    await _answered(kept.ensure, "waits_for_nats")
    return kept


async def _answered(ask: Callable[[], Awaitable[_Answer]], event: str) -> _Answer:
    """What ``ask`` gives once it raises ``TryAgain`` no more; each time that is logged as ``event``."""
    while True:
        try:
            return await ask()
        except TryAgain as error:
            log.warning(event, reason=str(error))
            await asyncio.sleep(WAIT_SECONDS)


async def prepare_server(server: NatsServerSettings) -> None:
    """Make the streams of a new server and return once it answers as fast as it will. Raises ``NotAuthorized``."""
    await _prepare(server_settings(server, "execution"), server.sizes, timeout_seconds=60.0)


async def prepare_external(server: ServerAddress, system: str, password: str, sizes: StoreSizes, *, must_be_new: bool) -> None:
    """Make the streams on a server that a person runs. ``must_be_new``: what is simulated begins with nothing. Raises ``NotAuthorized``, ``TryAgain``, and
    ``InvalidInput`` for what its administrator has to change."""
    settings = connection_settings(server, system, "execution", password)
    connection = NatsConnection(settings, "preparing")
    await connection.open()
    taken = connection.message_bytes_max
    await connection.close()
    if taken < MESSAGE_BYTES_MAX:
        raise InvalidInput(
            f"{server.url} takes messages of {taken:,} bytes and must take {MESSAGE_BYTES_MAX:,}; in its configuration: max_payload: 8MB"
        )
    last_seq = await _prepare(settings, sizes, timeout_seconds=10.0)
    if must_be_new and last_seq:
        raise InvalidInput(
            f"{server.url} has a journal of {system} already, and a simulated account begins with nothing; give the system another name and account, "
            f"or have its administrator remove the streams of {system}"
        )


async def _prepare(settings: NatsSettings, sizes: StoreSizes, timeout_seconds: float) -> int:
    """Make the streams and warm them up; the number of the journal's last entry."""
    journal = NatsJournal(settings, bytes_max=sizes.journal_bytes)
    try:
        await journal.open(timeout_seconds)
        await NatsTape(journal.connection, bytes_max=sizes.tape_bytes).ensure()
        await NatsLease(journal.connection).ensure()
        await _warm_up(journal)
        return await journal.last_seq()
    finally:
        await journal.close()


async def _warm_up(journal: NatsJournal) -> None:
    """The first seconds of a JetStream server are slow: ask until fifty answers in a row came fast, or the time is over."""
    fast, deadline = 0, time.monotonic() + WARM_UP_SECONDS_MAX
    while fast < WARM_UP_ANSWERS and time.monotonic() < deadline:
        started = time.perf_counter()
        await journal.last_seq()
        fast = fast + 1 if time.perf_counter() - started < WARM_ANSWER_SECONDS else 0


@dataclass
class Shared:
    """What services of one process share."""

    bus: InProcessBus
    tape: InProcessTape

    @classmethod
    async def make(cls, system: str) -> Shared:
        """A bus and the tape's memory on it."""
        bus = InProcessBus()
        tape = InProcessTape(system)
        await tape.attach(bus)
        return cls(bus, tape)
