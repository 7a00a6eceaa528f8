"""A runtime that may be away, with the same bundle in this process behind it.

One that answers late or not at all costs a cut at most its share of the deadline; after a few in a row it is not asked any more on the way to an order,
but probed beside it, and asked again when it has answered the probes. Who judges a cut learns from ``Scores.fallback`` who answered.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time

import numpy as np
import structlog

from tradingsystem.adapters.onnxruntime import OnnxRuntimeInference
from tradingsystem.domain.errors import TradingSystemError, TryAgain
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.domain.rows import F32
from tradingsystem.interfaces import Inference, Scores

log = structlog.get_logger()

FAILURES_MAX = 3
PROBES_MIN = 2
PROBE_SECONDS = 0.25
PRIMARY_SHARE = 0.8
"""Of the deadline; the rest is the fallback's, which takes half a millisecond for the whole universe."""


class Breaker:
    """Closed: asked. Open: not asked, until probes have been answered in a row. Pure."""

    def __init__(self, failures_max: int = FAILURES_MAX, probes_min: int = PROBES_MIN) -> None:
        self._failures_max = failures_max
        self._probes_min = probes_min
        self._failures = 0
        self._probes = 0
        self.open = False

    def answered(self) -> None:
        """A question was answered in time."""
        self._failures = 0

    def failed(self) -> None:
        """A question was not."""
        self._failures += 1
        if self._failures >= self._failures_max:
            self.open, self._probes = True, 0

    def probed(self, *, answered: bool) -> None:
        """A probe was answered in time, or was not; only while open."""
        self._probes = self._probes + 1 if answered else 0
        if self._probes >= self._probes_min:
            self.open, self._failures = False, 0


class FallbackInference:
    """Asks ``primary``; where that fails, ``own`` answers."""

    def __init__(self, primary: Inference, own: OnnxRuntimeInference, deadline_seconds: float, breaker: Breaker | None = None) -> None:
        self._primary = primary
        self._own = own
        self._deadline_seconds = deadline_seconds
        self._breaker = breaker or Breaker()
        self._probing: asyncio.Task[None] | None = None
        self.runtime = primary.runtime
        self.version = own.version

    @property
    def open(self) -> bool:
        """Whether the primary is not asked at the moment."""
        return self._breaker.open

    async def infer(self, features: F32) -> Scores:
        """Scores of features F32[n, 50]. Raises ``TryAgain`` when even the fallback, which waits for nothing, was done after the deadline."""
        began = time.monotonic()
        if not self._breaker.open:
            try:
                scores = await self._primary.infer(features)
            except TryAgain as error:
                self._failed(str(error))
            else:
                self._breaker.answered()
                return scores
        scores = self._own.score(features)
        took = time.monotonic() - began
        if took > self._deadline_seconds:
            raise TryAgain(f"{self.runtime} did not answer, and its fallback was done after {took * 1e3:.1f} ms")
        return dataclasses.replace(scores, fallback=True)

    def _failed(self, reason: str) -> None:
        self._breaker.failed()
        if not self._breaker.open:
            return
        log.warning("inference_fell_back", runtime=self.runtime, model=self.version, reason=reason)
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        """Ask beside the hot path until the primary is back."""
        one = np.zeros((1, FEATURE_COUNT), np.float32)
        while self._breaker.open:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await self._primary.infer(one)
            except TradingSystemError:
                self._breaker.probed(answered=False)
            else:
                self._breaker.probed(answered=True)
        log.info("inference_is_back", runtime=self.runtime, model=self.version)

    async def close(self) -> None:
        """Probe no more."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
