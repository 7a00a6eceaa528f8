"""``tradingsystem seeds``: the shipped model on many generated days, with the planted edge and without, as distributions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tradingsystem.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tradingsystem.world.seeds import Distribution, Played

EXIT_FOUND, EXIT_UNFINISHED = 1, 3


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("seeds")(seeds)


def seeds(
    *,
    count: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="How many days of each edge.")] = 50,
    first: Annotated[int, typer.Option("--first", min=0, help="The first seed.")] = 1,
    symbols: Annotated[int, typer.Option("--symbols", min=10, max=12_000, help="Symbols of each day.")] = 300,
    edges: Annotated[
        list[int] | None, typer.Option("--edge", min=0, max=100, help="Planted edge in percent, again and again; 100 and 0.")
    ] = None,
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Days at the same time.")] = 2,
    seconds: Annotated[int, typer.Option("--seconds", min=0, help="Begin no day after that; 0: play them all. The next run goes on.")] = 0,
    folder: Annotated[Path, typer.Option("--folder", help="seeds.json and seeds.html are kept there.")] = Path("reports"),
) -> None:
    """Let the shipped model judge many generated days, without sockets, and show what its signals met beside what the oracle hits.

    Days that seeds.json holds already, of the same build and size, are not played again. Status 1: the hit rate lies outside what can be known, or something
    is earned where nothing is planted. Status 3: days are left. Simulated: it says nothing about profit.
    """
    from tradingsystem.process.build import build_digest
    from tradingsystem.world.seeds import findings, play_all  # compiled kernels: no other command should wait for them
    from tradingsystem.world.seeds_page import render

    wanted, shares = range(first, first + count), [edge / 100 for edge in dict.fromkeys(edges or (100, 0))]
    folder.mkdir(parents=True, exist_ok=True)
    played = _kept(folder / "seeds.json", build_digest(), symbols)
    missing = played.missing(wanted, shares)
    begun, console = time.monotonic(), Console(highlight=False)
    jobs = (job for job in missing if not seconds or time.monotonic() - begun < seconds)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{len(missing)} days", total=len(missing))
        for day in play_all(jobs, symbols, processes):
            played = msgspec.structs.replace(played, days=(*played.days, day))
            _keep(folder / "seeds.json", played)
            progress.advance(task)
    found = [one for one in (played.of(edge, wanted) for edge in shares) if one.days]
    if not found:
        raise InvalidInput(f"no day was finished within {seconds} s; give more with --seconds")
    problems = findings(found)
    console.print(_table(found))
    for one in found:
        console.print(_histogram(one))
    (folder / "seeds.html").write_text(render(found, symbols, played.build, problems), encoding="utf-8")
    console.print("Simulated: it says nothing about profit.")
    console.print(f"Look: {folder / 'seeds.html'}, {folder / 'seeds.json'}", markup=False)
    for problem in problems:
        console.print(f"wrong: {problem}", style="red", markup=False)
    left = len(played.missing(wanted, shares))
    if left:
        console.print(f"{left} days are left: the same command goes on with them")
    if problems or left:
        raise typer.Exit(EXIT_FOUND if problems else EXIT_UNFINISHED)


def _kept(path: Path, build: str, symbols: int) -> Played:
    """What an earlier run left, when it is of the same build and size. Raises ``InvalidInput`` for a file that is something else."""
    from tradingsystem.world.seeds import Played

    fresh = Played(build=build, symbols=symbols)
    if not path.exists():
        return fresh
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Played)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: not what this command keeps ({error}); remove it, or choose another --folder") from error
    return kept if (kept.build, kept.symbols) == (build, symbols) else fresh


def _keep(path: Path, played: Played) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(played))
    part.replace(path)


def _table(found: Sequence[Distribution]) -> Table:
    table = Table("", *("edge planted" if one.edge else "no edge" for one in found), box=None)
    table.add_row("days", *(str(len(one.days)) for one in found))
    table.add_row("signals, trades", *(f"{one.signals}, {one.trades}" for one in found))
    table.add_row("hit rate", *(f"{one.hit_rate:.3f} ± {one.hit_rate_error:.3f}" for one in found))
    table.add_row("the oracle's", *(f"{one.oracle:.3f}" for one in found))
    table.add_row("net a day", *(f"{one.net_mean:+.2f} ± {one.net_error:.2f}" for one in found))
    table.add_row(
        "worst, best day", *(f"{min(day.net for day in one.days):+.2f}, {max(day.net for day in one.days):+.2f}" for one in found)
    )
    return table


def _histogram(found: Distribution, bins: int = 9) -> str:
    """Days by net result, one line per bin."""
    values = [day.net for day in found.days]
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    lines = [f"{low + at * width:+8.0f} {'█' * number} {number}" for at, number in enumerate(counts)]
    return "\n".join([f"net of a day, {'edge planted' if found.edge else 'no edge'}:", *lines])
