"""Whatever a client does and the market shows: money is conserved, the book is respected, and no share is promised twice."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradingsystem.simulator.exchange import ExchangeSettings, StopTrigger
from tradingsystem.simulator.feed import Kind
from tradingsystem.simulator.ledger import Order, Side, Status

CENTS = st.integers(900, 1_100)
ACTIONS = st.one_of(
    st.tuples(st.just("quote"), CENTS, st.integers(1, 20), st.integers(0, 300), st.integers(0, 300)),
    st.tuples(st.just("trade"), CENTS),
    st.tuples(
        st.just("order"),
        st.sampled_from(["buy", "sell"]),
        st.integers(1, 400),
        st.sampled_from(["market", "limit", "stop"]),
        CENTS,
        st.sampled_from(["day", "gtc", "ioc", "fok"]),
    ),
    st.tuples(st.just("bracket"), st.integers(1, 400), CENTS, st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.just("oco"), st.integers(1, 400), CENTS, st.integers(2, 60)),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("replace"), st.integers(0, 30), CENTS, st.one_of(st.none(), st.integers(1, 400))),
    st.tuples(st.just("halt"), st.booleans()),
    st.tuples(st.just("wait")),
)


def price(cents: int) -> str:
    return f"{cents / 100:.2f}"


def act(trading: Any, action: tuple[Any, ...], number: int) -> None:
    kind = action[0]
    if kind == "quote":
        _, bid, spread, bid_size, ask_size = action
        trading.quote(bid / 100, (bid + spread) / 100, bid_size=bid_size, ask_size=ask_size)
    elif kind == "trade":
        trading.trade(action[1] / 100)
    elif kind == "order":
        _, side, quantity, type_, cents, time_in_force = action
        fields: dict[str, Any] = {"type": type_, "time_in_force": time_in_force, "client_order_id": f"id-{number % 40}"}
        if type_ != "market":
            fields[f"{type_}_price"] = price(cents)
        trading.ask(side, quantity, **fields)
    elif kind == "bracket":
        _, quantity, cents, up, down = action
        trading.ask(
            "buy",
            quantity,
            limit_price=price(cents),
            order_class="bracket",
            take_profit={"limit_price": price(cents + up)},
            stop_loss={"stop_price": price(cents - down)},
        )
    elif kind == "oco":
        _, quantity, cents, width = action
        trading.ask(
            "sell",
            quantity,
            type="limit",
            order_class="oco",
            take_profit={"limit_price": price(cents)},
            stop_loss={"stop_price": price(cents - width)},
        )
    elif kind in ("cancel", "replace"):
        orders = list(trading.ledger.orders.values())
        if orders:
            order = orders[action[1] % len(orders)]
            if kind == "cancel":
                trading.exchange.cancel(order.id, trading.now_ns)
            else:
                name = "limit_price" if order.limit_price is not None else "stop_price"
                trading.exchange.replace(order.id, {name: price(action[2]), "qty": action[3]}, trading.now_ns)
    elif kind == "halt":
        trading.put(Kind.HALT if action[1] else Kind.RESUME, price=10.0)
    else:
        trading.wait(0.02)


def check_book(trading: Any) -> None:
    """Every fill against the quote in force at its moment: never better than the touch, in sum never more than the ladder shows."""
    taken: dict[tuple[int, Side], Decimal] = {}
    for fill in trading.ledger.executions:
        at_ns, bid, ask, bid_size, ask_size = next(quote for quote in reversed(trading.quotes) if quote[0] <= fill.at_ns)
        if fill.side is Side.BUY:
            assert fill.price >= Decimal(str(ask)), (fill, ask)
        else:
            assert fill.price <= Decimal(str(bid)), (fill, bid)
        taken[at_ns, fill.side] = taken.get((at_ns, fill.side), Decimal(0)) + fill.quantity
        displayed = ask_size if fill.side is Side.BUY else bid_size
        assert taken[at_ns, fill.side] <= displayed * trading.exchange.settings.depth_levels
        if fill.price == Decimal(str(ask if fill.side is Side.BUY else bid)):
            assert fill.quantity <= displayed


def check_account(trading: Any) -> None:
    ledger = trading.ledger
    assert ledger.cash == ledger.cash_expected()
    net: dict[str, Decimal] = {}
    filled: dict[str, Decimal] = {}
    for execution in ledger.executions:
        net[execution.symbol] = net.get(execution.symbol, Decimal(0)) + (
            execution.quantity if execution.side is Side.BUY else -execution.quantity
        )
        filled[execution.order_id] = filled.get(execution.order_id, Decimal(0)) + execution.quantity
    for symbol, position in ledger.positions.items():
        assert position.quantity == net[symbol]
        assert ledger.held_for_orders(symbol) <= abs(position.quantity)
    for order in ledger.orders.values():
        assert order.filled == filled.get(order.id, 0)
        assert (order.status is Status.FILLED) == (order.quantity is not None and order.filled == order.quantity)
    value = sum((position.cost + -position.realised for position in ledger.positions.values()), Decimal(0))
    assert abs(ledger.cash + value + ledger.fees - ledger.starting_cash) < Decimal("1e-12")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(ACTIONS, max_size=40), mode=st.sampled_from(StopTrigger), seed=st.integers(0, 1_000))
def test_conservation_and_the_book(make_trading: Callable[..., Any], actions: list[Any], mode: StopTrigger, seed: int) -> None:
    """Cash and positions follow from fills; fills never beat the book nor exceed what it displayed; held shares never exceed the position."""
    trading = make_trading(ExchangeSettings(stop_trigger=mode, latency_us=1_000, latency_jitter_us=500), seed=seed)
    trading.quote(9.99, 10.00)
    for number, action in enumerate(actions):
        act(trading, action, number)
        check_account(trading)
    trading.to(trading.session.close_ns)
    check_book(trading)
    check_account(trading)
    assert all(order.time_in_force == "gtc" or order.terminal for order in trading.ledger.orders.values())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=12))
def test_no_client_order_id_is_taken_twice(make_trading: Callable[..., Any], ids: list[str]) -> None:
    """The second use is refused whatever happened to the first."""
    trading = make_trading()
    trading.quote(9.99, 10.00)
    accepted = [client_id for client_id in ids if isinstance(trading.ask(qty=1, client_order_id=client_id), Order)]
    assert sorted(accepted) == sorted(set(ids))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(0, 120), min_size=1, max_size=10), cancel_after=st.integers(0, 10))
def test_a_bracket_sells_at_most_what_its_entry_bought(make_trading: Callable[..., Any], sizes: list[int], cancel_after: int) -> None:
    """Entry filled in pieces, perhaps canceled: legs exist only behind a full entry, and sales never exceed purchases."""
    trading = make_trading()
    trading.quote(9.98, 10.00, ask_size=0)
    entry = trading.bracket(qty=200)
    for step, size in enumerate(sizes):
        if step == cancel_after:
            trading.exchange.cancel(entry.id, trading.now_ns)
        trading.quote(9.98, 10.00, ask_size=size)
    trading.wait()
    working = [leg for leg in trading.ledger.legs(entry) if leg.active and not leg.terminal]
    assert bool(working) == (entry.status is Status.FILLED)
    bought = entry.filled
    trading.exchange.cancel(entry.id, trading.now_ns)
    trading.wait()
    trading.quote(9.00, 9.02)
    sold = sum((execution.quantity for execution in trading.ledger.executions if execution.side is Side.SELL), Decimal(0))
    assert sold == (200 if bought == 200 else 0)
