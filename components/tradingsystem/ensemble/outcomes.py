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

from tradingsystem.domain.rows import F32, F64, I8, I32, I64
from tradingsystem.ensemble.labels import SAMPLE_SECONDS, LabelRule, barriers, touched
from tradingsystem.market.compiling import compiled

OPEN_MAX = 131_072
"""Rows held at once. Two versions that score 512 candidates each second, sampled every 20 s and open for half an hour, are 92,160."""

_START = 4_096
_OPEN = -1  # as label
_ENTRIES = np.dtype(
    [
        ("model", np.int32),
        ("role", np.int8),  # the caller's own number
        ("symbol", np.int32),  # position in the table
        ("second", np.int32),  # of the session, when it was predicted
        ("last", np.int32),  # second at which it is closed at the latest
        ("up", np.float64),
        ("down", np.float64),
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
def _close(symbol: I32, start: I32, last: I32, up: F64, down: F64, label: I8, bid: F32, second: int, found: I64) -> int:
    """Mark what is closed at that second and write where it stands; returns how many rows were. Most rows are neither touched nor at their end, so that is
    asked first."""
    count = 0
    for k in range(len(label)):
        reached = touched(bid[symbol[k]], up[k], down[k])
        if (reached < 0 and second < last[k]) or label[k] >= 0 or second <= start[k]:
            continue
        label[k] = max(reached, 0) if second <= last[k] else 0
        found[count] = k
        count += 1
    return count


@compiled
def _barriers(entry: F32, target: float, stop: float, fee: float, up: F64, down: F64) -> None:
    for k in range(len(entry)):
        up[k], down[k] = barriers(entry[k], target, stop, fee)


def due(rows: I32, second: int, before: int) -> npt.NDArray[np.bool_]:
    """Which rows are sampled at that second, ``before`` being the last one that was swept: each symbol every ``SAMPLE_SECONDS``, spread by its position.
    With a sweep each second these are the rows that training keeps; where a sweep came late, those whose second was passed over are taken now."""
    return (rows + second) // SAMPLE_SECONDS > (rows + before) // SAMPLE_SECONDS


class OpenPredictions:
    """The open predictions of one session. ``members_max`` bounds how many members' votes are kept with each."""

    def __init__(self, members_max: int = 3) -> None:
        self._columns = {name: np.empty(_START, _ENTRIES[name]) for name in _ENTRIES.names or ()}
        self._members: F32 = np.empty((_START, members_max), np.float32)
        self._found: I64 = np.empty(_START, np.int64)  # scratch
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
        count = _close(a["symbol"], a["second"], a["last"], a["up"], a["down"], a["label"], bid, second, self._found)
        at = self._found[:count]
        closed = self._taken(at[~np.isnan(a["p"][at])])
        self.dropped += count - len(closed)
        self._closed += count
        if 4 * self._closed > self._count:
            self._keep(np.flatnonzero(a["label"] < 0))
        return closed

    def _taken(self, at: I64) -> Closed:
        a = self._columns
        return Closed(a["model"][at], a["role"][at], a["symbol"][at], a["second"][at], a["p"][at], self._members[at], a["label"][at])

    # --- predictions -------------------------------------------------------------------------------------------------

    def expect(self, model: int, rows: I32, ask: F32, second: int, close_second: int, rule: LabelRule, *, role: int = 0) -> None:
        """A version will say what it thinks of the symbols at ``rows`` at that second, where a buyer would pay ``ask`` F32[n]. ``close_second`` is the
        session's last, seconds never go back. Rows without an ask are left out, as training leaves them out; so is what does not fit any more, counted."""
        up, down = np.empty((2, len(rows)))
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
        a["p"][first:end] = np.nan
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
        width = min(members.shape[1], self._members.shape[1])
        self._members[at, :width] = members[place, :width]
        self._members[at, width:] = np.nan

    def rename(self, positions: I32) -> None:
        """Another symbol table: ``positions`` gives for each old position the new one, -1 for a symbol that is gone."""
        symbol = self._columns["symbol"][: self._count]
        moved = positions[symbol]
        self._columns["symbol"][: self._count] = moved
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
        self._found = np.empty(size, np.int64)
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
