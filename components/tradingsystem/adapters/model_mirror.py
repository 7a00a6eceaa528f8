"""A folder that is kept as the object store is: what a pod loads versions from, filled before it is ready and while it runs.

Only numbers and bytes travel here. What a version is worth, and whether it is signed, is asked by who reads the folder, so that a bad one is refused by its
reason and not by its absence. A version that the image brought is nobody's to take away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from tradingsystem.adapters.nats_model_store import NatsModelStore
from tradingsystem.bundles.refusal import ModelRefused
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.interfaces import ModelStore
from tradingsystem.telemetry import metrics

log = structlog.get_logger()

AGAIN_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""How long a version that was assigned may be on its way before it counts as missing: an outage of the message server, not of a day."""


class ModelMirror:
    """Brings versions from ``far`` into ``near``; ``kept`` are never removed there. ``monotonic``: machine seconds."""

    def __init__(
        self, far: NatsModelStore, near: ModelStore, *, kept: frozenset[int] = frozenset(), monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._far = far
        self._near = near
        self._kept = kept
        self._monotonic = monotonic
        self._pending: dict[int, bool] = {}
        self._woken = asyncio.Event()
        self._here: set[int] = set()
        self._missed: dict[int, float] = {}

    async def fill(self) -> int:
        """All that is there now; returns the highest number that was ever given, 0: none. Raises ``TryAgain``."""
        self._here = set(await self._near.versions())
        numbers = await self._far.numbers()
        for version, there in numbers.items():
            await self._bring(version, there)
        return max(numbers, default=0)

    async def run(self) -> None:
        """Follow until cancelled. What cannot be brought now is tried again."""
        reader = await self._far.follow(self._hear)
        try:
            while True:
                await self._work()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_SECONDS if self._pending else None):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            await reader.close()

    def expect(self, version: int) -> None:
        """Raises ``TryAgain`` while ``version`` is not here and may still be on its way."""
        if version in self._here:
            return
        since = self._monotonic() - self._missed.setdefault(version, self._monotonic())
        if since < PATIENCE_SECONDS:
            raise TryAgain(f"version {version} is on its way from the object store")

    def _hear(self, version: int, there: bool) -> None:
        self._pending[version] = there
        self._woken.set()

    async def _work(self) -> None:
        for version, there in tuple(self._pending.items()):
            try:
                await self._bring(version, there)
            except TryAgain as error:
                log.warning("model_waits", version=version, reason=str(error))
                continue
            if self._pending.get(version) is there:
                del self._pending[version]

    async def _bring(self, version: int, there: bool) -> None:
        """Raises ``TryAgain``."""
        if version in self._kept or there is (version in self._here):
            return
        if not there:
            await self._near.remove(version)
            self._here.discard(version)
            log.info("model_removed", version=version)
            return
        try:
            await self._near.put(version, await self._far.get(version))
        except (ModelRefused, RequestRefused) as error:
            metrics.alarms.labels(alarm="model_not_brought").inc()
            log.error("model_not_brought", version=version, reason=str(error))
            return
        self._here.add(version)
        log.info("model_brought", version=version)
