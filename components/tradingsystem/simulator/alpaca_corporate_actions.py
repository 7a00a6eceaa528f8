"""Alpaca's corporate actions: splits, forward and reverse, as the market data's REST lists them.

It lists what it was given and carries nothing out: that is `Exchange.split`. Other kinds of corporate actions do not exist here.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web

from tradingsystem.simulator.alpaca_account import KEY_HEADER, SECRET_HEADER, Credentials, answer, refuse
from tradingsystem.simulator.connection import Wire
from tradingsystem.simulator.feed import NEW_YORK, SECOND_NS
from tradingsystem.simulator.order_request import FIELD, Refusal

PATH = "/v1/corporate-actions"
LIMIT, LIMIT_MAX = 100, 1_000
KINDS = ("forward_split", "reverse_split")


class StockSplit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`old_rate` shares become `new_rate` from the session of `ex_date` on."""

    symbol: str
    ex_date: datetime.date
    old_rate: Decimal
    new_rate: Decimal

    @property
    def kind(self) -> str:
        return KINDS[0] if self.new_rate > self.old_rate else KINDS[1]

    def view(self) -> dict[str, Any]:
        """As the venue spells it: rates are JSON numbers; a reverse split has another CUSIP afterwards."""
        name = uuid.uuid5(uuid.NAMESPACE_OID, f"{self.symbol} {self.ex_date} {self.old_rate} {self.new_rate}")
        cusip = f"{name.int % 10**9:09}"
        cusips = {"cusip": cusip} if self.kind == KINDS[0] else {"old_cusip": cusip, "new_cusip": cusip[::-1]}
        day = self.ex_date.isoformat()
        return {
            "id": str(name),
            "symbol": self.symbol,
            **cusips,
            "new_rate": _number(self.new_rate),
            "old_rate": _number(self.old_rate),
            "process_date": day,
            "ex_date": day,
            "record_date": day,
            "payable_date": day,
        }


def _number(rate: Decimal) -> int | float:
    return int(rate) if rate == rate.to_integral_value() else float(rate)


class AlpacaCorporateActions:
    """The handler over the splits that are announced."""

    def __init__(self, wire: Wire, credentials: Credentials, splits: Iterable[StockSplit]) -> None:
        self._wire, self._credentials = wire, credentials
        self.splits = list(splits)

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.corporate_actions)]

    async def corporate_actions(self, request: web.Request) -> web.Response:
        """Sorted by the day of processing; the limit counts rows over all kinds, `next_page_token` goes on after the last row."""
        given = request.headers.get(KEY_HEADER, ""), request.headers.get(SECRET_HEADER, "")
        if not self._credentials.match(*given):
            return answer({"message": "forbidden."}, 403)
        try:
            found = self._asked(request)
            limit = min(int(request.query.get("limit") or LIMIT), self._wire.faults.scenario.page_rows_max or LIMIT_MAX, LIMIT_MAX)
            begin = int(request.query.get("page_token") or 0)
        except ValueError as error:
            return refuse(Refusal(400, FIELD, f"invalid request: {error}"))
        page: dict[str, list[dict[str, Any]]] = {}
        for one in found[begin : begin + limit]:
            page.setdefault(f"{one.kind}s", []).append(one.view())
        following = str(begin + limit) if begin + limit < len(found) else None
        return answer({"corporate_actions": page, "next_page_token": following})

    def _asked(self, request: web.Request) -> list[StockSplit]:
        query = request.query
        today = datetime.datetime.fromtimestamp(self._wire.now_ns() // SECOND_NS, NEW_YORK).date()
        first, last = (datetime.date.fromisoformat(query[name]) if query.get(name) else today for name in ("start", "end"))
        symbols = frozenset(query["symbols"].split(",")) if query.get("symbols") else None
        kinds = frozenset(query["types"].split(",")) if query.get("types") else frozenset(KINDS)
        found = [
            one for one in self.splits if one.kind in kinds and first <= one.ex_date <= last and (symbols is None or one.symbol in symbols)
        ]
        return sorted(found, key=lambda one: (one.ex_date, one.symbol), reverse=query.get("sort") == "desc")
