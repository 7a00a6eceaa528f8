"""Health over HTTP: ``/healthz`` (restart me if not), ``/readyz`` (can I do my work), ``/metrics``. On one address, loopback unless told otherwise.

Answers come from the same event loop that does the work: a loop that hangs does not answer, and that is the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.process.lifecycle import Lifecycle
from tradingsystem.telemetry import metrics


class HealthServer:
    """The three addresses of one process; with several services the worst speaks."""

    def __init__(self, lifecycles: Callable[[], dict[str, Lifecycle]], *, port: int, host: str = "127.0.0.1") -> None:
        self._lifecycles = lifecycles
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises ``InvalidInput`` naming the port when it is taken."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.stop()
            raise InvalidInput(f"port {self._port} on {self._host} for /metrics is taken by another program ({error.strerror})") from error

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return self._answer(lambda lifecycle: lifecycle.alive)

    async def _readyz(self, _: web.Request) -> web.Response:
        return self._answer(lambda lifecycle: lifecycle.ready)

    def _answer(self, good: Callable[[Lifecycle], bool]) -> web.Response:
        lifecycles = self._lifecycles()
        lines = [f"{name}: {one.phase.value}{f' ({one.reason})' if one.reason else ''}" for name, one in lifecycles.items()]
        fine = bool(lifecycles) and all(good(lifecycle) for lifecycle in lifecycles.values())
        return web.Response(text="\n".join(lines) + "\n", status=200 if fine else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        body = await asyncio.to_thread(metrics.exposition)
        return web.Response(body=body, content_type="text/plain", charset="utf-8")
