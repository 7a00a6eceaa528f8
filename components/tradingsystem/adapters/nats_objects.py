"""Objects in NATS's object store, each created once and whole: what versions of models and their engines travel by.

The form is NATS's own (stream ``OBJ_<bucket>``, chunks, and one message about each object with its SHA-256), so ``nats object ls`` and other clients read it;
nats-py's own object store is not used: it overwrites, reads through its ordered consumer and leaves half an upload behind. Here an object is created by an
expectation that the server checks; its chunks lie under a name made from its content, so that an upload that was cut off goes on where it stopped; and until
the message about it is stored, it is nowhere. What a name means, and whether one that was removed may be given again, is said by who uses it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

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
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.interfaces import Entry
from tradingsystem.messages.subjects import object_chunks, object_meta, object_stream

log = structlog.get_logger()

CHUNK_BYTES = 128 * 1024
TIMEOUT_SECONDS = 5.0
ATTEMPTS = 5
IDENTIFIER_LENGTH = 22  # as NATS's own identifiers
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


class NotWhole(Exception):
    """What came is not what was put; the text says how."""


class _Moved(Exception):
    """Somebody else has written to this subject meanwhile."""


class NatsObjects:
    """One bucket over a connection that somebody else opens and closes. ``again``: whether a name whose object was removed may be given another one."""

    def __init__(self, connection: NatsConnection, bucket: str, *, bytes_max: int, again: bool) -> None:
        self._connection = connection
        self._bytes_max = bytes_max
        self._again = again
        self._stream = object_stream(bucket)
        self.bucket = bucket

    async def ensure(self) -> None:
        """Make sure that the object store exists. Raises ``TryAgain`` or ``RequestRefused`` when there is no room for it."""
        config = {
            "name": self._stream,
            "subjects": [object_chunks(self.bucket, ">"), object_meta(self.bucket, ">")],
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "max_bytes": self._bytes_max,
            "allow_rollup_hdrs": True,
            "allow_direct": True,
        }
        await ensure_stream(self._connection, config)

    # --- reading -----------------------------------------------------------------------------------------------------

    async def newest(self) -> dict[str, ObjectInfo]:
        """The newest word about each name that was ever given. Raises ``TryAgain``."""
        last = int((await call(self._connection, f"STREAM.INFO.{self._stream}"))["state"]["last_seq"])
        found: dict[str, ObjectInfo] = {}
        async for entry in entries_until(self._connection, self._stream, object_meta(self.bucket, ">"), 1, last):
            if (read := self._read(entry.payload)) is not None:
                found[read.name] = read
        return found

    async def info(self, name: str) -> ObjectInfo | None:
        """The newest word about a name, None for one that was never given. Raises ``TryAgain``."""
        return (await self._word(name))[1]

    async def get(self, info: ObjectInfo) -> bytes:
        """The object. Raises ``NotWhole``, ``TryAgain``."""
        payload = await self._chunks(info)
        if len(payload) != info.size or _digest(payload) != info.digest:
            raise NotWhole(f"{len(payload)} bytes came whose digest is {_digest(payload)}, not {info.digest}")
        return payload

    async def follow(self, handler: Callable[[ObjectInfo], None]) -> Reader:
        """Call ``handler`` with each word there is and will be; ``close`` what is returned."""

        def hear(entry: Entry) -> None:
            if (found := self._read(entry.payload)) is not None:
                handler(found)

        reader = Reader(self._connection, self._stream, object_meta(self.bucket, ">"), 1, hear)
        reader.start()
        return reader

    def _read(self, payload: bytes) -> ObjectInfo | None:
        try:
            return msgspec.json.decode(payload, type=ObjectInfo)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("object_unreadable", bucket=self.bucket, reason=str(error))
            return None

    async def _word(self, name: str) -> tuple[int, ObjectInfo | None]:
        """The newest word and its sequence, 0 without one."""
        message = await self._message({"last_by_subj": self._meta(name)})
        return (message[0], self._read(message[1])) if message is not None else (0, None)

    async def _chunks(self, info: ObjectInfo) -> bytes:
        """Every chunk there is under its name, in order, and no more than it says."""
        subject, found, seq = object_chunks(self.bucket, info.nuid), bytearray(), 0
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

    async def put(self, name: str, payload: bytes) -> None:
        """Visible to all, and whole, when it returns; put again it changes nothing. Raises ``RequestRefused`` with ``exists`` (also for a name that was
        removed and is not given ``again``) or ``full``, ``TryAgain``."""
        identifier = hashlib.sha256(payload).hexdigest()[:IDENTIFIER_LENGTH]
        chunks = [payload[start : start + CHUNK_BYTES] for start in range(0, len(payload), CHUNK_BYTES)]
        info = ObjectInfo(name=name, bucket=self.bucket, nuid=identifier, size=len(payload), chunks=len(chunks), digest=_digest(payload))
        there, seq = await self._there(info)
        if there:
            return
        await self._send(object_chunks(self.bucket, identifier), chunks)
        try:
            await self._publish(self._meta(name), msgspec.json.encode(info), {"Nats-Rollup": "sub", _EXPECTED: str(seq)})
        except _Moved:
            if not (await self._there(info))[0]:
                raise TryAgain(f"{name}: somebody else has put or removed it just now") from None

    async def _there(self, wanted: ObjectInfo) -> tuple[bool, int]:
        """Whether it is there as wanted, and the sequence of the newest word. Raises ``RequestRefused`` when the name is another object's, or was."""
        seq, found = await self._word(wanted.name)
        if (found is None and not seq) or (self._again and (found is None or found.deleted)):
            return False, seq
        if found is None:
            raise RequestRefused("exists", f"{wanted.name} in the object store {self.bucket} is something that cannot be read")
        if found.deleted:
            raise RequestRefused("exists", f"{wanted.name} was removed from the object store {self.bucket}: it is given once")
        if found.digest != wanted.digest:
            raise RequestRefused(
                "exists", f"{wanted.name} in the object store {self.bucket} holds other files: its digest is {found.digest}"
            )
        return True, seq

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
        if error.err_code == WRONG_LAST_SEQUENCE:
            raise _Moved
        if error.err_code == STORE_FAILED:
            raise RequestRefused("full", f"object store {self.bucket}: {error.description}; remove versions from it")
        raise TryAgain(f"{subject}: {error.description}")

    async def remove(self, name: str) -> bool:
        """Gone at once and whole; False when it was not there. What a lost connection leaves of its chunks is removed when it is asked again. Raises
        ``TryAgain``."""
        info = await self.info(name)
        if info is None:
            return False
        if not info.deleted:
            gone = msgspec.structs.replace(info, deleted=True, size=0, chunks=0, digest="", mtime=_NO_TIME)
            await self._publish(self._meta(name), msgspec.json.encode(gone), {"Nats-Rollup": "sub"})
        try:
            await call(self._connection, f"STREAM.PURGE.{self._stream}", {"filter": object_chunks(self.bucket, info.nuid)})
        except RequestRefused as refused:
            raise TryAgain(str(refused)) from refused
        return not info.deleted

    def _meta(self, name: str) -> str:
        return object_meta(self.bucket, base64.urlsafe_b64encode(name.encode()).decode())


def _digest(payload: bytes) -> str:
    return _DIGEST + base64.urlsafe_b64encode(hashlib.sha256(payload).digest()).decode()
