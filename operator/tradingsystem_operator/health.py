"""The operator over HTTP: ``/healthz`` (restart me if not 200), ``/readyz`` (200 for the leader), ``/metrics``. Answers come from the loop that works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.telemetry import operator_metrics as metrics


class Health:
    """``unwell`` and ``unready`` say why not, empty when all is well."""

    def __init__(self, unwell: Callable[[], str], unready: Callable[[], str]) -> None:
        self._unwell, self._unready = unwell, unready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises ``InvalidInput`` when the port is taken."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise InvalidInput(f"--metrics-port {port} on {host} cannot be had ({error.strerror})") from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self._unwell())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._unready())

    async def _metrics(self, _: web.Request) -> web.Response:
        body = await asyncio.to_thread(metrics.exposition)
        return web.Response(body=body, content_type="text/plain", charset="utf-8")


def _answer(why_not: str) -> web.Response:
    return web.Response(text=f"{why_not or 'ok'}\n", status=503 if why_not else 200)
