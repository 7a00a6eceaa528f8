"""One HTML page that needs nothing but itself: styles, plotly and figures are in it, no request leaves it. Every text from outside is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plotly.offline import get_plotlyjs

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --faint: #667085; --line: #e3e7ee; --paper: #f6f7f9; --card: #ffffff; --good: #15803d;
  --bad: #c92a2f; --warn: #fff4d6; --warn-ink: #7a4d00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --faint: #9aa4b2; --line: #2b323d; --paper: #10141a; --card: #181d25;
  --good: #4ade80; --bad: #ff7b80; --warn: #3a2d0c; --warn-ink: #ffd98a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 25px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 0 0 2px; }
p.note { color: var(--faint); margin: 0 0 6px; font-size: 13.5px; }
.label { display: inline-block; margin: 10px 0 0; padding: 5px 12px; border-radius: 7px; background: var(--warn); color: var(--warn-ink);
  font-weight: 600; font-size: 14px; }
.wrong { margin: 12px 0 0; padding: 10px 14px; border-left: 4px solid var(--bad); background: var(--card); }
.wrong li { color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 10px; margin: 20px 0; }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 10px 14px; }
.tile b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; letter-spacing: -0.01em; white-space: nowrap; }
.tile span { color: var(--faint); font-size: 13px; }
section { padding: 16px 18px 12px; margin: 0 0 16px; overflow-x: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 0 16px; }
.good { color: var(--good); } .bad { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--faint); font-weight: 600; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.number, th.number { text-align: right; }
footer { color: var(--faint); font-size: 13px; }
@media (max-width: 560px) { .pair { grid-template-columns: 1fr; } }
"""

_SCRIPT = """
const figures = JSON.parse(document.getElementById("figures").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function themed(layout) {
  const ink = dark.matches ? "#c9d0db" : "#3c4654", line = dark.matches ? "#2b323d" : "#e6e9ef";
  const copy = JSON.parse(JSON.stringify(layout));
  copy.font = Object.assign({ family: "system-ui, sans-serif", size: 12.5 }, copy.font, { color: ink });
  copy.hoverlabel = { bgcolor: dark.matches ? "#232a35" : "#ffffff", bordercolor: line, font: { color: ink } };
  for (const key of Object.keys(copy)) if (/^[xy]axis/.test(key)) Object.assign(copy[key], { gridcolor: line, zerolinecolor: line, linecolor: line });
  return copy;
}
function draw() {
  for (const [name, figure] of Object.entries(figures))
    Plotly.react(name, figure.data, themed(figure.layout), { responsive: true, displayModeBar: false });
}
draw();
dark.addEventListener("change", draw);
"""


@dataclass(frozen=True, slots=True)
class Tile:
    """One number at the top; ``sense`` is good, bad or empty."""

    value: str
    name: str
    sense: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with its heading and one sentence on how to read it."""

    name: str
    title: str
    note: str
    figure: Any


def escaped(text: object) -> str:
    """Safe in text and in attributes."""
    return html.escape(str(text), quote=True)


def tiles(given: Sequence[Tile]) -> str:
    """The row of numbers."""
    cells = "".join(
        f'<div class="tile"><b class="{tile.sense}">{escaped(tile.value)}</b><span>{escaped(tile.name)}</span></div>' for tile in given
    )
    return f'<div class="tiles">{cells}</div>'


def section(picture: Picture) -> str:
    """The place of a figure."""
    return (
        f"<section><h2>{escaped(picture.title)}</h2><p class='note'>{escaped(picture.note)}</p>"
        f"<div id='{escaped(picture.name)}' role='img' aria-label='{escaped(picture.title)}'></div></section>"
    )


def pair(pictures: Sequence[Picture]) -> str:
    """Figures side by side, where there is room."""
    return f"<div class='pair'>{''.join(section(picture) for picture in pictures)}</div>" if pictures else ""


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]], numbers: frozenset[int] = frozenset()) -> str:
    """A table; ``numbers`` are the columns that align right."""
    if not rows:
        return ""

    def cell(tag: str, place: int, value: object) -> str:
        kind = ' class="number"' if place in numbers else ""
        return f"<{tag}{kind}>{escaped(value)}</{tag}>"

    head = "".join(cell("th", place, heading) for place, heading in enumerate(headings))
    body = "".join("<tr>" + "".join(cell("td", place, value) for place, value in enumerate(row)) + "</tr>" for row in rows)
    return f"<section><h2>{escaped(title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>"


def page(title: str, body: str, pictures: Sequence[Picture]) -> str:
    """The whole document. Figures travel as JSON in which no tag can begin."""
    figures = {picture.name: json.loads(picture.figure.to_json()) for picture in pictures}
    data = json.dumps(figures, separators=(",", ":")).replace("<", "\\u003c")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main>"
        f"<script>{get_plotlyjs()}</script><script type='application/json' id='figures'>{data}</script><script>{_SCRIPT}</script></body></html>"
    )
