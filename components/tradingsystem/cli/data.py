"""``tradingsystem data import FOLDER``: whether a folder of recorded days can be played, and what is in it. It copies and changes nothing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.time import new_york_clock

if TYPE_CHECKING:
    from tradingsystem.process.recorded_data import RecordedDay

SYMBOLS_SHOWN = 8


def register(application: typer.Typer) -> None:
    """Add the commands."""
    data = typer.Typer(no_args_is_help=True, help="Recorded market data: LEAN's zip-of-CSV folders and Polygon's flat files.")
    data.callback()(_nothing)
    data.command("import")(import_folder)
    application.add_typer(data, name="data")


def _nothing() -> None:
    """Recorded market data: LEAN's zip-of-CSV folders and Polygon's flat files."""


def import_folder(
    folder: Annotated[Path, typer.Argument(help="Folder with recorded days.", metavar="FOLDER")],
    day: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Only that day.")] = None,
) -> None:
    """Read every day in FOLDER to its end with the player that would play it, and print what is there. Status 2 when anything is damaged."""
    from tradingsystem.process.recorded_data import read_recorded, recorded_dates  # the player loads slowly, and no other command needs it

    days = recorded_dates(folder)
    if day is not None:
        days = [one for one in days if one == day.date()]
    if not days:
        raise InvalidInput(f"{folder}: no recorded day there; expected LEAN's tick/ and minute/ zips, or Polygon's trades_v1/*.csv.gz")
    damaged = []
    for one in days:
        try:
            typer.echo("\n".join(_lines(read_recorded(folder, one))))
        except InvalidInput as error:
            damaged.append(str(error))
    if damaged:
        raise InvalidInput("\n".join([f"{len(damaged)} of {len(days)} days cannot be played:", *(f"  {text}" for text in damaged)]))
    count = "It" if len(days) == 1 else f"All {len(days)}"
    typer.echo(f"{count} can be played: tradingsystem demo --data {folder} --date {days[-1]}")


def _lines(day: RecordedDay) -> list[str]:
    ranked = sorted(day.by_symbol.items(), key=lambda item: -item[1])
    names = ", ".join(f"{name} {count:,}" for name, count in ranked[:SYMBOLS_SHOWN])
    more = f" and {len(ranked) - SYMBOLS_SHOWN} more" if len(ranked) > SYMBOLS_SHOWN else ""
    rows = ", ".join(f"{count:,} {kind.replace('_', ' ')}s" for kind, count in day.rows.items())
    lines = [
        f"{day.day}  {new_york_clock(day.first_ns)} to {new_york_clock(day.last_ns)} in New York, {len(ranked)} symbols: {names}{more}"
    ]
    lines.append(f"            {rows}{'' if day.vix is None else f', VIX {day.vix:g} from the session before'}")
    return [*lines, *(f"            noticed: {what} ({count:,})" for what, count in day.notes.items())]
