"""``tradingsystem world``: seeded days of execution with faults, in virtual time; one with its story, or many with their sum."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from tradingsystem.world.trial.many import Many

VIOLATIONS_SHOWN = 40
WIDTH_MIN = 124  # the table of hits is that wide


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("world")(world)


def world(
    *,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Repeat one day and tell its story.")] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1_000_000, help="How many days.")] = 100,
    first: Annotated[int, typer.Option("--first", min=0, help="The first seed.")] = 1,
    processes: Annotated[int, typer.Option("--processes", min=1, max=64, help="Days at the same time.")] = 2,
    json: Annotated[Path | None, typer.Option("--json", help="Write every day here.")] = None,
) -> None:
    """Play seeded days of the real execution code against the simulated broker, with faults, and check what must always hold after every step.

    Status 1 when anything was broken, or a day had too little in it to be a trial.
    """
    if seed is not None:
        _tell(seed)
        return
    from tradingsystem.world.trial.many import (
        CELLS_DEMANDED_FROM_DAYS,
        Many,
        play_all,
    )  # the whole of execution and the simulator: no other command should wait for them

    began = time.monotonic()
    console = Console(highlight=False, width=max(Console().width, WIDTH_MIN))
    days = track(play_all(range(first, first + seeds), processes), total=seeds, description=f"{seeds} days", console=console)
    many = Many(tuple(days))
    console.print(_hits(many))
    numbers = Table("", "a day", "all", box=None)
    for name, values in many.counts().items():
        numbers.add_row(name, f"{min(values)} to {max(values)}, on average {sum(values) / len(values):.1f}", str(sum(values)))
    console.print(numbers)
    slowest = max(day.slowest_cover_seconds for day in many.days)
    console.print(f"longest from fill to cover while execution and broker were up: {slowest:.2f} s, at most 3")
    broken = many.violations()
    for number, invariant, what in broken[:VIOLATIONS_SHOWN]:
        console.print(f"[red]violated[/red] {invariant}: {what}\n    tradingsystem world --seed {number}")
    for number, what in many.poor():
        console.print(f"[yellow]too little[/yellow] {what}: tradingsystem world --seed {number}")
    empty = many.empty_cells()
    if empty:
        few = seeds < CELLS_DEMANDED_FROM_DAYS
        console.print(f"{len(empty)} cells are empty: days are too few to ask for all" if few else f"never met: {', '.join(empty)}")
    violated = len({number for number, _, _ in broken})
    console.print(f"{seeds} days in {time.monotonic() - began:.0f} s: {len(broken)} violations on {violated} days")
    if json is not None:
        json.write_bytes(msgspec.json.encode(many.days))
    if not many.passed():
        raise typer.Exit(1)


def _tell(seed: int) -> None:
    from tradingsystem.world.trial.day import play

    verdict = play(seed, told=True)
    for line in verdict.story:
        typer.echo(line)
    struck = ", ".join(f"{fault} at {step}" for fault, step in verdict.struck)
    typer.echo(f"seed {seed}, story {verdict.digest}: {verdict.decisions} decisions, {verdict.positions} positions, {verdict.lives} lives")
    typer.echo(f"faults: {struck or 'none'}")
    for invariant, what, second in verdict.violations:
        typer.echo(f"VIOLATED {invariant} at {second:.3f}: {what}")
    typer.echo("verdict: " + ("broken" if verdict.violations else "everything held"))
    if verdict.violations:
        raise typer.Exit(1)


def _hits(many: Many) -> Table:
    header, *rows = many.table()
    made = Table(box=None, padding=(0, 1, 0, 0))
    for number, name in enumerate(header):
        made.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made
