"""Versions of models in NATS's object store: how they reach pods that share no disk with the job that made them.

The form is NATS's own (stream ``OBJ_<bucket>``, chunks, and one message about each object with its SHA-256), so ``nats object ls`` and other clients read it;
nats-py's own object store is not used: it overwrites, reads through its ordered consumer and leaves half an upload behind. Here an object is created once,
by an expectation that the server checks; its chunks lie under a name made from its content, so that an upload that was cut off goes on where it stopped;
and until the message about it is stored, it is nowhere. A number that was removed is remembered and never given again.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping

import msgspec
import structlog

from tradingsystem.adapters.jetstream import (
    NOT_FOUND_MESSAGE,
    STORE_FAILED,
    WRONG_LAST_SEQUENCE,
    Reader,
    call,
    ensure_stream,
    entries_until,
    read_publish_answer,
)
from tradingsystem.adapters.nats import NatsConnection
from tradingsystem.bundles.archive import ARCHIVE_BYTES_MAX, pack, unpack
from tradingsystem.bundles.bundle import InvalidBundle
from tradingsystem.bundles.refusal import ModelRefused, Refusal
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.interfaces import Entry
from tradingsystem.messages.subjects import models_bucket, models_chunks, models_meta, models_stream

log = structlog.get_logger()

BYTES_MAX = 200 * 1024**2
CHUNK_BYTES = 128 * 1024
TIMEOUT_SECONDS = 5.0
ATTEMPTS = 5
IDENTIFIER_LENGTH = 22  # as NATS's own identifiers
_SUFFIX = ".tar"
_DIGEST = "SHA-256="
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_NO_TIME = "0001-01-01T00:00:00Z"  # the server's own time of the message counts, as with NATS's clients


class _Options(msgspec.Struct, frozen=True):
    max_chunk_size: int = CHUNK_BYTES


class ObjectInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What NATS says about an object, as far as it is used here."""

    name: str
    bucket: str
    nuid: str
    size: int = 0
    mtime: str = _NO_TIME
    chunks: int = 0
    digest: str = ""
    deleted: bool = False
    options: _Options = _Options()


class _Moved(Exception):
    """Somebody else has written to this subject meanwhile."""


class NatsModelStore:
    """``interfaces.ModelStore`` over a connection that somebody else opens and closes."""

    def __init__(self, connection: NatsConnection, *, bytes_max: int = BYTES_MAX) -> None:
        self._connection = connection
        self._bytes_max = bytes_max
        self._system = connection.settings.system
        self._stream = models_stream(self._system)

    async def ensure(self) -> None:
        """Make sure that the object store exists. Raises ``TryAgain`` or ``RequestRefused`` when there is no room for it."""
        config = {
            "name": self._stream,
            "subjects": [models_chunks(self._system, ">"), models_meta(self._system, ">")],
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "max_bytes": self._bytes_max,
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "num_replicas": 1,
        }
        await ensure_stream(self._connection, config)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def versions(self) -> tuple[int, ...]:
        """See ``interfaces.ModelStore``."""
        return tuple(sorted(version for version, info in (await self._all()).items() if not info.deleted))

    async def numbers(self) -> dict[int, bool]:
        """Every number that was ever given, and whether it is there still. Raises ``TryAgain``."""
        return {version: not info.deleted for version, info in (await self._all()).items()}

    async def get(self, version: int) -> Mapping[str, bytes]:
        """See ``interfaces.ModelStore``."""
        info = await self._info(version)
        if info is None or info.deleted:
            raise ModelRefused(version, Refusal.VERSION_NOT_FOUND, f"object store {models_bucket(self._system)} has no such version")
        if info.size > ARCHIVE_BYTES_MAX:
            raise ModelRefused(version, Refusal.TOO_LARGE, f"its archive is larger than {ARCHIVE_BYTES_MAX} bytes")
        payload = await self._chunks(info)
        if len(payload) != info.size or _digest(payload) != info.digest:
            raise ModelRefused(version, Refusal.CORRUPT, f"{len(payload)} bytes came whose digest is {_digest(payload)}, not {info.digest}")
        try:
            return unpack(payload)
        except InvalidBundle as error:
            raise ModelRefused(version, error.refusal, str(error)) from error

    async def follow(self, handler: Callable[[int, bool], None]) -> Reader:
        """Call ``handler`` with each number there is and will be, and whether it is there or has been removed; ``close`` what is returned."""

        def hear(entry: Entry) -> None:
            found = self._read(entry.payload)
            if found is not None:
                handler(found[0], not found[1].deleted)

        reader = Reader(self._connection, self._stream, models_meta(self._system, ">"), 1, hear)
        reader.start()
        return reader

    async def _all(self) -> dict[int, ObjectInfo]:
        """The newest word about each number."""
        last = int((await call(self._connection, f"STREAM.INFO.{self._stream}"))["state"]["last_seq"])
        found: dict[int, ObjectInfo] = {}
        async for entry in entries_until(self._connection, self._stream, models_meta(self._system, ">"), 1, last):
            if (read := self._read(entry.payload)) is not None:
                found[read[0]] = read[1]
        return found

    def _read(self, payload: bytes) -> tuple[int, ObjectInfo] | None:
        """Number and word; None for what is no version of ours."""
        try:
            info = msgspec.json.decode(payload, type=ObjectInfo)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("object_unreadable", bucket=models_bucket(self._system), reason=str(error))
            return None
        number = info.name.removesuffix(_SUFFIX)
        if not number.isdecimal() or not number.isascii() or info.name != f"{int(number)}{_SUFFIX}":
            log.warning("object_is_no_version", bucket=models_bucket(self._system), name=info.name)
            return None
        return int(number), info

    async def _info(self, version: int) -> ObjectInfo | None:
        message = await self._message({"last_by_subj": self._meta(version)})
        found = self._read(message[1]) if message is not None else None
        return found[1] if found is not None else None

    async def _chunks(self, info: ObjectInfo) -> bytes:
        """Every chunk there is under its name, in order, and no more than it says."""
        subject, found, seq = models_chunks(self._system, info.nuid), bytearray(), 0
        while len(found) <= info.size:
            message = await self._message({"seq": seq + 1, "next_by_subj": subject})
            if message is None:
                break
            seq = message[0]
            found += message[1]
        return bytes(found)

    async def _message(self, asked: dict[str, object]) -> tuple[int, bytes] | None:
        """Sequence and payload of one message, None when there is none."""
        try:
            message = (await call(self._connection, f"STREAM.MSG.GET.{self._stream}", asked))["message"]
        except RequestRefused as refused:
            if refused.code != str(NOT_FOUND_MESSAGE):
                raise TryAgain(str(refused)) from refused
            return None
        return int(message["seq"]), base64.b64decode(message.get("data", ""))

    # --- writing -----------------------------------------------------------------------------------------------------

    async def put(self, version: int, contents: Mapping[str, bytes]) -> None:
        """See ``interfaces.ModelStore``. ``exists`` also for a number that was removed."""
        try:
            payload = pack(contents)
        except InvalidBundle as error:
            raise RequestRefused("invalid", str(error)) from error
        identifier = hashlib.sha256(payload).hexdigest()[:IDENTIFIER_LENGTH]
        chunks = [payload[start : start + CHUNK_BYTES] for start in range(0, len(payload), CHUNK_BYTES)]
        info = ObjectInfo(
            name=f"{version}{_SUFFIX}",
            bucket=models_bucket(self._system),
            nuid=identifier,
            size=len(payload),
            chunks=len(chunks),
            digest=_digest(payload),
        )
        if await self._there(version, info):
            return
        await self._send(models_chunks(self._system, identifier), chunks)
        try:
            await self._publish(self._meta(version), msgspec.json.encode(info), {"Nats-Rollup": "sub", _EXPECTED: "0"})
        except _Moved:
            if not await self._there(version, info):
                raise TryAgain(f"version {version}: somebody else has put or removed it just now") from None

    async def _there(self, version: int, wanted: ObjectInfo) -> bool:
        """Whether it is there as wanted. Raises ``RequestRefused`` when the number has been given to something else, or was removed."""
        found = await self._info(version)
        if found is None:
            return False
        if found.deleted:
            raise RequestRefused("exists", f"version {version} was removed from the object store: a number is given once")
        if found.digest != wanted.digest:
            raise RequestRefused("exists", f"version {version} in the object store holds other files: its digest is {found.digest}")
        return True

    async def _send(self, subject: str, chunks: list[bytes]) -> None:
        """Send the chunks that are not there yet. The server takes each only after the one before it, so none is there twice."""
        for _ in range(ATTEMPTS):
            count, last = await self._sent(subject)
            try:
                for chunk in chunks[count:]:
                    last = await self._publish(subject, chunk, {_EXPECTED: str(last)})
            except _Moved:
                continue
            return
        raise TryAgain(f"{subject}: somebody else uploads the same")

    async def _sent(self, subject: str) -> tuple[int, int]:
        """How many chunks there are, and the sequence of the last. The last is asked for first: a chunk that comes between shows as one too many then, and
        the server refuses what would be sent after it."""
        message = await self._message({"last_by_subj": subject})
        answer = await call(self._connection, f"STREAM.INFO.{self._stream}", {"subjects_filter": subject})
        count = int((answer["state"].get("subjects") or {}).get(subject, 0))
        return count, message[0] if message is not None else 0

    async def _publish(self, subject: str, payload: bytes, headers: dict[str, str]) -> int:
        raw = await self._connection.request(subject, payload, TIMEOUT_SECONDS, headers)
        answer = read_publish_answer.decode(raw)
        if (error := answer.error) is None:
            return answer.seq
        if error.err_code in WRONG_LAST_SEQUENCE:
            raise _Moved
        if error.err_code == STORE_FAILED:
            raise RequestRefused("full", f"object store {models_bucket(self._system)}: {error.description}; remove versions from it")
        raise TryAgain(f"{subject}: {error.description}")

    async def remove(self, version: int) -> bool:
        """See ``interfaces.ModelStore``. The number stays given. What a lost connection leaves of its chunks is removed when it is asked again."""
        info = await self._info(version)
        if info is None:
            return False
        if not info.deleted:
            gone = msgspec.structs.replace(info, deleted=True, size=0, chunks=0, digest="", mtime=_NO_TIME)
            await self._publish(self._meta(version), msgspec.json.encode(gone), {"Nats-Rollup": "sub"})
        try:
            await call(self._connection, f"STREAM.PURGE.{self._stream}", {"filter": models_chunks(self._system, info.nuid)})
        except RequestRefused as refused:
            raise TryAgain(str(refused)) from refused
        return not info.deleted

    def _meta(self, version: int) -> str:
        return models_meta(self._system, base64.urlsafe_b64encode(f"{version}{_SUFFIX}".encode()).decode())


def _digest(payload: bytes) -> str:
    return _DIGEST + base64.urlsafe_b64encode(hashlib.sha256(payload).digest()).decode()
