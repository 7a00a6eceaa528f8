"""Alpaca's trading REST on warm connections: one request, one deadline, one outcome.

Exists because the official client retries order posts by itself, blocks, and has no time-out: on the order path that turns one decision into two
orders. This one never repeats a write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, TypeVar

from tradingsystem.adapters.alpaca import corporate_actions, errors, parse
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.alpaca.host import AlpacaHost
from tradingsystem.adapters.alpaca.models import WireAccount, WireCalendarDay, WireCorporateActions, WireOrder, WirePosition
from tradingsystem.adapters.warm_http import Http, WarmHttp
from tradingsystem.domain.calendar import Session
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.domain.orders import Account, Approved, BrokerOrder, BrokerPosition, Purpose
from tradingsystem.domain.splits import Split

T = TypeVar("T")
PAGE_ROWS = 500
PAGES_MAX = 40


class AlpacaClient:
    """One account's REST. ``now_ns`` is market time, which the broker's windows and dates are counted in; ``credentials`` are asked for with every
    request, since a person may exchange them meanwhile."""

    def __init__(
        self,
        base_url: str,
        credentials: Callable[[], Credentials],
        now_ns: Callable[[], int],
        *,
        data_url: str = "",
        timeout_seconds: float = 5.0,
        http: Http | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.credentials = credentials
        self.trading = AlpacaHost("Alpaca", http or WarmHttp(self.base_url), credentials, now_ns, timeout_seconds)
        self.data = AlpacaHost("Alpaca market data", http or WarmHttp(data_url or self.base_url), credentials, now_ns, timeout_seconds)

    @property
    def clock_skew_ns(self) -> int:
        """See ``interfaces.Broker``."""
        return self.trading.skew.least_ns

    async def close(self) -> None:
        """Close the connections for good. Idempotent."""
        await self.trading.close()
        await self.data.close()

    async def submit(self, order: Approved) -> BrokerOrder:
        """Post one order, once."""
        entry = order.intent.purpose is Purpose.ENTRY
        return await self._write("POST", "/v2/orders", parse.post_body(order.intent), entry=entry)

    async def replace(self, order_id: str, approved: Approved) -> BrokerOrder:
        """Move an open order; the answer is the successor, not yet in force."""
        return await self._write("PATCH", f"/v2/orders/{order_id}", parse.patch_body(approved.intent))

    async def cancel(self, order_id: str) -> None:
        """Ask for a cancel."""
        await self.trading.send("DELETE", f"/v2/orders/{order_id}", write=True)

    async def order_by_client_id(self, client_order_id: str) -> BrokerOrder | None:
        """Ask by our id, with legs."""
        return await self._order("/v2/orders:by_client_order_id", {"client_order_id": client_order_id, "nested": "true"})

    async def order(self, order_id: str) -> BrokerOrder | None:
        """Ask by the broker's id, with legs."""
        return await self._order(f"/v2/orders/{order_id}", {"nested": "true"})

    async def orders(self, *, open_only: bool, after_ns: int = 0) -> tuple[BrokerOrder, ...]:
        """All pages, oldest first, without repeats."""
        found: dict[str, BrokerOrder] = {}
        query = {"status": "open" if open_only else "all", "limit": str(PAGE_ROWS), "direction": "asc", "nested": "true"}
        for _ in range(PAGES_MAX):
            page = await self._read("/v2/orders", list[WireOrder], query | ({"after": parse.after(after_ns)} if after_ns else {}))
            fresh = [made for made in (self._parsed(parse.order, wire) for wire in page) if made.order_id not in found]
            found |= {made.order_id: made for made in fresh}
            if len(page) < PAGE_ROWS or not fresh:
                return tuple(found.values())
            after_ns = fresh[-1].submitted_at_ns - 1_000  # the bound is exclusive and cut to microseconds: step back, drop repeats
        raise TryAgain(f"more than {PAGES_MAX * PAGE_ROWS} orders")

    async def positions(self) -> tuple[BrokerPosition, ...]:
        """All holdings."""
        return tuple(self._parsed(parse.position, wire) for wire in await self._read("/v2/positions", list[WirePosition]))

    async def account(self) -> Account:
        """The account now."""
        return self._parsed(parse.account, await self._read("/v2/account", WireAccount))

    async def session(self, day: date) -> Session | None:
        """That day's session by Alpaca's calendar."""
        rows = await self._read("/v2/calendar", list[WireCalendarDay], {"start": day.isoformat(), "end": day.isoformat()})
        return self._parsed(lambda found: parse.session(found, day), rows)

    async def splits(self, symbols: Sequence[str], first: date, last: date) -> tuple[Split, ...]:
        """Announced splits, by the market data's corporate actions; all pages."""
        query = corporate_actions.query(symbols, first, last)
        found: list[Split] = []
        for _ in range(PAGES_MAX):
            page = await self._read("/v1/corporate-actions", WireCorporateActions, query, self.data)
            found += self._parsed(corporate_actions.splits, page)
            if not page.next_page_token:
                return tuple(found)
            query["page_token"] = page.next_page_token
        raise TryAgain(f"more than {PAGES_MAX} pages of corporate actions")

    async def suspend(self, suspended: bool) -> None:
        """The account's own switch: while set, Alpaca refuses new orders."""
        await self.trading.send("PATCH", "/v2/account/configurations", write=True, body={"suspend_trade": suspended})

    # --- one request -----------------------------------------------------------------------------------------------------------------------

    async def _order(self, path: str, query: dict[str, str]) -> BrokerOrder | None:
        try:
            return self._parsed(parse.order, await self._read(path, WireOrder, query))
        except RequestRefused as refused:
            if refused.code == errors.NOT_FOUND:
                return None
            raise

    async def _write(self, method: str, path: str, body: dict[str, Any], *, entry: bool = False) -> BrokerOrder:
        answer = await self.trading.send(method, path, write=True, body=body, entry=entry)
        try:
            return parse.order(parse.read(answer, WireOrder))
        except parse.Unreadable as error:
            raise errors.unreadable(str(error), write=True) from error

    async def _read(self, path: str, kind: type[T], query: dict[str, str] | None = None, host: AlpacaHost | None = None) -> T:
        answer = await (host or self.trading).send("GET", path, write=False, query=query)
        try:
            return parse.read(answer, kind)
        except parse.Unreadable as error:
            raise errors.unreadable(str(error), write=False) from error

    def _parsed(self, parser: Callable[[Any], T], wire: Any) -> T:
        try:
            return parser(wire)
        except parse.Unreadable as error:
            raise TryAgain(str(error)) from error
