"""The report of a learning job: one page, with what was found said first and in words, above all when it is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from tradingsystem.domain.time import to_datetime
from tradingsystem.world.learning_job import Learned, Outcome
from tradingsystem.world.page import Picture, Tile, escaped, page, pair, table, tiles

_MARGIN = {"l": 55, "r": 15, "t": 10, "b": 45}
_HEIGHT = 300
_CHAMPION, _CHALLENGER, _FAINT = "#8b95a5", "#2f6fde", "#b0b8c4"

_KINDS = {
    "simulated": "trained on simulated data: it opens nothing outside Simulation, and says nothing about profit",
    "recorded": "trained on recorded ticks: past results do not tell future ones",
    "live": "trained on what the system itself received: past results do not tell future ones",
    "": "there was nothing to learn from",
}


def render(learned: Learned) -> str:
    """The page."""
    pictures = [*_probabilities(learned), *_trades(learned)]
    said = "".join(f"<li>{escaped(one)}</li>" for one in learned.findings)
    kind = "" if learned.outcome in (Outcome.PUBLISHED, Outcome.ALREADY_PUBLISHED) else " class='wrong'"
    body = "".join(
        [
            f"<h1>learn {escaped(learned.job)}: {escaped(_title(learned))}</h1><p class='note'>{escaped(learned.identity)}</p>",
            f"<div class='label'>{escaped(_KINDS[learned.kind].capitalize())}</div>",
            f"<div{kind}><ul>{said}</ul></div>" if said else "",
            tiles(_tiles(learned)),
            pair(pictures),
            _tables(learned),
        ]
    )
    return page(f"learn {learned.job}: {_title(learned)}", body, pictures)


def _title(learned: Learned) -> str:
    match learned.outcome:
        case Outcome.PUBLISHED:
            return f"candidate {learned.version}"
        case Outcome.ALREADY_PUBLISHED:
            return f"candidate {learned.version}, published by this job before"
        case _:
            return f"no candidate ({learned.outcome.value})"


def _tiles(learned: Learned) -> list[Tile]:
    rows, reached = sum(one.rows for one in learned.sessions), sum(one.reached for one in learned.sessions)
    found = [Tile(str(len(learned.sessions)), "sessions"), Tile(f"{rows:,}", "rows"), Tile(f"{reached:,}", "targets reached")]
    if metrics := learned.metrics:
        gain = metrics.log_loss_base - metrics.log_loss
        found.append(Tile(f"{metrics.area_under_curve:.3f}", "area under the curve, 0.5 knows nothing"))
        found.append(Tile(f"{gain:+.4f}", "log loss gained on the base rate", "good" if gain > 0 else "bad"))
    if evidence := learned.evidence:
        found.append(Tile(f"{evidence.deflated_sharpe:.2f}", "deflated Sharpe"))
        found.append(Tile(str(evidence.trials), "tried on these sessions"))
    if quantisation := learned.quantisation:
        found.append(Tile(f"{quantisation.rank_correlation:.4f}", "INT8 against FP32, rank correlation"))
    return found


def _figure(x: str, y: str) -> Any:
    layout = {"height": _HEIGHT, "margin": _MARGIN, "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
    return go.Figure(layout=layout | {"xaxis": {"title": x}, "yaxis": {"title": y}, "legend": {"orientation": "h", "y": 1.1}})


def _probabilities(learned: Learned) -> list[Picture]:
    found = []
    if learned.reliability:
        said, came, count = zip(*learned.reliability, strict=True)
        figure = _figure("p, mean of a tenth of the rows", "share that reached the target")
        top = max(*said, *came)
        figure.add_scatter(x=[0, top], y=[0, top], mode="lines", name="as said", line={"dash": "dot", "color": _FAINT})
        figure.add_scatter(
            x=said, y=came, mode="lines+markers", name="as it came", line={"color": _CHALLENGER}, text=[f"{n} rows" for n in count]
        )
        found.append(
            Picture("reliability", "What p is worth", "On the dotted line p means what it says; a flat line knows nothing.", figure)
        )
    if learned.folds:
        figure = _figure("step of the walk forward", "log loss gained on the base rate")
        names = [f"{to_datetime(fold.begins_ns):%d %b %H:%M}" for fold in learned.folds]
        figure.add_bar(x=names, y=[fold.log_loss_base - fold.log_loss for fold in learned.folds], marker={"color": _CHALLENGER})
        note = (
            "The recipe fitted anew at each step and judged on what follows, purged and embargoed. Below zero: worse than knowing nothing."
        )
        found.append(Picture("walk", "Walk forward", note, figure))
    return found


def _trades(learned: Learned) -> list[Picture]:
    found = []
    if learned.evidence is not None and learned.evidence.blocks:
        figure = _figure("block", "net, basis points, summed")
        for name, field, colour in (
            (f"version {learned.champion}, which serves", "champion_return_basis_points", _CHAMPION),
            ("candidate", "challenger_return_basis_points", _CHALLENGER),
        ):
            sums = np.cumsum([getattr(block, field) for block in learned.evidence.blocks])
            figure.add_scatter(y=sums.round(2).tolist(), mode="lines", name=name, line={"color": colour})
        note = f"Blocks of {learned.evidence.block_seconds // 60} minutes of later sessions, spread and fees paid. One path of many that could have been."
        found.append(Picture("net", "Candidate and what serves", note, figure))
    if learned.quantisation is not None and learned.quantisation.latency:
        figure = _figure("rows of one inference", "median, µs")
        rows = [str(one.rows) for one in learned.quantisation.latency]
        figure.add_bar(x=rows, y=[one.float_us for one in learned.quantisation.latency], name="FP32", marker={"color": _CHAMPION})
        figure.add_bar(x=rows, y=[one.int8_us for one in learned.quantisation.latency], name="INT8", marker={"color": _CHALLENGER})
        found.append(
            Picture(
                "latency", "What INT8 takes", "In process on the machine that learned, one thread. Where INT8 is higher, it loses.", figure
            )
        )
    return found


def _tables(learned: Learned) -> str:
    parts = [
        table(
            "Sessions",
            ("session", "kind", "rows", "targets reached"),
            [(one.name, one.kind, one.rows, one.reached) for one in learned.sessions],
            frozenset({2, 3}),
        ),
        table("Left out", ("recording", "why"), learned.left_out),
        table(
            "Walk forward",
            ("from (UTC)", "learned from", "judged", "log loss", "base rate's", "area", "trades", "basis points each"),
            [
                (
                    f"{to_datetime(fold.begins_ns):%Y-%m-%d %H:%M}",
                    fold.training_rows,
                    fold.rows,
                    f"{fold.log_loss:.4f}",
                    f"{fold.log_loss_base:.4f}",
                    f"{fold.area_under_curve:.3f}",
                    fold.trades,
                    f"{fold.mean_basis_points:+.1f}",
                )
                for fold in learned.folds
            ],
            frozenset(range(1, 8)),
        ),
    ]
    if quantisation := learned.quantisation:
        rows = [
            ("rank correlation", f"{quantisation.rank_correlation:.5f}"),
            ("same side of one half", f"{quantisation.sign_agreement:.5f}"),
            ("largest difference of p", f"{quantisation.probability_error_max:.5f}"),
            ("positions changed", quantisation.entries_changed),
            ("rows", ", ".join(f"{number:,} {name}" for name, number in quantisation.calibration_rows.items())),
        ]
        parts.append(table("INT8 against FP32", ("what", "found"), rows, frozenset({1})))
    notes = []
    if learned.parts:
        fit, later, judged = learned.parts
        notes.append(f"{fit:,} rows fit, {later:,} weigh and calibrate, {judged:,} judge; {learned.kept_rows:,} kept of older sessions")
    if learned.constant:
        notes.append(f"never changed, so that nothing is learned from them: {', '.join(learned.constant)}")
    if learned.regimes:
        notes.append("regimes: " + ", ".join(f"{number:,} {name}" for name, number in learned.regimes.items()))
    return "".join(parts) + (f"<footer>{escaped('; '.join(notes))}.</footer>" if notes else "")
