"""The report's pictures, as plotly figures without colours of paper or text: the page gives those, light or dark. Times are New York's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tradingsystem.domain.orders import Side
from tradingsystem.domain.signals import Regime
from tradingsystem.domain.time import NEW_YORK, to_datetime
from tradingsystem.world.day import Day, Execution
from tradingsystem.world.funnel import remaining

BLUE, GREEN, RED, AMBER, GREY, VIOLET = "#3b82f6", "#16a34a", "#e5484d", "#d97706", "#8b929e", "#8b5cf6"
REGIME_COLOURS = {Regime.BULL: GREEN, Regime.BEAR: RED, Regime.NEUTRAL: GREY, Regime.UNKNOWN: AMBER}
WAY_COLOURS = {"target": GREEN, "stop": RED, "flattened": AMBER}
CHARTS_MAX = 6
POINTS_MAX = 4_000
SMALL = 330

Paths = dict[str, list[tuple[int, float]]]


def clock(at_ns: int) -> datetime:
    """New York's wall clock, without a zone: plotly draws it as it stands."""
    return to_datetime(at_ns).astimezone(NEW_YORK).replace(tzinfo=None)


def equity(day: Day) -> Any:
    """Equity over drawdown, the market's regimes behind both."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.72, 0.28], vertical_spacing=0.05)
    statuses = day.statuses[:: max(1, len(day.statuses) // POINTS_MAX)]
    times = [clock(status.at_ns) for status in statuses]
    values = [float(status.equity) for status in statuses]
    figure.add_trace(
        go.Scatter(
            x=times,
            y=values,
            name="equity",
            mode="lines",
            line={"color": BLUE, "width": 2},
            customdata=[len(status.positions) for status in statuses],
            hovertemplate="%{x|%H:%M:%S}  <b>%{y:,.2f}</b><br>%{customdata} positions<extra></extra>",
        ),
        row=1,
        col=1,
    )
    if values:
        figure.add_hline(y=values[0], line={"color": GREY, "width": 1, "dash": "dot"}, row=1, col=1)
    figure.add_trace(
        go.Scatter(
            x=times,
            y=[-status.drawdown_percent for status in statuses],
            name="drawdown",
            mode="lines",
            fill="tozeroy",
            line={"color": RED, "width": 1},
            fillcolor=_faint(RED, 0.25),
            hovertemplate="%{x|%H:%M:%S}  %{y:.3f} %<extra></extra>",
        ),
        row=2,
        col=1,
    )
    _shade(figure, day)
    figure.update_yaxes(title="account currency", tickformat=",.2f", row=1, col=1)
    figure.update_yaxes(title="drawdown, %", rangemode="tozero", row=2, col=1)
    return _finished(figure, 460)


def _shade(figure: Any, day: Day) -> None:
    for span in day.regimes:
        if span.to_ns > span.from_ns:
            colour = _faint(REGIME_COLOURS[span.regime], 0.13)
            figure.add_vrect(x0=clock(span.from_ns), x1=clock(span.to_ns), fillcolor=colour, line_width=0, layer="below")
    for regime in dict.fromkeys(span.regime for span in day.regimes):
        marker = {"symbol": "square", "size": 12, "color": _faint(REGIME_COLOURS[regime], 0.45)}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=regime.value), row=1, col=1)


def charted(day: Day) -> list[str]:
    """The symbols worth a chart: those that moved most money, at most ``CHARTS_MAX``."""
    weight: dict[str, float] = {}
    for trade in day.trades():
        weight[trade.symbol] = weight.get(trade.symbol, 0.0) + abs(float(trade.profit))
    for one in day.executions.values():
        weight.setdefault(one.symbol, 0.0)
    return sorted(weight, key=lambda symbol: (-weight[symbol], symbol))[:CHARTS_MAX]


def trades(day: Day, paths: Paths) -> Any:
    """Price and executions of a few symbols, one small chart each."""
    names = charted(day)
    columns = 2 if len(names) > 1 else 1
    rows = math.ceil(len(names) / columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=names, vertical_spacing=0.30 / max(1, rows), horizontal_spacing=0.07)
    shown: set[str] = set()
    for place, symbol in enumerate(names):
        row, column = place // columns + 1, place % columns + 1
        path = paths.get(symbol) or [(at_ns, 0.5 * (bid + ask)) for at_ns, bid, ask in day.marks.get(symbol, [])]
        path = path[:: max(1, len(path) // POINTS_MAX)]
        line = go.Scatter(
            x=[clock(at_ns) for at_ns, _ in path],
            y=[price for _, price in path],
            mode="lines",
            line={"color": GREY, "width": 1.2},
            showlegend=False,
            hovertemplate="%{x|%H:%M:%S}  %{y:.2f}<extra></extra>",
        )
        figure.add_trace(line, row=row, col=column)
        for way, group in _by_way(one for one in day.executions.values() if one.symbol == symbol).items():
            figure.add_trace(_markers(way, group, legend=way not in shown), row=row, col=column)
            shown.add(way)
    figure = _finished(figure, 80 + 250 * rows)
    figure.update_layout(margin={"t": 66}, legend={"yref": "container", "y": 0.99, "yanchor": "top"})
    return figure


def _by_way(executions: Any) -> dict[str, list[Execution]]:
    found: dict[str, list[Execution]] = {}
    for one in executions:
        found.setdefault(one.way, []).append(one)
    return found


def _markers(way: str, group: list[Execution], *, legend: bool) -> Any:
    buying = group[0].side is Side.BUY
    colour = BLUE if buying else WAY_COLOURS.get(way, VIOLET)
    return go.Scatter(
        x=[clock(one.at_ns) for one in group],
        y=[float(one.price) for one in group],
        mode="markers",
        name=way,
        legendgroup=way,
        showlegend=legend,
        marker={
            "symbol": "triangle-up" if buying else "triangle-down",
            "size": 12,
            "color": colour,
            "line": {"width": 1, "color": "white"},
        },
        customdata=[one.quantity for one in group],
        hovertemplate=f"{'bought' if buying else 'sold'} %{{customdata}} at %{{y:.4f}}<br>%{{x|%H:%M:%S}}<extra>{way}</extra>",
    )


def funnel(day: Day) -> Any:
    """How many symbols are left after each question, on a logarithmic scale, since a candidate is one in hundreds."""
    steps = remaining(day.funnel)
    names = [name for name, _ in steps]
    counts = [count for _, count in steps]
    texts = [f"{count:,.0f}" if count >= 10 else f"{count:.1f}" for count in counts]
    bars = go.Bar(
        x=[max(count, 0.05) for count in counts],
        y=names,
        orientation="h",
        text=texts,
        textposition="outside",
        cliponaxis=False,
        marker={"color": [BLUE] * (len(steps) - 1) + [GREEN]},
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(type="log", visible=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return _finished(figure, SMALL)


def latency(values_us: Sequence[int]) -> Any:
    """From decision to the broker's answer, on a logarithmic scale, with the percentiles that are spoken of."""
    ordered = sorted(values_us)
    logs = [math.log10(value / 1e3) for value in ordered]
    low, high = math.floor(logs[0] * 5) / 5, math.ceil(logs[-1] * 5) / 5 + 0.1
    count = min(40, max(10, len(ordered)))
    edges = [low + (high - low) * place / count for place in range(count + 1)]
    bins = [sum(first <= value < second for value in logs) for first, second in pairwise(edges)]
    spans = [f"{10**first:.1f} to {10**second:.1f} ms" for first, second in pairwise(edges)]
    centres = [0.5 * (first + second) for first, second in pairwise(edges)]
    bars = go.Bar(x=centres, y=bins, marker={"color": BLUE}, customdata=spans, hovertemplate="%{customdata}: %{y} orders<extra></extra>")
    figure = go.Figure(bars)
    for name, share, height in (("p50", 0.50, 1.08), ("p99", 0.99, 1.0)):
        value = ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1e3
        figure.add_vline(x=math.log10(value), line={"color": AMBER, "width": 2, "dash": "dot"})
        note = {
            "text": f"{name} {value:.1f} ms",
            "x": math.log10(value),
            "y": height,
            "yref": "paper",
            "xanchor": "left",
            "showarrow": False,
        }
        figure.add_annotation(**note)
    ticks = [tick for tick in _ticks(low, high) if low <= math.log10(tick) <= high]
    figure.update_xaxes(
        title="milliseconds, machine time", tickvals=[math.log10(tick) for tick in ticks], ticktext=[f"{tick:g}" for tick in ticks]
    )
    figure.update_xaxes(range=[low - 0.05, high + 0.15])
    figure.update_yaxes(title="orders")
    figure = _finished(figure, SMALL)
    figure.update_layout(bargap=0.06)
    return figure


def _ticks(low: float, high: float) -> list[float]:
    return [digit * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for digit in (1, 2, 5)]


def refusals(counts: dict[str, int]) -> Any:
    """What was refused, by reason."""
    ranked = sorted(counts.items(), key=lambda item: item[1])
    figure = go.Figure(
        go.Bar(
            x=[count for _, count in ranked],
            y=[code.replace("-", " ").replace("_", " ") for code, _ in ranked],
            orientation="h",
            text=[str(count) for _, count in ranked],
            textposition="outside",
            cliponaxis=False,
            marker={"color": AMBER},
            hovertemplate="%{y}: %{x}<extra></extra>",
        )
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(showgrid=False)
    return _finished(figure, max(SMALL, 110 + 30 * len(ranked)))


def results(day: Day) -> Any:
    """Each finished position's profit before fees, in the order in which they ended, and their sum."""
    done = day.trades()
    names = [f"{place}. {trade.symbol}" for place, trade in enumerate(done, start=1)]
    profits = [float(trade.profit) for trade in done]
    total, sums = 0.0, []
    for profit in profits:
        total += profit
        sums.append(total)
    colours = [GREEN if profit > 0 else RED for profit in profits]
    figure = go.Figure(go.Bar(x=names, y=profits, marker={"color": colours}, name="trade", hovertemplate="%{x}: %{y:+.2f}<extra></extra>"))
    line = {"color": BLUE, "width": 2, "shape": "hv"}
    figure.add_trace(go.Scatter(x=names, y=sums, mode="lines+markers", line=line, name="sum", hovertemplate="sum %{y:+.2f}<extra></extra>"))
    figure.update_xaxes(automargin=True, tickangle=90)
    figure.update_yaxes(title="before fees", tickformat="+.2f")
    return _finished(figure, SMALL)


def _faint(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _finished(figure: Any, height: int) -> Any:
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 60, "r": 30, "t": 36, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        bargap=0.3,
    )
    figure.update_yaxes(automargin=True, title_standoff=14)
    return figure
