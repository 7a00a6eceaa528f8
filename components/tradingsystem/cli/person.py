"""How a person's command speaks to a running system: as the user who may command and never trade, by name and with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradingsystem.domain.control import Command, CommandAnswer, ModelCommand, ModelsState
from tradingsystem.domain.errors import InvalidInput, TryAgain
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.private_files import read_password
from tradingsystem.process.state import RunningSystem

if TYPE_CHECKING:
    from tradingsystem.interfaces import Bus, Delivery

ANSWER_SECONDS = 5.0

Reason = Annotated[
    str | None, typer.Option("--reason", "-r", help="Why; it stands in the journal with your name. Asked for when left out.")
]
By = Annotated[str | None, typer.Option("--by", help="Who acts; your login name unless given.")]


@asynccontextmanager
async def connect(running: RunningSystem) -> AsyncIterator[Bus]:
    """A bus to that system. Raises ``TryAgain`` when its server does not answer."""
    from tradingsystem.process.connecting import connected  # the client loads slowly: first it must be known that something runs

    password = read_password(Path(running.person_password_file))
    async with connected(running.server, running.system, PERSON, password, timeout_seconds=3.0) as bus:
        yield bus


def reason_of(given: str | None) -> str:
    """The reason as given, else asked for. Raises ``InvalidInput`` where nobody can be asked."""
    if given:
        return given
    if not sys.stdin.isatty():
        raise InvalidInput('a person who acts says why: --reason "..."')
    return str(typer.prompt("Reason"))


def name_of(given: str | None) -> str:
    """Who acts."""
    return given or getpass.getuser()


async def answer_of(bus: Bus, subject: str, command: Command | ModelCommand) -> CommandAnswer:
    """The service's answer. Raises ``TryAgain`` when there is none: then nobody knows whether it was heard, and the same command may be sent again."""
    return decode(await bus.request(subject, encode(command), ANSWER_SECONDS), CommandAnswer)


@asynccontextmanager
async def models_said(bus: Bus, system: str) -> AsyncIterator[asyncio.Queue[ModelsState]]:
    """Everything the models service says of itself from now on."""
    heard: asyncio.Queue[ModelsState] = asyncio.Queue()

    def on_state(delivery: Delivery) -> None:
        with contextlib.suppress(Malformed):
            heard.put_nowait(decode(delivery.payload, ModelsState))

    subscription = await bus.subscribe(Subjects(system).state("models"), on_state)
    try:
        yield heard
    finally:
        await subscription.close()


async def first(heard: asyncio.Queue[ModelsState], true: Callable[[ModelsState], bool], seconds: float) -> ModelsState:
    """The first word of models of which it is true. Raises ``TryAgain``."""
    try:
        async with asyncio.timeout(seconds):
            while not true(state := await heard.get()):
                continue
            return state
    except TimeoutError as error:
        raise TryAgain("models has not said which version serves in words that this build can read") from error
