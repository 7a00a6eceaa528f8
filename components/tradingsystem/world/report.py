"""The report of a recorded run: one HTML file that can be mailed and opened anywhere. It shows what was recorded and leaves out what was not.

Every page carries the label of what its numbers are worth.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path

from tradingsystem.domain.time import new_york_clock, new_york_date
from tradingsystem.spec.resource import Mode
from tradingsystem.spec.simulation import MarketSource, Signals
from tradingsystem.world import figures
from tradingsystem.world.day import Day, Trade, read_day, recording_of
from tradingsystem.world.page import Picture, Tile, escaped, page, pair, section, table, tiles
from tradingsystem.world.price_paths import price_paths
from tradingsystem.world.promotion_told import rows as promotion_rows
from tradingsystem.world.verdict import label, orders_of

SIGNALS_SHOWN = 200


def write_report(run: Path, target: Path, day: Day | None = None, problems: tuple[str, ...] = ()) -> Day:
    """Write the page of a run to ``target``, of its ``day`` where it was read before. Raises ``InvalidInput`` when there is nothing to read."""
    day = day or read_day(run)
    paths = price_paths(recording_of(run), set(figures.charted(day)))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(render(day, paths, label_of(day), problems), encoding="utf-8")
    return day


def label_of(day: Day) -> str:
    """What the numbers of a recorded run are worth, from the settings it ran with."""
    settings = day.settings
    if settings is None:
        return "no settings are recorded: nothing is known of where these numbers come from"
    if settings.mode is not Mode.SIMULATION:
        return f"mode {settings.mode.value}: past results do not tell future ones"
    simulation = settings.simulation
    return label(
        generated=simulation.source is MarketSource.GENERATED,
        edge=simulation.edge_basis_points > 0,
        probe=simulation.signals is Signals.PROBE,
        day=str(new_york_date(day.statuses[-1].at_ns)) if day.statuses else simulation.start_date,
    )


def render(day: Day, paths: figures.Paths, honest: str, problems: tuple[str, ...] = ()) -> str:
    """The page."""
    main = _main_pictures(day, paths)
    small = _small_pictures(day)
    body = "".join(
        [
            _head(day, honest, problems),
            tiles(_tiles(day)),
            *(section(picture) for picture in main),
            pair(small),
            _trades(day.trades()),
            _splits(day),
            _signals(day),
            _versions(day),
            _footer(day),
        ]
    )
    return page(f"{day.system or 'run'}: {_date(day)}", body, [*main, *small])


def _date(day: Day) -> str:
    return f"{new_york_date(day.statuses[-1].at_ns):%A, %d %B %Y}" if day.statuses else "no day recorded"


def _head(day: Day, honest: str, problems: tuple[str, ...]) -> str:
    settings = day.settings
    setting = ""
    if settings is not None:
        simulation = settings.simulation
        setting = f"mode {settings.mode.value}"
        if settings.mode is Mode.SIMULATION:
            generated = simulation.source is MarketSource.GENERATED
            market = f"{simulation.symbols:,} symbols, seed {simulation.seed}" if generated else "recorded ticks"
            setting += f", {market}, speed {simulation.speed}"
    wrong = "".join(f"<li>{escaped(problem)}</li>" for problem in problems)
    box = f"<div class='wrong'><b>What does not agree</b><ul>{wrong}</ul></div>" if wrong else ""
    kind = " · PROBE" if any(signal.probe for signal in day.signals) else ""
    return (
        f"<h1>{escaped(day.system or 'run')}: {escaped(_date(day))}{kind}</h1><p class='note'>{escaped(setting)}</p>"
        f"<div class='label'>{escaped(honest[:1].upper() + honest[1:])}</div>{box}"
    )


def _tiles(day: Day) -> list[Tile]:
    status, orders = day.status, orders_of(day)
    found = []
    if status is not None:
        net = status.day_realised + status.day_unrealised - status.day_fees
        found.append(Tile(f"{net:+,.2f}", f"P&L after {status.day_fees:.2f} fees", "good" if net > 0 else "bad" if net < 0 else ""))
        found.append(Tile(f"{status.equity:,.2f}", "equity"))
    found.append(Tile(str(len(day.signals)), "signals"))
    found.append(Tile(f"{orders.filled} of {orders.wanted}", f"orders filled, {sum(orders.refused.values())} refused"))
    found.append(Tile(str(len(day.trades())), "finished positions"))
    if status is not None:
        for key, name, form in (
            ("win_rate_percent", "won", "{:.0f} %"),
            ("profit_factor", "profit factor", "{:.2f}"),
            ("drawdown_max_percent", "worst drawdown", "{:.2f} %"),
        ):
            value = status.statistics.get(key, math.nan)
            if math.isfinite(value):
                found.append(Tile(form.format(value), name))
        found.append(
            Tile("flat" if not status.positions else f"{len(status.positions)} open", "at the end", "" if not status.positions else "bad")
        )
    return found


def _main_pictures(day: Day, paths: figures.Paths) -> list[Picture]:
    found = []
    if day.statuses:
        note = "Account equity as execution told it, with drawdown from its highest; behind it the regime the filter saw. New York time."
        found.append(Picture("equity", "Equity and drawdown", note, figures.equity(day)))
    if day.executions:
        note = "Mid prices and our executions in the symbols that moved most: bought (up), sold (down) by what sold them."
        found.append(Picture("trades", "Trades on the day", note, figures.trades(day, paths)))
    return found


def _small_pictures(day: Day) -> list[Picture]:
    found = []
    if day.funnel:
        note = "Symbols left after each question of the filter, mean over the sweeps of the session."
        found.append(Picture("funnel", "Funnel", note, figures.funnel(day)))
    if day.trades():
        found.append(Picture("results", "Profit by position", "In the order in which they were closed.", figures.results(day)))
    if latencies := day.latencies_us():
        note = f"From decision to the broker's answer, {len(latencies)} orders, durable intent included; median {statistics.median(latencies) / 1e3:.1f} ms."
        found.append(Picture("latency", "Order latency", note, figures.latency(latencies)))
    refused = day.status.orders_refused if day.status is not None else {}
    if refused:
        found.append(Picture("refusals", "Refused, by reason", "By sizing, the risk gate, or the broker.", figures.refusals(refused)))
    return found


def _trades(done: list[Trade]) -> str:
    rows = [
        (
            trade.symbol,
            new_york_clock(trade.opened_ns),
            new_york_clock(trade.closed_ns),
            _minutes(trade.closed_ns - trade.opened_ns),
            trade.quantity,
            f"{trade.bought_at:.4f}",
            f"{trade.sold_at:.4f}",
            trade.way,
            f"{trade.profit:+.2f}",
        )
        for trade in done
    ]
    headings = ("symbol", "opened", "closed", "held", "shares", "bought at", "sold at", "sold by", "profit before fees")
    return table("Finished positions", headings, rows, frozenset({3, 4, 5, 6, 8}))


def _splits(day: Day) -> str:
    """Nothing on a day without one."""
    rows = [(new_york_clock(one.at_ns), one.symbol, one.text) for one in day.rebased]
    return table("Splits of what was held", ("at", "symbol", "what became of it"), rows) if rows else ""


def _signals(day: Day) -> str:
    rows = [
        (
            new_york_clock(signal.at_ns),
            signal.symbol,
            f"{signal.p:.3f}",
            f"{signal.p_low:.3f}",
            f"{signal.confidence:.2f}",
            f"{signal.bid:.2f} / {signal.ask:.2f}",
            signal.regime.value,
            "PROBE" if signal.probe else f"model {signal.model}",
        )
        for signal in day.signals[:SIGNALS_SHOWN]
    ]
    more = f" (first {SIGNALS_SHOWN} of {len(day.signals)})" if len(day.signals) > SIGNALS_SHOWN else ""
    return table(f"Signals{more}", ("at", "symbol", "p", "p low", "confidence", "bid / ask", "regime", "by"), rows, frozenset({2, 3, 4, 5}))


def _versions(day: Day) -> str:
    """What the journal says of model versions: a day on which nothing was tried has one line of it."""
    found = [(new_york_clock(at_ns), version, words) for at_ns, version, words in promotion_rows(day.promotion)]
    return table("Model versions: what was tried, what served, and why", ("at", "version", "what happened"), found)


def _minutes(elapsed_ns: int) -> str:
    seconds = elapsed_ns // 1_000_000_000
    return f"{seconds // 60}:{seconds % 60:02d}"


def _footer(day: Day) -> str:
    cuts = day.cuts
    outcomes = ", ".join(f"{count:,} {name}" for name, count in cuts.outcomes.most_common())
    versions = ", ".join(str(version) for version in sorted(cuts.models))
    builds = ", ".join(sorted({beat.build for beat in day.beats.values()}))
    parts = [
        f"{cuts.count:,} cuts ({outcomes}), {cuts.full:,} full sweeps, model {versions or 'none'} on {', '.join(cuts.runtimes) or 'nothing'}"
    ]
    if day.filter_numbers:
        parts.append(f"filter: {day.filter_numbers.get('filter_efficiency_pct', math.nan):.3f} % of looked-at symbols cost no model")
    if {"bytes_moved", "bytes_copied"} <= day.filter_numbers.keys():
        moved, copied = (day.filter_numbers[name] / 1e6 for name in ("bytes_moved", "bytes_copied"))
        parts.append(f"{moved:,.1f} MB of rows read where the message lay, {copied:,.1f} MB written anew")
    if builds:
        parts.append(f"build {builds}")
    if day.unreadable:
        parts.append(f"{day.unreadable} recorded messages could not be read")
    parts += day.endings
    return f"<footer>{escaped('; '.join(parts))}.</footer>"
