"""Many seeded days, and what they add up to: faults by step, the least a day had, and every broken promise with the seed that repeats it.

It refuses to call a run proof that did not try: a day too poor in decisions, positions or faults is told like a violation, and so is a fault that never
met one of its steps although there were days enough.
"""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from tradingsystem.world.trial.day import Verdict, play
from tradingsystem.world.trial.plan import CELLS, STEPS, Step

DECISIONS_MIN, POSITIONS_MIN, FAULTS_MIN = 20, 10, 3
CELLS_DEMANDED_FROM_DAYS = 500  # with fewer, chance alone may leave a cell empty
CHUNK = 4


def judge_one(seed: int) -> Verdict:
    """One day without its story."""
    return msgspec.structs.replace(play(seed), story=())


def _begin() -> None:
    """A worker's first act. To find this function it has imported all that a day needs, and what is imported stays: no collection looks at it again."""
    gc.freeze()


def play_all(seeds: Iterable[int], processes: int) -> Iterator[Verdict]:
    """The days in the order of their seeds, as they are finished."""
    if processes == 1:
        yield from map(judge_one, seeds)
        return
    with concurrent.futures.ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_begin) as pool:
        yield from pool.map(judge_one, seeds, chunksize=CHUNK)


@dataclass(frozen=True, slots=True)
class Many:
    """All days of a run."""

    days: tuple[Verdict, ...]

    def hits(self) -> Counter[tuple[str, str]]:
        """How often each fault has struck at each step."""
        return Counter(hit for day in self.days for hit in day.struck)

    def empty_cells(self) -> list[str]:
        """Faults that never met a step they can meet."""
        hits = self.hits()
        return [f"{fault} at {step}" for fault, step in CELLS if not hits[(str(fault), str(step))]]

    def violations(self) -> list[tuple[int, str, str]]:
        """(seed, invariant, what), by seed."""
        return [(day.seed, invariant, what) for day in self.days for invariant, what, _ in day.violations]

    def poor(self) -> list[tuple[int, str]]:
        """Days that had too little in them, and of what."""
        found = []
        for day in self.days:
            counts = (
                ("decisions", day.decisions, DECISIONS_MIN),
                ("positions", day.positions, POSITIONS_MIN),
                ("faults", len(day.struck), FAULTS_MIN),
            )
            found += [(day.seed, f"{count} {what}, at least {least}") for what, count, least in counts if count < least]
        return found

    def counts(self) -> dict[str, list[int]]:
        """What each day had, by name."""
        return {
            "decisions": [day.decisions for day in self.days],
            "positions": [day.positions for day in self.days],
            "faults": [len(day.struck) for day in self.days],
            "lives": [day.lives for day in self.days],
            "latches": [day.latches for day in self.days],
        }

    def table(self) -> list[list[str]]:
        """Fault x step: the header, then a row for each fault; a dot where the two cannot meet."""
        hits = self.hits()
        rows = [["fault", *(str(step) for step in Step)]]
        for fault, steps in STEPS.items():
            rows.append([str(fault), *(str(hits[(str(fault), str(step))]) if step in steps else "·" for step in Step)])
        return rows

    def passed(self) -> bool:
        """Whether nothing was broken and everything tried."""
        tried = len(self.days) < CELLS_DEMANDED_FROM_DAYS or not self.empty_cells()
        return not self.violations() and not self.poor() and tried
