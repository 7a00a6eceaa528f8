"""Splits of what is carried over a night: position, stops and levels are those after it at once, when announcement and shares agree.

Exists so that a split is not a difference that a person explains. It applies nothing on one word alone: an announcement without the broker's shares
may come to nothing, shares without an announcement are anybody's guess; both stay what they are, a difference.
"""

from __future__ import annotations

from datetime import date

from tradingsystem.domain.splits import Rebased, Split
from tradingsystem.domain.time import new_york_date
from tradingsystem.execution.actions import Action, Alert, AskSplits, Rebase
from tradingsystem.execution.entries import ask_cancel
from tradingsystem.execution.exits import rest
from tradingsystem.execution.inbox import SplitsReceived
from tradingsystem.execution.orders import EXITS
from tradingsystem.execution.state import State

ANSWER_SECONDS = 10.0  # so long a difference waits for the announcement that may explain it
AGAIN_SECONDS = 30.0  # between two questions


def carried(state: State, today: date) -> list[str]:
    """Symbols that are held since another day."""
    held = ((symbol, position) for symbol, position in state.positions.items() if position.quantity > 0)
    return [symbol for symbol, position in held if new_york_date(position.opened_at_ns) != today]


def ask(state: State, symbols: list[str]) -> list[Action]:
    """Ask for splits of what is carried, since the oldest of it was bought; nothing when nothing is."""
    if not symbols or state.splits.waiting:
        return []
    state.splits.waiting, state.splits.asked_at_ns = True, state.now_ns
    first = min(new_york_date(state.positions[symbol].opened_at_ns) for symbol in symbols)
    return [AskSplits(tuple(sorted(symbols)), first, new_york_date(state.now_ns))]


def doubt(state: State, symbol: str) -> list[Action]:
    """The broker has other shares than we: if the symbol is carried, ask whether a split says why, unless that was asked a moment ago."""
    now_ns, asked_at_ns = state.now_ns, state.splits.asked_at_ns
    if symbol not in carried(state, new_york_date(now_ns)) or (asked_at_ns and now_ns - asked_at_ns < state.wait_ns(AGAIN_SECONDS)):
        return []
    return ask(state, [symbol])


def told(state: State, entry: SplitsReceived) -> list[Action]:
    """Remember what is announced for symbols that were held before it; the next comparison, which is at once, says whether it has been carried out."""
    splits = state.splits
    splits.waiting = False
    if entry.failed:
        return [Alert("splits-failed", f"the broker was asked for splits of what is carried: {entry.failed}")]
    today = new_york_date(state.now_ns)
    for symbol in carried(state, today):
        opened = new_york_date(state.positions[symbol].opened_at_ns)
        known = {one.key: one for one in entry.splits if one.symbol == symbol and opened < one.ex_date <= today}
        ahead = tuple(sorted((one for key, one in known.items() if key not in splits.applied), key=lambda one: (one.ex_date, one.key)))
        if not ahead:
            forget(state, symbol)
            continue
        splits.announced[symbol] = ahead
        if symbol not in state.frozen:
            splits.standing.setdefault(symbol, state.positions[symbol].unrealised(state.marks.get(symbol)))
        state.snapshot_due_ns = state.now_ns
    return []


def asking(state: State, symbol: str) -> bool:
    """Whether the broker's word on splits of a carried symbol is still to come."""
    if not state.splits.waiting or state.now_ns - state.splits.asked_at_ns >= state.wait_ns(ANSWER_SECONDS):
        return False
    return symbol in carried(state, new_york_date(state.now_ns))


def undecided(state: State, symbol: str) -> bool:
    """Whether a difference may still turn out to be a split: so long nothing is sold by a count of shares that is perhaps of yesterday."""
    suspicion = state.suspicions.get(symbol)
    if suspicion is None or symbol in state.frozen:
        return False
    return asking(state, symbol) or bool(agreed(state, symbol, suspicion.theirs))


def agreed(state: State, symbol: str, theirs: int) -> tuple[Split, ...]:
    """The announced splits that make of our shares exactly what the broker has: one of them, or all one after the other. Empty when none does."""
    announced = state.splits.announced.get(symbol, ())
    for some in [*((one,) for one in announced), announced]:
        quantity = state.held(symbol)
        for one in some:
            quantity = one.shares(quantity)
        if some and 0 < quantity == theirs:
            return some
    return ()


def apply(state: State, symbol: str, some: tuple[Split, ...]) -> list[Action]:
    """Rebase everything that is remembered in shares or prices from before, and take back orders at prices from before."""
    position = state.positions[symbol]
    quantity, average_price = position.quantity, position.average_price
    for one in some:
        position.rebase(one, state.now_ns)
        state.splits.applied[one.key] = None
        mark = state.marks.get(symbol)
        if mark is not None and mark.at_ns < one.in_force_ns:
            state.marks[symbol] = one.mark(mark)
    forget(state, symbol)
    state.suspicions.pop(symbol, None)
    state.frozen.pop(symbol, None)
    state.retry_at_ns.pop(symbol, None)
    state.splits.uncovered[symbol] = state.now_ns
    rebased = Rebased(
        symbol=symbol,
        splits=some,
        at_ns=state.now_ns,
        quantity_before=quantity,
        quantity=position.quantity,
        average_price_before=average_price,
        average_price=position.average_price,
    )
    actions: list[Action] = [Rebase(rebased)]
    for record in state.book.open(symbol):
        if record.role in EXITS:
            actions += ask_cancel(state, record)
    return actions


def forget(state: State, symbol: str) -> None:
    """Nothing is awaited any more: applied, withdrawn, or nothing is held."""
    state.splits.announced.pop(symbol, None)
    state.splits.standing.pop(symbol, None)


def due(state: State) -> list[Action]:
    """A stop that rests until the session over what was rebased, once nothing from before the split can sell any more. In the session it is closed
    before anything else."""
    actions: list[Action] = []
    session = state.closing_session()
    for symbol, since_ns in list(state.splits.uncovered.items()):
        if state.held(symbol) <= 0 or (session is not None and session.contains(state.now_ns)):
            del state.splits.uncovered[symbol]
        elif not any(record.role in EXITS and record.created_at_ns <= since_ns for record in state.book.open(symbol)):
            actions += rest(state, symbol)
    return actions
