"""Unusual Whales: option-flow alerts over REST and `/socket`, with the vendor's two spellings of the same alert.

REST has text times and premiums as strings, the socket epoch milliseconds and numbers; neither transport shows an alert
before its receipt time. It refuses channels it has no data for, and says so in the vendor's acknowledgement.
"""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from tradingsystem.domain.time import NEW_YORK, to_datetime
from tradingsystem.simulator.connection import Connection, Wire
from tradingsystem.simulator.feed import SECOND_NS, Feed, Kind, Slice
from tradingsystem.simulator.market_memory import MarketMemory
from tradingsystem.simulator.option_flow import RULES

SOCKET = "/socket"
ROWS, ROWS_MAX, ALERTS_KEPT = 100, 200, 20_000
NAMESPACE = uuid.UUID("8f2f5b1e-2c7e-4a58-9a53-0c7f3f6f5d11")
SLOW = msgspec.json.encode(["error", {"response": {"reason": "slow consumer"}, "status": "error"}])


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as the vendor knows it; `received_ns` is when clients may."""

    id: str
    ticker: str
    rule: int
    put: bool
    strike: float
    expiry: datetime.date
    price: float
    contracts: int
    premium: float
    ask_share: float
    last_print_ns: int
    received_ns: int
    underlying: float

    @property
    def chain(self) -> str:
        """OSI symbol: root, expiry, C or P, strike in thousandths."""
        side = "P" if self.put else "C"
        return f"{self.ticker}{self.expiry:%y%m%d}{side}{round(self.strike * 1000):08d}"

    def rest(self) -> dict[str, Any]:
        """As REST spells it."""
        return {
            "id": self.id,
            "ticker": self.ticker,
            "option_chain": self.chain,
            "type": "put" if self.put else "call",
            "strike": f"{self.strike:g}",
            "expiry": self.expiry.isoformat(),
            "alert_rule": RULES[self.rule],
            "created_at": to_datetime(self.received_ns).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "start_time": (self.last_print_ns - SECOND_NS) // 1_000_000,
            "end_time": self.last_print_ns // 1_000_000,
            "price": f"{self.price:.2f}",
            "underlying_price": f"{self.underlying:.2f}",
            "total_premium": f"{self.premium:.2f}",
            "total_ask_side_prem": f"{self.premium * self.ask_share:.2f}",
            "total_bid_side_prem": f"{self.premium * (1 - self.ask_share):.2f}",
            "total_size": self.contracts,
            "trade_count": max(2, self.contracts // 20),
            "volume": self.contracts * 4,
            "open_interest": self.contracts * 9,
            "volume_oi_ratio": "0.4444",
            "has_sweep": self.rule == 4,
            "has_floor": self.rule >= 3,
            "has_multileg": False,
            "has_singleleg": True,
            "all_opening_trades": False,
            "expiry_count": 1,
        }

    def socket(self) -> dict[str, Any]:
        """As the socket spells it: no type, strike or expiry; only bid and ask are strings."""
        asked = round(self.contracts * self.ask_share)
        return {
            "id": self.id,
            "rule_id": str(uuid.uuid5(NAMESPACE, RULES[self.rule])),
            "rule_name": RULES[self.rule],
            "ticker": self.ticker,
            "option_chain": self.chain,
            "total_premium": self.premium,
            "start_time": (self.last_print_ns - SECOND_NS) // 1_000_000,
            "end_time": self.last_print_ns // 1_000_000,
            "price": self.price,
            "underlying_price": self.underlying,
            "bid": f"{self.price * 0.97:.2f}",
            "ask": f"{self.price * 1.03:.2f}",
            "total_size": self.contracts,
            "trade_count": max(2, self.contracts // 20),
            "ask_vol": asked,
            "bid_vol": self.contracts - asked,
            "mid_vol": 0,
            "no_side_vol": 0,
            "multi_vol": 0,
            "stock_multi_vol": 0,
            "volume": self.contracts * 4,
            "open_interest": self.contracts * 9,
            "has_sweep": self.rule == 4,
            "has_floor": self.rule >= 3,
            "has_multileg": False,
            "has_singleleg": True,
            "all_opening_trades": False,
            "exchanges": [],
            "trade_ids": [self.id],
            "upstream_condition_details": [],
        }


@dataclass(eq=False)
class _Client:
    connection: Connection
    joined: set[str] = field(default_factory=set)


class UnusualWhalesWire:
    """REST and socket of the flow vendor; `publish` is called once per slice, after the memory took it in."""

    def __init__(self, wire: Wire, feed: Feed, memory: MarketMemory, tokens: frozenset[str]) -> None:
        self._wire, self._memory, self._tokens = wire, memory, tokens
        self._symbols = feed.symbols
        self._index = {symbol: i for i, symbol in enumerate(feed.symbols)}
        self._date = feed.session.date
        self._clients: list[_Client] = []
        self.alerts: list[Alert] = []

    def publish(self, slice_: Slice) -> None:
        """Remember and send the alerts received in this slice, and prices to who joined them."""
        for row in np.flatnonzero(slice_.kind == Kind.FLOW).tolist():
            alert = self._alert(slice_, row)
            self.alerts.append(alert)
            frame = msgspec.json.encode(["flow-alerts", alert.socket()])
            for client in self._clients:
                if "flow-alerts" in client.joined:
                    client.connection.offer(frame)
        del self.alerts[:-ALERTS_KEPT]
        for client in self._clients:
            for channel in sorted(channel for channel in client.joined if channel.startswith("price:")):
                self._price(client, channel, slice_)

    def _price(self, client: _Client, channel: str, slice_: Slice) -> None:
        i = self._index.get(channel.removeprefix("price:"))
        if i is None or not bool(np.any((slice_.symbol == i) & (slice_.kind == Kind.TRADE))):
            return
        memory = self._memory
        value = {
            "close": f"{memory.trade_price[i]:.2f}",
            "time": int(memory.trade_ns[i]) // 1_000_000,
            "vol": int(memory.volume[i]),
        }
        client.connection.offer(msgspec.json.encode([channel, value]))

    def _alert(self, slice_: Slice, row: int) -> Alert:
        at_ns, symbol = int(slice_.at_ns[row]), int(slice_.symbol[row])
        ticker = self._symbols[symbol]
        expiry = self._date + datetime.timedelta(days=int(slice_.price4[row]))
        expiry += datetime.timedelta(days=(4 - expiry.weekday()) % 7)  # options end on Fridays
        code = int(slice_.condition[row])
        return Alert(
            id=str(uuid.uuid5(NAMESPACE, f"{ticker}:{at_ns}:{row}")),
            ticker=ticker,
            rule=code // 2,
            put=bool(code % 2),
            strike=float(slice_.price2[row]),
            expiry=expiry,
            price=float(slice_.price[row]),
            contracts=int(slice_.size[row]),
            premium=float(slice_.size2[row]),
            ask_share=float(slice_.exchange[row]) / 100.0,
            last_print_ns=at_ns - int(float(slice_.price3[row]) * SECOND_NS),
            received_ns=at_ns,
            underlying=float(self._memory.trade_price[symbol]),
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """`/socket?token=…`; every frame is `[channel, payload]`."""
        if request.query.get("token", "") not in self._tokens:
            return web.Response(status=401, text="Unauthorized")
        accepted = await Connection.accept(request, SOCKET, self._wire, slow_frame=SLOW)
        if isinstance(accepted, web.Response):
            return accepted
        client = _Client(accepted)
        self._clients.append(client)
        try:
            async for payload, _ in accepted.messages():
                self._on_message(client, payload)
        finally:
            self._clients.remove(client)
            await accepted.finish()
        return accepted.response

    def _on_message(self, client: _Client, payload: bytes) -> None:
        try:
            message = msgspec.json.decode(payload, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            message = {}
        channel, kind = str(message.get("channel", "")), message.get("msg_type")
        known = channel == "flow-alerts" or channel.startswith("price:")
        if kind == "join" and known:
            client.joined.add(channel)
        elif kind == "leave":
            client.joined.discard(channel)
        accepted = (kind == "join" and known) or kind == "leave"
        reply = {"response": {} if accepted else {"reason": "unknown channel or message"}, "status": "ok" if accepted else "error"}
        client.connection.answer(msgspec.json.encode([channel, reply]))
        if accepted:
            client.connection.live()

    async def flow_alerts(self, request: web.Request) -> web.StreamResponse:
        """`/api/option-trades/flow-alerts`, newest first."""
        if (refusal := self._refused(request)) is not None:
            return refusal
        query = dict(request.query)
        if "ticker" in request.match_info:
            query["ticker_symbol"] = request.match_info["ticker"]
        try:
            rows = [alert.rest() for alert in self._filtered(query)]
        except ValueError as problem:
            return _json({"msg": str(problem), "path": request.path, "query": dict(request.query), "url": request.path_qs}, 422)
        return _json({"data": rows})

    def _filtered(self, query: dict[str, str]) -> list[Alert]:
        limit = int(query.get("limit", ROWS))
        if not 1 <= limit <= ROWS_MAX:
            raise ValueError(f"limit {limit} must lie in 1..{ROWS_MAX}")
        newer, older = _moment(query.get("newer_than")), _moment(query.get("older_than"))
        names = [name.strip() for name in query.get("ticker_symbol", "").split(",") if name.strip()]
        without = {name[1:] for name in names if name.startswith("-")}
        only = {name for name in names if not name.startswith("-")}
        premium_min = float(query.get("min_premium", 0))
        found: list[Alert] = []
        for alert in reversed(self.alerts):
            # REST shows microseconds: who asks for what is newer than the last row must not get that row again.
            if newer is not None and alert.received_ns // 1_000 * 1_000 <= newer:
                break
            if len(found) == limit:
                break
            if older is not None and alert.received_ns >= older:
                continue
            if alert.ticker in without or (only and alert.ticker not in only) or alert.premium < premium_min:
                continue
            if (query.get("is_call") == "false" and not alert.put) or (query.get("is_put") == "false" and alert.put):
                continue
            found.append(alert)
        return found

    async def market_tide(self, request: web.Request) -> web.StreamResponse:
        """`/api/market/market-tide`: premium of the alerts, calls and puts, summed up per minute or five."""
        if (refusal := self._refused(request)) is not None:
            return refusal
        width = (60 if request.query.get("interval_5m", "true") == "false" else 300) * SECOND_NS
        sums: dict[int, list[float]] = {}
        for alert in self.alerts:
            row = sums.setdefault(alert.received_ns // width * width, [0.0, 0.0, 0.0])
            sign = 2.0 * alert.ask_share - 1.0
            row[1 if alert.put else 0] += alert.premium * sign
            row[2] += alert.contracts * sign * (-1 if alert.put else 1)
        rows = [
            {
                "timestamp": to_datetime(at).astimezone(NEW_YORK).isoformat(),
                "net_call_premium": f"{values[0]:.4f}",
                "net_put_premium": f"{values[1]:.4f}",
                "net_volume": int(values[2]),
            }
            for at, values in sorted(sums.items())
        ]
        return _json({"data": rows, "date": self._date.isoformat()})

    def _refused(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in self._tokens:
            return None
        return _json({"code": "401", "message": "Invalid or missing API token"}, 401)


def _moment(text: str | None) -> int | None:
    """Epoch seconds, milliseconds or ISO 8601 as UTC ns; raises ValueError on anything else."""
    if text is None:
        return None
    if text.isdigit():
        value = int(text)
        return value * (SECOND_NS if value < 10_000_000_000 else 1_000_000)
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp() * 1e6) * 1_000


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def routes(whales: UnusualWhalesWire) -> list[web.RouteDef]:
    """Every path of this vendor."""
    return [
        web.get(SOCKET, whales.serve),
        web.get("/api/option-trades/flow-alerts", whales.flow_alerts),
        web.get("/api/stock/{ticker}/flow-alerts", whales.flow_alerts),
        web.get("/api/market/market-tide", whales.market_tide),
    ]
