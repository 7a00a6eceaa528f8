"""Many days as one page: how each of them ended, with the planted edge and without. No curve, since a curve of one seed says what one wants to see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from tradingsystem.world.figures import AMBER, BLUE, GREEN, GREY
from tradingsystem.world.page import Picture, Tile, escaped, page, pair, table, tiles
from tradingsystem.world.seeds import Distribution

HEIGHT = 380


def title_of(found: Distribution) -> str:
    """How an edge is called."""
    return f"edge {found.edge:.0%} of the declared" if found.edge else "no edge planted"


def render(found: Sequence[Distribution], symbols: int, build: str, problems: Sequence[str]) -> str:
    """The page of all distributions."""
    pictures = [
        Picture(
            "net",
            "Net result of a day",
            "Each day is one count; dollars after spread and fees, at most five positions of 3,000.",
            _net(found),
        ),
        Picture(
            "hits",
            "Targets reached, by day",
            "Share of a day's trades that reached the target first; larger points had more trades.",
            _hits(found),
        ),
    ]
    wrong = "".join(f"<li>{escaped(problem)}</li>" for problem in problems)
    box = f"<div class='wrong'><b>What must not be</b><ul>{wrong}</ul></div>" if wrong else ""
    head = (
        f"<h1>{max(len(one.days) for one in found)} generated days, model and oracle</h1>"
        f"<p class='note'>{symbols:,} symbols a day; signals bought at the next second's ask, sold at the bid; no queues, no latency</p>"
        f"<div class='label'>Simulated: it says nothing about profit</div>{box}"
    )
    rows = [
        (
            title_of(one),
            len(one.days),
            one.signals,
            one.trades,
            _rate(one.hit_rate, one.hit_rate_error),
            f"{one.oracle:.3f}",
            f"{one.net_mean:+.2f} ± {one.net_error:.2f}",
            f"{min(day.net for day in one.days):+.2f}",
            f"{max(day.net for day in one.days):+.2f}",
        )
        for one in found
    ]
    headings = ("", "days", "signals", "trades", "hit rate", "the oracle's", "net a day", "worst day", "best day")
    body = [head, tiles(_tiles(found)), pair(pictures), table("All days", headings, rows, frozenset(range(1, 9)))]
    return page("Many generated days", "".join([*body, f"<footer>build {escaped(build)}</footer>"]), pictures)


def _rate(rate: float, error: float) -> str:
    return f"{rate:.3f} ± {error:.3f}" if math.isfinite(rate) else "no trade"


def _tiles(found: Sequence[Distribution]) -> list[Tile]:
    shown = []
    for one in found:
        name = "with the edge" if one.edge else "without"
        shown.append(Tile(f"{one.net_mean:+.2f}", f"net a day, {name}", ("good" if one.net_mean > 0 else "bad") if one.edge else ""))
        if math.isfinite(one.hit_rate):
            shown.append(Tile(f"{one.hit_rate:.3f}", f"hit rate, {name}"))
        if one.edge:
            shown.append(Tile(f"{one.oracle:.3f}", "the oracle's"))
    return shown


def _net(found: Sequence[Distribution]) -> Any:
    figure = go.Figure()
    for one in found:
        colour = BLUE if one.edge else GREY
        figure.add_trace(go.Histogram(x=[day.net for day in one.days], name=title_of(one), marker_color=colour, opacity=0.65, nbinsx=24))
        figure.add_vline(x=one.net_mean, line={"color": colour, "width": 2, "dash": "dash"})
    figure.add_vline(x=0.0, line={"color": GREY, "width": 1})
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title="dollars", tickformat="+,.0f")
    figure.update_yaxes(title="days")
    return _finished(figure)


def _hits(found: Sequence[Distribution]) -> Any:
    figure = go.Figure()
    for one in found:
        traded = [day for day in one.days if day.trades]
        figure.add_trace(
            go.Scatter(
                x=[day.seed for day in traded],
                y=[day.hits / day.trades for day in traded],
                mode="markers",
                name=title_of(one),
                marker={"color": BLUE if one.edge else GREY, "opacity": 0.75, "size": [6 + 1.6 * math.sqrt(day.trades) for day in traded]},
                customdata=[(day.hits, day.trades, day.net) for day in traded],
                hovertemplate="seed %{x}: %{customdata[0]} of %{customdata[1]}, %{customdata[2]:+.2f}<extra></extra>",
            )
        )
        if one.edge:
            figure.add_hline(
                y=one.hit_rate, line={"color": BLUE, "width": 2, "dash": "dash"}, annotation_text="model", annotation_position="top left"
            )
            figure.add_hline(y=one.oracle, line={"color": GREEN, "width": 2}, annotation_text="oracle", annotation_position="bottom left")
    figure.add_hline(y=0.5, line={"color": AMBER, "width": 1, "dash": "dot"}, annotation_text="0.5", annotation_position="bottom left")
    figure.update_xaxes(title="seed")
    figure.update_yaxes(title="share that reached the target", range=[-0.04, 1.04], tickformat=".0%")
    return _finished(figure)


def _finished(figure: Any) -> Any:
    figure.update_layout(
        height=HEIGHT, margin={"l": 60, "r": 24, "t": 12, "b": 46}, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.12},
    )  # fmt: skip
    return figure
