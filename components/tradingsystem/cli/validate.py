"""``tradingsystem validate FILE``: every mistake at once, then what cannot add up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradingsystem.cli.reading import read_system
from tradingsystem.spec import warnings


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("validate")(validate)


def validate(file: Annotated[Path, typer.Argument(help="The resource, YAML or JSON.", metavar="FILE")]) -> None:
    """Check FILE and print every mistake with its place and what would be right. Ends with status 2 when there is one; starts nothing."""
    system = read_system(file)
    for advice in warnings(system):
        typer.echo(f"note: {advice}")
    typer.echo(f"{file}: {system.metadata.name} is valid (mode {system.spec.mode.value})")
