"""``tradingsystem up FILE``: the whole system on this machine, until Ctrl-C or, with ``--until-end``, until the simulated market's end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradingsystem.cli.reading import read_system
from tradingsystem.spec import warnings


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("up")(up)


def up(
    file: Annotated[Path, typer.Argument(help="The resource, YAML or JSON.", metavar="FILE")],
    *,
    one_process: Annotated[bool, typer.Option("--one-process", help="All services in one process (refused in Live).")] = False,
    speed: Annotated[int | None, typer.Option("--speed", min=1, max=1000, help="Market seconds per second, instead of FILE's.")] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="End by itself when the simulated market has ended.")] = False,
    capture_all: Annotated[
        bool, typer.Option("--capture-all", help="wire.jsonl holds market data too, not only the broker's side.")
    ] = False,
    models: Annotated[Path | None, typer.Option("--models", help="Folder of model versions, instead of the package's own.")] = None,
) -> None:
    """Start everything FILE describes: a message server and one process per service. Ctrl-C ends it in order: flat or protected.

    Logs, slices and recordings of the run go to ~/.local/state/tradingsystem/NAME/runs/ (TRADINGSYSTEM_STATE names another root).
    """
    from tradingsystem.cli.up_console import start  # all that runs a system loads slowly, and no other command needs it

    system = read_system(file, speed=speed)
    for advice in warnings(system):
        typer.echo(f"note: {advice}", err=True)
    raise typer.Exit(start(system, file, one_process=one_process, until_end=until_end, capture_all=capture_all, models=models))
