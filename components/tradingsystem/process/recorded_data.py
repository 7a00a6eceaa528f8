"""What is in a folder of recorded days, read by the player that would play it: nothing is called valid that could not be played.

Beside ``assembling`` the only other door to the simulator's side, for commands that look at files and start nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.simulator import player
from tradingsystem.simulator.feed import Kind
from tradingsystem.simulator.recorded import DamagedFile


@dataclass(frozen=True, slots=True)
class RecordedDay:
    """One playable day: rows by kind of event, symbols, the times between which they lie, and what the reader noticed, counted."""

    day: date
    symbols: tuple[str, ...]
    rows: dict[str, int]
    by_symbol: dict[str, int]
    first_ns: int
    last_ns: int
    vix: float | None
    notes: dict[str, int]


def recorded_dates(folder: Path) -> list[date]:
    """Days that can be played from a folder, oldest first. Raises ``InvalidInput`` when there is no such folder, or no day in it."""
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no such folder")
    found = player.dates(folder)
    if not found:
        raise InvalidInput(f"{folder}: {player.days_in_words(folder)}")
    return found


def read_recorded(folder: Path, day: date) -> RecordedDay:
    """Read one day completely. Raises ``InvalidInput`` naming file and line of what is damaged."""
    try:
        played = player.Player(folder, day)
        events = played.advance(played.session.last_ns)
    except (DamagedFile, FileNotFoundError, ValueError) as error:
        raise InvalidInput(str(error)) from error
    counts = {kind.name.lower(): int((events.kind == kind).sum()) for kind in Kind}
    numbers = np.bincount(events.symbol[events.symbol >= 0], minlength=len(played.symbols))
    return RecordedDay(
        day=day,
        symbols=played.symbols,
        rows={name: count for name, count in counts.items() if count},
        by_symbol={name: int(count) for name, count in zip(played.symbols, numbers, strict=True)},
        first_ns=int(events.at_ns[0]) if len(events) else 0,
        last_ns=int(events.at_ns[-1]) if len(events) else 0,
        vix=played.vix,
        notes=dict(played.notes),
    )
