"""What in a valid resource cannot add up, with the arithmetic. Advice never refuses: the numbers are shown and the person decides."""

from collections.abc import Callable, Iterator

import msgspec

from tradingsystem.spec.execution import Account, Execution
from tradingsystem.spec.messaging import is_encrypted
from tradingsystem.spec.resource import Mode, TradingSystem, TradingSystemSpec
from tradingsystem.spec.section import wire_name
from tradingsystem.spec.sizing import Sizing, SizingMethod
from tradingsystem.spec.sources import Channel, DataFeed, SourceType, channels_of
from tradingsystem.spec.universe import Selection

HALF_DAY_MINUTES = 210
WIN_RATE_HARD_PERCENT = 70
STOPS_A_DAY_FEW = 3


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One remark: the field it is about, and the arithmetic behind it."""

    name: str
    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


def warnings(system: TradingSystem) -> tuple[Advice, ...]:
    """Every remark on a valid resource, in the order of ``REMARKS``."""
    found = []
    for name, field, remark in REMARKS:
        found += [Advice(name=name, field=field, text=text) for text in remark(system.spec)]
    return tuple(found)


def percent(basis_points: float) -> str:
    """Basis points as percent, without trailing zeros: 75 is ``0.75 %``."""
    return f"{basis_points / 100:.4f}".rstrip("0").rstrip(".") + " %"


def target_basis_points(execution: Execution) -> float:
    """What a position gains when every target is reached, in basis points of its notional: targets weighted by their shares."""
    return sum(target.at_basis_points * target.share_percent for target in execution.take_profits) / 100


def break_even_percent(spec: TradingSystemSpec) -> float:
    """Share of winning trades at which nothing is earned, percent, paying the widest spread once:
    p x target = (1 - p) x stop + spread."""
    target, stop = target_basis_points(spec.execution), spec.execution.stop_loss_basis_points
    return 100 * (stop + spec.universe.spread_max_basis_points) / (target + stop)


def _target_out_of_reach(spec: TradingSystemSpec) -> Iterator[str]:
    count, notional, target = spec.risk.positions_per_day_max, spec.sizing.position_notional_max, target_basis_points(spec.execution)
    best = count * notional * target / 10_000
    if spec.risk.daily_target and best < spec.risk.daily_target:
        yield (
            f"{count:,} positions x {notional:,} x {percent(target)} = {best:,.0f} a day at best "
            f"cannot reach the daily target of {spec.risk.daily_target:,}"
        )


def _capital_too_small(spec: TradingSystemSpec) -> Iterator[str]:
    count, notional, capital = spec.risk.positions_open_max, spec.sizing.position_notional_max, spec.execution.initial_capital
    if count * notional > capital:
        yield f"{count:,} positions x {notional:,} = {count * notional:,} is more than the capital of {capital:,}; {capital // notional:,} fit"


def _gross_limit_before_count(spec: TradingSystemSpec) -> Iterator[str]:
    count, notional, limit = spec.risk.positions_open_max, spec.sizing.position_notional_max, spec.risk.gross_notional_max
    if count * notional > limit:
        yield f"{count:,} positions x {notional:,} = {count * notional:,} is more than the gross limit of {limit:,}; {limit // notional:,} of the largest fit"


def _quantity_limit_before_notional(spec: TradingSystemSpec) -> Iterator[str]:
    shares, price, notional = spec.risk.order_quantity_max, spec.universe.price_min, spec.sizing.position_notional_max
    if shares * price < notional:
        yield (
            f"{shares:,} shares x the lowest price of {price:,} = {shares * price:,} is less than the largest position of {notional:,}: "
            f"below a price of {notional / shares:,.2f} the largest is refused"
        )


def _volume_limit_before_notional(spec: TradingSystemSpec) -> Iterator[str]:
    turnover, share, notional = (
        spec.universe.dollar_volume_min,
        spec.risk.daily_volume_share_max_basis_points,
        spec.sizing.position_notional_max,
    )
    if turnover * share < notional * 10_000:
        yield (
            f"{percent(share)} of the lowest turnover of {turnover:,} = {turnover * share / 10_000:,.0f} is less than the largest position of {notional:,}: "
            f"below a turnover of {notional * 10_000 / share:,.0f} a day the largest is refused"
        )


def _few_stops_end_the_day(spec: TradingSystemSpec) -> Iterator[str]:
    notional, stop, limit = spec.sizing.position_notional_max, spec.execution.stop_loss_basis_points, spec.risk.daily_loss_max
    one = notional * stop / 10_000
    if limit < STOPS_A_DAY_FEW * one:
        yield f"one stop loses {notional:,} x {percent(stop)} = {one:,.0f}; {limit / one:.1f} of them reach the daily loss of {limit:,} and end the day"


def _drawdown_before_daily_loss(spec: TradingSystemSpec) -> Iterator[str]:
    capital, share, limit = spec.execution.initial_capital, spec.risk.drawdown_max_percent, spec.risk.daily_loss_max
    if capital * share < 100 * limit:
        yield f"{share} % of {capital:,} = {capital * share / 100:,.0f} is reached before the daily loss of {limit:,}, which therefore never speaks"


def _wins_needed(spec: TradingSystemSpec) -> Iterator[str]:
    needed = break_even_percent(spec)
    if needed > WIN_RATE_HARD_PERCENT:
        target, stop = target_basis_points(spec.execution), spec.execution.stop_loss_basis_points
        spread = spec.universe.spread_max_basis_points
        yield (
            f"(stop {percent(stop)} + spread {percent(spread)}) / (target {percent(target)} + stop {percent(stop)}) = "
            f"{needed:.0f} % of trades must win only to break even"
        )


def _spread_eats_target(spec: TradingSystemSpec) -> Iterator[str]:
    first, spread = spec.execution.take_profits[0].at_basis_points, spec.universe.spread_max_basis_points
    if first < 2 * spread:
        yield f"a spread of {percent(spread)} takes {100 * spread / first:.0f} % of the first target of {percent(first)}"


def _kelly_minimum(spec: TradingSystemSpec) -> Iterator[str]:
    if spec.sizing.method is not SizingMethod.KELLY:
        return
    share, minimum, capital = spec.sizing.kelly_fraction_percent, spec.sizing.position_notional_min, spec.execution.initial_capital
    bet = 100 * minimum / (share * capital)
    odds = target_basis_points(spec.execution) / spec.execution.stop_loss_basis_points
    needed = 100 * (bet * odds + 1) / (odds + 1)
    if needed > WIN_RATE_HARD_PERCENT:
        yield (
            f"{minimum:,} / ({share} % x {capital:,}) = a full Kelly bet of {100 * bet:.0f} %, which at odds of {odds:.2f} needs p of "
            f"{needed:.0f} %{'; nothing will ever be bought' if needed > 100 else ''}"
        )


def _other_methods_fields(spec: TradingSystemSpec) -> Iterator[str]:
    default = Sizing()
    kelly = spec.sizing.method is SizingMethod.KELLY
    other = ("risk_per_trade_basis_points", "position_max_percent") if kelly else ("kelly_fraction_percent",)
    for name in other:
        if getattr(spec.sizing, name) != getattr(default, name):
            yield f"{wire_name(name)} = {getattr(spec.sizing, name)} has no effect while method is {spec.sizing.method}"


def _vix_is_missing(spec: TradingSystemSpec) -> Iterator[str]:
    if spec.sizing.vix_scaling and not any(Channel.INDICES in channels_of(source) for source in spec.sources):
        yield "vixScaling is on but no source carries Indices: every size is multiplied by 0.5 and the Bear rule applies all day"


def _no_entries_on_half_days(spec: TradingSystemSpec) -> Iterator[str]:
    window = spec.execution.entry_window
    if window.after_open_minutes + window.before_close_minutes >= HALF_DAY_MINUTES:
        yield f"{window.after_open_minutes} + {window.before_close_minutes} minutes leave nothing of a half-day's {HALF_DAY_MINUTES}: no entries on half-days"


def _expiry_outlives_cooldown(spec: TradingSystemSpec) -> Iterator[str]:
    expiry, cooldown = spec.ensemble.signal_expiry_seconds, spec.ensemble.symbol_cooldown_minutes
    if expiry > cooldown * 60:
        yield f"a signal lives {expiry:,} seconds, longer than the cooldown of {cooldown} x 60 = {cooldown * 60:,}: the next one of its symbol waits for it"


def _one_exchange_only(spec: TradingSystemSpec) -> Iterator[str]:
    for source in spec.sources:
        if source.type is SourceType.ALPACA and source.feed is DataFeed.IEX:
            yield f"{source.name} sees IEX only, about 2 % of volume: volume ratios and spreads are not the market's"


def _few_symbols(spec: TradingSystemSpec) -> Iterator[str]:
    count, wanted = len(spec.universe.symbols), spec.risk.positions_open_max
    if spec.universe.selection is Selection.LIST and count < wanted:
        yield f"{count:,} symbols are listed, so at most {count:,} of {wanted:,} positions can be open"


def _pin_stops_promotion(spec: TradingSystemSpec) -> Iterator[str]:
    learns = spec.learning.incremental.schedule or spec.learning.retrain.schedule
    if spec.models.pinned_version and learns and spec.mode is not Mode.SIMULATION:
        yield f"version {spec.models.pinned_version} is pinned: learning goes on, but what it makes does not serve until the pin is removed"


def _shared_account_live(spec: TradingSystemSpec) -> Iterator[str]:
    if spec.mode is Mode.LIVE and spec.execution.account is Account.SHARED:
        yield "in a shared account a foreign order in a symbol we hold looks like ours going wrong; a mismatch there halts us"


def _journal_on_one_server(spec: TradingSystemSpec) -> Iterator[str]:
    if spec.messaging.external and spec.messaging.replicas == 1:
        yield "one member keeps the journal: while it is away nothing is sent, whatever the others do"


def _passwords_in_clear(spec: TradingSystemSpec) -> Iterator[str]:
    if any(not is_encrypted(url) for url in spec.messaging.urls):
        yield "without TLS whoever sees the network sees the passwords, and may then trade"


REMARKS: tuple[tuple[str, str, Callable[[TradingSystemSpec], Iterator[str]]], ...] = (
    ("target-out-of-reach", "spec.risk.dailyTarget", _target_out_of_reach),
    ("capital-too-small", "spec.risk.positionsOpenMax", _capital_too_small),
    ("gross-limit-before-count", "spec.risk.grossNotionalMax", _gross_limit_before_count),
    ("quantity-limit-before-notional", "spec.risk.orderQuantityMax", _quantity_limit_before_notional),
    ("volume-limit-before-notional", "spec.risk.dailyVolumeShareMaxBasisPoints", _volume_limit_before_notional),
    ("few-stops-end-the-day", "spec.risk.dailyLossMax", _few_stops_end_the_day),
    ("drawdown-before-daily-loss", "spec.risk.drawdownMaxPercent", _drawdown_before_daily_loss),
    ("wins-needed", "spec.execution.takeProfits", _wins_needed),
    ("spread-eats-target", "spec.universe.spreadMaxBasisPoints", _spread_eats_target),
    ("kelly-minimum", "spec.sizing.positionNotionalMin", _kelly_minimum),
    ("other-methods-fields", "spec.sizing.method", _other_methods_fields),
    ("vix-is-missing", "spec.sizing.vixScaling", _vix_is_missing),
    ("no-entries-on-half-days", "spec.execution.entryWindow", _no_entries_on_half_days),
    ("expiry-outlives-cooldown", "spec.ensemble.signalExpirySeconds", _expiry_outlives_cooldown),
    ("one-exchange-only", "spec.sources", _one_exchange_only),
    ("few-symbols", "spec.universe.symbols", _few_symbols),
    ("pin-stops-promotion", "spec.models.pinnedVersion", _pin_stops_promotion),
    ("journal-on-one-server", "spec.messaging.replicas", _journal_on_one_server),
    ("passwords-in-clear", "spec.messaging.urls", _passwords_in_clear),
    ("shared-account-live", "spec.execution.account", _shared_account_live),
)
"""Name, field and remark; each remark yields a sentence per finding, usually one or none."""
