"""Who asks the models, waits for them and measures how long they took: the filter's shell towards inference. It decides nothing.

The serving version and a canary are asked at the same time, on the path to the signals; a shadow afterwards, when the cut is recorded. Whoever is on trial
may fail in any way that a bad graph can make a runtime fail: that costs the trial, never the version that serves.
"""

from __future__ import annotations

import asyncio

import structlog

from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.outcomes import Role
from tradingsystem.domain.signals import CutOutcome
from tradingsystem.filter.deciding import NOT_ASKED, Answer, Decider, Serving
from tradingsystem.filter.step import Swept
from tradingsystem.filter.trials import Question, Trials
from tradingsystem.interfaces import Clock
from tradingsystem.market.state import MarketState
from tradingsystem.telemetry import metrics

log = structlog.get_logger()


class Asking:
    """The questions of one filter. ``late`` counts answers that missed the deadline."""

    def __init__(self, clock: Clock, decider: Decider, trials: Trials) -> None:
        self._clock = clock
        self._decider = decider
        self._trials = trials
        self._shadow: asyncio.Task[None] | None = None
        self.late = 0

    async def all(self, swept: Swept) -> tuple[Answer, Answer]:
        """What the serving version and the canary say of a cut. A canary that fails costs its own symbols only."""
        if not self._decider.asks_model(swept):
            return NOT_ASKED, NOT_ASKED
        canary = self._decider.canary
        if canary is None:
            return await self._ask(self._decider.serving, swept), NOT_ASKED
        return await asyncio.gather(self._ask(self._decider.serving, swept), self._ask_canary(canary, swept))

    async def _ask(self, model: Serving, swept: Swept) -> Answer:
        inference = model.inference
        started_ns = self._clock.monotonic()
        try:
            scores = await inference.infer(swept.features.values)
        except TryAgain as error:
            self.late += 1
            metrics.inference_outcomes.labels(runtime=inference.runtime, outcome="late").inc()
            log.warning("inference_late", rows=len(swept.features.rows), model=model.version, reason=str(error))
            return Answer(None, CutOutcome.LATE)
        metrics.inference_time.labels(runtime=inference.runtime).observe((self._clock.monotonic() - started_ns) / 1e9)
        metrics.inference_rows.labels(runtime=inference.runtime).observe(len(swept.features.rows))
        outcome = CutOutcome.FALLBACK if scores.fallback else CutOutcome.OK
        metrics.inference_outcomes.labels(runtime=inference.runtime, outcome=outcome.value.lower()).inc()
        return Answer(scores, outcome)

    async def _ask_canary(self, canary: Serving, swept: Swept) -> Answer:
        started_ns = self._clock.monotonic()
        try:
            answer = await self._ask(canary, swept)
        except Exception as error:  # noqa: BLE001  a runtime raises what it likes over a bad graph; who is on trial must not stop who serves
            log.error("canary_failed", model=canary.version, reason=f"{type(error).__name__}: {error}")
            return Answer(None, CutOutcome.LATE)
        self._trials.took(Role.CANARY, (self._clock.monotonic() - started_ns) / 1e3)
        return answer

    def shadow(self, market: MarketState, swept: Swept, waiting: int) -> None:
        """Have a recorded cut scored by the shadow. It is not asked while its last answer is awaited, nor, but for full sweeps, while batches wait: the hot
        path goes first."""
        if self._trials.shadow is None or not self._decider.asks_model(swept):
            return
        busy = self._shadow is not None and not self._shadow.done()
        if busy or (waiting and not swept.full):
            self._trials.dropped()
            metrics.shadow_cuts.labels(outcome="dropped").inc()
            return
        question = self._trials.question(market, swept, self._decider)
        if question is not None:
            self._shadow = asyncio.create_task(self._ask_shadow(self._trials.shadow, question))

    async def _ask_shadow(self, shadow: Serving, question: Question) -> None:
        started_ns = self._clock.monotonic()
        scores = None
        try:
            scores = await shadow.inference.infer(question.features)
        except Exception as error:  # noqa: BLE001  as for the canary
            log.warning("shadow_failed", model=shadow.version, reason=f"{type(error).__name__}: {error}")
        metrics.shadow_cuts.labels(outcome="late" if scores is None else "scored").inc()
        self._trials.answered(question, scores, self._decider, (self._clock.monotonic() - started_ns) / 1e3)

    async def settle(self) -> None:
        """Return when nothing is under way any more."""
        if self._shadow is not None:
            await self._shadow
