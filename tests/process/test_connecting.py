"""What a service is given to speak by: usable from the first word on, in whatever order pods start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.promises.server import RunningServer
from tests.promises.waiting import run, until
from tradingsystem.adapters.jetstream_cache import JetStreamCache
from tradingsystem.adapters.nats import NatsBus, NatsConnection
from tradingsystem.adapters.nats_lease import NatsLease
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.connecting import Kept, ensured, remembered_tape

pytestmark = pytest.mark.nats


def test_the_first_batch_on_a_new_server_is_remembered(tmp_path: Path) -> None:
    """Ingestion may start before anybody who reads: its first batch holds the symbol table, and a filter that comes later asks the tape's memory for it."""
    server = RunningServer(tmp_path)
    server.start()

    async def main() -> list[bytes]:
        bus = NatsBus(server.as_user("ingestion"))
        await bus.open()
        connection = NatsConnection(server.as_user("ingestion"), "store")
        await connection.open()
        await remembered_tape(connection, 1 << 24)
        bus.publish(Subjects("testing").tape, b"the first batch")
        await bus.flush()
        reading = NatsConnection(server.as_user("filter"), "store")
        await reading.open()
        tape = await remembered_tape(reading, 1 << 24)
        found = [payload async for payload in tape.recent()]
        for one in (reading, connection):
            await one.close()
        await bus.close()
        return found

    try:
        assert run(main()) == [b"the first batch"]
    finally:
        server.stop()


@pytest.mark.parametrize(("user", "make"), [("execution", NatsLease), ("ingestion", JetStreamCache)])
def test_a_server_that_goes_away_while_a_service_starts_is_waited_for(
    user: str, make: Callable[[NatsConnection], Kept], tmp_path: Path
) -> None:
    """Killed after the connection stood and before lease or cache was made: the service does not fall, it goes on when the server is back."""
    server = RunningServer(tmp_path)
    server.start()

    async def main() -> None:
        connection = NatsConnection(server.as_user(user), "store")
        await connection.open()
        server.kill()
        with capture_logs() as logs:
            making = asyncio.ensure_future(ensured(make(connection)))
            await until(lambda: any(entry["event"] == "waits_for_nats" for entry in logs))
            assert not making.done()
            server.launch()
            await (await making).ensure()
        await connection.close()

    try:
        run(main())
    finally:
        server.stop()
