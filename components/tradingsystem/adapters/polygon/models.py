"""Polygon's WebSocket messages, as they are on the wire and nowhere else.

Only the fields we use are declared: msgspec skips the others without building them, and new keys (``ds``, ``dv`` came unannounced) harm nothing.
Fields stand in the wire's order, because the decoder looks for the next key after the last one it found.
No struct here takes part in a reference cycle, hence ``gc=False``: the collector would otherwise walk every tick.
"""

from __future__ import annotations

import math

import msgspec


class Trade(msgspec.Struct, tag_field="ev", tag="T", gc=False, kw_only=True):
    """A print. ``s`` may be 0 with the truth in ``ds``; ``c`` is absent when there are no conditions."""

    sym: str
    p: float
    s: float = 0.0
    ds: str | None = None
    c: list[int] | None = None
    t: int


class Quote(msgspec.Struct, tag_field="ev", tag="Q", gc=False, kw_only=True):
    """The national best bid and offer; a missing or zero side means that nobody quotes it."""

    sym: str
    bp: float = 0.0
    bs: float = 0.0
    ap: float = 0.0
    ask_size: float = msgspec.field(default=0.0, name="as")
    t: int


class SecondBar(msgspec.Struct, tag_field="ev", tag="A", gc=False, kw_only=True):
    """A second's aggregate; ``s`` is its start. Indices have neither volume nor VWAP."""

    sym: str
    v: float = 0.0
    vw: float = math.nan
    o: float
    c: float
    h: float
    l: float  # noqa: E741  the wire's name
    s: int
    dv: str | None = None


class MinuteBar(msgspec.Struct, tag_field="ev", tag="AM", gc=False, kw_only=True):
    """A minute's aggregate."""

    sym: str
    v: float = 0.0
    vw: float = math.nan
    o: float
    c: float
    h: float
    l: float  # noqa: E741  the wire's name
    s: int
    dv: str | None = None


class LimitBand(msgspec.Struct, tag_field="ev", tag="LULD", gc=False, kw_only=True):
    """Limit-up limit-down: bands, halts and resumptions, told apart by the indicators. The ticker is ``T`` here, not ``sym``."""

    T: str
    t: int
    h: float = 0.0
    l: float = 0.0  # noqa: E741  the wire's name
    i: list[int] | None = None


class IndexValue(msgspec.Struct, tag_field="ev", tag="V", gc=False, kw_only=True):
    """An index's value."""

    T: str
    val: float
    t: int


class Status(msgspec.Struct, tag_field="ev", tag="status", gc=False, kw_only=True):
    """The server's word on the connection, an authentication or a subscription."""

    status: str = ""
    message: str = ""


class Imbalance(msgspec.Struct, tag_field="ev", tag="NOI", gc=False, kw_only=True):
    """Known, not used."""


class FairValue(msgspec.Struct, tag_field="ev", tag="FMV", gc=False, kw_only=True):
    """Known, not used."""


class LaunchpadValue(msgspec.Struct, tag_field="ev", tag="LV", gc=False, kw_only=True):
    """Known, not used."""


Event = Trade | Quote | SecondBar | MinuteBar | LimitBand | IndexValue | Status | Imbalance | FairValue | LaunchpadValue


class Name(msgspec.Struct, gc=False, kw_only=True):
    """Just the event's name: tells an event we do not know from one that is damaged."""

    ev: str


KNOWN = frozenset({"T", "Q", "A", "AM", "LULD", "V", "status", "NOI", "FMV", "LV"})
