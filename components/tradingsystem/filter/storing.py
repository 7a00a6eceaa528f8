"""The filter's own memory on disk: one chain of snapshots per epoch, so that a restart continues where the last minute ended.

Figures are written last and renamed into place: they are what makes a snapshot count. A damaged or foreign chain is not used; the filter then starts
cold and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from tradingsystem.domain.control import ModelsAssigned, WeightsUpdated
from tradingsystem.domain.rows import F64
from tradingsystem.domain.signals import Regime
from tradingsystem.filter.deciding import Decider
from tradingsystem.filter.regimes import RegimeState
from tradingsystem.filter.signals import Spoken
from tradingsystem.filter.step import FilterState, over
from tradingsystem.filter.trials import Trials
from tradingsystem.filter.wanted import Wanted
from tradingsystem.market import columns as c
from tradingsystem.market import snapshot
from tradingsystem.market.snapshot import Snapshot, Unreadable
from tradingsystem.messages.schema import SCHEMA_VERSION
from tradingsystem.spec.slices import FilterSlice

FIGURES_KEPT = 2


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything beside the market's columns that decides what comes next."""

    schema: int
    number: int
    first_number: int
    oldest_second_number: int
    journal_seq: int
    epoch: int
    seq: int
    full_second: int
    warm_from_ns: int
    assigned: ModelsAssigned
    weights: WeightsUpdated | None
    generation: int
    unhealthy: tuple[str, ...]
    regime: Regime
    regime_since_ns: int
    spoken: dict[str, Spoken]
    wanted_until_ns: dict[str, int]
    probe_done: int
    probe_drawn: str
    windows: dict[int, dict[str, bytes | int]]  # by version
    trials: dict[str, bytes | int]
    figures: bytes


@dataclass(frozen=True, slots=True)
class Written:
    """A snapshot ready for the disk."""

    memory: Memory
    parts: Snapshot


class Chain:
    """One chain of snapshots in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._first_number = 0
        self._of: tuple[int, tuple[str, ...]] | None = None
        self._newest_seconds: dict[int, int] = {}

    def prepare(self, state: FilterState, decider: Decider, wanted: Wanted, trials: Trials, journal_seq: int) -> Written:
        """Copy what has to be kept; nothing is written yet."""
        of = (state.epoch, state.market.symbols)
        whole = of != self._of
        self._of = of
        self._number += 1
        if whole:
            self._first_number = self._number
            self._newest_seconds.clear()
        parts = snapshot.take(state.market, whole=whole)
        second = int(state.market.columns.clock[c.SECOND])
        self._newest_seconds[self._number] = second
        self._newest_seconds = {number: newest for number, newest in self._newest_seconds.items() if newest > second - c.SECONDS}
        probes = decider.probes
        memory = Memory(
            schema=SCHEMA_VERSION,
            number=self._number,
            first_number=self._first_number,
            oldest_second_number=min(self._newest_seconds),
            journal_seq=journal_seq,
            epoch=state.epoch,
            seq=state.seq,
            full_second=state.full_second,
            warm_from_ns=state.warm_from_ns,
            assigned=state.assigned,
            weights=state.weights,
            generation=state.generation,
            unhealthy=tuple(sorted(state.unhealthy)),
            regime=state.regime.regime,
            regime_since_ns=state.regime.since_ns,
            spoken=decider.book.spoken,
            wanted_until_ns=wanted.until_ns,
            probe_done=probes.done if probes else -1,
            probe_drawn=probes.drawn if probes else "",
            windows={version: _packed(window.snapshot()) for version, window in decider.windows.items()},
            trials=trials.snapshot(),
            figures=parts.figures,
        )
        return Written(memory, parts)

    def write(self, encoded: bytes, written: Written) -> None:
        """Put a prepared snapshot on disk, then drop what no snapshot needs any more. ``encoded`` is the memory in MessagePack."""
        number = written.memory.number
        self._folder.mkdir(parents=True, exist_ok=True)
        self._put(f"seconds-{number}", written.parts.seconds)
        self._put(f"minutes-{number}", written.parts.minutes)
        self._put(f"figures-{number}", encoded)
        for path in self._folder.iterdir():
            kind, _, text = path.name.partition("-")
            if not text.isdigit():
                continue
            oldest = {
                "seconds": written.memory.oldest_second_number - FIGURES_KEPT,
                "minutes": written.memory.first_number - FIGURES_KEPT,
                "figures": number - FIGURES_KEPT + 1,
            }.get(kind)
            if oldest is not None and int(text) < oldest:
                path.unlink(missing_ok=True)

    def _put(self, name: str, content: bytes) -> None:
        part = self._folder / f"{name}.part"
        part.write_bytes(content)
        part.replace(self._folder / name)

    def newest(self, spec: FilterSlice) -> tuple[Memory, FilterState] | None:
        """The newest snapshot that can be read, None when there is none. Raises ``Unreadable`` when there are some and none can be used."""
        if not self._folder.is_dir():
            return None
        numbers = sorted((int(path.name[8:]) for path in self._folder.glob("figures-*") if path.name[8:].isdigit()), reverse=True)
        problems: list[str] = []
        for number in numbers:
            try:
                return self._read(number, spec)
            except (Unreadable, msgspec.DecodeError, OSError) as error:
                problems.append(f"figures-{number}: {error}")
        if problems:
            self._number = numbers[0]
            raise Unreadable("; ".join(problems))
        return None

    def _read(self, number: int, spec: FilterSlice) -> tuple[Memory, FilterState]:
        memory = msgspec.msgpack.decode((self._folder / f"figures-{number}").read_bytes(), type=Memory)
        if memory.schema != SCHEMA_VERSION:
            raise Unreadable(f"of schema {memory.schema}, this build has {SCHEMA_VERSION}")
        seconds = [(self._folder / f"seconds-{part}").read_bytes() for part in range(memory.oldest_second_number, number + 1)]
        minutes = [(self._folder / f"minutes-{part}").read_bytes() for part in range(memory.first_number, number + 1)]
        market = snapshot.restore(memory.figures, seconds, minutes)
        if market.capacity != spec.universe.symbols_max:
            raise Unreadable(f"room for {market.capacity} symbols, universe.symbolsMax is {spec.universe.symbols_max}")
        state = over(spec, market)
        state.epoch, state.seq, state.full_second = memory.epoch, memory.seq, memory.full_second
        state.warm_from_ns, state.assigned, state.generation = memory.warm_from_ns, memory.assigned, memory.generation
        state.weights, state.unhealthy = memory.weights, frozenset(memory.unhealthy)
        state.regime = RegimeState(memory.regime, memory.regime_since_ns)
        self._number = number
        self._first_number = memory.first_number
        self._of = (memory.epoch, market.symbols)
        second = int(market.columns.clock[c.SECOND])
        self._newest_seconds = dict.fromkeys(range(memory.oldest_second_number, number + 1), second)  # kept a while longer than needed
        return memory, state


def recall(memory: Memory, decider: Decider, wanted: Wanted) -> None:
    """Give the decider and the wanted list their memory back; a window only when its version still decides."""
    decider.book.spoken = dict(memory.spoken)
    wanted.until_ns = dict(memory.wanted_until_ns)
    if decider.probes is not None:
        decider.probes.done, decider.probes.drawn = memory.probe_done, memory.probe_drawn
    for version, window in memory.windows.items():
        if version in decider.windows:
            decider.windows[version].restore(_unpacked(window))


def _packed(window: Mapping[str, F64 | int]) -> dict[str, bytes | int]:
    return {name: value if isinstance(value, int) else value.tobytes() for name, value in window.items()}


def _unpacked(window: Mapping[str, bytes | int]) -> dict[str, F64 | int]:
    return {name: value if isinstance(value, int) else np.frombuffer(value, np.float64) for name, value in window.items()}
