"""A limit that is negative, not a number or absurd never reaches a running gate: the last good settings stay in force and say so."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import msgspec
import pytest
import structlog

from tests.execution.venue import Running, Venue, opened
from tradingsystem.domain.control import SpecApplied
from tradingsystem.messages.codec import encode

WRONG: list[bytes] = [
    b"-1",
    b"NaN",
    b"Infinity",
    b"1e400",
    b"0.5",
    b"null",
    b"true",
    b'"500"',
    b"[]",
    b"99999999999999999999",
]


def altered(settings: bytes, field: str, value: bytes) -> bytes:
    """The live settings with other bytes in the place of one limit."""
    document: dict[str, Any] = msgspec.json.decode(settings)
    before = document["risk"][field]
    changed = settings.replace(b'"%s":%s' % (field.encode(), str(before).encode()), b'"%s":%s' % (field.encode(), value))
    assert changed != settings
    return changed


@pytest.mark.timeout(60)
def test_a_bad_limit_never_reaches_a_running_gate() -> None:
    """Each of ten wrong values in each limit, broken bytes and unknown fields: refused, named with the generation in force; a good one after them is taken."""
    said = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(said))

    async def story() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            venue.quote("AAA", 99.98, 100.00)
            running = Running(venue)
            await running.start()
            before = running.service.state.live
            good = msgspec.json.encode(before)
            limits = [name for name, value in msgspec.json.decode(good)["risk"].items() if isinstance(value, int)]
            wrong = [altered(good, field, value) for field in limits for value in WRONG]
            wrong += [b"", b"{}", b"<html>", good[:-1], good.replace(b'"risk":{', b'"risk":{"noSuchLimit":1,')]
            for generation, settings in enumerate(wrong, start=1):
                await venue.signals.append(venue.subjects.journal_spec, encode(SpecApplied(generation=generation, spec=settings)))
            await venue.signals.append(venue.subjects.journal_spec, b"not a message")
            await venue.until(lambda: said.getvalue().count("spec_refused") == len(wrong) + 1)
            assert len(limits) >= 8
            assert running.service.state.live == before
            assert running.service.live_generation == 0
            assert "in_force=0" in said.getvalue()

            tighter = altered(good, "ordersPerMinuteMax", b"1")
            await venue.signals.append(venue.subjects.journal_spec, encode(SpecApplied(generation=len(wrong) + 1, spec=tighter)))
            await venue.until(lambda: running.service.live_generation == len(wrong) + 1)
            assert running.service.state.live.risk.orders_per_minute_max == 1
            await running.stop()

    try:
        asyncio.run(story())
    finally:
        structlog.reset_defaults()
