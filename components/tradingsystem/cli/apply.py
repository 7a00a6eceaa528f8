"""``tradingsystem apply FILE``: limits, wishes and the pinned model of a running system, changed without restarting anything.

It refuses a document with any mistake and a change of anything that needs a restart; then it says which generation of settings stays in force.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import structlog
import typer

from tradingsystem.cli.person import connect, first, models_said
from tradingsystem.cli.reading import read_system
from tradingsystem.domain.control import Beat, ModelsState
from tradingsystem.domain.errors import InvalidInput, TradingSystemError, TryAgain
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.live_settings import generation_of, next_generation, settings_entry, settings_of
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.beside_manifest import with_listed_symbols
from tradingsystem.process.private_files import read_password
from tradingsystem.process.state import RunningSystem, find_running
from tradingsystem.spec import InvalidSpec, Placement, TradingSystem, TradingSystemSpec, plan, warnings
from tradingsystem.spec.section import wire_name

if TYPE_CHECKING:
    from tradingsystem.interfaces import Bus, Delivery

HEARD_SECONDS = 3.0
ACKNOWLEDGED_SECONDS = 10.0
LIVE = "live"
# Fields of slices that stand elsewhere in the resource than under their own name.
_PLACES = {
    "system": "metadata.name",
    "namespace": "metadata.namespace",
    "initial_capital": "spec.execution.initialCapital",
    "broker": "spec.execution.broker",
    "watcher_silence_seconds": "spec.execution.watcherSilenceSeconds",
}


def register(application: typer.Typer) -> None:
    """Add the command."""
    application.command("apply")(apply)


def apply(
    file: Annotated[Path, typer.Argument(help="The resource, YAML or JSON.", metavar="FILE")],
    system: Annotated[str | None, typer.Argument(help="The system; FILE's name unless given.", metavar="[NAME]")] = None,
) -> None:
    """Apply FILE's `risk`, `trading` and `models.pinnedVersion` to the running system, without a restart. Returns when execution and models have taken
    them over, with their generation.

    A change of anything else is refused by name; nothing is applied then.
    """
    try:
        wanted = with_listed_symbols(read_system(file), file)
    except (InvalidSpec, InvalidInput) as error:
        raise InvalidInput(f"{error}{_stays(system)}") from error
    running = find_running(system or wanted.metadata.name)
    if refused := restarting_changes(running, wanted):
        fields = "\n".join(f"  {field}" for field in refused)
        raise InvalidInput(
            f"these cannot change while it runs; end it and start it again with the new file:\n{fields}{_stays(running.system)}"
        )
    for advice in warnings(wanted):
        typer.echo(f"note: {advice}", err=True)
    generation, models = asyncio.run(_apply(running, wanted))
    typer.echo(
        f"{running.system}: generation {generation} is in force (trading.state {wanted.spec.trading.state.value}, model {models.serving})"
    )
    if models.pinned and models.serving != models.pinned:
        why = models.refused.get(str(models.pinned), "it gives no reason")
        raise InvalidInput(f"spec.models.pinnedVersion: {models.pinned} may not serve, and version {models.serving} goes on serving: {why}")


def restarting_changes(running: RunningSystem, wanted: TradingSystem) -> list[str]:
    """Fields in which the document differs from what the services were started with, beside those that are applied while running. The speed of a
    simulation is what ``up`` was told."""
    found: set[str] = set()
    for workload in plan(wanted, Placement(running.placement)).workloads:
        path = Path(running.run_folder) / "slices" / f"{workload.name}.json"
        if not path.exists():
            continue
        before, after = msgspec.json.decode(path.read_bytes()), msgspec.json.decode(workload.slice_json())
        for one in (before, after):
            one.get("simulation", {}).pop("speed", None)
            one.pop(LIVE, None)
        found.update(_place(field) for field in differences(before, after))
    return sorted(found)


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Dotted paths at which two JSON values differ, as deep as both have the same shape."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{path}[{number}]")
    elif before != after:
        yield path


def _place(field: str) -> str:
    head, dot, rest = field.partition(".")
    name, bracket, index = head.partition("[")
    known = f"spec.{wire_name(name)}" if name in TradingSystemSpec.__struct_fields__ else name
    return f"{_PLACES.get(name, known)}{bracket}{index}{dot}{rest}"


def _stays(system: str | None) -> str:
    """Which generation stays in force, when that can be known."""
    try:
        running = find_running(system)
        generation = asyncio.run(_in_force(running))
    except TradingSystemError:
        return ""
    return f"\nnothing was applied: generation {generation} stays in force at {running.system}"


async def _in_force(running: RunningSystem) -> int:
    async with connect(running) as bus, _generations(bus, running.system) as heard:
        return await _until(heard, 0, HEARD_SECONDS)


@contextlib.asynccontextmanager
async def _generations(bus: Bus, system: str) -> AsyncIterator[asyncio.Queue[int]]:
    """The generation in every heartbeat of execution."""
    heard: asyncio.Queue[int] = asyncio.Queue()

    def on_beat(delivery: Delivery) -> None:
        with contextlib.suppress(Malformed):
            beat: Beat = decode(delivery.payload, Beat)
            heard.put_nowait(beat.live_generation)

    subscription = await bus.subscribe(Subjects(system).beat("execution"), on_beat)
    try:
        yield heard
    finally:
        await subscription.close()


async def _until(heard: asyncio.Queue[int], least: int, seconds: float) -> int:
    """The first generation of at least that number. Raises ``TryAgain`` with the last one that was heard."""
    last = -1
    try:
        async with asyncio.timeout(seconds):
            while last < least:
                last = await heard.get()
    except TimeoutError as error:
        raise TryAgain(f"generation {last} is in force" if last >= 0 else "execution says nothing") from error
    return last


async def _apply(running: RunningSystem, wanted: TradingSystem) -> tuple[int, ModelsState]:
    """Journal the settings as the next generation and wait until execution and models have taken them over. Raises ``TryAgain``."""
    from tradingsystem.process.connecting import connected_journal  # the client loads slowly

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    subject = Subjects(running.system).journal_spec
    password = read_password(Path(running.person_password_file))
    async with (
        connect(running) as bus,
        _generations(bus, running.system) as heard,
        models_said(bus, running.system) as models,
        connected_journal(running.server, running.system, PERSON, password, HEARD_SECONDS) as journal,
    ):
        in_force = await _until(heard, 0, HEARD_SECONDS)
        generation = next_generation(in_force, [generation_of(entry.payload) async for entry in journal.read(subject)])
        seq = await journal.append(subject, settings_entry(generation, settings_of(wanted)))
        under_it = [entry.seq async for entry in journal.read(subject) if generation_of(entry.payload) == generation]
        if under_it[0] != seq:
            raise TryAgain(
                f"somebody else applied settings in the same moment, and theirs are generation {generation}; look, then apply again"
            )
        try:
            reached = await _until(heard, generation, ACKNOWLEDGED_SECONDS)
            return reached, await first(models, lambda state: state.generation >= generation, ACKNOWLEDGED_SECONDS)
        except TryAgain as error:
            raise TryAgain(f"generation {generation} is in the journal, and not everybody has taken it over yet: {error}") from error
