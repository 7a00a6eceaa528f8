"""The services' side of a message server, for tests of the operator's: what the real ones say and answer, said by the test.

It is no execution: it decides nothing. Whether the real one behaves so is tested where it lives and on real pods.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from tests.operator.systems import beat, trading
from tests.promises.server import RunningServer
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.domain.control import Command, CommandAnswer, CommandKind, SpecApplied
from tradingsystem.domain.trading import TradingState, TradingStatus
from tradingsystem.interfaces import Delivery, Entry
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects

SAY_SECONDS = 0.2


class Execution:
    """Speaks as execution does, takes journaled settings over, answers commands."""

    def __init__(self, system: str) -> None:
        self.subjects = Subjects(system)
        self.status = trading()
        self.commands: list[Command] = []
        self.applied: list[SpecApplied] = []
        self.takes_over = True
        self.said = self.resource_told = 0
        self.answer: Callable[[Command], CommandAnswer] = lambda command: CommandAnswer(id=command.id, accepted=True, reason="done")

    @property
    def generation(self) -> int:
        """Of the settings in force."""
        return max((each.generation for each in self.applied), default=0)

    @asynccontextmanager
    async def speaking(self, server: RunningServer) -> AsyncIterator[NatsJournal]:
        """Connected, with the journal's stream made, saying its status and heartbeat several times a second."""
        bus, journal = NatsBus(server.as_user("execution")), NatsJournal(server.as_user("execution"), bytes_max=1 << 28)
        await bus.open()
        await journal.open()
        try:
            await bus.subscribe(self.subjects.command, self._on_command)
            await bus.subscribe(self.subjects.resource, self._on_resource)
            following = await journal.follow(self.subjects.journal_spec, 1, self._on_spec)
            task = asyncio.create_task(self._say(bus))
            try:
                yield journal
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await following.close()
        finally:
            await journal.close()
            await bus.close()

    async def _say(self, bus: NatsBus) -> None:
        wake = asyncio.Event()
        while True:
            bus.publish(self.subjects.state("execution"), encode(self.status))
            bus.publish(self.subjects.beat("execution"), encode(beat("execution", generation=self.generation)))
            self.said += 1
            asyncio.get_running_loop().call_later(SAY_SECONDS, wake.set)
            await wake.wait()
            wake.clear()

    @staticmethod
    @asynccontextmanager
    async def person(server: RunningServer) -> AsyncIterator[NatsJournal]:
        """The journal as a person's own command uses it: the only user beside the operator who may apply settings, and it is the same one."""
        journal = NatsJournal(server.as_user(PERSON), bytes_max=1 << 28)
        await journal.open()
        try:
            yield journal
        finally:
            await journal.close()

    def _on_spec(self, entry: Entry) -> None:
        if self.takes_over:
            self.applied.append(decode(entry.payload, SpecApplied))

    def _on_resource(self, delivery: Delivery) -> None:
        self.resource_told += 1

    def _on_command(self, delivery: Delivery) -> None:
        command: Command = decode(delivery.payload, Command)
        self.commands.append(command)
        if command.kind is CommandKind.HALT:
            self.become(state=TradingState.HALTED)
        if command.kind is CommandKind.FLATTEN:
            self.become(positions=())
        if delivery.answer is not None:
            delivery.answer(encode(self.answer(command)))

    def become(self, **changes: object) -> None:
        """Say something else from now on."""
        changed: TradingStatus = msgspec.structs.replace(self.status, **changes)
        self.status = changed
