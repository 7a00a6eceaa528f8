"""``tradingsystem status``: what runs on this machine and how it is, as it says itself. It listens for a moment and asks for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tradingsystem.cli.person import connect
from tradingsystem.cli.printing import print_json
from tradingsystem.cli.status_page import Heard, document, page, problems
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.state import RunningSystem, find_running

if TYPE_CHECKING:
    from tradingsystem.interfaces import Delivery

LISTEN_SECONDS = 1.6


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("status")(status)


def status(
    name: Annotated[str | None, typer.Argument(help="The system; not needed when only one runs.", metavar="[NAME]")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Everything that is known, as JSON.")] = False,
) -> None:
    """Show every service of a running system, trading with its positions, and what is wrong. Status 1 when anything is."""
    running = find_running(name)
    heard = asyncio.run(_listen(running))
    if as_json:
        print_json(document(heard))
    else:
        console = Console(highlight=False)
        for line, style in page(heard):
            console.print(line, style=style or None, markup=False, soft_wrap=True)
    raise typer.Exit(1 if problems(heard) else 0)


async def _listen(running: RunningSystem) -> Heard:
    """Everybody's last word within a little more than a second. Raises ``TryAgain`` when the message server does not answer."""
    # Here and not above: these load slowly, and first it must be known that something runs.
    from tradingsystem.ingestion.status import IngestionStatus
    from tradingsystem.world.live import Watch

    watch = Watch(Subjects(running.system))
    sources: dict[str, str] = {}

    def on_ingestion(delivery: Delivery) -> None:
        with contextlib.suppress(Malformed):
            said: IngestionStatus = decode(delivery.payload, IngestionStatus)
            sources.clear()
            sources.update(said.sources)

    async with connect(running) as bus:
        await watch.listen(bus)
        await bus.subscribe(Subjects(running.system).state("ingestion"), on_ingestion)
        await asyncio.sleep(LISTEN_SECONDS)
    market_ns = watch.tick.market_ns if watch.tick is not None else watch.status.at_ns if watch.status is not None else None
    speed = watch.tick.speed if watch.tick is not None else 1.0
    return Heard(running, watch.beats, watch.status, market_ns, speed, time.monotonic_ns(), sources, watch.models)
