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
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        name = getattr(kind, "__name__", str(kind))
        raise Malformed(f"not a {name}: {error}") from error


def plain(message: Any) -> Any:
    """The message as plain values for JSON and logs."""
    return msgspec.to_builtins(message, str_keys=True, builtin_types=(Decimal,))
