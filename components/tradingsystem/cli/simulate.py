"""``tradingsystem simulate``: the simulated venues alone, for client programs of your own. Loopback only, no keys but the simulated one."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("simulate")(simulate)


def simulate(
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Loopback port; 0: any free one.")] = 8_020,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same market.")] = 7,
    symbols: Annotated[int, typer.Option("--symbols", min=2, max=12_000, help="Symbols of the generated market.")] = 500,
    speed: Annotated[float, typer.Option("--speed", min=0.01, max=1_000, help="Market seconds per second.")] = 1.0,
    day: Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="The session that is played.")] = datetime(2026, 3, 2),  # noqa: DTZ001
    data: Annotated[Path | None, typer.Option("--data", help="Play recorded days from this folder instead.")] = None,
    capture: Annotated[Path | None, typer.Option("--capture", help="Write what broker and clients say to each other to this file.")] = None,
    capture_all: Annotated[bool, typer.Option("--capture-all", help="With --capture: market data too.")] = False,
) -> None:
    """Run the simulated venues (Polygon, Alpaca, Unusual Whales) on one loopback port, without a trading system. Ctrl-C ends it.

    Client programs use them as they would the real ones: key and secret are both "simulation".
    """
    from tradingsystem.process.nats_server import refuse_taken  # here and not above: no other command should wait for the simulator
    from tradingsystem.process.playing import simulate_alone

    if port:
        refuse_taken({"venues": port}, remedy="stop it, or choose another with --port (0: any free one)")

    def tell(http: str, websocket: str) -> None:
        typer.echo(f"Alpaca trading   {http}          updates {websocket}/stream   (key and secret: simulation)")
        typer.echo(f"Alpaca data      {websocket}/v2/sip")
        typer.echo(f"Polygon          {http}          sockets {websocket}/stocks {websocket}/indices")
        typer.echo(f"Unusual Whales   {http}          socket  {websocket}/socket")
        typer.echo(f"controls         {http}/simulator/clock, scenario, summary, pace")

    try:
        asyncio.run(
            simulate_alone(
                port=port,
                seed=seed,
                symbols=symbols,
                speed=speed,
                day=day.date(),
                data=data,
                capture=capture,
                capture_everything=capture_all,
                listening=tell,
            )
        )
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
