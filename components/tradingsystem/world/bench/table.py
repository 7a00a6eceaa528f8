"""The report as a person reads it: a table per row, its goal and what it is held against under it, MISSED where it was missed."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tradingsystem.world.bench.result import Line, Machine, Report, Row

NUMBERS = ("p50", "p99", "p99.9", "max")


def rendered(report: Report) -> RenderableType:
    """All rows, the machine, and how many goals were met."""
    parts: list[RenderableType] = [of_row(row) for row in report.rows]
    lines = [line for row in report.rows for line in row.lines if line.met is not None]
    met = sum(1 for line in lines if line.met)
    parts.append(Text(f"\n{met} of {len(lines)} goals met, {len(lines) - met} missed", style="bold"))
    parts.append(Text(machine_words(report.machine)))
    parts.append(Text(f"seed {report.seed}, command: {report.command}"))
    return Group(*parts)


def of_row(row: Row) -> RenderableType:
    """One row: title, lines, goals, notes, what is absent."""
    table = Table("", "goal", *NUMBERS, "unit", "n", box=None, pad_edge=False, header_style="dim")
    for place in (2, 3, 4, 5, 7):
        table.columns[place].justify = "right"
    for column in table.columns:
        column.no_wrap = True
    for line in row.lines:
        numbers = (number(value) for value in (line.p50, line.p99, line.p999, line.largest))
        table.add_row(line.name, verdict(line), *numbers, line.unit, f"{line.samples:,}")
    parts: list[RenderableType] = [Text(f"\n{row.title}", style="bold")]
    if row.lines:
        parts.append(table)
    parts += [Text(f"  {words}", style="dim") for words in _remarks(row)]
    parts += [Text(f"  not measured: {gap.name}: {gap.reason}", style="yellow") for gap in row.absent]
    return Group(*parts)


def verdict(line: Line) -> Text:
    """Met, MISSED, or nothing where there is no goal."""
    if line.met is None:
        return Text("")
    return Text("met", style="green") if line.met else Text("MISSED", style="bold red")


def number(value: float) -> str:
    """Three digits that count, thousands with a comma."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:#.3g}".rstrip(".")


def _remarks(row: Row) -> list[str]:
    """Goals, rates and comparisons; what several lines share is said once."""
    found: dict[str, list[str]] = {}
    for line in row.lines:
        words = [f"goal {line.goal}" if line.goal else "", f"offered {line.offered}" if line.offered else "", line.beside]
        if text := "; ".join(word for word in words if word):
            found.setdefault(text, []).append(line.name)
    return [f"{', '.join(names)}: {text}" for text, names in found.items()] + list(row.notes)


def machine_words(machine: Machine) -> str:
    """One line; a machine that was busy is said to be."""
    busy = f", load {machine.load:g} before the first row: not a quiet machine" if machine.load > 0.5 else ""
    versions = " ".join(f"{name} {found}" for name, found in machine.versions.items())
    gpu = f", {machine.gpu}" if machine.gpu else ""
    return f"{machine.processor}, {machine.cores} cores, {machine.memory_gib:.0f} GiB, {machine.system}, Python {machine.python}{gpu}{busy}\n{versions}"
