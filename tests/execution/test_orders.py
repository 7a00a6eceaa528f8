"""The table of moves, and how executions are counted."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain.orders import TERMINAL, BrokerOrder, OrderClass, OrderState, OrderType, Side
from tradingsystem.execution.book import Book
from tradingsystem.execution.orders import MOVES, STALE, Move, OrderRecord, Role, judge, transitions_table

states = st.sampled_from(list(OrderState))


def record(state: OrderState = OrderState.SUBMITTED, quantity: int = 100) -> OrderRecord:
    return OrderRecord(key="k", symbol="AAA", side=Side.BUY, quantity=quantity, role=Role.ENTRY, group="k", state=state, order_id="o")


def test_every_pair_of_states_has_one_meaning() -> None:
    """No told state is both a move and stale; every state has its row."""
    assert set(MOVES) == set(OrderState)
    for state in OrderState:
        assert not MOVES[state] & STALE.get(state, frozenset())
        assert state not in MOVES[state]


@pytest.mark.parametrize(
    ("current", "told", "meaning"),
    [
        (OrderState.FILLED, OrderState.ACCEPTED, Move.STALE),  # ``new`` after ``fill``
        (OrderState.CANCELED, OrderState.FILLED, Move.MOVED),  # a late fill
        (OrderState.REPLACED, OrderState.FILLED, Move.MOVED),  # the fill won against the replacement
        (OrderState.FILLED, OrderState.CANCELED, Move.ILLEGAL),
        (OrderState.REJECTED, OrderState.ACCEPTED, Move.ILLEGAL),  # refused, and alive
        (OrderState.PENDING_CANCEL, OrderState.ACCEPTED, Move.MOVED),  # the cancel was rejected
        (OrderState.HELD, OrderState.ACCEPTED, Move.MOVED),  # a stop takes the shares over
        (OrderState.UNKNOWN, OrderState.CANCELED, Move.MOVED),
        (OrderState.PARTIALLY_FILLED, OrderState.REJECTED, Move.ILLEGAL),
    ],
)
def test_known_moves(current: OrderState, told: OrderState, meaning: Move) -> None:
    """The cases that brokers have been seen to produce."""
    assert judge(current, told) is meaning


@given(st.lists(states, max_size=12))
def test_a_terminal_order_never_comes_back_by_an_event(told: list[OrderState]) -> None:
    """Whatever is told in whatever order, an ended order ends at most once more, by a fill (invariant 3: nothing is guessed)."""
    order = record()
    ended: OrderState | None = None
    for state in told:
        order.advance(state, 1)
        if ended is not None:
            assert order.state is ended or order.state is OrderState.FILLED
        if order.state in TERMINAL:
            ended = order.state


def test_a_receipt_moves_only_what_nobody_has_heard_of() -> None:
    """A POST's answer that is read after the fill changes nothing."""
    order = record(OrderState.FILLED)
    assert order.advance(OrderState.SUBMITTED, 1, receipt=True) is Move.STALE
    assert order.advance(OrderState.CANCELED, 1, receipt=True) is Move.STALE
    assert order.state is OrderState.FILLED


def test_a_word_that_was_asked_for_settles() -> None:
    """An answer to a question asked after our last news stands against the table."""
    order = record(OrderState.REJECTED)
    assert order.advance(OrderState.ACCEPTED, 5, forced=True) is Move.ILLEGAL
    assert order.state is OrderState.ACCEPTED


@given(
    parts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    lost=st.sets(st.integers(0, 5)),
)
def test_fills_are_counted_once_in_any_order(parts: list[int], order: object, lost: set[int]) -> None:
    """Executions in any order, some lost, the broker's total asked in between: the sum is the total, the value is what was paid (invariant 10)."""
    total, events = 0, []
    for number, quantity in enumerate(parts):
        total += quantity
        events.append((f"e{number}", quantity, Decimal(10 + number), total))
    average = sum((quantity * price for _, quantity, price, _ in events), Decimal(0)) / total
    held = record(quantity=total)
    seen = [one for number, one in enumerate(events) if number not in lost]
    order.shuffle(seen)  # type: ignore[attr-defined]
    half = len(seen) // 2
    for identifier, quantity, price, told in seen[:half]:
        held.told_filled = max(held.told_filled, told)
        held.execute(identifier, quantity, price, 1)
    held.told_filled = total
    held.close_gap(average, 2)
    for identifier, quantity, price, _ in seen[half:]:
        assert held.execute(identifier, quantity, price, 3) is None
    assert held.filled == total
    assert abs(held.value - average * total) < Decimal("1e-15")
    assert held.remaining == 0


tellings = st.tuples(st.sampled_from(["one", "two"]), states, st.sampled_from([0, 50]), st.booleans())


@given(st.lists(tellings, max_size=8))
def test_an_order_stays_in_sight_until_it_is_over(told: list[tuple[str, OrderState, int, bool]]) -> None:
    """Whatever is told of orders, and however often the book is tidied meanwhile: what is looked through every second holds each order that is open,
    has shares that were not counted, or was replaced by one that is unknown here; tidied, it holds no other."""
    book = Book("desk")
    for number, (key, state, filled, tidied) in enumerate(told):
        order = BrokerOrder(
            order_id=f"id-{key}",
            client_order_id=key,
            symbol="AAA",
            side=Side.BUY,
            quantity=100,
            filled_quantity=filled,
            filled_average_price=None,
            state=state,
            raw_status=state.value,
            order_class=OrderClass.SIMPLE,
            order_type=OrderType.LIMIT,
        )
        book.learn(order, number, asked_at_ns=number, adopt=True)
        if tidied:
            book.tidy()
        seen = {record.key for record in book.unfinished()}
        waits = {one.key for one in book.orders.values() if one.open or one.uncounted or book.orphaned(one)}
        assert seen == waits if tidied else seen >= waits


def test_the_picture_shows_every_move() -> None:
    """The diagram in the documentation is the table."""
    assert transitions_table().count("-->") == sum(len(moves) for moves in MOVES.values())
