"""What a measurement says: lines, what could not be measured and why, and all of it as one value that is written as JSON.

It refuses to hide: a line keeps how many samples it has, at which rate they were offered, and whether its goal was met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from tradingsystem.domain.rows import F64

SEED = 7


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One measured line. Of times the higher percentile is the slower one; of rates too: p99 is what 99 % of the samples reached.

    ``met`` is None where there is no goal. ``offered`` says at which rate the work came in, empty where it is done as fast as it goes.
    """

    name: str
    unit: str
    samples: int
    p50: float
    p99: float
    p999: float
    largest: float
    offered: str = ""
    goal: str = ""
    met: bool | None = None
    beside: str = ""  # what it is held against: measured in the same run, or claimed by somebody


class Absent(msgspec.Struct, frozen=True, kw_only=True):
    """What is not measured, and why."""

    name: str
    reason: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of goals: its lines, and what a reader must know of them."""

    name: str
    title: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    absent: tuple[Absent, ...] = ()
    seconds: float = 0.0


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What it ran on. ``load`` is the one-minute load average before the first row: above 0.5 the cores were not quiet."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    python: str
    versions: dict[str, str]
    load: float
    gpu: str = ""  # empty where none was asked for


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one run."""

    command: str
    seed: int
    machine: Machine
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a line is measured, and whom to tell what is being done."""

    seconds: float
    tell: Callable[[str], None]
    symbols: int = 11_500

    def part(self, share: float) -> float:
        """A share of the time, for rows with many lines."""
        return self.seconds * share


def latencies(
    name: str,
    took: F64,
    unit: str,
    *,
    offered: str = "",
    limits: tuple[float, float] | None = None,
    goal: str = "",
    beside: str = "",
) -> Line:
    """A line of times F64[n], already in ``unit``; ``limits`` are the goal's p50 and p99, infinite where it names none. Raises ``ValueError`` when empty."""
    p50, p99, p999 = (float(value) for value in np.quantile(took, (0.5, 0.99, 0.999)))
    met = None if limits is None else p50 <= limits[0] and p99 <= limits[1]
    return Line(
        name=name,
        unit=unit,
        samples=len(took),
        p50=p50,
        p99=p99,
        p999=p999,
        largest=float(took.max()),
        offered=offered,
        goal=goal or ("" if limits is None else goal_words(limits, unit)),
        met=met,
        beside=beside,
    )


def rates(name: str, rate: F64, unit: str, *, least: float | None = None, beside: str = "") -> Line:
    """A line of rates F64[n], one per pass; ``least`` is what the median pass has to reach."""
    p50, p99, p999 = (float(value) for value in np.quantile(rate, (0.5, 0.01, 0.001)))
    return Line(
        name=name,
        unit=unit,
        samples=len(rate),
        p50=p50,
        p99=p99,
        p999=p999,
        largest=float(rate.min()),
        goal="" if least is None else f"at least {least:g} {unit}",
        met=None if least is None else p50 >= least,
        beside=beside,
    )


def goal_words(limits: tuple[float, float], unit: str) -> str:
    """The goal as a person reads it."""
    words = [f"{label} {limit:.3g}" for label, limit in zip(("p50", "p99"), limits, strict=True) if np.isfinite(limit)]
    return f"{', '.join(words)} {unit}"
