"""The state as bytes and back, exactly, in three parts, so that writing it each minute stays cheap at any size.

What changes all the time (figures, clocks) is written whole; of the rings only the rows that changed since the last snapshot. A state is restored from
the newest figures and all ring parts before them, in order: seconds for as long as the ring is, minutes since the open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from tradingsystem.domain.calendar import Session
from tradingsystem.domain.control import SymbolFact
from tradingsystem.market import columns as c
from tradingsystem.market.state import NEVER_NS, MarketState, allocate

FORMAT = 1
_FIGURES = ("now", "totals", "times", "flags")


class _Figures(msgspec.Struct, frozen=True):
    format: int
    capacity: int
    facts: tuple[SymbolFact, ...]
    session: Session | None
    clock: bytes
    levels: bytes
    profile: bytes
    touched: bytes
    arrays: tuple[bytes, ...]


class _Part(msgspec.Struct, frozen=True):
    rows: tuple[int, ...]
    newest: int
    arrays: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot: figures, and the ring rows since the one before."""

    figures: bytes
    seconds: bytes
    minutes: bytes

    def __len__(self) -> int:
        return len(self.figures) + len(self.seconds) + len(self.minutes)


class Unreadable(ValueError):
    """A snapshot that cannot be restored: another format, another size, a part missing. The caller starts without it."""


def take(state: MarketState, *, whole: bool = False) -> Snapshot:
    """A snapshot; the next one holds what changes from now on. ``whole``: with every row of the rings, as the first of a chain must be."""
    a = state.columns
    count = state.count
    second, minute = int(a.clock[c.SECOND]), int(a.clock[c.MINUTE])
    oldest_second = max(int(a.clock[c.STARTED_SECOND]), second - c.SECONDS + 1)
    from_second = oldest_second if whole else max(oldest_second, min(second, int(a.clock[c.CHANGED_SECOND])))
    from_minute = 0 if whole else max(0, min(minute, int(a.clock[c.CHANGED_MINUTE])))
    a.clock[c.CHANGED_SECOND] = NEVER_NS
    a.clock[c.CHANGED_MINUTE] = NEVER_NS
    slots = [at % c.SECONDS for at in range(from_second, second + 1)]
    minutes = list(range(from_minute, minute + 1))
    figures = _Figures(
        format=FORMAT,
        capacity=state.capacity,
        facts=state.facts,
        session=state.session,
        clock=a.clock.tobytes(),
        levels=a.levels.tobytes(),
        profile=a.profile.tobytes(),
        touched=a.touched[: a.clock[c.TOUCHED_COUNT]].tobytes(),
        arrays=tuple(getattr(a, name)[:, :count].tobytes() for name in _FIGURES),
    )
    seconds = _Part(
        rows=tuple(slots), newest=second, arrays=(a.second_close[slots, :count].tobytes(), a.second_volume[slots, :count].tobytes())
    )
    minute_part = _Part(rows=tuple(minutes), newest=minute, arrays=(a.minute[:, minutes, :count].tobytes(),))
    encode = msgspec.msgpack.encode
    return Snapshot(figures=encode(figures), seconds=encode(seconds), minutes=encode(minute_part))


def restore(figures: bytes, seconds: Iterable[bytes], minutes: Iterable[bytes]) -> MarketState:
    """The state of the figures, its rings filled from the parts in the order in which they were taken. Raises ``Unreadable``."""
    try:
        head = msgspec.msgpack.decode(figures, type=_Figures)
        if head.format != FORMAT:
            raise Unreadable(f"snapshot of format {head.format}, this build reads {FORMAT}")
        state = allocate(head.capacity)
        _fill_figures(state, head)
        for part in seconds:
            _fill_seconds(state, msgspec.msgpack.decode(part, type=_Part))
        for part in minutes:
            _fill_minutes(state, msgspec.msgpack.decode(part, type=_Part))
    except (msgspec.DecodeError, ValueError) as error:
        raise Unreadable(f"the snapshot cannot be read: {error}") from error
    return state


def _fill_figures(state: MarketState, head: _Figures) -> None:
    a = state.columns
    count = len(head.facts)
    state.facts = head.facts
    state.symbols = tuple(fact.symbol for fact in head.facts)
    state.places = {name: index for index, name in enumerate(state.symbols)}
    state.session = head.session
    a.clock[:] = np.frombuffer(head.clock, a.clock.dtype)
    a.levels[:] = np.frombuffer(head.levels, a.levels.dtype)
    a.profile[:] = np.frombuffer(head.profile, a.profile.dtype)
    touched = np.frombuffer(head.touched, a.touched.dtype)
    a.touched[: len(touched)] = touched
    for name, content in zip(_FIGURES, head.arrays, strict=True):
        array = getattr(a, name)
        array[:, :count] = _shaped(content, array.dtype, (array.shape[0], count))


def _fill_seconds(state: MarketState, part: _Part) -> None:
    a = state.columns
    shape = (len(part.rows), state.count)
    rows = list(part.rows)
    a.second_close[rows, : state.count] = _shaped(part.arrays[0], a.second_close.dtype, shape)
    a.second_volume[rows, : state.count] = _shaped(part.arrays[1], a.second_volume.dtype, shape)


def _fill_minutes(state: MarketState, part: _Part) -> None:
    a = state.columns
    shape = (c.MINUTE_COLUMNS, len(part.rows), state.count)
    a.minute[:, list(part.rows), : state.count] = _shaped(part.arrays[0], a.minute.dtype, shape)


def _shaped(content: bytes, kind: np.dtype[np.generic], shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    return np.frombuffer(content, kind).reshape(shape)
