"""``tradingsystem plan FILE``: what would run, without running it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tradingsystem.cli.reading import read_system
from tradingsystem.process.beside_manifest import with_listed_symbols
from tradingsystem.process.build import build_digest
from tradingsystem.spec import Placement, PlanRow, explain
from tradingsystem.spec import plan as make_plan

TABLES = (("workload", "kind", "ports", "requests", "boot_hash"), ("workload", "process", "after"), ("workload", "secrets", "reads"))
"""What is printed of the rows: side by side it would be wider than a terminal."""
WHOLE = frozenset({"workload", "process", "boot_hash"})  # names that a person copies


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("plan")(plan)


def plan(
    file: Annotated[Path, typer.Argument(help="The resource, YAML or JSON.", metavar="FILE")],
    placement: Annotated[Placement, typer.Option("--placement", help="Where it would run.")] = Placement.PROCESSES,
) -> None:
    """Print the workloads FILE leads to, in start order: processes, ports, what each reads, which secrets it needs (by name)."""
    system = read_system(file)
    if placement is not Placement.KUBERNETES:  # there the list is an object of the cluster, which the operator reads
        system = with_listed_symbols(system, file)
    planned = make_plan(system, placement, build=build_digest())
    rows, console = explain(planned), Console(highlight=False)
    console.print(f"{planned.system}: mode {planned.mode.value}, build {planned.build}, boot {planned.boot_hash[:12]}", markup=False)
    for names in TABLES:
        console.print()
        console.print(_table(rows, names))


def _table(rows: Iterable[PlanRow], names: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name.replace("_", " "), no_wrap=name in WHOLE, overflow="fold")
    for row in rows:
        table.add_row(*(getattr(row, name) for name in names))
    return table
