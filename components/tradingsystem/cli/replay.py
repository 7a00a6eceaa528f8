"""``tradingsystem replay RUN``: feed a recording to the same code again and say whether the same came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tradingsystem.domain.errors import InvalidInput


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("replay")(replay)


def replay(
    run: Annotated[Path, typer.Argument(help="A run's folder, as `up` printed it.", metavar="RUN")],
    *,
    processes: Annotated[
        bool, typer.Option("--processes", help="Each half in a process of its own, instead of one after the other in this one.")
    ] = False,
    times: Annotated[int, typer.Option("--times", min=1, max=1000, help="How often; every time must give the same hash.")] = 1,
    delays: Annotated[int, typer.Option("--delays", min=0, help="Seed of random pauses put between steps; 0: none.")] = 0,
    models: Annotated[Path | None, typer.Option("--models", help="Folder of model versions, instead of the package's own.")] = None,
) -> None:
    """Make every decision of a recorded run again and compare it byte for byte with the record.

    The filter is driven by its recorded cuts, execution by its recorded inbox. Exit 0 when all is equal, 1 when something differs, 2 when the recording
    cannot be read or is not what was recorded.
    """
    from tradingsystem.world.replaying import Plan, replay_run, run_halves  # compiled kernels: no other command should wait for them

    if not (run / "recording").is_dir():
        raise InvalidInput(f"{run}: no recording in it; give a run's folder, as `tradingsystem up` prints it")
    console = Console(highlight=False)
    digests: set[str] = set()
    equal = True
    for attempt in range(times):
        plan = Plan(folder=run, models=models, delay_seed=delays + attempt if delays else 0)
        outcome = run_halves(plan) if processes else replay_run(plan)
        digests.add(outcome.digest)
        equal = equal and outcome.equal
        if attempt == 0:
            table = Table("half", "fed", "came out", "differences", "sha256", box=None)
            for half in outcome.halves:
                table.add_row(half.name, f"{half.entries:,}", f"{half.outputs:,}", str(len(half.differences)), half.digest[:16])
            console.print(table)
            for note in (note for half in outcome.halves for note in half.notes):
                console.print(f"  {note}", markup=False)
        for half in outcome.halves:
            for difference in half.differences:
                console.print(f"  {half.name}: {difference}", markup=False)
    how = "in processes of their own" if processes else "in one process"
    console.print(f"{times} x {how}: {len(digests)} hash{'es' if len(digests) > 1 else ''} {min(digests)}")
    if len(digests) > 1 or not equal:
        raise typer.Exit(1)
