"""What a venue sent, as it came: kept beside the tape so that a doubt about what was read can be settled, and a day played again over the wire."""

from __future__ import annotations

import msgspec


class Frame(msgspec.Struct, frozen=True):
    """One frame or answer of a source, byte for byte, and the market time at which it was received."""

    source: str
    received_ns: int
    payload: bytes
