"""Unusual Whales' alerts out of recorded frames, in both of the vendor's spellings; each once, at the time it was first received."""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from tradingsystem.domain.time import new_york_date
from tradingsystem.simulator.feed import SECOND_NS, Kind, Slice
from tradingsystem.simulator.option_flow import RULES
from tradingsystem.simulator.recorded import make_slice

_CONTRACT = re.compile(r"^[A-Z.]{1,6}(\d{6})([CP])(\d{8})$")


class _Alert(msgspec.Struct):
    """An alert in either spelling: REST has `alert_rule` and dollars by side, the socket `rule_name` and contracts by side."""

    ticker: str
    option_chain: str
    total_premium: str | float
    end_time: float = 0.0
    price: str | float = 0.0
    total_size: str | float = 0.0
    total_ask_side_prem: str | float = 0.0
    ask_vol: str | float = 0.0
    alert_rule: str = ""
    rule_name: str = ""
    id: str | None = None


class _Answer(msgspec.Struct):
    data: list[_Alert]


_answer = msgspec.json.Decoder(_Answer)
_pair = msgspec.json.Decoder(tuple[str, msgspec.Raw])
_one = msgspec.json.Decoder(_Alert)


class AlertReader:
    """Collects alerts; frames that are none of this vendor's are left to others."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._rows: dict[str, list[tuple[float, ...]]] = {}
        self._at_ns: dict[str, list[int]] = {}

    def take(self, payload: bytes, received_ns: int) -> bool:
        """Whether the frame was this vendor's."""
        if payload[:1] == b"{":
            return self._take_answer(payload, received_ns)
        if payload[:2] != b'["':
            return False
        try:
            channel, body = _pair.decode(payload)
            if channel == "flow-alerts":
                self._put(_one.decode(body), received_ns)
        except (msgspec.DecodeError, ValueError):
            return True  # an acknowledgement, or an alert that nobody could read then either
        return True

    def _take_answer(self, payload: bytes, received_ns: int) -> bool:
        try:
            alerts = _answer.decode(payload).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        for alert in reversed(alerts):  # the newest comes first on the wire
            with contextlib.suppress(ValueError):  # numbers that nobody could read then either
                self._put(alert, received_ns)
        return True

    def _put(self, alert: _Alert, received_ns: int) -> None:
        key = alert.id or f"{alert.alert_rule or alert.rule_name}|{alert.option_chain}|{alert.end_time:.0f}"
        contract = _CONTRACT.match(alert.option_chain)
        if key in self._seen or contract is None:
            return
        self._seen.add(key)
        premium, size = float(alert.total_premium), float(alert.total_size)
        asked = float(alert.total_ask_side_prem) / premium if premium and not alert.rule_name else float(alert.ask_vol) / max(size, 1.0)
        rule = alert.alert_rule or alert.rule_name
        expiry = datetime.datetime.strptime(contract[1], "%y%m%d").replace(tzinfo=datetime.UTC).date()
        values = (
            float(alert.price),
            size,
            int(contract[3]) / 1_000.0,
            premium,
            max(0.0, received_ns / SECOND_NS - alert.end_time / 1_000.0) if alert.end_time else 0.0,
            float((expiry - new_york_date(received_ns)).days),
            2.0 * (RULES.index(rule) if rule in RULES else 0) + (contract[2] == "P"),
            float(round(100.0 * min(max(asked, 0.0), 1.0))),
        )
        self._rows.setdefault(alert.ticker, []).append(values)
        self._at_ns.setdefault(alert.ticker, []).append(received_ns)

    def parts(self) -> Iterator[tuple[str, Slice]]:
        """Alerts of one ticker each."""
        names = ("price", "size", "price2", "size2", "price3", "price4", "condition", "exchange")
        for ticker, rows in self._rows.items():
            values: Any = np.array(rows)
            columns = {name: values[:, place] for place, name in enumerate(names)}
            yield ticker, make_slice(Kind.FLOW, np.array(self._at_ns[ticker], np.int64), **columns)
