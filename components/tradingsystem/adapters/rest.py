"""GET requests to venues that sell data: bounded in number and time, retried where that can help, with every outcome counted.

Orders never go this way: a write must not be retried by a library. Keys travel in headers only, never in a URL that might be logged.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import aiohttp

from tradingsystem.adapters.pacing import Backoff
from tradingsystem.domain.errors import NotAuthorized, RequestRefused, TryAgain
from tradingsystem.telemetry import metrics

TIMEOUT_SECONDS = 20.0
TRIES_MAX = 6
AT_ONCE = 16
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class RestClient:
    """One venue's REST interface. ``venue`` labels metrics and errors; ``key`` is asked for with every request, since a person may exchange it meanwhile,
    and ``credential`` names it without showing it."""

    def __init__(self, venue: str, base_url: str, key: Callable[[], str], credential: str, *, at_once: int = AT_ONCE) -> None:
        self._venue = venue
        self._base_url = base_url.rstrip("/") + "/"
        self._host = urlsplit(base_url).netloc
        self._key = key
        self._credential = credential
        self._slots = asyncio.Semaphore(at_once)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> RestClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers of a 200. ``path`` may be an absolute URL of the same host, as paging gives it; another host gets no key.

        Raises ``NotAuthorized`` on 401 and 403, ``RequestRefused`` on other final answers, ``TryAgain`` when retrying did not help.
        """
        backoff = Backoff(random.Random(), first_seconds=0.5, max_seconds=15.0)
        waited = TryAgain(f"{self._venue}: not asked")
        for _ in range(TRIES_MAX):
            try:
                return await self._once(path, params)
            except TryAgain as error:
                waited = error
                await asyncio.sleep(max(error.after_seconds, backoff.next_seconds()))
        raise waited

    async def _once(self, path: str, params: Mapping[str, str] | None) -> tuple[bytes, Mapping[str, str]]:
        url = self._url(path)
        began = time.perf_counter()
        outcome = "network"
        try:
            async with self._slots, self._open().get(url, params=params, headers=self._headers()) as answer:
                body = await answer.read()
                outcome = str(answer.status)
                self._judge(answer.status, answer.headers, urlsplit(url).path)
                return body, answer.headers
        except TimeoutError as error:
            outcome = "timeout"
            raise TryAgain(f"{self._venue} did not answer within {TIMEOUT_SECONDS:.0f} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            outcome = "certificate"
            raise TryAgain(f"{self._venue}: the certificate is refused: {error.certificate_error}") from error
        except aiohttp.ClientError as error:
            raise TryAgain(f"{self._venue}: {type(error).__name__}") from error
        finally:
            metrics.rest_requests.labels(venue=self._venue, outcome=outcome).inc()
            metrics.rest_time.labels(venue=self._venue).observe(time.perf_counter() - began)

    def _url(self, path: str) -> str:
        url = urljoin(self._base_url, path.lstrip("/") if not urlsplit(path).scheme else path)
        parts = urlsplit(url)
        if parts.netloc != self._host:
            # Paging answers name the vendor's public host; behind another base URL the same path is meant, and no other host gets the key.
            url = urljoin(self._base_url, parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else ""))
        return url

    def _judge(self, status: int, headers: Mapping[str, str], path: str) -> None:
        if status == 200:
            return
        if status in (401, 403):
            raise NotAuthorized(self._credential, f"{self._venue} answered {status} to {path}")
        if status in RETRIED:
            raise TryAgain(f"{self._venue} answered {status} to {path}", _retry_after(headers))
        raise RequestRefused("rest", f"{self._venue} answered {status} to {path}", status)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key()}", "Accept": "application/json"}


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds the server asks for; 0 when it says nothing we understand."""
    try:
        return min(60.0, max(0.0, float(headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0
