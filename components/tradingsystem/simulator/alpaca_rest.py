"""Alpaca's trading REST: orders, positions, account, clock, calendar, assets, activities. It parses, asks the exchange, and spells the answer.

No rule of trading is here. A 200 or 204 to a replace or cancel means "requested". Every answer carries `x-request-id` and the rate-limit headers.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from typing import Any

import msgspec
from aiohttp import web

from tradingsystem.domain import calendar, xnys
from tradingsystem.simulator import alpaca_views as views
from tradingsystem.simulator.alpaca_account import KEY_HEADER, SECRET_HEADER, Desk, answer, refuse
from tradingsystem.simulator.feed import NEW_YORK, SECOND_NS, SymbolFacts
from tradingsystem.simulator.ledger import Order, Side, Status
from tradingsystem.simulator.order_request import FIELD, MALFORMED, NOT_FOUND, Refusal

LIST_LIMIT, LIST_LIMIT_MAX = 50, 500
PAGE_SIZE = 100
ONE_DAY = datetime.timedelta(days=1)
ORDER_NOT_FOUND = Refusal(404, NOT_FOUND, "order not found")
POSITION_NOT_FOUND = Refusal(404, NOT_FOUND, "position does not exist")
UNAUTHORIZED = Refusal(401, 40110000, "request is not authorized")
TOO_MANY = Refusal(429, 42910000, "too many requests.")
UNDECODABLE = Refusal(400, MALFORMED, "failed to decode request body")

Handler = Callable[[web.Request], Awaitable[web.Response]]


class AlpacaRest:
    """Handlers over one `Desk`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._exchange = desk.exchange
        self._ledger = desk.exchange.ledger
        self._assets = {views.asset_id(symbol): symbol for symbol in desk.facts}
        self._configuration: dict[str, Any] = {
            "fractional_trading": True,
            "max_margin_multiplier": str(self._exchange.settings.multiplier),
            "no_shorting": False,
            "suspend_trade": False,
            "trade_confirm_email": "none",
            "ptp_no_exception_entry": False,
            "max_options_trading_level": None,
        }

    def routes(self) -> list[web.RouteDef]:
        """Every path this host answers; `/v2/orders:by_client_order_id` before the one with an id."""
        table: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/v2/account", self.account),
            ("GET", "/v2/account/configurations", self.configuration),
            ("PATCH", "/v2/account/configurations", self.configure),
            ("GET", "/v2/account/activities", self.activities),
            ("GET", "/v2/account/activities/{type}", self.activities),
            ("GET", "/v2/clock", self.clock),
            ("GET", "/v2/calendar", self.calendar),
            ("GET", "/v2/assets", self.assets),
            ("GET", "/v2/assets/{asset}", self.asset),
            ("GET", "/v2/positions", self.positions),
            ("DELETE", "/v2/positions", self.close_positions),
            ("GET", "/v2/positions/{asset}", self.position),
            ("DELETE", "/v2/positions/{asset}", self.close_position),
            ("POST", "/v2/orders", self.post_order),
            ("GET", "/v2/orders", self.orders),
            ("DELETE", "/v2/orders", self.cancel_orders),
            ("GET", "/v2/orders:by_client_order_id", self.by_client_order_id),
            ("GET", "/v2/orders/{order_id}", self.order),
            ("PATCH", "/v2/orders/{order_id}", self.replace_order),
            ("DELETE", "/v2/orders/{order_id}", self.cancel_order),
        )
        return [web.route(method, path, self._counter(handler)) for method, path, handler in table]

    def _counter(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            headers = {"x-request-id": self._ledger.request_id()}
            given = request.headers.get(KEY_HEADER, ""), request.headers.get(SECRET_HEADER, "")
            if not self._desk.credentials.match(*given):
                response = refuse(UNAUTHORIZED)
            else:
                allowed, limits = self._desk.rate.count()
                headers.update(limits)
                response = await handler(request) if allowed else refuse(TOO_MANY)
                self._desk.settle()
            response.headers.update(headers)
            return response

        return handle

    # --- orders -----------------------------------------------------------------------------------------------------------------------------

    async def post_order(self, request: web.Request) -> web.Response:
        body = await _body(request)
        result = UNDECODABLE if body is None else self._exchange.submit(body, self._now_ns())
        return refuse(result) if isinstance(result, Refusal) else answer(self._view(result, nested=True))

    async def replace_order(self, request: web.Request) -> web.Response:
        body = await _body(request)
        order = self._ledger.orders.get(request.match_info["order_id"])
        if order is None:
            return refuse(ORDER_NOT_FOUND)
        result = UNDECODABLE if body is None else self._exchange.replace(order.id, body, self._now_ns())
        return refuse(result) if isinstance(result, Refusal) else answer(self._view(result))

    async def cancel_order(self, request: web.Request) -> web.Response:
        order = self._ledger.orders.get(request.match_info["order_id"])
        refusal = ORDER_NOT_FOUND if order is None else self._exchange.cancel(order.id, self._now_ns())
        return web.Response(status=204) if refusal is None else refuse(refusal)

    async def cancel_orders(self, _: web.Request) -> web.Response:
        """207: one row per open order; legs that wait go with their group. Stops are stripped too, as at the real broker."""
        refused_every = self._desk.wire.faults.scenario.cancel_all_refused_every
        rows: list[dict[str, Any]] = []
        for order in self._ledger.open_orders():
            if order.status in (Status.HELD, Status.PENDING_CANCEL):
                continue
            if refused_every and len(rows) % refused_every == refused_every - 1:
                body = {"code": 50010000, "message": "internal server error occurred"}
                rows.append({"id": order.id, "status": 500, "body": body})
                continue
            refusal = self._exchange.cancel(order.id, self._now_ns())
            body = self._view(order) if refusal is None else refusal.body()
            rows.append({"id": order.id, "status": 200 if refusal is None else refusal.http, "body": body})
        return answer(rows, 207)

    async def order(self, request: web.Request) -> web.Response:
        order = self._ledger.orders.get(request.match_info["order_id"])
        return refuse(ORDER_NOT_FOUND) if order is None else answer(self._view(order, nested=_flag(request, "nested")))

    async def by_client_order_id(self, request: web.Request) -> web.Response:
        order_id = self._ledger.by_client_id.get(request.query.get("client_order_id", ""), "")
        order = self._ledger.orders.get(order_id)
        return refuse(ORDER_NOT_FOUND) if order is None else answer(self._view(order, nested=_flag(request, "nested")))

    async def orders(self, request: web.Request) -> web.Response:
        query = request.query
        status, nested = query.get("status", "open"), _flag(request, "nested")
        if status not in ("open", "closed", "all"):
            return refuse(Refusal(422, FIELD, f"invalid status: {status}"))
        try:
            limit = _limit(query.get("limit"), LIST_LIMIT, LIST_LIMIT_MAX)
            after, until = _moment_ns(query.get("after")), _moment_ns(query.get("until"))
        except ValueError as error:
            return refuse(Refusal(422, FIELD, str(error)))
        symbols = frozenset(query["symbols"].split(",")) if query.get("symbols") else None
        found = [
            order
            for order in self._ledger.orders.values()
            if self._listed(order, status, nested=nested)
            and (symbols is None or order.symbol in symbols)
            and query.get("side") in (None, "", order.side)
            and (after is None or order.created_ns > after)
            and (until is None or order.created_ns < until)
        ]
        found.sort(key=lambda order: order.created_ns, reverse=query.get("direction", "desc") == "desc")
        return answer([self._view(order, nested=nested) for order in found[:limit]])

    def _listed(self, order: Order, status: str, *, nested: bool) -> bool:
        if not nested:
            return views.listed(order, status)
        if order.parent_id:
            return False
        legs = self._ledger.legs(order)
        return views.listed(order, status) or (status == "open" and any(not leg.terminal for leg in legs))

    # --- positions --------------------------------------------------------------------------------------------------------------------------

    async def positions(self, _: web.Request) -> web.Response:
        return answer([self._position(symbol) for symbol in self._held()])

    async def position(self, request: web.Request) -> web.Response:
        symbol = self._symbol(request)
        return answer(self._position(symbol)) if symbol in self._held() else refuse(POSITION_NOT_FOUND)

    async def close_position(self, request: web.Request) -> web.Response:
        symbol = self._symbol(request)
        if symbol not in self._held():
            return refuse(POSITION_NOT_FOUND)
        quantity = abs(self._ledger.position(symbol).quantity)
        try:
            if request.query.get("qty"):
                quantity = Decimal(request.query["qty"])
            elif request.query.get("percentage"):
                quantity = (quantity * Decimal(request.query["percentage"]) / 100).quantize(Decimal("1e-9"), rounding=ROUND_DOWN)
        except InvalidOperation:
            return refuse(Refusal(422, FIELD, "qty and percentage must be numbers"))
        result = self._close(symbol, quantity)
        return refuse(result) if isinstance(result, Refusal) else answer(self._view(result))

    async def close_positions(self, request: web.Request) -> web.Response:
        """207: one row per position. Without `cancel_orders` a position whose shares are held is refused in its row."""
        if _flag(request, "cancel_orders"):
            self._exchange.cancel_now(self._now_ns())
        rows = []
        for symbol in self._held():
            result = self._close(symbol, abs(self._ledger.position(symbol).quantity))
            refused = isinstance(result, Refusal)
            body = result.body() if isinstance(result, Refusal) else self._view(result)
            rows.append({"symbol": symbol, "status": 403 if refused else 200, "body": body})
        return answer(rows, 207)

    def _close(self, symbol: str, quantity: Decimal) -> Order | Refusal:
        side = Side.SELL if self._ledger.position(symbol).quantity > 0 else Side.BUY
        body = {"symbol": symbol, "qty": str(quantity), "side": side, "type": "market", "time_in_force": "day"}
        return self._exchange.submit(body, self._now_ns())

    # --- account and reference --------------------------------------------------------------------------------------------------------------

    async def account(self, _: web.Request) -> web.Response:
        return answer(views.account_view(self._exchange))

    async def configuration(self, _: web.Request) -> web.Response:
        return answer(self._configuration)

    async def configure(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if not isinstance(body, dict):
            return refuse(UNDECODABLE)
        wrong = [key for key in body if key not in self._configuration]
        if wrong or not isinstance(body.get("suspend_trade", False), bool):
            return refuse(Refusal(422, FIELD, f"invalid configuration: {', '.join(wrong) or 'suspend_trade'}"))
        self._configuration.update(body)
        self._ledger.trading_suspended = self._configuration["suspend_trade"]
        return answer(self._configuration)

    async def activities(self, request: web.Request) -> web.Response:
        """Fills and fees, newest first unless `direction=asc`; a page goes on after the id in `page_token`."""
        asked = request.match_info.get("type") or request.query.get("activity_types", "FILL,FEE")
        kinds = frozenset(asked.split(","))
        rows: list[tuple[int, dict[str, Any]]] = []
        for execution in self._ledger.executions:
            if "FILL" in kinds:
                rows.append((execution.at_ns, views.fill_activity(execution)))
            if "FEE" in kinds and execution.fee:
                rows.append((execution.at_ns, views.fee_activity(execution, self._exchange.session.date)))
        query = request.query
        try:
            size = _limit(query.get("page_size"), PAGE_SIZE, PAGE_SIZE)
            after, until = _moment_ns(query.get("after")), _moment_ns(query.get("until"))
        except ValueError as error:
            return refuse(Refusal(422, FIELD, str(error)))
        found = [row for at_ns, row in rows if (after is None or at_ns > after) and (until is None or at_ns < until)]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        token = query.get("page_token")
        start = next((place + 1 for place, row in enumerate(found) if row["id"] == token), 0)
        size = min(size, self._desk.wire.faults.scenario.page_rows_max or size)
        return answer(found[start : start + size])

    async def clock(self, _: web.Request) -> web.Response:
        now_ns = self._now_ns()
        date = datetime.datetime.fromtimestamp(now_ns // SECOND_NS, tz=NEW_YORK).date()
        today = calendar.next_session(date)
        ahead = (today, calendar.next_session(today.day + ONE_DAY))
        return answer(
            {
                "timestamp": _new_york(now_ns),
                "is_open": self._exchange.is_open(now_ns),
                "next_open": _new_york(next(day.open_ns for day in ahead if day.open_ns > now_ns)),
                "next_close": _new_york(next(day.close_ns for day in ahead if day.close_ns > now_ns)),
            }
        )

    async def calendar(self, request: web.Request) -> web.Response:
        try:
            start = _date(request.query.get("start"), xnys.FIRST)
            end = _date(request.query.get("end"), xnys.LAST)
        except ValueError as error:
            return refuse(Refusal(422, FIELD, f"start and end must be dates: {error}"))
        start, end = max(start, xnys.FIRST), min(end, xnys.LAST)
        days = (start + offset * ONE_DAY for offset in range((end - start).days + 1))
        return answer([_calendar_row(day) for day in days if calendar.is_session(day)])

    async def assets(self, request: web.Request) -> web.Response:
        status = request.query.get("status", "active")
        rows = (views.asset_view(facts) for facts in self._desk.facts.values())
        return answer([row for row in rows if status in ("", row["status"])])

    async def asset(self, request: web.Request) -> web.Response:
        facts = self._desk.facts.get(self._symbol(request))
        if facts is None:
            return refuse(Refusal(404, NOT_FOUND, f"asset not found for {request.match_info['asset']}"))
        return answer(views.asset_view(facts))

    # --- small things -----------------------------------------------------------------------------------------------------------------------

    def _now_ns(self) -> int:
        return self._desk.wire.now_ns()

    def _view(self, order: Order, *, nested: bool = False) -> dict[str, Any]:
        return views.order_view(order, self._ledger, nested=nested)

    def _held(self) -> list[str]:
        return sorted(symbol for symbol, position in self._ledger.positions.items() if position.quantity)

    def _symbol(self, request: web.Request) -> str:
        asked = request.match_info["asset"]
        return self._assets.get(asked, asked)

    def _position(self, symbol: str) -> dict[str, Any]:
        facts: SymbolFacts = self._desk.facts[symbol]
        return views.position_view(self._ledger.position(symbol), self._exchange, facts)


async def _body(request: web.Request) -> Any:
    """The decoded JSON body; None when it is not JSON."""
    try:
        return msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() == "true"


def _limit(text: str | None, default: int, most: int) -> int:
    limit = int(text) if text else default
    if not 1 <= limit <= most:
        raise ValueError(f"limit {limit} must lie in 1..{most}")
    return limit


def _moment_ns(text: str | None) -> int | None:
    """RFC 3339 or a date, as UTC ns with microsecond precision."""
    if not text:
        return None
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * SECOND_NS + moment.microsecond * 1_000


def _date(text: str | None, default: datetime.date) -> datetime.date:
    return datetime.date.fromisoformat(text[:10]) if text else default


def _new_york(at_ns: int) -> str:
    seconds, fraction = divmod(at_ns, SECOND_NS)
    moment = datetime.datetime.fromtimestamp(seconds, tz=NEW_YORK)
    offset = f"{moment:%z}"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}{offset[:3]}:{offset[3:]}"


def _calendar_row(day: datetime.date) -> dict[str, str]:
    session = calendar.session(day)
    close = datetime.datetime.fromtimestamp(session.close_ns // SECOND_NS, tz=NEW_YORK)
    row = {
        "date": day.isoformat(),
        "open": "09:30",
        "close": f"{close:%H:%M}",
        "session_open": "0400",
        "session_close": "1700" if session.early_close else "2000",
    }
    if day < xnys.LAST - 10 * ONE_DAY:  # no day after it is known beyond the table
        row["settlement_date"] = calendar.next_session(day + ONE_DAY).day.isoformat()
    return row
