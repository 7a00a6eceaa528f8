"""A venue's certificate, watched at each connection: a person hears of its end before connections are refused for it, and why one was refused.

It decides nothing: whether a certificate is good is TLS' own judgement, which is never softened here.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any

import structlog

from tradingsystem.telemetry import metrics

WARN_SECONDS = 14 * 86_400.0
LOOK_SECONDS = 3_600.0  # a connection may stand for days

_log = structlog.get_logger()


class CertificateWatch:
    """One venue's certificate. ``place`` is how a person knows the venue."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._look_at = 0.0

    def seen(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection is in use: look at its certificate now and then."""
        if transport is not None and time.monotonic() >= self._look_at:
            self.seen_peer(transport.get_extra_info("peercert"))

    def seen_peer(self, peer: Mapping[str, Any] | None) -> None:
        """The certificate of a connection; one without TLS has none."""
        if peer:
            self._look_at = time.monotonic() + LOOK_SECONDS
            self.judge(str(peer["notAfter"]), time.time())

    def judge(self, not_after: str, now_seconds: float) -> None:
        """Tell how long it still holds; an alarm when that is not long."""
        left = ssl.cert_time_to_seconds(not_after) - now_seconds
        metrics.certificate_left.labels(place=self._place).set(left)
        if left < WARN_SECONDS:
            metrics.alarms.labels(alarm="certificate_expires").inc()
            _log.error(
                "certificate_expires", place=self._place, at=not_after, days=round(left / 86_400, 1), means="then no connection is made"
            )

    def refused(self, error: ssl.SSLError) -> str:
        """Count a refusal; why it was one, for a person."""
        metrics.alarms.labels(alarm="certificate_refused").inc()
        words = reason_of(error)
        _log.error("certificate_refused", place=self._place, reason=words)
        return f"{self._place}'s certificate is refused: {words}"


def reason_of(error: ssl.SSLError) -> str:
    """Why a certificate is refused, in TLS' own words."""
    return str(getattr(error, "verify_message", "") or error.reason or type(error).__name__)
