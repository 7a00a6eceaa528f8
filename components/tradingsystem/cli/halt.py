"""``halt``, ``reduce``, ``resume``, ``flatten``, ``clear``: a person's acts, by name and with a reason, answered by execution.

``--at-broker`` is the way past everything of ours: the broker's own switch, thrown from here, with message server and execution dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import msgspec
import typer

from tradingsystem.cli.person import By, Reason, answer_of, connect, name_of, reason_of
from tradingsystem.cli.reading import read_system
from tradingsystem.domain.control import Command, CommandAnswer, CommandKind
from tradingsystem.domain.errors import InvalidInput, OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.domain.trading import TradingState, TradingStatus
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.state import RunningSystem, find_running
from tradingsystem.spec import Mode, Placement, plan
from tradingsystem.spec.slices import ExecutionSlice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tradingsystem.interfaces import Broker, Delivery

CONFIRMED_SECONDS = 8.0
T = TypeVar("T")
INSIST_SECONDS = 10.0  # against a broker that is busy
ROUND_SECONDS = 0.5

System = Annotated[str | None, typer.Argument(help="The system; not needed when only one runs.", metavar="[NAME]")]
File = Annotated[
    Path | None, typer.Option("--file", help="With --at-broker: the resource, when no running system says which account it is.")
]


class _Account(NamedTuple):
    """Which account of which broker, and whose orders in it."""

    system: str
    mode: Mode
    simulator: str
    secret: str


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.command("halt")(halt)
    application.command("reduce")(reduce)
    application.command("resume")(resume)
    application.command("flatten")(flatten)
    application.command("clear")(clear)


def halt(
    system: System = None,
    reason: Reason = None,
    by: By = None,
    *,
    at_broker: Annotated[
        bool,
        typer.Option(
            "--at-broker", help="Suspend the account at the broker and cancel our unfilled entries there; needs nothing else of ours."
        ),
    ] = False,
    file: File = None,
) -> None:
    """Stop opening: unfilled entries are cancelled, protection stays. Survives restarts until a person resumes.

    Also halts, without any command: a file named HALT beside the system's state (`status` shows where).
    """
    if at_broker:
        asyncio.run(_suspend(_account_of(system, file)))
        return
    running = _act(system, CommandKind.HALT, by, reason)
    if not asyncio.run(_confirmed(running)):
        typer.echo(
            f"{running.system}: the broker has not confirmed yet that no entry of ours is open; it is asked again and again: tradingsystem status",
            err=True,
        )
        return
    typer.echo(f"{running.system}: no entry of ours is open, by the broker's word; protection stays")


def reduce(system: System = None, reason: Reason = None, by: By = None) -> None:
    """Only close from now on."""
    _act(system, CommandKind.REDUCE, by, reason)


def resume(
    system: System = None,
    reason: Reason = None,
    by: By = None,
    *,
    at_broker: Annotated[
        bool, typer.Option("--at-broker", help="Lift the broker's own switch, and nothing else: then resume here, too.")
    ] = False,
    file: File = None,
) -> None:
    """Trade again: clears a person's halt. Other latches are cleared one by one: see `clear`."""
    if at_broker:
        asyncio.run(_lift(_account_of(system, file)))
        return
    there = find_running(system).halt_file
    if there and Path(there).exists():
        raise InvalidInput(f"the file {there} is there and would halt again at once; remove it first")
    _act(system, CommandKind.RESUME, by, reason)


def flatten(
    system: System = None,
    reason: Reason = None,
    by: By = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to sell.")] = False,
) -> None:
    """Sell every position now, at the market, after asking once more. Trading goes on afterwards unless it is halted."""
    running = find_running(system)
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidInput("this sells every position at the market; say that it is meant: --yes")
        typer.confirm(f"Sell every position of {running.system} ({running.mode}) at the market?", abort=True)
    _act(running.system, CommandKind.FLATTEN, by, reason)


def clear(
    latch: Annotated[str, typer.Argument(help="The latch's id, as `status` shows it.", metavar="LATCH")],
    system: System = None,
    reason: Reason = None,
    by: By = None,
) -> None:
    """Clear one latch by its id."""
    _act(system, CommandKind.CLEAR_LATCH, by, reason, latch)


def _act(system: str | None, kind: CommandKind, by: str | None, reason: str | None, latch: str | None = None) -> RunningSystem:
    running = find_running(system)
    command = Command(id=uuid.uuid4().hex, kind=kind, name=name_of(by), reason=reason_of(reason), latch_id=latch)
    answer = asyncio.run(ask(running, command))
    if not answer.accepted:
        raise RequestRefused("refused", f"execution did not accept {kind.value}: {answer.reason}")
    typer.echo(f"{running.system}: {kind.value} accepted. {answer.reason}".rstrip())
    return running


async def ask(running: RunningSystem, command: Command) -> CommandAnswer:
    """Execution's answer. Raises ``TryAgain`` when there is none: then nobody knows whether it was heard, and the same command may be sent again."""
    async with connect(running) as bus:
        return await answer_of(bus, Subjects(running.system).command, command)


async def _confirmed(running: RunningSystem) -> bool:
    """Whether the broker's own list has shown, within some seconds, that the halt is done."""
    done = asyncio.Event()

    def on_status(delivery: Delivery) -> None:
        with contextlib.suppress(Malformed):
            status: TradingStatus = decode(delivery.payload, TradingStatus)
            if status.state is TradingState.HALTED and status.halt_confirmed:
                done.set()

    async with connect(running) as bus:
        await bus.subscribe(Subjects(running.system).state("execution"), on_status)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), CONFIRMED_SECONDS)
    return done.is_set()


# --- the broker's own switch -----------------------------------------------------------------------------------------------------------------


def _account_of(system: str | None, file: Path | None) -> _Account:
    """By the resource when it is given, else by what a running system, or a killed one, has left. Raises ``InvalidInput``."""
    if file is not None:
        wanted = read_system(file)
        simulated = wanted.spec.mode is Mode.SIMULATION
        port = plan(wanted, Placement.PROCESSES).workload("simulator").port("venues") if simulated else 0
        address = f"http://127.0.0.1:{port}" if simulated else ""
        return _Account(wanted.metadata.name, wanted.spec.mode, address, wanted.spec.execution.broker.secret_ref.name)
    try:
        note = find_running(system, alive=False)
        path = Path(note.run_folder) / "slices" / "execution.json"
        piece = msgspec.json.decode(path.read_bytes(), type=ExecutionSlice)
    except (InvalidInput, OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{error}; to reach the broker all the same, say whose account it is: --file FILE") from error
    return _Account(note.system, Mode(note.mode), note.venues, piece.execution.broker.secret_ref.name)


async def _suspend(of: _Account) -> None:
    """Throw the switch and see it thrown; whatever becomes of that, cancel our unfilled entries until the broker lists none."""
    from tradingsystem.process.assembling.broker import account

    async with account(of.mode, of.simulator, of.secret) as broker:
        problem = ""
        try:
            await _switch(broker, suspended=True)
            typer.echo(f"{of.system}: the broker has suspended the account ({of.mode.value}); new orders are refused there")
        except (TryAgain, RequestRefused, OutcomeUnknown) as error:
            problem = f"the account is NOT known to be suspended: {error}"
        await _cancel_entries(broker, of.system)
    if problem:
        raise TryAgain(problem)
    typer.echo(f"to lift it: tradingsystem resume {of.system} --at-broker")


async def _cancel_entries(broker: Broker, system: str) -> None:
    from tradingsystem.watcher.service import Round, cancel_unfilled_entries

    deadline, cancelled = time.monotonic() + INSIST_SECONDS, set[str]()

    async def one_round() -> Round:
        return await cancel_unfilled_entries(broker, system)

    while (made := await _insist(one_round)).found:
        cancelled |= {order.client_order_id for order in made.found}
        if time.monotonic() > deadline:
            left = ", ".join(order.client_order_id for order in made.found)
            raise TryAgain(f"the broker still lists entries of ours as open: {left}; say it again")
        await asyncio.sleep(ROUND_SECONDS)
    typer.echo(f"{system}: {len(cancelled)} unfilled entries cancelled, none is open by the broker's word; exits were left alone")
    for order in made.half_filled:
        typer.echo(
            f"{system}: {order.client_order_id} has filled {order.filled_quantity} of {order.quantity} {order.symbol} and was left alone"
        )


async def _lift(of: _Account) -> None:
    from tradingsystem.process.assembling.broker import account

    async with account(of.mode, of.simulator, of.secret) as broker:
        await _switch(broker, suspended=False)
    typer.echo(f"{of.system}: the broker takes orders again ({of.mode.value}). Our own halt stays until: tradingsystem resume {of.system}")


async def _switch(broker: Broker, *, suspended: bool) -> None:
    """Until the account itself says so. Raises ``TryAgain`` or ``RequestRefused``."""

    async def asked() -> None:
        await broker.suspend(suspended)
        if (await broker.account()).suspended is not suspended:
            raise TryAgain(f"the broker took the request, but its account still says suspended: {str(not suspended).lower()}")

    await _insist(asked)


async def _insist(act: Callable[[], Awaitable[T]]) -> T:
    """Again and again for some seconds: an act that may be repeated. Raises what it met last."""
    deadline = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            return await act()
        except (TryAgain, OutcomeUnknown):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(ROUND_SECONDS)
