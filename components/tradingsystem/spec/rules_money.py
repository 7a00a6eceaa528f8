"""Relations between fields that say how much money moves and when: sizing, risk, execution. See ``rules.py``."""

import itertools

from tradingsystem.spec.resource import TradingSystemSpec
from tradingsystem.spec.risk import Risk
from tradingsystem.spec.rule import SPEC, Document, Rule
from tradingsystem.spec.section import wire_name
from tradingsystem.spec.sizing import SizingMethod

SESSION_MINUTES = 390


def _limit(name: str) -> str:
    """CEL for a risk limit, or its founding value when it is not written: the schema fills in no default there."""
    wire = wire_name(name)
    return f"(has(self.risk.{wire}) ? self.risk.{wire} : {getattr(Risk(), name)})"


def _spec(document: Document) -> TradingSystemSpec:
    return document.system.spec


# How much, and how much at most.


def _sizing_bounds_ordered(document: Document) -> bool:
    sizing = _spec(document).sizing
    return sizing.position_notional_min <= sizing.position_notional_max


def _order_limit_covers_position(document: Document) -> bool:
    spec = _spec(document)
    return spec.risk.order_notional_max >= spec.sizing.position_notional_max


def _gross_limit_covers_position(document: Document) -> bool:
    spec = _spec(document)
    return spec.risk.gross_notional_max >= spec.sizing.position_notional_max


def _capital_covers_position(document: Document) -> bool:
    spec = _spec(document)
    return spec.sizing.position_notional_max <= spec.execution.initial_capital


def _risk_based_share_covers_minimum(document: Document) -> bool:
    spec = _spec(document)
    if spec.sizing.method is not SizingMethod.RISK_BASED:
        return True
    return spec.execution.initial_capital * spec.sizing.position_max_percent >= 100 * spec.sizing.position_notional_min


def _day_allows_open_positions(document: Document) -> bool:
    risk = _spec(document).risk
    return risk.positions_open_max <= risk.positions_per_day_max


def _daily_loss_within_capital(document: Document) -> bool:
    spec = _spec(document)
    return spec.risk.daily_loss_max <= spec.execution.initial_capital


def _one_stop_within_daily_loss(document: Document) -> bool:
    spec = _spec(document)
    return spec.sizing.position_notional_max * spec.execution.stop_loss_basis_points <= spec.risk.daily_loss_max * 10_000


MONEY_RULES = (
    Rule(
        name="sizing-bounds-ordered",
        scope=SPEC,
        fields=("spec.sizing.positionNotionalMin", "spec.sizing.positionNotionalMax"),
        cel="self.sizing.positionNotionalMin <= self.sizing.positionNotionalMax",
        holds=_sizing_bounds_ordered,
        reason="the smallest position is larger than the largest",
        remedy="lower positionNotionalMin or raise positionNotionalMax",
    ),
    Rule(
        name="order-limit-covers-position",
        scope=SPEC,
        fields=("spec.risk.orderNotionalMax", "spec.sizing.positionNotionalMax"),
        cel=f"{_limit('order_notional_max')} >= self.sizing.positionNotionalMax",
        holds=_order_limit_covers_position,
        reason="the largest position could never be ordered",
        remedy="raise orderNotionalMax or lower positionNotionalMax",
    ),
    Rule(
        name="gross-limit-covers-position",
        scope=SPEC,
        fields=("spec.risk.grossNotionalMax", "spec.sizing.positionNotionalMax"),
        cel=f"{_limit('gross_notional_max')} >= self.sizing.positionNotionalMax",
        holds=_gross_limit_covers_position,
        reason="the largest position alone would pass the limit of all positions together",
        remedy="raise grossNotionalMax or lower positionNotionalMax",
    ),
    Rule(
        name="capital-covers-position",
        scope=SPEC,
        fields=("spec.sizing.positionNotionalMax", "spec.execution.initialCapital"),
        cel="self.sizing.positionNotionalMax <= self.execution.initialCapital",
        holds=_capital_covers_position,
        reason="one position may be larger than the capital",
        remedy="lower positionNotionalMax or raise initialCapital",
    ),
    Rule(
        name="risk-based-share-covers-minimum",
        scope=SPEC,
        fields=("spec.sizing.positionMaxPercent", "spec.sizing.positionNotionalMin", "spec.execution.initialCapital"),
        cel=(
            "self.sizing.method != 'RiskBased' || "
            "self.execution.initialCapital * self.sizing.positionMaxPercent >= 100 * self.sizing.positionNotionalMin"
        ),
        holds=_risk_based_share_covers_minimum,
        reason="the largest share of the capital is below the smallest position, so nothing would ever be bought",
        remedy="raise positionMaxPercent or lower positionNotionalMin",
    ),
    Rule(
        name="day-allows-open-positions",
        scope=SPEC,
        fields=("spec.risk.positionsOpenMax", "spec.risk.positionsPerDayMax"),
        cel=f"{_limit('positions_open_max')} <= {_limit('positions_per_day_max')}",
        holds=_day_allows_open_positions,
        reason="more positions may be open than may be opened in a day",
        remedy="lower positionsOpenMax or raise positionsPerDayMax",
    ),
    Rule(
        name="daily-loss-within-capital",
        scope=SPEC,
        fields=("spec.risk.dailyLossMax", "spec.execution.initialCapital"),
        cel=f"{_limit('daily_loss_max')} <= self.execution.initialCapital",
        holds=_daily_loss_within_capital,
        reason="the daily loss limit is larger than the capital, so it limits nothing",
        remedy="lower dailyLossMax",
    ),
    Rule(
        name="one-stop-within-daily-loss",
        scope=SPEC,
        fields=("spec.risk.dailyLossMax", "spec.sizing.positionNotionalMax", "spec.execution.stopLossBasisPoints"),
        cel=f"self.sizing.positionNotionalMax * self.execution.stopLossBasisPoints <= {_limit('daily_loss_max')} * 10000",
        holds=_one_stop_within_daily_loss,
        reason="a single stop could lose more than the whole day may",
        remedy="raise dailyLossMax, or lower positionNotionalMax or stopLossBasisPoints",
    ),
)


# When, and how a position is left.


def _targets_ascend(document: Document) -> bool:
    distances = [target.at_basis_points for target in _spec(document).execution.take_profits]
    return all(near < far for near, far in itertools.pairwise(distances))


def _shares_sum_to_100(document: Document) -> bool:
    return sum(target.share_percent for target in _spec(document).execution.take_profits) == 100


def _stop_beyond_spread(document: Document) -> bool:
    spec = _spec(document)
    return spec.execution.stop_loss_basis_points > spec.universe.spread_max_basis_points


def _entries_end_before_flattening(document: Document) -> bool:
    execution = _spec(document).execution
    return execution.entry_window.before_close_minutes > execution.flatten_before_close_minutes


def _entry_window_is_open(document: Document) -> bool:
    window = _spec(document).execution.entry_window
    return window.after_open_minutes + window.before_close_minutes < SESSION_MINUTES


_TARGETS = "self.execution.takeProfits"

EXECUTION_RULES = (
    Rule(
        name="targets-ascend",
        scope=SPEC,
        fields=("spec.execution.takeProfits",),
        cel=f"{_TARGETS}.size() < 2 || {_TARGETS}[0].atBasisPoints < {_TARGETS}[1].atBasisPoints",
        holds=_targets_ascend,
        reason="the targets are not in the order in which they are reached",
        remedy="sort takeProfits by atBasisPoints, nearest first",
    ),
    Rule(
        name="shares-sum-to-100",
        scope=SPEC,
        fields=("spec.execution.takeProfits",),
        cel=f"{_TARGETS}[0].sharePercent + ({_TARGETS}.size() > 1 ? {_TARGETS}[1].sharePercent : 0) == 100",
        holds=_shares_sum_to_100,
        reason="the shares of the targets do not sum to 100",
        remedy="change sharePercent until they do",
    ),
    Rule(
        name="stop-beyond-spread",
        scope=SPEC,
        fields=("spec.execution.stopLossBasisPoints", "spec.universe.spreadMaxBasisPoints"),
        cel="self.execution.stopLossBasisPoints > self.universe.spreadMaxBasisPoints",
        holds=_stop_beyond_spread,
        reason="the stop lies inside the spread, so an entry would be stopped out by its own cost",
        remedy="raise stopLossBasisPoints or lower spreadMaxBasisPoints",
    ),
    Rule(
        name="entries-end-before-flattening",
        scope=SPEC,
        fields=("spec.execution.entryWindow.beforeCloseMinutes", "spec.execution.flattenBeforeCloseMinutes"),
        cel="self.execution.entryWindow.beforeCloseMinutes > self.execution.flattenBeforeCloseMinutes",
        holds=_entries_end_before_flattening,
        reason="positions could be opened after everything was flattened",
        remedy="raise entryWindow.beforeCloseMinutes or lower flattenBeforeCloseMinutes",
    ),
    Rule(
        name="entry-window-is-open",
        scope=SPEC,
        fields=("spec.execution.entryWindow.afterOpenMinutes", "spec.execution.entryWindow.beforeCloseMinutes"),
        cel=f"self.execution.entryWindow.afterOpenMinutes + self.execution.entryWindow.beforeCloseMinutes < {SESSION_MINUTES}",
        holds=_entry_window_is_open,
        reason=f"the window has no minute of a session of {SESSION_MINUTES} left",
        remedy="lower afterOpenMinutes or beforeCloseMinutes",
    ),
)
