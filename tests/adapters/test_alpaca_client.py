"""Our order client over real sockets: one request, one deadline, one outcome, and never a write twice."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from tests.adapters.alpaca_server import KEYS, ORDER, alpaca, answering, hang_up, silent
from tradingsystem.adapters.alpaca.broker import AlpacaBroker
from tradingsystem.adapters.alpaca.budget import RESERVE
from tradingsystem.domain.errors import NotAuthorized, OutcomeUnknown, RequestRefused, TradingSystemError, TryAgain
from tradingsystem.domain.orders import Approved, OrderClass, OrderIntent, OrderState, OrderType, Purpose, Side


def approved(purpose: Purpose = Purpose.ENTRY) -> Approved:
    """An approval as the gate would give it; the client does not ask the gate."""
    intent = OrderIntent(
        client_order_id="t-ABC-e1",
        symbol="ABC",
        side=Side.BUY if purpose is Purpose.ENTRY else Side.SELL,
        quantity=7,
        purpose=purpose,
        order_class=OrderClass.SIMPLE,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("10.10"),
        decided_at_ns=1,
        cause="signal",
    )
    return Approved(intent=intent, record=b"", approved_at_ns=1, expires_at_ns=2)


async def outcome_of_post(handler: Any, timeout_seconds: float = 5.0) -> TradingSystemError:
    async with alpaca(("POST", "/v2/orders", handler), timeout_seconds=timeout_seconds) as broker:
        with pytest.raises(TradingSystemError) as caught:
            await broker.submit(approved())
        return caught.value


def test_a_post_carries_our_id_and_keys() -> None:
    """The body is ours as strings, the keys are headers, the answer is a receipt."""
    seen: list[tuple[dict[str, Any], str]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append((json.loads(await request.read()), request.headers["APCA-API-KEY-ID"]))
        return web.json_response(ORDER)

    async def run() -> None:
        async with alpaca(("POST", "/v2/orders", take)) as broker:
            answer = await broker.submit(approved())
            assert answer.order_id == "o-1"
            assert answer.state is OrderState.SUBMITTED

    asyncio.run(run())
    assert seen[0][0]["qty"] == "7"
    assert seen[0][0]["client_order_id"] == "t-ABC-e1"
    assert seen[0][1] == "KEY"


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (answering(500, {"code": 50010000, "message": "internal server error occurred"}), OutcomeUnknown),
        (answering(504, b""), OutcomeUnknown),
        (answering(200, b"<html>ok</html>"), OutcomeUnknown),
        (answering(200, b'{"id": "o-1"'), OutcomeUnknown),
        (answering(200, ORDER | {"side": "sideways"}), OutcomeUnknown),
        (answering(403, b"<html>nginx</html>"), OutcomeUnknown),
        (answering(307, b"", {"Location": "/v2/other"}), OutcomeUnknown),
        (hang_up, OutcomeUnknown),
        (answering(403, {"code": 40310000, "message": "insufficient buying power", "buying_power": "1"}), RequestRefused),
        (answering(422, {"code": 42210000, "message": "sub-penny increment"}), RequestRefused),
        (answering(429, {"code": 42910000, "message": "slow down"}), TryAgain),
        (answering(401, {"code": 40110000, "message": "request is not authorized"}), NotAuthorized),
    ],
)
def test_each_answer_to_a_post_has_its_outcome(handler: Any, kind: type[TradingSystemError]) -> None:
    """500, 504, garbage, a cut connection: unknown (invariant 3); a readable no: refused; a limit: not taken."""
    assert type(asyncio.run(outcome_of_post(handler))) is kind


def test_a_silent_server_is_unknown() -> None:
    """A post without an answer in time may have been carried out (invariant 3)."""
    assert isinstance(asyncio.run(outcome_of_post(silent, timeout_seconds=0.2)), OutcomeUnknown)


def test_a_closed_port_is_not_sent() -> None:
    """Without a connection nothing left: it may be decided anew."""

    async def run() -> None:
        async with alpaca() as broker:
            gone = AlpacaBroker("http://127.0.0.1:1", lambda: KEYS, lambda: 0)
            with pytest.raises(TryAgain):
                await gone.submit(approved())
            await gone.close()
            await broker.close()

    asyncio.run(run())


def test_a_post_is_sent_once() -> None:
    """No answer makes the client send a write a second time (invariant 2)."""
    count = 0

    async def fail(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.Response(status=504)

    asyncio.run(outcome_of_post(fail))
    assert count == 1


def test_reads_know_absence_from_failure() -> None:
    """404 of a question is None; 500 and time-outs are asked again."""

    async def run() -> None:
        by_id = "/v2/orders:by_client_order_id"
        async with alpaca(("GET", by_id, answering(404, {"code": 40410000, "message": "order not found"}))) as broker:
            assert await broker.order_by_client_id("t-ABC-e1") is None
        async with alpaca(("GET", by_id, answering(500, b""))) as broker:
            with pytest.raises(TryAgain):
                await broker.order_by_client_id("t-ABC-e1")
        async with alpaca(("GET", "/v2/positions", answering(200, [{"symbol": "ABC", "qty": "NaN"}]))) as broker:
            with pytest.raises(TryAgain):
                await broker.positions()

    asyncio.run(run())


def test_all_pages_are_read() -> None:
    """501 orders are two pages; those that share the bound's moment are neither lost nor doubled."""
    rows = [
        ORDER | {"id": f"o-{number}", "client_order_id": f"c-{number}", "submitted_at": f"2026-03-02T15:00:{number // 100:02d}Z"}
        for number in range(900)
    ]

    async def page(request: web.Request) -> web.Response:
        after = request.query.get("after", "")
        later = [row for row in rows if not after or row["submitted_at"].rstrip("Z") + ".000000000Z" > after]
        return web.json_response(later[: int(request.query["limit"])])

    async def run() -> None:
        async with alpaca(("GET", "/v2/orders", page)) as broker:
            orders = await broker.orders(open_only=False)
            assert [order.order_id for order in orders] == [row["id"] for row in rows]

    asyncio.run(run())


def test_entries_wait_for_the_reserve() -> None:
    """With only the reserve left an entry is not sent, an exit is."""
    headers = {"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": str(RESERVE), "X-RateLimit-Reset": "1060"}

    async def run() -> None:
        async with alpaca(("POST", "/v2/orders", answering(200, ORDER, headers))) as broker:
            await broker.submit(approved())
            with pytest.raises(TryAgain):
                await broker.submit(approved())
            await broker.submit(approved(Purpose.FLATTEN))

    asyncio.run(run())


def test_a_move_keeps_the_quantity_and_takes_our_id() -> None:
    """A PATCH sends the new limit and our next id, never a quantity: a leg's cannot be changed."""
    seen: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(json.loads(await request.read()))
        return web.json_response(ORDER | {"id": "o-2", "replaces": "o-1"})

    async def run() -> None:
        async with alpaca(("PATCH", "/v2/orders/o-1", take), ("DELETE", "/v2/orders/o-1", answering(204, b""))) as broker:
            assert (await broker.replace("o-1", approved(Purpose.FLATTEN))).replaces == "o-1"
            await broker.cancel("o-1")

    asyncio.run(run())
    assert seen == [{"limit_price": "10.10", "client_order_id": "t-ABC-e1"}]


def test_keys_are_never_shown() -> None:
    """Neither part of a key pair is in its text."""
    assert "KEY" not in repr(KEYS)
    assert "SECRET" not in repr(KEYS)


def test_suspend_is_the_brokers_own_switch() -> None:
    """``suspend`` sets the account's configuration."""
    seen: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(json.loads(await request.read()))
        return web.json_response({})

    async def run() -> None:
        async with alpaca(("PATCH", "/v2/account/configurations", take)) as broker:
            await broker.suspend(True)

    asyncio.run(run())
    assert seen == [{"suspend_trade": True}]
