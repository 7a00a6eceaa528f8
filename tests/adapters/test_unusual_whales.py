"""Options flow, polled: read in all its spellings, told once, and known when it was received."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.listening import IN_SESSION_NS, Memory, SessionClock, listening
from tests.adapters.test_history import KEY, Vendor, selling
from tradingsystem.adapters.unusual_whales.client import PATH, UnusualWhalesSettings, UnusualWhalesSource
from tradingsystem.adapters.unusual_whales.parse import EXHAUSTED_SECONDS, parse_alerts, wait_seconds
from tradingsystem.domain.errors import NotAuthorized
from tradingsystem.domain.rows import RowKind

FIXTURE = (Path(__file__).parents[1] / "fixtures" / "unusual_whales" / "flow_alerts.json").read_bytes()


def test_both_spellings_are_read_and_the_rest_is_counted() -> None:
    """Decimals as text and numbers, times with a blank and with Z, call and put by word and by contract."""
    alerts, malformed = parse_alerts(FIXTURE)
    assert [(alert.ticker, alert.premium, alert.ask_side_premium, alert.size, alert.is_call) for alert in alerts] == [
        ("XYZ", 50_000.0, 0.0, 10.0, False),
        ("ABC", 125_000.5, 100_000.0, 1_087.0, True),
    ]
    assert alerts[1].created_ns == IN_SESSION_NS + 123_456_000
    assert malformed == {"neither_call_nor_put": 1, "bad_time": 1, "bad_number": 1, "bad_field": 1}


@given(
    st.binary(max_size=100) | st.text(max_size=80).map(lambda text: json.dumps({"data": [{"ticker": text, "created_at": text}]}).encode())
)
def test_no_answer_makes_the_parser_raise(body: bytes) -> None:
    """Plain text, HTML, half an answer: counts, never an exception."""
    alerts, malformed = parse_alerts(body)
    assert not alerts or not malformed


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 5.0),
        ({"x-uw-req-per-minute-remaining": "50"}, 5.0),
        ({"x-uw-req-per-minute-remaining": "1", "x-uw-req-per-minute-reset": "30000"}, 30.0),
        ({"x-uw-req-per-minute-remaining": "0"}, 60.0),
        ({"x-uw-token-req-limit": "15000", "x-uw-daily-req-count": "14990"}, EXHAUSTED_SECONDS),
        ({"x-uw-token-req-limit": "15000", "x-uw-daily-req-count": "100"}, 5.0),
        ({"x-uw-token-req-limit": "nonsense", "x-uw-daily-req-count": "nan"}, 5.0),
    ],
)
def test_the_headers_drive_the_throttle(headers: dict[str, str], expected: float) -> None:
    """What the server says is left decides the wait; silence means the interval asked for."""
    assert wait_seconds(headers, 5.0) == expected


def source(url: str, clock: SessionClock, key: str = KEY) -> UnusualWhalesSource:
    return UnusualWhalesSource(UnusualWhalesSettings(name="flow", url=url, key=lambda: key), clock)


def test_an_alert_is_told_once_and_at_its_receipt() -> None:
    """The same answer twice gives rows once; their time is when we got them, not when it is said to have happened."""

    async def scenario() -> None:
        vendor, sink, clock = Vendor({PATH: lambda _: web.Response(body=FIXTURE)}), Memory(), SessionClock(speed=10)
        async with selling(vendor) as url, listening(source(url, clock), sink, ("ABC",)):
            await sink.until(lambda: sink.bad["bad_time"] == 2)
        assert len(sink.received) == 1
        name, rows = sink.received[0]
        assert (name, rows.kind.tolist(), rows.symbol.tolist()) == ("flow", [RowKind.FLOW], [0])
        assert int(rows.at_ns[0]) >= IN_SESSION_NS
        assert (rows.v0[0], rows.v4[0]) == (125_000.5, 1.0)
        polls = [asked for asked in vendor.asked if asked.startswith(PATH)]
        assert "newer_than" not in polls[0]
        assert "newer_than" in polls[1]
        assert [event.healthy for _, event in sink.events] == [True]

    asyncio.run(scenario())


def test_old_alerts_are_no_news() -> None:
    """The first answer of the day holds the past: it is remembered, not told."""

    async def scenario() -> None:
        vendor, sink = Vendor({PATH: lambda _: web.Response(body=FIXTURE)}), Memory()
        clock = SessionClock(start_ns=IN_SESSION_NS + 600 * 10**9)
        async with selling(vendor) as url, listening(source(url, clock), sink, ("ABC", "XYZ")):
            await sink.until(lambda: sink.told(True))
        assert sink.received == []

    asyncio.run(scenario())


def test_a_refused_token_is_named() -> None:
    """401 ends the source with the credential's name, not its value."""

    async def scenario() -> None:
        async with selling(Vendor({})) as url:
            with pytest.raises(NotAuthorized, match="Unusual Whales token") as caught:
                await source(url, SessionClock(), key="another-secret").run(("ABC",), Memory())
        assert "another-secret" not in str(caught.value)

    asyncio.run(scenario())
