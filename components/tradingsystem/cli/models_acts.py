"""``tradingsystem models promote`` and ``rollback``: a person's acts on the version that serves, by name and with a reason, answered by models."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from tradingsystem.cli.person import By, Reason, answer_of, connect, first, models_said, name_of, reason_of
from tradingsystem.domain.control import ModelAct, ModelCommand, ModelsState
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.state import RunningSystem, find_running

if TYPE_CHECKING:
    from collections.abc import Callable

DONE_SECONDS = 20.0  # a version that was promoted is loaded and asked first

System = Annotated[str | None, typer.Option("--system", help="The system; not needed when only one runs.")]


def promote(
    version: Annotated[int, typer.Argument(min=1, help="The version that shall serve.", metavar="VERSION")],
    reason: Reason = None,
    by: By = None,
    *,
    system: System = None,
) -> None:
    """Have VERSION serve without gate, shadow and canary: it must still verify, load, and answer its golden vectors rightly and in time.

    The one that serves now stays loaded, so that `models rollback` goes back at once. Status 2 when it is refused, with the reason.

    Example: tradingsystem models promote 3 --reason "the retraining of Friday, looked at by hand"
    """
    running = find_running(system)
    command = ModelCommand(id=uuid.uuid4().hex, act=ModelAct.PROMOTE, name=name_of(by), reason=reason_of(reason), version=version)
    state = asyncio.run(_done(running, command, lambda state: state.serving == version or _refused(state, version)))
    if state.serving != version:
        why = state.refused[str(version)]
        raise RequestRefused("refused", f"version {version} does not serve: {why}; version {state.serving} still does")
    back = f"; to go back to version {state.previous}: tradingsystem models rollback" if state.previous else ""
    typer.echo(f"{running.system}: version {version} serves{back}")


def rollback(reason: Reason = None, by: By = None, *, system: System = None) -> None:
    """Go back to the version that served before: it is loaded still, so this takes effect with the next decision. A trial that runs ends.

    What is taken back does not promote itself again; a person may: `models promote`. Status 2 when there is no way back, with the reason.

    Example: tradingsystem models rollback --reason "it trades what nobody understands"
    """
    running = find_running(system)
    command = ModelCommand(id=uuid.uuid4().hex, act=ModelAct.ROLL_BACK, name=name_of(by), reason=reason_of(reason))
    state = asyncio.run(_done(running, command, lambda _: True))
    typer.echo(f"{running.system}: version {state.serving} serves again; version {state.rolled_back} was taken back")


def _refused(state: ModelsState, version: int) -> bool:
    return state.trial != version and str(version) in state.refused


async def _done(running: RunningSystem, command: ModelCommand, done: Callable[[ModelsState], bool]) -> ModelsState:
    """What models says once the act has had its effect. Raises ``RequestRefused`` with its reason, ``TryAgain`` when it says nothing."""
    async with connect(running) as bus, models_said(bus, running.system) as heard:
        try:
            answer = await answer_of(bus, Subjects(running.system).command_models, command)
        except TryAgain as error:
            raise TryAgain(
                f"{running.system}: models does not answer ({error}), so nobody knows whether it was heard; see `tradingsystem status "
                f"{running.system}`, then say it again. Or pin a version: tradingsystem models pin"
            ) from error
        if not answer.accepted:
            raise RequestRefused("refused", f"models did not accept it: {answer.reason}")
        try:
            return await first(heard, lambda state: state.command == command.id and done(state), DONE_SECONDS)
        except TryAgain as error:
            raise TryAgain(
                f"{running.system}: models has accepted it and not done it within {DONE_SECONDS:g} s; see: tradingsystem models list"
            ) from error
