"""Alone talks to the API server. It asks and says what came back; it decides nothing, keeps nothing and repeats nothing.

Answers become this house's errors by what the caller must do: ``TryAgain`` (no answer, 429, 5xx), ``RequestRefused`` (the server said no, ``code`` is its
reason), ``NotAuthorized`` (no right to ask). Secrets are got by name; there is no way here to list or watch them.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import aiohttp

from tradingsystem.domain.errors import NotAuthorized, RequestRefused, TryAgain
from tradingsystem.telemetry import operator_metrics as metrics
from tradingsystem_operator.access import Access
from tradingsystem_operator.objects import FIELD_MANAGER, SECRET, Kind, Object

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 10.0
WATCH_SECONDS = 300
SILENCE_SECONDS = 90.0  # the server sends a bookmark about once a minute: a watch that is silent for longer is taken for dead
GONE = 410

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
PLAIN = "application/json"


class Listing(NamedTuple):
    """What a list showed, and the version a watch goes on from."""

    items: list[Object]
    resource_version: str


class Change(NamedTuple):
    """One event of a watch: ADDED, MODIFIED, DELETED or BOOKMARK."""

    what: str
    thing: Object


class Expired(Exception):
    """The version a watch wanted to go on from is no longer known: list again."""


class Cluster:
    """One API server, as one identity. Opened and closed by ``async with``."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Cluster:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        # No limit of connections: each watch holds one for as long as it lives, and requests, which are as many as workers, must never wait for one of those.
        connector = aiohttp.TCPConnector(ssl=self._access.tls(), limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers={"Accept": PLAIN, "User-Agent": FIELD_MANAGER})
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # --- reading -----------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, None when there is none."""
        return await self._ask("GET", kind.path(namespace, name), absent=True)

    async def list(self, kind: Kind, namespace: str, labels: Mapping[str, str] | str = "", name: str = "") -> Listing:
        """Every object with these labels (or of this selector), or the one of that name, and the version to watch from. Never of Secrets."""
        assert kind is not SECRET, "Secrets are got by name"
        selector = labels if isinstance(labels, str) else ",".join(f"{key}={value}" for key, value in labels.items())
        answer = await self._ask("GET", kind.path(namespace), _selecting(selector, name))
        assert answer is not None
        head = {"apiVersion": kind.api_version, "kind": kind.kind}  # a list leaves them out of its items
        return Listing([head | item for item in answer.get("items") or []], answer["metadata"]["resourceVersion"])

    async def watch(self, kind: Kind, namespace: str, since: str, *, selector: str = "", name: str = "") -> AsyncIterator[Change]:
        """Changes after the version ``since``, of objects that a label selects or of that name, until the server ends it. Raises ``Expired``, ``TryAgain`` when
        it breaks or falls silent."""
        assert kind is not SECRET, "Secrets are got by name"
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": since, "timeoutSeconds": str(WATCH_SECONDS)}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        session, url = self._opened(), self._access.server + kind.path(namespace)
        query |= _selecting(selector, name)
        try:
            async with session.get(url, params=query, headers=self._identity(), timeout=timeout) as response:
                if response.status != 200:
                    raise _problem(response.status, await _body(response), response.headers)
                async for line in _lines(response):
                    yield _change(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise TryAgain(f"the watch of {kind.plural} broke: {_said(error)}") from error

    # --- writing -----------------------------------------------------------------------------------------------------

    async def create(self, kind: Kind, thing: Object) -> Object:
        """The object as it was made. Raises ``RequestRefused`` with code AlreadyExists when the name is taken."""
        path = kind.path(thing["metadata"].get("namespace", ""))
        return await self._write("create", kind, "POST", path, thing, {"fieldManager": FIELD_MANAGER})

    async def apply(self, kind: Kind, thing: Object, *, force: bool, part: str = "") -> Object:
        """Our fields of the object, by server-side apply; others' fields stay. ``part``: a subresource, such as status."""
        metadata = thing["metadata"]
        path = kind.path(metadata.get("namespace", ""), metadata["name"]) + (f"/{part}" if part else "")
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
        return await self._write("apply", kind, "PATCH", path, thing, query, APPLY)

    async def replace(self, kind: Kind, thing: Object) -> Object:
        """The whole object, if it is still the one that was read. Raises ``RequestRefused`` with code Conflict otherwise."""
        metadata = thing["metadata"]
        return await self._write("update", kind, "PUT", kind.path(metadata.get("namespace", ""), metadata["name"]), thing, {})

    async def patch(self, kind: Kind, namespace: str, name: str, operations: builtins.list[dict[str, Any]]) -> Object | None:
        """A JSON patch, tests in it included. None when the object is gone."""
        metrics.writes.labels(verb="patch", kind=kind.kind).inc()
        query = {"fieldManager": FIELD_MANAGER}
        return await self._ask("PATCH", kind.path(namespace, name), query, operations, JSON_PATCH, absent=True)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete exactly the object with this uid, its own children in the background. Nothing happens when it is gone already."""
        metrics.writes.labels(verb="delete", kind=kind.kind).inc()
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._ask("DELETE", kind.path(namespace, name), {}, body, absent=True)

    async def _write(
        self, verb: str, kind: Kind, method: str, path: str, body: Any, query: Mapping[str, str], content: str = PLAIN
    ) -> Object:
        metrics.writes.labels(verb=verb, kind=kind.kind).inc()
        answer = await self._ask(method, path, query, body, content)
        assert answer is not None
        return answer

    # --- one request -------------------------------------------------------------------------------------------------

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = PLAIN,
        *,
        absent: bool = False,
    ) -> Object | None:
        data = None if body is None else json.dumps(body).encode()
        headers = self._identity() | ({"Content-Type": content} if data is not None else {})
        began = time.monotonic()
        session, url = self._opened(), self._access.server + path
        try:
            async with session.request(method, url, params=dict(query or {}), data=data, headers=headers) as response:
                answer = await _body(response)
                status, answer_headers = response.status, response.headers
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TryAgain(f"the API server does not answer {method} {path}: {_said(error)}") from error
        finally:
            metrics.request_time.labels(verb=method).observe(time.monotonic() - began)
        if status < 300:
            return answer
        if status == 404 and absent:
            return None
        raise _problem(status, answer, answer_headers)

    def _opened(self) -> aiohttp.ClientSession:
        assert self._session is not None, "opened by `async with`"
        return self._session

    def _identity(self) -> dict[str, str]:
        token = self._access.token()
        return {"Authorization": f"Bearer {token}"} if token else {}


async def _body(response: aiohttp.ClientResponse) -> Object:
    """The answer as an object; what is no JSON (a proxy's page) becomes a message."""
    raw = await response.read()
    try:
        answer = json.loads(raw) if raw else {}
    except ValueError:
        return {"message": raw[:200].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {"message": str(answer)[:200]}


def _selecting(labels: str, name: str) -> dict[str, str]:
    return ({"labelSelector": labels} if labels else {}) | ({"fieldSelector": f"metadata.name={name}"} if name else {})


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Lines of any length: an object may be larger than any buffer."""
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line


def _change(line: bytes) -> Change:
    event = json.loads(line)
    what, thing = event["type"], event["object"]
    if what == "ERROR":
        if thing.get("code") == GONE:
            raise Expired(thing.get("message", ""))
        raise TryAgain(f"the watch ended: {thing.get('message', 'without a reason')}")
    return Change(what, thing)


def _problem(status: int, answer: Object, headers: Mapping[str, str]) -> Exception:
    message = answer.get("message") or f"HTTP {status}"
    if status in {401, 403}:
        return NotAuthorized("the operator's account", f"{message} (HTTP {status}); compare its rights with the chart's")
    if status == GONE:
        return Expired(message)
    if status == 429 or status >= 500:
        waited = headers.get("Retry-After", "")
        return TryAgain(f"the API server: {message} (HTTP {status})", float(waited) if waited.isdigit() else 1.0)
    return RequestRefused(answer.get("reason") or str(status), message, status)


def _said(error: BaseException) -> str:
    return "it took too long" if isinstance(error, asyncio.TimeoutError) else str(error) or type(error).__name__
