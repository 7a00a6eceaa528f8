"""One aiohttp middleware for all simulated REST: capture of both messages, the scenario's REST faults, and the venue's own clock as the Date.

It changes what a client sees, never whether a handled request took effect. Error bodies are the venue's own; a proxy's are HTML. WebSocket upgrades
pass through untouched.
"""

from __future__ import annotations

import asyncio
import uuid
from email.utils import formatdate

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tradingsystem.simulator.connection import Wire, reset
from tradingsystem.simulator.faults import RestFault, RestFaultKind

_BEFORE = frozenset({RestFaultKind.STATUS, RestFaultKind.BARE_STATUS, RestFaultKind.HTML, RestFaultKind.CUT})
_ALPACA_CODES = {400: 40010000, 401: 40110000, 403: 40310000, 404: 40410000, 422: 42210000, 429: 42910000}


def middleware(wire: Wire) -> Middleware:
    """Put this first in the application's middlewares, so that it sees what really leaves."""

    @web.middleware
    async def exchange(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await handler(request)
        name = wire.capture.connection("http", request.path)
        if name:
            start = f"{request.method} {request.path_qs} HTTP/1.1"
            wire.capture.request(name, start, list(request.headers.items()), await request.read())
        response = await _answer(request, handler, wire)
        if name and isinstance(response, web.Response):
            body = response.body if isinstance(response.body, bytes) else b""
            headers = [*response.headers.items(), ("Content-Type", response.content_type)]
            wire.capture.response(name, f"HTTP/1.1 {response.status}", headers, body)
        if not response.prepared:
            response.headers["Date"] = formatdate(wire.now_ns() / 1e9 + wire.faults.scenario.clock_skew_ms / 1e3, usegmt=True)
        return response

    return exchange


async def _answer(request: web.Request, handler: Handler, wire: Wire) -> web.StreamResponse:
    fault = None if request.path.startswith("/simulator/") else wire.faults.on_request(request.method, request.path)
    if fault is None:
        return await _handled(request, handler)
    if fault.kind is RestFaultKind.SLOW:
        await asyncio.sleep(fault.delay_ms / 1000)
    if fault.kind in _BEFORE:
        return _refusal(request, fault)
    await request.read()
    response = await _handled(request, handler)
    if fault.kind is RestFaultKind.SLOW_ANSWER:
        await asyncio.sleep(fault.delay_ms / 1000)
    elif fault.kind is RestFaultKind.ANSWER_LOST:
        return _refusal(request, fault)
    elif fault.kind is RestFaultKind.CUT_AFTER:
        reset(request.transport)
    elif fault.kind is RestFaultKind.EMPTY_RESULTS and isinstance(response, web.Response):
        return _without_results(response)
    return response


async def _handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:  # an unknown route or method: aiohttp's own answer
        return web.Response(status=refusal.status, text=refusal.text, headers=refusal.headers)


def _refusal(request: web.Request, fault: RestFault) -> web.Response:
    if fault.kind is RestFaultKind.CUT:
        reset(request.transport)
        return web.Response(status=500)
    if fault.kind is RestFaultKind.BARE_STATUS:
        return web.Response(status=fault.status)
    if fault.kind is RestFaultKind.HTML:
        page = f"<html><head><title>{fault.status}</title></head><body><center><h1>{fault.status}</h1></center><hr>nginx</body></html>"
        return web.Response(status=fault.status, text=page, content_type="text/html")
    return venue_error(request.path, fault.status)


def venue_error(path: str, status: int) -> web.Response:
    """An error in the form of the venue that owns the path."""
    message = {429: "too many requests.", 500: "internal server error occurred"}.get(status, "simulated failure")
    if path.startswith("/api/"):
        if status == 500:
            return web.Response(status=500, text="Something went wrong")
        return web.json_response({"code": str(status), "message": message}, status=status)
    if path.startswith(("/v1/", "/v3/", "/v2/aggs", "/v2/last", "/v2/snapshot")):
        return web.json_response({"status": "ERROR", "request_id": uuid.uuid4().hex, "error": message}, status=status)
    code = _ALPACA_CODES.get(status, 50010000 if status >= 500 else status * 100000)
    return web.json_response({"code": code, "message": message}, status=status)


def _without_results(response: web.Response) -> web.Response:
    body = response.body
    document = msgspec.json.decode(body) if isinstance(body, bytes) else None
    if isinstance(document, dict):
        document.pop("results", None)
        document.pop("data", None)
        return web.Response(status=response.status, body=msgspec.json.encode(document), content_type="application/json")
    return response
