"""``tradingsystem doctor FILE``: whether what FILE describes could start and trade here, line by line, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tradingsystem.cli.reading import read_system
from tradingsystem.process.build import build_digest
from tradingsystem.process.secrets import Secrets, local_folder
from tradingsystem.process.venues import venues_of
from tradingsystem.spec import Mode, Placement, warnings
from tradingsystem.spec import plan as make_plan


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("doctor")(doctor)


def doctor(file: Annotated[Path, typer.Argument(help="The resource, YAML or JSON.", metavar="FILE")]) -> None:
    """Check message server, ports, keys (by name), account, clock, calendar, entitlements and data age. Status 1 when anything is wrong."""
    from tradingsystem.world.doctor import examine  # alpaca-py loads slowly, and no other command needs it

    system = read_system(file)
    planned = make_plan(system, Placement.PROCESSES, build=build_digest())
    simulator = f"http://127.0.0.1:{planned.workload('simulator').port('venues')}" if planned.mode is Mode.SIMULATION else ""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"ok     resource: valid, mode {planned.mode.value}", style="green", markup=False)
    for advice in warnings(system):
        console.print(f"note   resource: {advice}", style="yellow", markup=False)
    wrong = 0
    for finding in examine(system, planned, Secrets(local_folder()), venues_of(planned.mode, simulator)):
        wrong += not finding.ok
        console.print(
            f"{'ok   ' if finding.ok else 'wrong'}  {finding.what}: {finding.says}", style="green" if finding.ok else "red", markup=False
        )
        if not finding.ok:
            console.print(f"       do: {finding.remedy}", markup=False)
    console.print(f"{wrong} wrong." if wrong else "All is well.")
    raise typer.Exit(1 if wrong else 0)
