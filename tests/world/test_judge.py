"""The judge of a seeded day by itself: what it must say, and what it must not."""

from __future__ import annotations

import random
from decimal import Decimal

from tradingsystem.domain.orders import OrderClass, OrderIntent, OrderState, OrderType, Purpose, Side
from tradingsystem.domain.time import NS_PER_MINUTE
from tradingsystem.execution.state import State, fresh
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.imagined import Ask, Venue, body_of
from tradingsystem.world.trial import invariants
from tradingsystem.world.trial.day import DAY, SYSTEM, settings_of
from tradingsystem.world.trial.invariants import Judge, Sight
from tradingsystem.world.trial.market import SYMBOLS


def called_rejected() -> tuple[Judge, Sight, Venue, str]:
    """An entry that the broker has taken, and that execution calls rejected."""
    settings = settings_of(random.Random(1))
    venue = Venue(SYMBOLS, DAY, 1, 50_000, lambda _: None)
    venue.move(venue.session.open_ns + 10 * NS_PER_MINUTE)
    intent = OrderIntent(
        client_order_id="t-AAA-e1-1",
        symbol="AAA",
        side=Side.BUY,
        quantity=10,
        purpose=Purpose.ENTRY,
        order_class=OrderClass.SIMPLE,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("10.00"),
        decided_at_ns=venue.now_ns,
        cause="signal",
    )
    assert venue.answer(Ask("POST", "/v2/orders", {}, body_of(intent))).status == 200
    state: State = fresh(settings)
    state.book.intend(intent).state = OrderState.REJECTED
    judge = Judge(venue, settings, Subjects(SYSTEM))
    judge.intents[intent.client_order_id] = intent
    return judge, Sight(alive=True, able=True, state=state), venue, intent.client_order_id


def test_an_order_that_lives_and_is_called_rejected_is_found() -> None:
    """It would be sent a second time (invariant 3)."""
    judge, sight, _, _ = called_rejected()
    judge.glance(sight)
    assert [one.invariant for one in judge.violations] == [invariants.NEVER_FLAT]


def test_an_order_that_the_broker_has_rejected_is_called_so() -> None:
    """A replacement that came too late: the broker knows its id, and has rejected it itself."""
    judge, sight, venue, key = called_rejected()
    ledger = venue.ledger
    order = ledger.orders[ledger.by_client_id[key]]
    order.status = type(order.status)("rejected")
    judge.glance(sight)
    assert judge.violations == []
