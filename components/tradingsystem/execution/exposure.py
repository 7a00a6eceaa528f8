"""The gate's view of what is held and on its way, counted from the state: open and UNKNOWN orders count as filled, a group's exits count once."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from tradingsystem.domain.orders import OrderIntent, OrderState, Purpose
from tradingsystem.domain.time import NS_PER_MINUTE
from tradingsystem.domain.trading import Mark
from tradingsystem.execution.orders import EXITS, OrderRecord, Role
from tradingsystem.execution.positions import ZERO
from tradingsystem.execution.state import State
from tradingsystem.risk.question import Exposure, Limits, Market, SystemState


def groups_of(state: State, symbol: str) -> dict[str, list[OrderRecord]]:
    """A symbol's records by group, external ones left out, and groups that are over: all ended and counted, no leg still to show itself. Most of a
    day's groups are."""
    groups: dict[str, list[OrderRecord]] = {}
    alive: set[str] = set()
    ended: set[str] = set()  # groups with an exit that is over
    for record in state.book.current(symbol):
        if record.role is Role.EXTERNAL:
            continue
        key = record.group
        group = groups.get(key)
        if group is None:
            groups[key] = [record]
        else:
            group.append(record)
        if not record.over:
            alive.add(key)
        elif record.role in EXITS:
            ended.add(key)
    return {key: group for key, group in groups.items() if key in alive or key not in ended}


def working(group: Iterable[OrderRecord]) -> bool:
    """Whether a group's exits hold shares: always but for a bracket whose entry has not filled completely, since its legs sleep until then."""
    bracket = False
    for record in group:
        if record.role is Role.ENTRY:
            if record.state is OrderState.FILLED:
                return True
            bracket = True
    return not bracket


def exit_shares(state: State, group: list[OrderRecord], roles: frozenset[Role] = EXITS) -> int:
    """Shares that a group's open exits may still sell. They exclude one another, so the largest counts; what one has sold is gone for the others,
    whether or not the broker has told so. What was told as sold but not counted yet is gone, too; what was replaced by an order that we do not know is
    with that order."""
    return open_exits(state, group, roles) if working(group) else 0


def open_exits(state: State, group: list[OrderRecord], roles: frozenset[Role] = EXITS) -> int:
    """The same of a group that is known to be working."""
    largest = uncounted = 0
    for record in group:
        if record.role in roles:
            uncounted += record.uncounted
            if record.left > largest and (record.open or (record.state is OrderState.REPLACED and state.book.orphaned(record))):
                largest = record.left
    shares = largest + uncounted
    return min(shares, shares_left(group)) if shares else 0


def shares_left(group: list[OrderRecord]) -> int:
    """Shares a group was made for, less what its exits have sold: a bracket's entry filled so many, an exit group began with so many."""
    bought = sold = 0
    bracket = False
    for record in group:
        if record.role is Role.ENTRY:
            bracket = True
            bought += record.filled
        elif record.role in EXITS:
            sold += record.filled
    return max((bought if bracket else group[0].quantity) - sold, 0)


def external_exits(state: State, symbol: str) -> int:
    """Shares that sells which are not ours may take."""
    return sum(record.remaining for record in state.book.current(symbol) if record.role is Role.EXTERNAL and record.side.value == "Sell")


def pending_exits(state: State, symbol: str, without: str | None = None) -> int:
    """Shares that open exits of a symbol may still sell, one group left out when its order is being replaced."""
    groups = groups_of(state, symbol)
    return sum(exit_shares(state, group) for key, group in groups.items() if key != without) + external_exits(state, symbol)


def notional_left(record: OrderRecord) -> Decimal:
    """Dollars an open entry may still cost."""
    return record.remaining * (record.limit_price or ZERO)


def gross_notional(state: State) -> Decimal:
    """Dollars that all positions cost and all entries may: open and UNKNOWN ones as if filled at their limit, those that ended by the shares that were
    told filled and not counted yet. Nothing is sold short, so it is the net exposure, too."""
    held = sum((abs(position.cost) for position in state.positions.values()), ZERO)
    entries = (record for record in state.book.unsettled() if record.role is Role.ENTRY)
    return held + sum(((record.left if record.open else record.uncounted) * (record.limit_price or ZERO) for record in entries), ZERO)


def exposure_for(state: State, intent: OrderIntent, replaced_group: str | None = None) -> Exposure:
    """What the rules compare for this intent."""
    held, symbol = state.held(intent.symbol), intent.symbol
    if intent.purpose is not Purpose.ENTRY:
        return Exposure(held=state.sellable(symbol), pending_exits=pending_exits(state, symbol, replaced_group))
    entries = [record for record in state.book.open() if record.role is Role.ENTRY]
    causes = {record.key: record.intent.cause if record.intent is not None else record.key for record in entries}
    siblings = [record for record in entries if causes[record.key] == intent.cause]
    on_its_way = sum((notional_left(record) for record in entries), ZERO)
    limits, now_ns, unrealised = limits_of(state), state.now_ns, state.unrealised()
    day_realised = state.day.realised - state.day.fees
    return Exposure(
        held=held,
        pending_exits=pending_exits(state, symbol),
        other_open=sum(1 for record in entries if record.symbol == symbol and causes[record.key] != intent.cause),
        foreign_sells=external_exits(state, symbol),
        sibling_notional=sum((notional_left(record) for record in siblings), ZERO),
        sibling_quantity=sum(record.left for record in siblings),
        symbols=frozenset(
            {name for name, position in state.positions.items() if position.quantity} | {record.symbol for record in entries}
        ),
        opened_today=frozenset(state.day.opened) | frozenset(causes.values()),
        entries_last_minute=sum(1 for at_ns, _ in state.day.entries if now_ns - at_ns < NS_PER_MINUTE),
        symbol_entries_in_window=sum(
            1 for at_ns, name in state.day.entries if name == symbol and now_ns - at_ns < limits.throttle_window_ns
        ),
        gross_notional=gross_notional(state),
        unsettled_notional=on_its_way + state.bought_since_account,
        buying_power=state.account.buying_power if state.account is not None else ZERO,
        day_profit=day_realised + unrealised - state.day.armed_at,
        day_realised=day_realised,
        drawdown_percent=state.drawdown_percent(unrealised),
    )


def with_sibling(exposure: Exposure, intent: OrderIntent) -> Exposure:
    """The exposure of the next bracket of the same signal, once this one is approved."""
    notional = intent.quantity * (intent.limit_price or ZERO)
    return msgspec.structs.replace(
        exposure,
        sibling_notional=exposure.sibling_notional + notional,
        sibling_quantity=exposure.sibling_quantity + intent.quantity,
        unsettled_notional=exposure.unsettled_notional + notional,
        gross_notional=exposure.gross_notional + notional,
        entries_last_minute=exposure.entries_last_minute + 1,
        symbol_entries_in_window=exposure.symbol_entries_in_window + 1,
    )


def limits_of(state: State) -> Limits:
    """The live limits at this speed."""
    return Limits(risk=state.live.risk, window=state.settings.execution.entry_window, mode=state.mode, speed=state.speed)


def market_for(state: State, mark: Mark | None) -> Market:
    """The market as an exit is judged by."""
    return Market(now_ns=state.now_ns, mark=mark, session=state.day.session, clock_at_ns=state.clock_at_ns)


def system_state(state: State, symbol: str) -> SystemState:
    """Whether anything may open now."""
    trading, why = state.trading()
    account = state.account
    return SystemState(
        trading=trading,
        why=why,
        reconciled=state.reconciled,
        connected=state.connected,
        frozen=state.is_frozen(symbol),
        account_blocked=account is None or account.blocked or account.suspended,
        services_problem=state.peers_problem,
        clock_skew_ns=state.clock_skew_ns,
    )
