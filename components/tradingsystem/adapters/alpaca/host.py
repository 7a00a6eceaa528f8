"""One of Alpaca's hosts: how a request leaves it and what its answers say beside their body. Trading and market data are two, each with a limit, a clock and a
certificate of its own.

It never repeats a write, and refuses to send what the budget keeps for exits.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import msgspec

from tradingsystem.adapters.alpaca import errors
from tradingsystem.adapters.alpaca.budget import Budget
from tradingsystem.adapters.alpaca.clock_skew import ClockSkew
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.certificates import CertificateWatch
from tradingsystem.adapters.warm_http import Http, NoAnswer, NotSent
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.time import NS_PER_SECOND

UNTRUSTED_SECONDS = 10.0  # a certificate is not mended within a moment


class AlpacaHost:
    """Requests to one host. ``name`` is how a person knows it; ``now_ns`` and ``credentials`` as ``AlpacaClient`` has them."""

    def __init__(
        self, name: str, http: Http, credentials: Callable[[], Credentials], now_ns: Callable[[], int], timeout_seconds: float
    ) -> None:
        self.budget, self.skew, self.certificate = Budget(), ClockSkew(), CertificateWatch(name)
        self._name, self._http, self._credentials = name, http, credentials
        self._now_ns, self._timeout_seconds = now_ns, timeout_seconds

    async def close(self) -> None:
        """Close the connections for good. Idempotent."""
        await self._http.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        write: bool,
        body: dict[str, Any] | None = None,
        query: dict[str, str] | None = None,
        entry: bool = False,
    ) -> bytes:
        """The body of a 2xx answer. Raises ``OutcomeUnknown`` only for a ``write``, else ``TryAgain``, ``RequestRefused`` or ``NotAuthorized``."""
        asked_ns = self._now_ns()
        now_seconds = asked_ns / NS_PER_SECOND
        if not self.budget.allows(now_seconds, entry=entry):
            raise TryAgain(
                f"what is left of {self._name}'s requests per minute is kept for exits",
                max(self.budget.reset_seconds - now_seconds, 0.1),
            )
        headers = self._credentials().headers()
        if body is not None:
            headers["Content-Type"] = "application/json"
        payload = msgspec.json.encode(body) if body is not None else b""
        self.budget.sent()
        try:
            answer = await self._http.request(
                method, path, headers=headers, query=query, body=payload, timeout_seconds=self._timeout_seconds
            )
        except ssl.SSLCertVerificationError as error:
            raise TryAgain(self.certificate.refused(error), UNTRUSTED_SECONDS) from error
        except NotSent as error:
            raise TryAgain(f"{self._name} cannot be reached: {error}") from error
        except NoAnswer as error:
            raise errors.unreadable(f"no answer ({error})", write=write) from error
        self.budget.told(answer.headers)
        self.skew.told(answer.headers.get("Date"), asked_ns, self._now_ns())
        self.certificate.seen(answer.transport)
        if 200 <= answer.status < 300:
            return answer.body
        raise errors.of_answer(answer.status, answer.body, answer.headers, self._now_ns() / NS_PER_SECOND, write=write)
