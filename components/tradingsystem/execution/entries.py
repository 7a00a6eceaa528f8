"""From a signal to bracket orders, and from open entries to cancels.

One bracket per target, all or none of them approved, at the ask, short-lived. It refuses to chase: what has not filled in a few seconds is cancelled,
and what filled in part is cancelled sooner, because a bracket's legs do not live before the entry has filled completely.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradingsystem.domain.orders import OrderClass, OrderIntent, OrderRefusal, OrderType, Purpose, Side
from tradingsystem.domain.signals import Signal
from tradingsystem.domain.trading import LatchKind, Mark, TradingState
from tradingsystem.execution.actions import Action, Cancel, Refused, SetLatch, Submit
from tradingsystem.execution.exposure import exposure_for, limits_of, system_state, with_sibling
from tradingsystem.execution.latches import latch
from tradingsystem.execution.orders import OrderRecord, Role
from tradingsystem.execution.positions import ZERO
from tradingsystem.execution.prices import decimal, stop_below, target_above, up
from tradingsystem.execution.state import State
from tradingsystem.messages.identifiers import entry_id
from tradingsystem.risk import gate
from tradingsystem.risk.question import Market
from tradingsystem.sizing import Bet, NotSized, equity_to_size_with, size

ENTRY_LIFE_SECONDS = 3.0
PARTIAL_LIFE_SECONDS = 1.0
ASK_AGAIN_SECONDS = 2.0


def on_signal(state: State, signal: Signal, mark: Mark | None) -> list[Action]:
    """Size, build, ask the gate, submit: or one refusal with its code."""
    state.statistics.signals += 1
    seen = newest(signal, mark)
    intents = build(state, signal)
    if isinstance(intents, NotSized):
        first = entry_id(state.settings.system, signal.id, signal.symbol, 1)
        return [refuse(state, OrderRefusal(first, signal.symbol, intents.code, intents.reason, state.now_ns))]
    actions: list[Action] = []
    market = Market(
        now_ns=state.now_ns,
        mark=seen,
        session=None if state.day.doubted else state.day.session,
        clock_at_ns=state.clock_at_ns,
        signal_at_ns=signal.at_ns,
        signal_expires_ns=signal.expires_at_ns,
        average_volume=signal.average_volume,
        simulated_model=signal.simulated_model,
    )
    entered: list[OrderRecord] = []
    exposure, limits, system = exposure_for(state, intents[0]), limits_of(state), system_state(state, signal.symbol)
    for intent in intents:
        verdict = _decided_before(state, intent) or gate.check(intent, exposure, limits, market, system)
        if isinstance(verdict, OrderRefusal):
            for record in entered:
                state.book.forget(record.key)
                state.day.entries.pop()
            return [refuse(state, verdict), *_runaway(state, verdict)]
        entered.append(state.book.intend(intent))
        exposure = with_sibling(exposure, intent)
        state.day.entries.append((state.now_ns, intent.symbol))
        actions.append(Submit(verdict))
    state.statistics.sent += len(entered)
    state.statistics.entries_sent += len(entered)
    state.marks[signal.symbol] = seen
    return actions


def newest(signal: Signal, mark: Mark | None) -> Mark:
    """The newer of the symbol's mark and the quote the signal was judged on; bands and halts are only in the mark."""
    if mark is None:
        return Mark(signal.symbol, signal.at_ns, signal.bid, signal.ask, signal.ask)
    if mark.at_ns >= signal.at_ns:
        return mark
    return msgspec.structs.replace(mark, at_ns=signal.at_ns, bid=signal.bid, ask=signal.ask)


def build(state: State, signal: Signal) -> tuple[OrderIntent, ...] | NotSized:
    """The brackets of a signal: shares split over the targets, the nearest target gets the odd one; a single share gets a single bracket."""
    execution = state.settings.execution
    ask = decimal(signal.ask)
    if state.account is None:
        return NotSized("sizing-input", "the account has not been read")
    if not ask.is_finite() or ask <= 0:
        return NotSized("sizing-input", f"the ask is {ask}")
    price = up(ask)
    bet = Bet(
        p_low=signal.p_low,
        target_basis_points=min(target.at_basis_points for target in execution.take_profits),
        stop_basis_points=execution.stop_loss_basis_points,
        price=price,
        vix=signal.vix,
    )
    equity = equity_to_size_with(Decimal(execution.initial_capital), state.realised - state.fees, state.account.equity)
    sized = size(state.settings.sizing, bet, equity)
    if isinstance(sized, NotSized):
        return sized
    shares = split(sized.quantity, tuple(target.share_percent for target in execution.take_profits))
    targets = sorted(execution.take_profits, key=lambda target: target.at_basis_points)
    return tuple(
        OrderIntent(
            client_order_id=entry_id(state.settings.system, signal.id, signal.symbol, number),
            symbol=signal.symbol,
            side=Side.BUY,
            quantity=quantity,
            purpose=Purpose.ENTRY,
            order_class=OrderClass.BRACKET,
            order_type=OrderType.LIMIT,
            limit_price=price,
            target_price=target_above(price, target.at_basis_points),
            stop_loss_price=stop_below(price, execution.stop_loss_basis_points),
            decided_at_ns=state.now_ns,
            cause=signal.id,
            probe=signal.probe,
        )
        for number, (quantity, target) in enumerate(zip(shares, targets, strict=True), start=1)
        if quantity
    )


def split(quantity: int, percents: tuple[int, ...]) -> tuple[int, ...]:
    """Whole shares by percent, each rounded up while any are left; the last takes the rest: two halves are (ceil, floor)."""
    shares: list[int] = []
    for percent in percents[:-1]:
        shares.append(min(-(-quantity * percent // 100), quantity - sum(shares)))
    shares.append(quantity - sum(shares))
    return tuple(shares)


def refuse(state: State, refusal: OrderRefusal) -> Action:
    """Count a refusal and tell it."""
    state.statistics.refuse(refusal.code)
    return Refused(refusal)


def due(state: State) -> list[Action]:
    """Cancels of entries that have lived long enough, or must not live any more."""
    actions: list[Action] = []
    trading, _ = state.trading()
    for record in state.book.open():
        if record.role is not Role.ENTRY or record.order_id is None:
            continue
        wait = PARTIAL_LIFE_SECONDS if record.filled else ENTRY_LIFE_SECONDS
        since_ns = record.first_fill_ns if record.filled else record.created_at_ns
        old = state.now_ns - since_ns >= state.wait_ns(wait)
        if old or trading is not TradingState.ACTIVE or record.symbol in state.flattening:
            actions += ask_cancel(state, record)
    return actions


def ask_cancel(state: State, record: OrderRecord) -> list[Action]:
    """A cancel, unless one was asked for a moment ago."""
    if record.order_id is None or (record.cancel_asked_ns and state.now_ns - record.cancel_asked_ns < state.wait_ns(ASK_AGAIN_SECONDS)):
        return []
    record.cancel_asked_ns = state.now_ns
    return [Cancel(record.order_id, record.key)]


def _decided_before(state: State, intent: OrderIntent) -> OrderRefusal | None:
    if intent.client_order_id not in state.book.orders:
        return None
    return OrderRefusal(intent.client_order_id, intent.symbol, "decided-before", "this decision has an order already", state.now_ns)


def _runaway(state: State, refusal: OrderRefusal) -> list[Action]:
    """Too many entries of one symbol are not a busy day but a loop: latched until a person has looked."""
    if refusal.code != "repeated-execution" or any(one.kind is LatchKind.REPEATED_EXECUTION for one in state.latches.values()):
        return []
    made = latch(LatchKind.REPEATED_EXECUTION, TradingState.HALTED, refusal.reason, "execution", state.now_ns)
    state.latches[made.id] = made
    return [SetLatch(made)]


def spent(state: State, quantity: int, price: Decimal) -> None:
    """Count what was bought since the account was last told."""
    state.bought_since_account = max(state.bought_since_account + quantity * price, ZERO)
