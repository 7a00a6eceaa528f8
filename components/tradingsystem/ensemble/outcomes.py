"""Open predictions and what becomes of them: sampled from what the models say live, closed by the definition of p (``ensemble.labels``).

Nothing here decides anything: closed predictions are evidence for who promotes and takes back. Time is the second of the session at which the whole
universe was swept; the bids in between are not looked at, exactly as a training row's future is one bid per second. A second that no sweep fell on is
not looked at either. What a session's end finds open is closed as not reached; what cannot be followed (the symbol left the table, the session changed
unseen) is dropped and counted, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tradingsystem.domain.rows import F32, F64, I8, I32, I64, U8, U32
from tradingsystem.ensemble.labels import SAMPLE_SECONDS, LabelRule, barriers
from tradingsystem.market.compiling import compiled

OPEN_MAX = 131_072
"""Rows held at once. Two versions that score 512 candidates each second, sampled every 20 s and open for half an hour, are 92,160."""

_START = 4_096
_OPEN = -1  # as label
_NEVER = np.iinfo(np.int32).max
_ENTRIES = np.dtype(
    [
        ("model", np.int32),
        ("role", np.int8),  # the caller's own number
        ("symbol", np.uint32),  # position in the table
        ("second", np.int32),  # of the session, when it was predicted
        ("last", np.int32),  # second at which it is closed at the latest
        ("up", np.float32),
        ("down", np.float32),
        ("p", np.float32),  # NaN while the answer is awaited
        ("label", np.int8),
    ]
)


@dataclass(frozen=True, slots=True)
class Closed:
    """Predictions that were closed at one sweep, by position: version, its role then, symbol in the table, second of the session at which they were made,
    p, the members' probabilities F32[n, m] (NaN beyond the members there are) and the label 0 or 1."""

    model: I32
    role: I8
    symbol: I32
    second: I32
    p: F32
    members: F32
    label: I8

    def __len__(self) -> int:
        return len(self.label)


@compiled
def _mark(symbol: U32, last: I32, up: F32, down: F32, bid: F32, second: int, hit: U8) -> None:
    """Whether a row is touched or at its end. Without a branch, so that the compiler does eight rows at a time; a closed row has no barriers and no end."""
    for k in range(len(hit)):
        price = bid[symbol[k]]
        hit[k] = (price >= up[k]) | (price <= down[k]) | (second >= last[k])


@compiled
def _barriers(entry: F32, target: float, stop: float, fee: float, up: F32, down: F32) -> None:
    """The barriers as float32, rounded away from the entry: a float32 bid is beyond the one exactly when it is beyond the other."""
    for k in range(len(entry)):
        high, low = barriers(entry[k], target, stop, fee)
        up[k], down[k] = high, low
        if up[k] < high:
            up[k] = np.nextafter(up[k], np.float32(np.inf))
        if down[k] > low:
            down[k] = np.nextafter(down[k], np.float32(-np.inf))


def due(rows: I32, second: int, before: int) -> npt.NDArray[np.bool_]:
    """Which rows are sampled at that second, ``before`` being the last one that was swept: each symbol every ``SAMPLE_SECONDS``, spread by its position.
    With a sweep each second these are the rows that training keeps; where a sweep came late, those whose second was passed over are taken now."""
    return (rows + second) // SAMPLE_SECONDS > (rows + before) // SAMPLE_SECONDS


class OpenPredictions:
    """The open predictions of one session. ``members_max`` bounds how many members' votes are kept with each."""

    def __init__(self, members_max: int = 3) -> None:
        self._columns = {name: np.empty(_START, _ENTRIES[name]) for name in _ENTRIES.names or ()}
        self._members: F32 = np.empty((_START, members_max), np.float32)
        self._hit: U8 = np.empty(_START, np.uint8)  # scratch
        self._count = 0
        self._closed = 0  # rows among them that are closed and not yet swept away
        self.session_open_ns = 0
        self.dropped = 0

    def __len__(self) -> int:
        return self._count - self._closed

    # --- time --------------------------------------------------------------------------------------------------------

    def begin(self, session_open_ns: int) -> None:
        """Another session: what the last one left open was not seen to its end."""
        if session_open_ns != self.session_open_ns:
            self._drop_all()
            self.session_open_ns = session_open_ns

    def advance(self, second: int, bid: F32) -> Closed:
        """Look at the bids F32[symbols] of that second of the session; returns what is closed by them and has an answer."""
        a = {name: column[: self._count] for name, column in self._columns.items()}
        hit = self._hit[: self._count]
        _mark(a["symbol"], a["last"], a["up"], a["down"], bid, second, hit)
        at = np.flatnonzero(hit.view(np.bool_))  # of bytes it takes twenty times as long
        if not len(at):
            return self._taken(at)
        at = at[a["second"][at] < second]
        a["label"][at] = (second <= a["last"][at]) & (bid[a["symbol"][at]] >= a["up"][at])
        a["up"][at] = a["down"][at] = np.nan
        a["last"][at] = _NEVER
        closed = self._taken(at[~np.isnan(a["p"][at])])
        self.dropped += len(at) - len(closed)
        self._closed += len(at)
        if 4 * self._closed > self._count:
            self._keep(np.flatnonzero(a["label"] < 0))
        return closed

    def _taken(self, at: I64) -> Closed:
        a = self._columns
        return Closed(
            a["model"][at], a["role"][at], a["symbol"][at].astype(np.int32), a["second"][at], a["p"][at], self._members[at], a["label"][at]
        )

    # --- predictions -------------------------------------------------------------------------------------------------

    def expect(
        self,
        model: int,
        rows: I32,
        ask: F32,
        second: int,
        close_second: int,
        rule: LabelRule,
        *,
        role: int = 0,
        said: tuple[F64, F32] | None = None,
    ) -> None:
        """A version says what it thinks of the symbols at ``rows`` at that second, where a buyer would pay ``ask`` F32[n]: at once, as ``said`` (p F64[n] and
        members F32[n, m]), or later as ``answer``. ``close_second`` is the session's last, seconds never go back. Rows without an ask are left out, as
        training leaves them out; so is what does not fit any more, counted."""
        up, down = np.empty((2, len(rows)), np.float32)
        _barriers(np.ascontiguousarray(ask), rule.target_basis_points, rule.stop_basis_points, rule.fee_basis_points, up, down)
        kept = np.flatnonzero(~np.isnan(up))
        room = OPEN_MAX - self._count
        if len(kept) > room:
            self.dropped += len(kept) - room
            kept = kept[:room]
        first, end = self._count, self._count + len(kept)
        self._grow(end)
        a = self._columns
        a["model"][first:end] = model
        a["role"][first:end] = role
        a["symbol"][first:end] = rows[kept]
        a["second"][first:end] = second
        a["last"][first:end] = min(second + rule.horizon_seconds, close_second)
        a["up"][first:end] = up[kept]
        a["down"][first:end] = down[kept]
        a["p"][first:end] = np.nan if said is None else said[0][kept]
        if said is not None:
            self._write_members(slice(first, end), said[1][kept])
        a["label"][first:end] = _OPEN
        self._count = end

    def answer(self, model: int, second: int, rows: I32, p: F64, members: F32) -> None:
        """What that version said at that second, p F64[n] (NaN where it said no probability) and members F32[n, m] of the symbols at ``rows``, ascending.
        It may come later than the moment it is about: what was closed meanwhile without an answer is gone."""
        a = self._columns
        recent = int(np.searchsorted(a["second"][: self._count], second))  # rows stand in the order of time
        at = recent + np.flatnonzero((a["second"][recent : self._count] == second) & (a["model"][recent : self._count] == model))
        place = np.searchsorted(rows, a["symbol"][at])
        known = (place < len(rows)) & (rows[np.minimum(place, len(rows) - 1)] == a["symbol"][at]) if len(rows) else np.zeros(len(at), bool)
        at, place = at[known], place[known]
        a["p"][at] = p[place]
        self._write_members(at, members[place])

    def _write_members(self, at: I64 | slice, members: F32) -> None:
        width = min(members.shape[1], self._members.shape[1])
        self._members[at, :width] = members[:, :width]
        self._members[at, width:] = np.nan

    def rename(self, positions: I32) -> None:
        """Another symbol table: ``positions`` gives for each old position the new one, -1 for a symbol that is gone."""
        symbol = self._columns["symbol"][: self._count]
        moved = positions[symbol]
        self._columns["symbol"][: self._count] = np.maximum(moved, 0)
        kept = np.flatnonzero((moved >= 0) & (self._columns["label"][: self._count] < 0))
        self.dropped += len(self) - len(kept)
        self._keep(kept)

    # --- memory ------------------------------------------------------------------------------------------------------

    def _grow(self, needed: int) -> None:
        size = len(self._members)
        if needed <= size:
            return
        size = max(needed, 2 * size)
        self._columns = {name: np.resize(column, size) for name, column in self._columns.items()}
        self._hit = np.empty(size, np.uint8)
        self._members = np.resize(self._members, (size, self._members.shape[1]))

    def _keep(self, at: I64) -> None:
        for column in self._columns.values():
            column[: len(at)] = column[at]
        self._members[: len(at)] = self._members[at]
        self._count, self._closed = len(at), 0

    def _drop_all(self) -> None:
        self.dropped += len(self)
        self._count = self._closed = 0

    def snapshot(self) -> dict[str, bytes | int]:
        """Everything there is, for the disk."""
        columns: dict[str, bytes | int] = {name: column[: self._count].tobytes() for name, column in self._columns.items()}
        return {
            **columns,
            "members": self._members[: self._count].tobytes(),
            "session_open_ns": self.session_open_ns,
            "dropped": self.dropped,
        }

    def restore(self, state: dict[str, bytes | int]) -> None:
        """Take over a snapshot. Raises ``ValueError`` when its columns are not of one length."""
        found = {name: np.frombuffer(_bytes(state[name]), _ENTRIES[name]) for name in self._columns}
        members = np.frombuffer(_bytes(state["members"]), np.float32).reshape(-1, self._members.shape[1])
        if {len(members)} != {len(column) for column in found.values()}:
            raise ValueError("open predictions: the columns are not of one length")
        self._grow(len(members))
        for name, column in found.items():
            self._columns[name][: len(members)] = column
        self._members[: len(members)] = members
        self._count, self._closed = len(members), int((found["label"] >= 0).sum())
        self.session_open_ns, self.dropped = int(state["session_open_ns"]), int(state["dropped"])


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("open predictions: a number where a column is expected")
    return value
