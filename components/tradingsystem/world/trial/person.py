"""The person of a seeded day: halts now and then, looks at every latch for a while, then clears it by its id.

Acts only by commands on the bus, as people do, and knows only what execution shows and answers. A command that is not answered is not repeated at once.
"""

from __future__ import annotations

import random
from asyncio import sleep
from typing import Protocol

from tradingsystem.domain.control import Command, CommandAnswer, CommandKind
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.execution.service import NOT_DURABLE
from tradingsystem.execution.state import State
from tradingsystem.world.trial.invariants import Judge
from tradingsystem.world.trial.plan import Plan, Step

FIRST_MINUTE_SECONDS = 60.0  # at the start a person stands by and resumes at once
LOOKS_FOR_NS = 8 * NS_PER_SECOND
ACTS = frozenset({Step.COMMAND, Step.LATCH})


class Surroundings(Protocol):
    """What a person asks of the day."""

    judge: Judge
    plan: Plan

    @property
    def over(self) -> bool:
        """Whether the day has ended."""

    def seconds(self) -> float:
        """Time since the day began."""

    def now_ns(self) -> int:
        """The true time."""

    def shown(self) -> State | None:
        """What a person sees of execution; None while it is not there."""

    async def command(self, command: Command) -> CommandAnswer | None:
        """Send a command and wait for its answer; None when none comes."""


class Person:
    """Ada."""

    def __init__(self, day: Surroundings, chance: random.Random) -> None:
        self.latches: set[str] = set()  # seen during the day
        self._day, self._chance = day, chance
        self._number = 0
        self._halt_at = chance.uniform(100.0, 700.0)  # some days none

    async def work(self) -> None:
        """Look every few seconds, all day."""
        while not self._day.over:
            await sleep(2.0 + 4.0 * self._chance.random())
            if (state := self._day.shown()) is not None:
                await self._act(state)

    async def _act(self, state: State) -> None:
        day = self._day
        self.latches.update(state.latches)
        patience_ns = LOOKS_FOR_NS if day.seconds() > FIRST_MINUTE_SECONDS else 0
        due = [latch for latch in state.latches.values() if day.now_ns() - latch.set_at_ns > patience_ns]
        if due:
            day.judge.pardoned(due[0].id)
            await day.command(self._wish(CommandKind.CLEAR_LATCH, due[0].id))
        elif not state.latches and (day.seconds() > self._halt_at or day.plan.awaits(ACTS, day.seconds())):
            self._halt_at = max(self._halt_at, day.seconds()) + self._chance.uniform(150.0, 600.0)
            answer = await day.command(self._wish(CommandKind.HALT, None))
            if answer is not None and answer.accepted and NOT_DURABLE not in answer.reason:
                day.judge.promised(answer.reason.split("by latch ", 1)[1].split()[0])

    def _wish(self, kind: CommandKind, latch_id: str | None) -> Command:
        self._number += 1
        return Command(id=f"ada-{self._number}", kind=kind, name="Ada", reason="drill", latch_id=latch_id)
