"""Which files a replay reads, and where its halves run: here, one after the other, or each in a process of its own."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.rows import F32
from tradingsystem.filter.deciding import Serving
from tradingsystem.filter.step import Swept
from tradingsystem.interfaces import Scores
from tradingsystem.models.store import NoBundle
from tradingsystem.process.serving import in_process_serving
from tradingsystem.spec.slices import FilterSlice
from tradingsystem.world.replay import Half, Replayed, Scorer, batches_of, journal_of, replay_execution, replay_filter

PAUSE_SECONDS_MAX = 0.0005


@dataclass(frozen=True, slots=True)
class Plan:
    """One replay: a run's folder, the models' folder if not the package's own, and the seed of random pauses (0: none)."""

    folder: Path
    models: Path | None = None
    delay_seed: int = 0

    @property
    def recording(self) -> Path:
        """Where the recorder wrote."""
        return self.folder / "recording"

    def filter_slice(self) -> FilterSlice:
        """The slice that the filter ran with. Raises ``InvalidInput``."""
        path = self.folder / "slices" / "filter.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=FilterSlice)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path}: {error}") from error


def replay_run(plan: Plan) -> Replayed:
    """Both halves in this process."""
    return Replayed((replay_filter_half(plan), replay_execution_half(plan)))


def run_halves(plan: Plan) -> Replayed:
    """Both halves at the same time, each in a process of its own, started anew so that they share nothing."""
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        halves = [pool.submit(half, plan) for half in (replay_filter_half, replay_execution_half)]
        return Replayed(tuple(half.result() for half in halves))


def replay_filter_half(plan: Plan) -> Half:
    """The filter's half of a recorded run."""
    spec = plan.filter_slice()

    def load(version: int) -> tuple[Serving, Scorer]:
        try:
            serving, score = in_process_serving(spec, plan.models, version)
        except NoBundle as error:
            raise InvalidInput(f"the recording was made with another model than there is here: {error}; say where with --models") from error
        return serving, _Paused(score, plan.delay_seed)

    notes: list[str] = []
    journal, batches = journal_of(plan.recording, notes.append), batches_of(plan.recording, notes.append)
    half = replay_filter(spec.system, spec, load, journal, batches)
    half.notes = notes
    return half


def replay_execution_half(plan: Plan) -> Half:
    """Execution's half of a recorded run."""
    return replay_execution(plan.filter_slice().system, journal_of(plan.recording))


class _Paused:
    """Scores that take their time: pauses must not change a decision, since nothing on this path may look at a clock."""

    def __init__(self, score: Callable[[F32], Scores], seed: int) -> None:
        self._score = score
        self._random = random.Random(seed) if seed else None

    def __call__(self, swept: Swept) -> Scores:
        if self._random is not None and self._random.random() < 0.05:
            time.sleep(self._random.random() * PAUSE_SECONDS_MAX)
        return self._score(swept.features.values)
