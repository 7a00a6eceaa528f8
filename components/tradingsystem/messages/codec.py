"""Bytes for everything that is not a batch of rows: MessagePack of the domain's structs, decoded strictly by type.

A payload that does not fit its type raises ``Malformed``; the receiver counts it and drops it, because one bad message must not stop a service.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")


class Malformed(ValueError):
    """The payload is not what its subject promises."""


_UNREADABLE = (
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
)  # text that is not UTF-8, and what nests too deeply, are no DecodeError
_encoder = msgspec.msgpack.Encoder(decimal_format="string")


def encode(message: Any) -> bytes:
    """MessagePack; decimals as strings, enums by value."""
    return _encoder.encode(message)


_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    found = _decoders.get(kind)
    if found is None:
        found = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    return found


def decode(payload: bytes | memoryview, kind: type[T] | Any) -> T:
    """One message of exactly that type (or tagged union). Raises ``Malformed``."""
    try:
        return cast(T, _decoder(kind).decode(payload))
    except _UNREADABLE as error:
        raise _malformed(kind, error) from error


def read_json(payload: bytes, kind: type[T]) -> T:
    """What a person or a file says in JSON, as that type. Raises ``Malformed``."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except _UNREADABLE as error:
        raise _malformed(kind, error) from error


def _malformed(kind: Any, error: Exception) -> Malformed:
    return Malformed(f"not a {getattr(kind, '__name__', str(kind))}: {error}")


def plain(message: Any) -> Any:
    """The message as plain values for JSON and logs."""
    return msgspec.to_builtins(message, str_keys=True, builtin_types=(Decimal,))
