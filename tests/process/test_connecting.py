"""What a service is given to speak by: usable from the first word on, in whatever order pods start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promises.server import RunningServer
from tests.promises.waiting import run
from tradingsystem.adapters.nats import NatsBus, NatsConnection
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.connecting import remembered_tape

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
