"""What ``tradingsystem status`` prints, so that a person sees in five seconds whether all is well: one line per service, then trading, then problems.

It gets what was heard and returns lines or a document; of the machine it reads the HALT file alone. It leaves out what a person would not act on;
``--json`` leaves out nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradingsystem.domain.control import Beat, ModelsState
from tradingsystem.domain.signals import Regime
from tradingsystem.domain.time import new_york_clock, new_york_date, to_iso
from tradingsystem.domain.trading import PositionView, TradingState, TradingStatus
from tradingsystem.monitor.models_view import problems as models_problems
from tradingsystem.monitor.models_view import told
from tradingsystem.monitor.view import SystemView
from tradingsystem.process.halt_file import HaltFile
from tradingsystem.process.state import RunningSystem

Detail = dict[str, float]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a short listening brought: the last beats, execution's and models' last word, market time (None while unknown) and its speed."""

    running: RunningSystem
    beats: dict[str, Beat]
    trading: TradingStatus | None
    market_ns: int | None
    speed: float
    monotonic_ns: int
    sources: dict[str, str]  # a source that gives no data, and why
    models: ModelsState | None = None

    @property
    def services(self) -> tuple[str, ...]:
        """Every service that should run, in start order."""
        return tuple(name for name in self.running.ports if name in self.running.pids and name != "nats")


def problems(heard: Heard) -> list[str]:
    """One sentence each; empty when nothing needs a person."""
    view = SystemView()
    for beat in heard.beats.values():
        view.hear(beat, heard.monotonic_ns)
    silent = [f"source {name} gives no data: {reason}" for name, reason in sorted(heard.sources.items())]
    return [
        *view.problems(heard.services, heard.monotonic_ns),
        *silent,
        *(models_problems(heard.models) if heard.models is not None else ()),
        *_trading_problems(heard.trading),
    ]


def _trading_problems(trading: TradingStatus | None) -> list[str]:
    if trading is None:
        return ["execution says nothing of trading (not ready, or not running)"]
    found = [
        f"latch {one.id} ({one.kind.value}), set by {one.set_by}: {one.reason}; clear it: tradingsystem clear" for one in trading.latches
    ]
    if trading.unprotected_shares:
        found.append(f"{trading.unprotected_shares} shares have no protective order at the broker")
    if trading.unknown_orders:
        found.append(f"{trading.unknown_orders} orders of which nobody knows what became of them: their symbols are frozen")
    if not trading.halt_confirmed:
        found.append("halted, but the broker has not said yet that none of our entries is open; they are being cancelled")
    if not trading.reconciled:
        found.append("positions have not been reconciled with the broker: nothing is opened")
    return found


def page(heard: Heard) -> list[tuple[str, str]]:
    """Lines with their style ("" plain, "green", "yellow", "red", "dim", "bold")."""
    running = heard.running
    at = "" if heard.market_ns is None else f", {new_york_date(heard.market_ns):%a %d %b %Y} {new_york_clock(heard.market_ns)} New York"
    speed = f", {heard.speed:g} x" if heard.speed not in (0.0, 1.0) else ""
    lines = [
        (f"{running.system}: {running.mode}, {running.placement}{at}{speed}", "bold"),
        (f"run folder {running.run_folder}", "dim"),
        *_halt_file(running),
        ("", ""),
    ]
    lines.append((f"{'service':<10} {'phase':<9} {'applied':<9} {'pid':>7} {'metrics':>7}  says", "dim"))
    lines += [_service(heard, name) for name in heard.services]
    lines += [("", ""), *_versions(heard.models), *_trading(heard.trading), ("", "")]
    found = problems(heard)
    return [*lines, *((f"problem: {one}", "red") for one in found)] if found else [*lines, ("no problems", "green")]


def _halt_file(running: RunningSystem) -> list[tuple[str, str]]:
    """Where a file halts, and what it says when it is there."""
    if not running.halt_file:
        return []
    reason = HaltFile(Path(running.halt_file)).reason()
    return [(f"halt file {running.halt_file}: {'absent' if reason is None else reason}", "dim" if reason is None else "red")]


def _service(heard: Heard, name: str) -> tuple[str, str]:
    beat = heard.beats.get(name)
    phase = beat.phase if beat else "silent"
    applied = new_york_clock(beat.applied_ns) if beat and beat.applied_ns else ""
    says = SAYS[name](beat.detail) if beat and name in SAYS and beat.detail else ""
    port = heard.running.ports[name].get("metrics", "")
    style = "" if phase == "ready" else "red" if phase in {"silent", "failed"} else "yellow"
    return f"{name:<10} {phase:<9} {applied:<9} {heard.running.pids[name]:>7} {port:>7}  {says}".rstrip(), style


def _simulator(detail: Detail) -> str:
    pace = "day over" if detail["finished"] else f"{detail['factor']:.0%} of full speed"
    return f"{detail['rows']:,.0f} market rows, {detail['orders']:,.0f} orders, {detail['fills']:,.0f} fills, {pace}"


def _ingestion(detail: Detail) -> str:
    return f"{detail['rows']:,.0f} rows, {detail['refused']:,.0f} refused, {detail['seq']:,.0f} batches"


def _filter(detail: Detail) -> str:
    known = sum(value for name, value in detail.items() if name.startswith("funnel_"))
    regime = list(Regime)[int(detail["regime"])].value
    warm = "" if detail["warm"] else ", not warm: opens nothing"
    parts = f"{detail['candidates']:,.0f} candidates of {known:,.0f}, {detail['signals']:,.0f} signals, regime {regime}"
    return f"{parts}, sweep {detail['sweep_us'] / 1e3:.1f} ms{warm}"


def _execution(detail: Detail) -> str:
    return f"{detail['open_orders']:,.0f} open orders, {detail['waiting']:,.0f} messages waiting"


def _recorder(detail: Detail) -> str:
    return f"{detail['tape']:,.0f} batches, {detail['journal']:,.0f} journal entries, {detail['missing']:,.0f} missing"


def _models(detail: Detail) -> str:
    return f"version {detail['serving']:.0f} serves"


def _monitor(detail: Detail) -> str:
    return f"{detail['services']:.0f} services heard, {detail['problems']:.0f} problems"


def _watcher(detail: Detail) -> str:
    return f"execution heard {detail['silent_seconds']:.1f} s ago, {detail['cancelled']:.0f} entries cancelled"


SAYS: dict[str, Callable[[Detail], str]] = {
    "simulator": _simulator,
    "ingestion": _ingestion,
    "filter": _filter,
    "execution": _execution,
    "recorder": _recorder,
    "models": _models,
    "monitor": _monitor,
    "watcher": _watcher,
}
"""The three or four numbers of each service's beat that a person wants."""


def _versions(models: ModelsState | None) -> list[tuple[str, str]]:
    """What serves, who is on trial and how far, what was taken back."""
    if models is None:
        return []
    first, *more = told(models)
    return [(f"models: {first}", ""), *((f"  {one}", "") for one in more), ("", "")]


def _trading(trading: TradingStatus | None) -> list[tuple[str, str]]:
    if trading is None:
        return []
    day = trading.day_realised + trading.day_unrealised - trading.day_fees
    style = "green" if trading.state is TradingState.ACTIVE else "yellow"
    refused = sum(trading.orders_refused.values())
    by_code = f" ({', '.join(f'{code} {count}' for code, count in sorted(trading.orders_refused.items()))})" if refused else ""
    return [
        (f"trading {trading.state.value} since {new_york_clock(trading.since_ns)}: {trading.why}", style),
        (
            f"  day {day:+,.2f} = realised {trading.day_realised:+,.2f}, open {trading.day_unrealised:+,.2f}, fees {-trading.day_fees:+,.2f}",
            "",
        ),
        (f"  equity {trading.equity:,.2f}, drawdown {trading.drawdown_percent:.2f} %", ""),
        (
            f"  {trading.signals_seen} signals, {trading.orders_sent} orders sent, {trading.orders_filled} filled, {refused} refused{by_code}",
            "",
        ),
        *(_position(one) for one in trading.positions),
        *([] if trading.positions else [("  no positions", "")]),
    ]


def _position(one: PositionView) -> tuple[str, str]:
    mark = "unknown" if one.mark is None else f"{one.mark:,.2f}"
    bare = one.quantity - one.protected_quantity
    cover = "stop at the broker" if bare <= 0 else f"{bare} without a stop"
    line = f"  {one.symbol:<8} {one.quantity:>6} at {one.average_price:,.4f}, now {mark}, {one.unrealised:+,.2f}, {cover}"
    return line, "" if bare <= 0 else "yellow"


def document(heard: Heard) -> dict[str, Any]:
    """Everything that was heard, for machines; names as in the messages, times as RFC 3339."""
    running = heard.running
    services = {}
    for name in heard.services:
        beat = heard.beats.get(name)
        services[name] = {
            "phase": beat.phase if beat else "silent",
            "pid": running.pids[name],
            "metrics_port": running.ports[name].get("metrics"),
            "applied_at": to_iso(beat.applied_ns) if beat and beat.applied_ns else None,
            "build": beat.build if beat else None,
            "detail": beat.detail if beat else {},
        }
    return {
        "system": running.system,
        "mode": running.mode,
        "placement": running.placement,
        "run_folder": running.run_folder,
        "supervisor": running.supervisor,
        "halt_file": {"path": running.halt_file, "reason": HaltFile(Path(running.halt_file)).reason() if running.halt_file else None},
        "market_time": None if heard.market_ns is None else to_iso(heard.market_ns),
        "services": services,
        "models": heard.models,
        "trading": heard.trading,
        "sources_without_data": heard.sources,
        "problems": problems(heard),
    }
