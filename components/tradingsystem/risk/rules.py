"""One small function per rule, one row per function: code, whom it applies to, what it holds.

Exists so that a refusal names exactly one reason and the documentation is this table. A rule says why not, or None; every comparison is written so
that NaN refuses. Exits pass only what protects from selling too much or from a mistyped order: never loss, notional, count or rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from tradingsystem.domain.orders import Side
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.domain.trading import TradingState
from tradingsystem.risk.question import CLOCK_AGE_NS, CLOCK_SKEW_NS, ENTRY_DATA_AGE_NS, SCALED_TICK_NS, Limits, Question
from tradingsystem.spec.resource import Mode

BASIS = 10_000


class Rule(NamedTuple):
    """``refuses`` returns the reason, or None when the order may pass."""

    code: str
    holds: str
    refuses: Callable[[Question], str | None]


def at_most(value: Decimal | float, limit: Decimal | float) -> bool:
    """Whether value <= limit; False when either is not finite, because a limit that cannot be compared is not kept."""
    return _is_finite(value) and _is_finite(limit) and value <= limit


def _is_finite(value: Decimal | float) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def trading_state(question: Question) -> str | None:
    state = question.state
    return None if state.trading is TradingState.ACTIVE else f"{state.trading.value}: {state.why}"


def not_reconciled(question: Question) -> str | None:
    return None if question.state.reconciled else "positions and orders have not been compared with the broker's since the last connection"


def not_connected(question: Question) -> str | None:
    return None if question.state.connected else "the broker's updates are not being received"


def symbol_frozen(question: Question) -> str | None:
    return "an outcome is UNKNOWN, or the broker disagrees" if question.state.frozen else None


def account_blocked(question: Question) -> str | None:
    return "the broker has blocked or suspended the account" if question.state.account_blocked else None


def services_disagree(question: Question) -> str | None:
    return question.state.services_problem or None


def long_only(question: Question) -> str | None:
    return None if question.intent.side is Side.BUY else "an entry buys"


def numbers(question: Question) -> str | None:
    intent = question.intent
    prices = [price for price in (intent.limit_price, intent.stop_price, intent.target_price, intent.stop_loss_price) if price is not None]
    for price in prices:
        if not (price.is_finite() and price > 0):
            return f"a price is {price}"
        if price != price.quantize(tick_of(price)):
            return f"{price} is not a multiple of {tick_of(price)}"
    return None if intent.quantity >= 1 else f"quantity is {intent.quantity}"


def tick_of(price: Decimal) -> Decimal:
    """SEC rule 612: a cent from one dollar on, a hundredth of a cent below."""
    return Decimal("0.01") if price >= 1 else Decimal("0.0001")


def bracket_complete(question: Question) -> str | None:
    intent = question.intent
    if intent.limit_price is None or intent.target_price is None or intent.stop_loss_price is None:
        return "an entry is a limit order with target and stop"
    if intent.stop_loss_price < intent.limit_price < intent.target_price:
        return None
    return f"stop {intent.stop_loss_price}, limit {intent.limit_price}, target {intent.target_price} must rise"


def model_simulated(question: Question) -> str | None:
    if question.limits.mode is Mode.SIMULATION:
        return None
    return "the model was trained on simulated data" if question.market.simulated_model else None


def probe_outside_simulation(question: Question) -> str | None:
    return "a probe trades only in Simulation" if question.intent.probe and question.limits.mode is not Mode.SIMULATION else None


def signal_expired(question: Question) -> str | None:
    market = question.market
    return None if market.signal_at_ns <= market.now_ns < market.signal_expires_ns else "the signal's time is over or has not come"


def session_closed(question: Question) -> str | None:
    session = question.market.session
    return None if session is not None and session.contains(question.market.now_ns) else "the regular session is not running"


def entry_window(question: Question) -> str | None:
    session, window, now_ns = question.market.session, question.limits.window, question.market.now_ns
    if session is None:
        return "no session"
    first = session.open_ns + window.after_open_minutes * NS_PER_MINUTE
    last = session.close_ns - window.before_close_minutes * NS_PER_MINUTE
    return None if first <= now_ns < last else "outside the entry window of this session"


def clock_stale(question: Question) -> str | None:
    age_ns = question.market.now_ns - question.market.clock_at_ns
    limit_ns = question.limits.age_ns(CLOCK_AGE_NS, SCALED_TICK_NS)
    return None if age_ns <= limit_ns else f"market time was confirmed {age_ns / NS_PER_SECOND:.1f} s ago"


def clock_skewed(question: Question) -> str | None:
    return skew_problem(question.state.clock_skew_ns, question.limits)


def skew_problem(skew_ns: int, limits: Limits) -> str | None:
    """Why nothing may open with the clocks so far apart."""
    if abs(skew_ns) <= limits.age_ns(CLOCK_SKEW_NS, SCALED_TICK_NS):
        return None
    return f"this machine's clock is at least {abs(skew_ns) / NS_PER_SECOND:.1f} s {'ahead of' if skew_ns > 0 else 'behind'} the broker's: set it right"


def data_stale(question: Question) -> str | None:
    mark = question.market.mark
    if mark is None:
        return "no market data of this symbol"
    age_ns = question.market.now_ns - mark.at_ns
    limit_ns = question.limits.age_ns(ENTRY_DATA_AGE_NS)
    return None if abs(age_ns) <= limit_ns else f"the quote is {age_ns / NS_PER_SECOND:.1f} s old"


def halted(question: Question) -> str | None:
    mark = question.market.mark
    return "trading in the symbol is halted" if mark is None or mark.halted else None


def quote_unusable(question: Question) -> str | None:
    mark = question.market.mark
    if mark is not None and math.isfinite(mark.bid) and math.isfinite(mark.ask) and 0 < mark.bid <= mark.ask:
        return None
    return "bid and ask are missing, crossed or not numbers"


def price_collar(question: Question) -> str | None:
    mark, price = question.market.mark, question.intent.limit_price
    if mark is None or price is None:
        return "no price to compare"
    middle = (mark.bid + mark.ask) / 2
    distance = (float(price) / middle - 1) * BASIS if middle else math.nan
    collar = question.limits.risk.price_collar_basis_points
    return (
        None if at_most(distance, collar) else f"limit {price} is {distance:.1f} basis points above the mid {middle:.4f}, at most {collar}"
    )


def limit_bands(question: Question) -> str | None:
    mark, price = question.market.mark, question.intent.limit_price
    if mark is None or price is None:
        return "no price to compare"
    if mark.upper_band is not None and not at_most(float(price), mark.upper_band):
        return f"limit {price} is above the LULD band {mark.upper_band}"
    if mark.lower_band is not None and not at_most(mark.lower_band, float(price)):
        return f"limit {price} is below the LULD band {mark.lower_band}"
    return "the offer stands at the lower band: limit state" if mark.lower_band is not None and at_most(mark.ask, mark.lower_band) else None


def order_notional(question: Question) -> str | None:
    notional = question.notional + question.exposure.sibling_notional
    limit = question.limits.risk.order_notional_max
    return None if at_most(notional, limit) else f"{notional} dollars with its siblings, at most {limit}"


def order_quantity(question: Question) -> str | None:
    shares = question.intent.quantity + question.exposure.sibling_quantity
    limit = question.limits.risk.order_quantity_max
    return None if at_most(shares, limit) else f"{shares} shares with its siblings, at most {limit}"


def volume_unknown(question: Question) -> str | None:
    """Refused rather than let through: the filter brings no such symbol, neither on generated days nor on recorded ones without history, so what brings one
    is a mistake."""
    average = question.market.average_volume
    if average is not None and math.isfinite(average) and average > 0:
        return None
    return f"the symbol's average daily volume is {'unknown' if average is None else average}: nothing says how many shares are few"


def daily_volume(question: Question) -> str | None:
    average = question.market.average_volume
    shares = question.intent.quantity + question.exposure.sibling_quantity
    limit = question.limits.risk.daily_volume_share_max_basis_points
    if average is not None and at_most(shares * BASIS, limit * average):
        return None
    return f"{shares} shares with its siblings, at most {limit / 100:g} % of a day's {average} shares"


def gross_exposure(question: Question) -> str | None:
    gross = question.notional + question.exposure.gross_notional
    limit = question.limits.risk.gross_notional_max
    return None if at_most(gross, limit) else f"{gross:.2f} dollars held and on their way with it, at most {limit}"


def buying_power(question: Question) -> str | None:
    exposure = question.exposure
    needed = question.notional + exposure.unsettled_notional
    return None if at_most(needed, exposure.buying_power) else f"{needed} needed with what is on its way, {exposure.buying_power} there"


def positions_open(question: Question) -> str | None:
    count = len(question.exposure.symbols | {question.intent.symbol})
    limit = question.limits.risk.positions_open_max
    return None if at_most(count, limit) else f"it would be position {count}, at most {limit} at once"


def positions_per_day(question: Question) -> str | None:
    count = len(question.exposure.opened_today | {question.intent.cause})
    limit = question.limits.risk.positions_per_day_max
    return None if at_most(count, limit) else f"it would be position {count} of the day, at most {limit}"


def symbol_busy(question: Question) -> str | None:
    exposure = question.exposure
    if exposure.other_open:
        return f"{exposure.other_open} other entry orders of this symbol are open or UNKNOWN"
    return f"{exposure.held} shares are held already" if exposure.held and not exposure.sibling_notional else None


def self_cross(question: Question) -> str | None:
    shares = question.exposure.foreign_sells
    return f"a sell of {shares} shares that is not ours is open in the symbol on this account" if shares else None


def order_rate(question: Question) -> str | None:
    count = question.exposure.entries_last_minute + 1
    limit = question.limits.risk.orders_per_minute_max
    return None if at_most(count, limit) else f"it would be entry order {count} inside one minute, at most {limit}"


def repeated_execution(question: Question) -> str | None:
    count = question.exposure.symbol_entries_in_window + 1
    limit = question.limits.throttle_entries_max
    return None if at_most(count, limit) else f"it would be entry order {count} of {question.intent.symbol} in ten minutes, at most {limit}"


def daily_loss(question: Question) -> str | None:
    limit = question.limits.risk.daily_loss_max
    profit = question.exposure.day_profit
    return None if at_most(-profit, limit) and -profit != limit else f"the day stands at {profit}, the limit is -{limit}"


def drawdown(question: Question) -> str | None:
    limit = question.limits.risk.drawdown_max_percent
    percent = question.exposure.drawdown_percent
    return None if at_most(percent, limit) and percent != limit else f"equity is {percent:.2f} % below its peak, the limit is {limit}"


def target_reached(question: Question) -> str | None:
    target = question.limits.risk.daily_target
    realised = question.exposure.day_realised
    return (
        None if target == 0 or (at_most(realised, target) and realised != target) else f"{realised} realised of the day's target {target}"
    )


def sells_only(question: Question) -> str | None:
    return None if question.intent.side is Side.SELL else "an exit sells"


def sells_what_is_held(question: Question) -> str | None:
    exposure, quantity = question.exposure, question.intent.quantity
    free = exposure.held - exposure.pending_exits
    return (
        None
        if quantity <= free
        else f"{quantity} shares, but {exposure.held} held less {exposure.pending_exits} in open exits leave {free}"
    )


BOTH_RULES = (Rule("numbers", "Prices finite, above 0 and on the tick; at least one whole share.", numbers),)

ENTRY_RULES = (
    Rule("trading-state", "Entries only while Active.", trading_state),
    Rule("services-disagree", "All services run the same build, schema and boot settings.", services_disagree),
    Rule("not-connected", "The broker's updates are being received.", not_connected),
    Rule("not-reconciled", "The account has been compared with our fills since the last connection.", not_reconciled),
    Rule("account-blocked", "The broker lets the account trade.", account_blocked),
    Rule("symbol-frozen", "No UNKNOWN outcome and no difference in the symbol.", symbol_frozen),
    Rule("long-only", "An entry buys.", long_only),
    Rule("bracket-complete", "An entry is a limit order with target above and stop below.", bracket_complete),
    Rule("model-simulated", "A model trained on simulated data opens nothing in Paper or Live.", model_simulated),
    Rule("probe", "Probes trade only in Simulation.", probe_outside_simulation),
    Rule("signal-expired", "The signal has begun and has not expired.", signal_expired),
    Rule("session-closed", "The regular session is running on the broker's word.", session_closed),
    Rule("entry-window", "Inside spec.execution.entryWindow of that day's real session.", entry_window),
    Rule("clock-stale", "Market time was confirmed within 5 s.", clock_stale),
    Rule("clock-skewed", "Our clock is at most 0.5 s from the broker's, as far as its answers prove.", clock_skewed),
    Rule("data-stale", "The symbol's quote is at most 5 s old.", data_stale),
    Rule("halted", "The symbol is not halted.", halted),
    Rule("quote-unusable", "Bid and ask are there, finite and not crossed.", quote_unusable),
    Rule("price-collar", "The limit is at most spec.risk.priceCollarBasisPoints above the fresh mid.", price_collar),
    Rule("limit-bands", "The limit lies inside the LULD bands and the symbol is not in a limit state.", limit_bands),
    Rule("order-notional", "The order with its siblings costs at most spec.risk.orderNotionalMax.", order_notional),
    Rule("order-quantity", "The order with its siblings has at most spec.risk.orderQuantityMax shares.", order_quantity),
    Rule("volume-unknown", "The average daily volume of the symbol is known.", volume_unknown),
    Rule(
        "daily-volume",
        "The order with its siblings has at most spec.risk.dailyVolumeShareMaxBasisPoints of the symbol's average daily volume.",
        daily_volume,
    ),
    Rule(
        "gross-exposure",
        "With it, all that is held, open or UNKNOWN costs at most spec.risk.grossNotionalMax; long only, so gross is net.",
        gross_exposure,
    ),
    Rule("buying-power", "By our own count the account can pay for it and for all that is on its way.", buying_power),
    Rule("positions-open", "At most spec.risk.positionsOpenMax positions, open and UNKNOWN entries counted.", positions_open),
    Rule("positions-per-day", "At most spec.risk.positionsPerDayMax positions opened in one day.", positions_per_day),
    Rule("symbol-busy", "One decision per symbol: nothing held, no other entry open or UNKNOWN.", symbol_busy),
    Rule("self-cross", "No other sell of this account is open in the symbol: buying from it is a wash trade.", self_cross),
    Rule("order-rate", "At most spec.risk.ordersPerMinuteMax entry orders in one minute.", order_rate),
    Rule("repeated-execution", "At most six entry orders of one symbol in ten minutes; more latches.", repeated_execution),
    Rule("daily-loss", "The day's loss, realised and marked, is under spec.risk.dailyLossMax.", daily_loss),
    Rule("drawdown", "Equity is less than spec.risk.drawdownMaxPercent below its peak.", drawdown),
    Rule("target-reached", "The day's realised profit is under spec.risk.dailyTarget.", target_reached),
)

EXIT_RULES = (
    Rule("sells-only", "An exit sells.", sells_only),
    Rule("sells-what-is-held", "An exit sells at most what is held less pending exits.", sells_what_is_held),
)
