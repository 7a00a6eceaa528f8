"""The bus and journal on a real nats-server keep the promises, with the users and permissions of production."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.promises.bus import BusPromises
from tests.promises.journal import JournalPromises
from tests.promises.lease import LeasePromises
from tests.promises.server import RunningServer
from tests.promises.waiting import run
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.adapters.nats_lease import NatsLease
from tradingsystem.domain.errors import TradingSystemError
from tradingsystem.interfaces import Bus, Journal, Lease

pytestmark = pytest.mark.nats


class TestNatsBus(BusPromises):
    """Two users of one server; asking is the person's right, so the speaker is whoever may say it."""

    @pytest.fixture(autouse=True)
    def _server(self, nats_server: RunningServer) -> None:
        self.server = nats_server

    @asynccontextmanager
    async def buses(self) -> AsyncIterator[tuple[Bus, Bus]]:
        """Speaker and listener on connections of their own."""
        speaker, person, listener = (NatsBus(self.server.as_user(user)) for user in ("ingestion", "person", "execution"))
        for bus in (speaker, person, listener):
            await bus.open()
        speaker.request = person.request  # type: ignore[method-assign]
        yield speaker, listener
        for bus in (speaker, person, listener):
            await bus.close()


class TestNatsJournal(JournalPromises):
    """One stream on disk. The tests write as execution; the model subject is written by its own user."""

    @pytest.fixture(autouse=True)
    def _server(self, nats_server: RunningServer) -> None:
        self.server = nats_server

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[Journal]:
        """As execution has it."""
        journal = NatsJournal(self.server.as_user("execution"), bytes_max=1 << 28)
        await journal.open()
        yield journal
        await journal.close()


class TestNatsLease(LeasePromises):
    """A bucket whose values the server lets run out, on a server of its own for each test."""

    @pytest.fixture(autouse=True)
    def _server(self, tmp_path: Path) -> Iterator[None]:
        self.server = RunningServer(tmp_path)
        self.server.start()
        yield
        self.server.stop()

    @asynccontextmanager
    async def lease(self, life_seconds: float = 1.0) -> AsyncIterator[Lease]:
        """As execution has it."""
        bus = NatsBus(self.server.as_user("execution"))
        await bus.open()
        lease = NatsLease(bus.connection, life_seconds=life_seconds)
        await lease.ensure()
        yield lease
        await bus.close()

    def test_nobody_but_execution_can_write_it(self) -> None:
        """Another service's user is refused by the server."""

        async def main() -> None:
            async with self.lease(life_seconds=60.0) as lease:
                await lease.write(b"one", 0)
                bus = NatsBus(self.server.as_user("filter"))
                await bus.open()
                with pytest.raises(TradingSystemError):
                    await NatsLease(bus.connection).write(b"two", 1)
                assert (await lease.read() or (b"",))[0] == b"one"
                await bus.close()

        run(main())
