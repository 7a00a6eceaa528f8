"""What ingestion says of itself on ``state.<system>.ingestion``, once a second, and what it keeps for a start in mid-day."""

from __future__ import annotations

import zlib

import msgspec

from tradingsystem.domain.control import SessionOpened, SymbolTable
from tradingsystem.ingestion.freshness import FeedAge
from tradingsystem.messages.codec import Malformed, decode, encode


class IngestionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Counts are of this epoch. ``sources`` maps a source to why it is unhealthy, empty when it is healthy."""

    at_ns: int
    epoch: int
    seq: int
    symbols: int
    detailed: int
    stale_detailed: tuple[str, ...]
    turned_away: int
    feeds: tuple[FeedAge, ...]
    sources: dict[str, str]
    heard: dict[str, str]  # kind of row to the source that serves it
    rows: int
    refused: dict[str, int]
    conflated: int
    backfilled: int


class KeptEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch's number and first notes: the cache's answer to a restart, which then needs no REST call before its first batch. ``loaded_at_ns``: when
    the history in it was asked for."""

    epoch: int
    loaded_at_ns: int
    table: SymbolTable
    opened: SessionOpened

    def pack(self) -> bytes:
        """Compressed: twelve thousand symbols would not fit into one message of a server with default limits."""
        return zlib.compress(encode(self), 1)

    @staticmethod
    def unpack(value: bytes) -> KeptEpoch:
        """Raises ``Malformed``."""
        try:
            payload = zlib.decompress(value)
        except zlib.error as error:
            raise Malformed(f"not a kept epoch: {error}") from error
        return decode(payload, KeptEpoch)
