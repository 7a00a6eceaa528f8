"""``tradingsystem report RUN``: a recorded run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradingsystem.domain.errors import InvalidInput


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("report")(report)


def report(
    run: Annotated[Path, typer.Argument(help="A run's folder, or its recording.", metavar="RUN")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.", metavar="FILE")] = Path("reports/report.html"),
) -> None:
    """Draw the day of RUN: equity, drawdown, regimes, trades, funnel, latency, refusals. The page needs nothing but itself."""
    from tradingsystem.world.report import write_report  # plotly loads slowly, and no other command needs it

    try:
        day = write_report(run, output)
    except OSError as error:
        raise InvalidInput(f"{output}: cannot be written ({error.strerror})") from error
    left_out = f" ({day.unreadable} recorded messages could not be read)" if day.unreadable else ""
    typer.echo(f"{len(day.signals)} signals, {len(day.intents)} orders, {len(day.executions)} executions{left_out}.")
    typer.echo(f"Look: {output}")
