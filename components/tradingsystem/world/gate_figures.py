"""What each rule of the risk gate compared, in words: the value it found and the limit it holds.

Exists so that a refusal, and an approval, can be read without the code. It refuses to decide: the answers are the rules' own, asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import msgspec

from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND, new_york_clock, new_york_date
from tradingsystem.risk.gate import rules_for
from tradingsystem.risk.question import CLOCK_AGE_NS, CLOCK_SKEW_NS, ENTRY_DATA_AGE_NS, SCALED_TICK_NS, Question
from tradingsystem.risk.rules import Rule, tick_of


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's answer. ``refused`` is its reason, None when the order passed; ``asked`` is false for rules after the first refusal."""

    code: str
    holds: str
    value: str
    limit: str
    refused: str | None
    asked: bool


def answers_to(question: Question) -> tuple[Answer, ...]:
    """Every rule that applies to the order, in the gate's sequence; after the first refusal the others were not asked."""
    found: list[Answer] = []
    refused = False
    for rule in rules_for(question.intent.purpose):
        value, limit = FIGURES[rule.code](question)
        reason = None if refused else _ask(rule, question)
        found.append(Answer(code=rule.code, holds=rule.holds, value=value, limit=limit, refused=reason, asked=not refused))
        refused = refused or reason is not None
    return tuple(found)


def _ask(rule: Rule, question: Question) -> str | None:
    try:
        return rule.refuses(question)
    except InvalidOperation as error:  # the gate refuses then, too
        return f"cannot be compared: {error}"


def _prices(question: Question) -> tuple[str, str]:
    intent = question.intent
    price = intent.limit_price
    tick = f"tick {tick_of(price)}" if price is not None and price.is_finite() else "finite"
    return f"{intent.quantity} at {price}", f"at least 1, above 0, {tick}"


def _bracket(question: Question) -> tuple[str, str]:
    intent = question.intent
    return f"{intent.stop_loss_price} < {intent.limit_price} < {intent.target_price}", "stop < limit < target"


def _expiry(question: Question) -> tuple[str, str]:
    market = question.market
    span = f"{new_york_clock(market.signal_at_ns)} to {new_york_clock(market.signal_expires_ns)}"
    return new_york_clock(market.now_ns), span


def _session(question: Question) -> tuple[str, str]:
    session = question.market.session
    span = "no session" if session is None else f"{session.day} {new_york_clock(session.open_ns)} to {new_york_clock(session.close_ns)}"
    now_ns = question.market.now_ns
    return f"{new_york_date(now_ns)} {new_york_clock(now_ns)}", span


def _window(question: Question) -> tuple[str, str]:
    session, window = question.market.session, question.limits.window
    if session is None:
        return new_york_clock(question.market.now_ns), "no session"
    first = session.open_ns + window.after_open_minutes * NS_PER_MINUTE
    last = session.close_ns - window.before_close_minutes * NS_PER_MINUTE
    return new_york_clock(question.market.now_ns), f"{new_york_clock(first)} to {new_york_clock(last)}"


def _clock(question: Question) -> tuple[str, str]:
    market, limits = question.market, question.limits
    return _age(market.now_ns - market.clock_at_ns), _most(_age(limits.age_ns(CLOCK_AGE_NS, SCALED_TICK_NS)))


def _skew(question: Question) -> tuple[str, str]:
    limit_ns = question.limits.age_ns(CLOCK_SKEW_NS, SCALED_TICK_NS)
    return f"{question.state.clock_skew_ns / NS_PER_SECOND:+.1f} s", _most(f"{_age(limit_ns)} either way")


def _data(question: Question) -> tuple[str, str]:
    market = question.market
    value = "no quote" if market.mark is None else _age(market.now_ns - market.mark.at_ns)
    return value, _most(_age(question.limits.age_ns(ENTRY_DATA_AGE_NS)))


def _age(elapsed_ns: int) -> str:
    return f"{elapsed_ns / NS_PER_SECOND:.1f} s"


def _quote(question: Question) -> tuple[str, str]:
    mark = question.market.mark
    return "no quote" if mark is None else f"{mark.bid} / {mark.ask}", "0 < bid <= ask"


def _collar(question: Question) -> tuple[str, str]:
    mark, price = question.market.mark, question.intent.limit_price
    limit = _most(f"{question.limits.risk.price_collar_basis_points} bp above the mid")
    middle = 0.0 if mark is None else (mark.bid + mark.ask) / 2
    return (f"{(float(price) / middle - 1) * 1e4:.1f} bp" if price is not None and middle else "no price"), limit


def _bands(question: Question) -> tuple[str, str]:
    mark = question.market.mark
    lower, upper = (None, None) if mark is None else (mark.lower_band, mark.upper_band)
    return f"{question.intent.limit_price}", f"{lower or 'unknown'} to {upper or 'unknown'}"


def _notional(question: Question) -> tuple[str, str]:
    return f"{question.notional + question.exposure.sibling_notional:,.2f}", _most(f"{question.limits.risk.order_notional_max:,}")


def _quantity(question: Question) -> tuple[str, str]:
    return f"{question.intent.quantity + question.exposure.sibling_quantity:,}", _most(f"{question.limits.risk.order_quantity_max:,}")


def _daily_volume(question: Question) -> tuple[str, str]:
    average, limit = question.market.average_volume, question.limits.risk.daily_volume_share_max_basis_points
    shares = question.intent.quantity + question.exposure.sibling_quantity
    return f"{shares:,}", _most("unknown" if average is None else f"{limit * average / 10_000:,.0f}")


def _gross(question: Question) -> tuple[str, str]:
    return f"{question.notional + question.exposure.gross_notional:,.2f}", _most(f"{question.limits.risk.gross_notional_max:,}")


def _buying_power(question: Question) -> tuple[str, str]:
    exposure = question.exposure
    return f"{question.notional + exposure.unsettled_notional:,.2f}", _most(f"{exposure.buying_power:,.2f}")


def _positions(question: Question) -> tuple[str, str]:
    count = len(question.exposure.symbols | {question.intent.symbol})
    return str(count), _most(question.limits.risk.positions_open_max)


def _positions_day(question: Question) -> tuple[str, str]:
    count = len(question.exposure.opened_today | {question.intent.cause})
    return str(count), _most(question.limits.risk.positions_per_day_max)


def _busy(question: Question) -> tuple[str, str]:
    exposure = question.exposure
    return f"{exposure.held} held, {exposure.other_open} other entries", "0 held, 0 other entries"


def _sells(question: Question) -> tuple[str, str]:
    exposure = question.exposure
    return str(question.intent.quantity), _most(f"{exposure.held - exposure.pending_exits}")


def _target(question: Question) -> tuple[str, str]:
    target = question.limits.risk.daily_target
    return f"{question.exposure.day_realised:,.2f}", f"below {target:,}" if target else "none set"


def _most(limit: Decimal | float | str) -> str:
    return f"at most {limit}"


FIGURES: dict[str, Callable[[Question], tuple[str, str]]] = {
    "numbers": _prices,
    "trading-state": lambda question: (question.state.trading.value, "Active"),
    "services-disagree": lambda question: (question.state.services_problem or "agree", "agree"),
    "not-connected": lambda question: ("connected" if question.state.connected else "not connected", "connected"),
    "not-reconciled": lambda question: ("reconciled" if question.state.reconciled else "not reconciled", "reconciled"),
    "account-blocked": lambda question: ("blocked" if question.state.account_blocked else "free", "free"),
    "symbol-frozen": lambda question: ("frozen" if question.state.frozen else "free", "free"),
    "long-only": lambda question: (question.intent.side.value, "Buy"),
    "bracket-complete": _bracket,
    "model-simulated": lambda question: ("simulated data" if question.market.simulated_model else "real data", question.limits.mode.value),
    "probe": lambda question: ("probe" if question.intent.probe else "no probe", question.limits.mode.value),
    "signal-expired": _expiry,
    "session-closed": _session,
    "entry-window": _window,
    "clock-stale": _clock,
    "clock-skewed": _skew,
    "data-stale": _data,
    "halted": lambda question: ("halted" if question.market.mark is None or question.market.mark.halted else "trading", "trading"),
    "quote-unusable": _quote,
    "price-collar": _collar,
    "limit-bands": _bands,
    "order-notional": _notional,
    "order-quantity": _quantity,
    "volume-unknown": lambda question: (
        "unknown" if question.market.average_volume is None else f"{question.market.average_volume:,.0f} a day",
        "known",
    ),
    "daily-volume": _daily_volume,
    "gross-exposure": _gross,
    "buying-power": _buying_power,
    "positions-open": _positions,
    "positions-per-day": _positions_day,
    "symbol-busy": _busy,
    "self-cross": lambda question: (f"{question.exposure.foreign_sells} shares in foreign sells", "0"),
    "order-rate": lambda question: (
        f"{question.exposure.entries_last_minute + 1} a minute",
        _most(question.limits.risk.orders_per_minute_max),
    ),
    "repeated-execution": lambda question: (
        f"{question.exposure.symbol_entries_in_window + 1} in ten minutes",
        _most(question.limits.throttle_entries_max),
    ),
    "daily-loss": lambda question: (f"{question.exposure.day_profit:+,.2f}", f"above {-question.limits.risk.daily_loss_max:,}"),
    "drawdown": lambda question: (f"{question.exposure.drawdown_percent:.2f} %", f"below {question.limits.risk.drawdown_max_percent} %"),
    "target-reached": _target,
    "sells-only": lambda question: (question.intent.side.value, "Sell"),
    "sells-what-is-held": _sells,
}
"""By a rule's code: what it found and what it holds."""
