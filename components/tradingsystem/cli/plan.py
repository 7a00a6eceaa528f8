"""``tradingsystem plan FILE``: what would run, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tradingsystem.cli.reading import read_system
from tradingsystem.process.build import build_digest
from tradingsystem.spec import Placement, PlanRow, explain
from tradingsystem.spec import plan as make_plan


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("plan")(plan)


def plan(
    file: Annotated[Path, typer.Argument(help="The resource, YAML or JSON.", metavar="FILE")],
    placement: Annotated[Placement, typer.Option("--placement", help="Where it would run.")] = Placement.PROCESSES,
) -> None:
    """Print the workloads FILE leads to, in start order: processes, ports, what each reads, which secrets it needs (by name)."""
    planned = make_plan(read_system(file), placement, build=build_digest())
    table = Table(box=None, pad_edge=False)
    names = PlanRow.__struct_fields__
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in explain(planned):
        table.add_row(*(getattr(row, name) for name in names))
    console = Console(highlight=False)
    console.print(f"{planned.system}: mode {planned.mode.value}, build {planned.build}, boot {planned.boot_hash[:12]}", markup=False)
    console.print(table)
