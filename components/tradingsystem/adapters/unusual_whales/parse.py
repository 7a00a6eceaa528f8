"""Flow alerts to rows, and the throttle from the answer's headers. Pure.

Decimals come as text or numbers, times in two forms; a row that cannot be read is counted by reason and dropped.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from tradingsystem.domain.rows import RowKind, Rows, empty
from tradingsystem.domain.time import NS_PER_MILLISECOND, from_datetime

_OSI = re.compile(r"^[A-Z.]{1,6}\d{6}([CP])\d{8}$")
CHANNEL = "flow-alerts"
DAILY_RESERVE = 0.02  # of the daily cap, kept for restarts
EXHAUSTED_SECONDS = 600.0


class Row(msgspec.Struct, frozen=True):
    """An alert as it stands in ``data``."""

    ticker: str
    created_at: str
    total_premium: str | float
    total_ask_side_prem: str | float = 0.0
    total_bid_side_prem: str | float = 0.0
    total_size: str | float = 0.0
    option_chain: str = ""
    type: str = ""
    alert_rule: str = ""
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert, read. ``key`` tells it from others: its id, else rule, contract and time."""

    key: str
    ticker: str
    created_ns: int
    premium: float
    ask_side_premium: float
    bid_side_premium: float
    size: float
    is_call: bool


class _Answer(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]


def parse_alerts(body: bytes) -> tuple[list[Alert], dict[str, int]]:
    """Alerts of one answer, oldest first, and why the others could not be read."""
    malformed: Counter[str] = Counter()
    try:
        pieces = msgspec.json.decode(body, type=_Answer).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [], {"not_an_answer": 1}
    alerts: list[Alert] = []
    for piece in pieces:
        try:
            alerts.append(_alert(msgspec.json.decode(piece, type=Row)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            malformed["bad_field"] += 1
        except ValueError as error:
            malformed[str(error)] += 1
    return sorted(alerts, key=lambda alert: alert.created_ns), dict(malformed)


def _alert(row: Row) -> Alert:
    """Raises ``ValueError`` whose text is the reason's label."""
    return Alert(
        key=row.id or f"{row.alert_rule}|{row.option_chain}|{row.created_at}",
        ticker=row.ticker,
        created_ns=created_at_ns(row.created_at),
        premium=_number(row.total_premium),
        ask_side_premium=_number(row.total_ask_side_prem),
        bid_side_premium=_number(row.total_bid_side_prem),
        size=_number(row.total_size),
        is_call=_is_call(row),
    )


def _number(value: str | float) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError("bad_number") from None
    if not math.isfinite(number) or number < 0:
        raise ValueError("bad_number")
    return number


def created_at_ns(text: str) -> int:
    """Both forms: with a blank, microseconds and offset, and ISO with Z. Raises ``ValueError``."""
    try:
        return from_datetime(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ValueError("bad_time") from None


def _is_call(row: Row) -> bool:
    if row.type.lower() in ("call", "put"):
        return row.type.lower() == "call"
    found = _OSI.match(row.option_chain)
    if found is None:
        raise ValueError("neither_call_nor_put")
    return found[1] == "C"


class SocketRow(msgspec.Struct, frozen=True):
    """An alert as the socket spells it: numbers for text, other names, and contracts where REST has dollars."""

    ticker: str
    end_time: float
    total_premium: str | float
    option_chain: str
    total_size: str | float = 0.0
    ask_vol: str | float = 0.0
    bid_vol: str | float = 0.0
    rule_name: str = ""
    id: str | None = None


class _Acknowledgement(msgspec.Struct, frozen=True):
    status: str
    response: dict[str, object] = {}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of the socket: its alerts, whether it confirms the channel, or why the channel is refused."""

    alerts: list[Alert]
    joined: bool = False
    refusal: str = ""
    malformed: dict[str, int] = field(default_factory=dict)


def parse_frame(payload: bytes) -> Frame:
    """``[channel, payload]``. Frames of other channels are nothing."""
    try:
        channel, body = msgspec.json.decode(payload, type=tuple[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Frame([], malformed={"not_a_frame": 1})
    try:
        told = msgspec.json.decode(body, type=_Acknowledgement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _alert_frame(channel, body)
    if told.status == "ok":
        return Frame([], joined=channel == CHANNEL)
    return Frame([], refusal=str(told.response.get("reason", "it gives no reason"))[:100])


def _alert_frame(channel: str, body: msgspec.Raw) -> Frame:
    if channel != CHANNEL:
        return Frame([])
    try:
        return Frame([_socket_alert(msgspec.json.decode(body, type=SocketRow))])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Frame([], malformed={"bad_field": 1})
    except ValueError as error:
        return Frame([], malformed={str(error): 1})


def _socket_alert(row: SocketRow) -> Alert:
    """Raises ``ValueError`` whose text is the reason's label. The sides' premiums follow from their contracts."""
    found = _OSI.match(row.option_chain)
    if found is None:
        raise ValueError("neither_call_nor_put")
    premium, size = _number(row.total_premium), _number(row.total_size)
    asked, bid = _number(row.ask_vol), _number(row.bid_vol)
    if not math.isfinite(row.end_time) or row.end_time <= 0:
        raise ValueError("bad_time")
    per_contract = premium / size if size > 0 else 0.0
    return Alert(
        key=row.id or f"{row.rule_name}|{row.option_chain}|{row.end_time:.0f}",
        ticker=row.ticker,
        created_ns=int(row.end_time) * NS_PER_MILLISECOND,
        premium=premium,
        ask_side_premium=asked * per_contract,
        bid_side_premium=bid * per_contract,
        size=size,
        is_call=found[1] == "C",
    )


def to_rows(alerts: Sequence[tuple[int, Alert]], received_ns: int) -> Rows:
    """Flow rows of (symbol, alert). Their time is the receipt: that is when it was known."""
    rows = empty(len(alerts))
    rows.kind[:] = RowKind.FLOW
    rows.at_ns[:] = received_ns
    for position, (symbol, alert) in enumerate(alerts):
        rows.symbol[position] = symbol
        rows.v0[position], rows.v1[position], rows.v2[position] = alert.premium, alert.ask_side_premium, alert.bid_side_premium
        rows.v3[position], rows.v4[position] = alert.size, float(alert.is_call)
    return rows


def wait_seconds(headers: Mapping[str, str], poll_seconds: float) -> float:
    """The wait before the next poll, from what the server says is left; the poll interval where it says nothing."""
    wait = poll_seconds
    if _header(headers, "x-uw-req-per-minute-remaining", math.inf) < 2:
        wait = max(wait, min(60.0, _header(headers, "x-uw-req-per-minute-reset", 60_000.0) / 1_000.0))
    limit, used = _header(headers, "x-uw-token-req-limit", math.inf), _header(headers, "x-uw-daily-req-count", 0.0)
    if math.isfinite(limit) and limit - used <= limit * DAILY_RESERVE:
        wait = max(wait, EXHAUSTED_SECONDS)
    return wait


def _header(headers: Mapping[str, str], name: str, otherwise: float) -> float:
    try:
        value = float(headers.get(name, ""))
    except ValueError:
        return otherwise
    return value if math.isfinite(value) and value >= 0 else otherwise
