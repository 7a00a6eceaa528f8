"""``tradingsystem data import FOLDER``: whether a folder of recorded days can be played, and what is in it; it copies and changes nothing.
``tradingsystem data fetch FOLDER`` brings such days from Polygon."""

from __future__ import annotations

import asyncio
import enum
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.time import new_york_clock

if TYPE_CHECKING:
    from tradingsystem.process.recorded_data import RecordedDay

SYMBOLS_SHOWN = 8
TICKER = re.compile(r"[A-Z][A-Za-z0-9.]{0,9}")
MARKET = "SPY"  # the regime is read from it


class Kind(enum.StrEnum):
    """What is fetched."""

    TRADES = "trades"
    QUOTES = "quotes"
    MINUTES = "minutes"


def register(application: typer.Typer) -> None:
    """Add the commands."""
    data = typer.Typer(
        no_args_is_help=True, help="Recorded market data: LEAN's zip-of-CSV folders, Polygon's flat files, our own recordings."
    )
    data.callback()(_nothing)
    data.command("import")(import_folder)
    data.command("fetch")(fetch)
    application.add_typer(data, name="data")


def _nothing() -> None:
    """Recorded market data: LEAN's zip-of-CSV folders, Polygon's flat files, our own recordings."""


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
        raise InvalidInput(f"{folder}: no recorded day of that date there; without --date every day is read")
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


def fetch(
    folder: Annotated[Path, typer.Argument(help="Folder for Polygon's flat files; made when it is not there.", metavar="FOLDER")],
    *,
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="The session.")],
    symbols: Annotated[str, typer.Option("--symbols", help="Comma list, as AAPL,SPY.")],
    kinds: Annotated[list[Kind] | None, typer.Option("--kind", help="Again and again; trades and quotes unless given.")] = None,
    url: Annotated[str, typer.Option("--url", help="Another address than Polygon's, as https://api.massive.com.")] = "",
) -> None:
    """Fetch a day of some symbols from Polygon's REST into FOLDER, as flat files that play like bought ones.

    The key is the system's (secret polygon, or POLYGON_API_KEY). Interrupted or refused for too many requests, the next run goes on where it stopped; a file
    that is complete is left alone.
    """
    from tradingsystem.process.fetching import ADDRESS, fetch_day  # the client loads slowly

    tickers = list(dict.fromkeys(name.strip() for name in symbols.split(",") if name.strip()))
    wrong = [name for name in tickers if not TICKER.fullmatch(name)]
    if wrong or not tickers:
        raise InvalidInput(f"--symbols: {', '.join(map(repr, wrong)) or 'nothing'} cannot be fetched; give tickers, as AAPL,BRK.B")
    wanted = [kind.value for kind in kinds or (Kind.TRADES, Kind.QUOTES)]
    try:
        files = asyncio.run(
            fetch_day(folder, day.date(), tickers, wanted, url=url or ADDRESS, told=lambda text: typer.echo(text, err=True))
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    for file in files:
        counts = ", ".join(f"{name} {count:,}" for name, count in file.rows.items())
        typer.echo(f"{file.path}: {'complete, left alone' if file.kept else counts}")
    if MARKET not in tickers:
        typer.echo(f"note: without {MARKET} the filter cannot tell the market's regime")
    typer.echo(f"Look: tradingsystem data import {folder}   Play: tradingsystem demo --data {folder} --date {day.date()}")


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
