"""``tradingsystem demo``: a whole simulated day on this machine, then the verdict. No keys, no account, nothing to install."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from tradingsystem.domain.errors import InvalidInput
from tradingsystem.spec.inference import Runtime
from tradingsystem.spec.simulation import Signals


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("demo")(demo)


def demo(
    *,
    data: Annotated[Path | None, typer.Option("--data", help="Play a recorded day from this folder (LEAN, Polygon flat files).")] = None,
    day: Annotated[datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Which day; the folder's last unless given.")] = None,
    signals: Annotated[Signals, typer.Option("--signals", help="Probe: a schedule exercises the order path on any data.")] = Signals.MODEL,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same market.")] = 7,
    speed: Annotated[int, typer.Option("--speed", min=1, max=1_000, help="Market seconds per second.")] = 100,
    symbols: Annotated[int, typer.Option("--symbols", min=10, max=12_000, help="Symbols of the generated market.")] = 2_000,
    edge: Annotated[int, typer.Option("--edge", min=0, max=60, help="Planted edge, basis points; 0: nothing may be earned.")] = 60,
    runtime: Annotated[
        Runtime, typer.Option("--runtime", help="Triton: a real tritonserver answers, and is killed in mid-day (make triton).")
    ] = Runtime.IN_PROCESS,
    audit: Annotated[Path | None, typer.Option("--audit", help="Wire auditor; the checkout's unless given.", metavar="PROGRAM")] = None,
) -> None:
    """Play one whole trading day: simulated venues, real processes, then an independent audit of every byte on the broker's wire.

    Exit status 0: traded, flat, and everybody agrees. 1: not so, with what disagrees. Recorded data judged by the model may end without a trade.
    """
    # Here and not above: no other command should wait for what only this one needs.
    from tradingsystem.cli.demo_console import show
    from tradingsystem.world.auditing import auditor
    from tradingsystem.world.demo import DemoOptions

    program = auditor(audit)
    options = DemoOptions(
        data=data,
        day=_day(data, day),
        signals=signals,
        seed=seed,
        speed=speed,
        symbols=symbols,
        edge_basis_points=edge,
        runtime=runtime,
    )
    raise typer.Exit(show(options, program))


def _day(data: Path | None, chosen: datetime | None) -> date | None:
    if data is None:
        return chosen.date() if chosen else None
    from tradingsystem.process.recorded_data import recorded_dates

    days = recorded_dates(data)
    if chosen is not None and chosen.date() not in days:
        raise InvalidInput(f"{data}: no data of {chosen.date()}; days there: {', '.join(str(one) for one in days)}")
    return chosen.date() if chosen else days[-1]
