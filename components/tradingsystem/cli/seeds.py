"""``tradingsystem seeds``: the shipped model on many generated days, as a distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("seeds")(seeds)


def seeds(
    *,
    count: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="How many days.")] = 50,
    first: Annotated[int, typer.Option("--first", min=0, help="The first seed.")] = 1,
    symbols: Annotated[int, typer.Option("--symbols", min=10, max=12_000, help="Symbols of each day.")] = 300,
    edge: Annotated[int, typer.Option("--edge", min=0, max=100, help="Strength of the planted edge in percent; 0: nothing to find.")] = 100,
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Days at the same time.")] = 2,
    json: Annotated[Path | None, typer.Option("--json", help="Write every day here.")] = None,
) -> None:
    """Let the shipped model judge many generated days, without sockets, and print what its signals met beside what the oracle hits.

    Simulated, edge planted: it says nothing about profit.
    """
    from tradingsystem.world.seeds import Distribution, play_all  # compiled kernels: no other command should wait for them

    console = Console(highlight=False)
    days = track(
        play_all(range(first, first + count), symbols, edge / 100, processes), total=count, description=f"{count} days", console=console
    )
    found = Distribution(edge / 100, tuple(days))
    table = Table("", "over all days", box=None)
    table.add_row("signals, trades", f"{sum(day.signals for day in found.days)}, {found.trades}")
    table.add_row("hit rate", f"{found.hit_rate:.3f} ± {found.hit_rate_error:.3f}")
    table.add_row("the oracle's", f"{found.oracle:.3f}")
    table.add_row("net a day", f"{found.net_mean:+.2f} ± {found.net_error:.2f}")
    table.add_row("worst, best day", f"{min(day.net for day in found.days):+.2f}, {max(day.net for day in found.days):+.2f}")
    console.print(table)
    console.print(_histogram([day.net for day in found.days]))
    console.print(f"Simulated, {'edge planted' if edge else 'no edge planted'}: it says nothing about profit.")
    if json is not None:
        json.write_bytes(msgspec.json.encode(found.days))


def _histogram(values: list[float], bins: int = 9) -> str:
    """Days by net result, one line per bin."""
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    return "\n".join(f"{low + at * width:+8.0f} {'█' * number} {number}" for at, number in enumerate(counts))
