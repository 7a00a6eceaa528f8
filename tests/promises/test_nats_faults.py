"""What the real server and its client do to us, and what must not come of it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from tests.promises.server import RunningServer
from tests.promises.waiting import run, until
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.adapters.nats_client import ended
from tradingsystem.adapters.nats_journal import NatsJournal, NatsTape
from tradingsystem.domain.errors import NotAuthorized, OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.interfaces import Entry
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.runner import loop_factory
from tradingsystem.telemetry import metrics

pytestmark = pytest.mark.nats

SUBJECTS = Subjects("testing")
FAST = {"heartbeat_seconds": 0.05}
LOOPS = {"asyncio": None, "uvloop": loop_factory()}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server of this test's own, since it is killed here."""
    running = RunningServer(tmp_path / "nats")
    running.start()
    yield running
    running.resume() if running.running else None
    running.stop()


def dropped(kind: str, reason: str) -> float:
    """How many messages of a kind were counted as lost."""
    return metrics.bus_dropped.labels(kind=kind, reason=reason)._value.get()  # type: ignore[no-any-return]


def test_a_dead_read_loop_is_noticed_and_replaced(server: RunningServer) -> None:
    """nats-py calls itself connected with a dead reader; the echo knows better, and every subscription hears again."""

    async def main() -> None:
        bus = NatsBus(server.as_user("ingestion", **FAST))
        await bus.open()
        heard: list[bytes] = []
        await bus.subscribe(SUBJECTS.tape, lambda delivery: heard.append(delivery.payload))
        client = bus.connection._client
        assert client is not None

        async def broken(_: bytes) -> None:
            raise ValueError("the parser met something it does not know")

        client._ps.parse = broken
        bus.publish(SUBJECTS.tape, b"wakes the reader")
        await until(lambda: bus.connection._client is not client and bus.connection.up)
        assert heard == []
        bus.publish(SUBJECTS.tape, b"again")
        await until(lambda: heard)
        assert heard == [b"again"]
        await bus.close()

    run(main())


def test_who_gave_up_waiting_for_the_server_makes_nobody_deaf(server: RunningServer) -> None:
    """The answer to a flush that was cancelled comes all the same: the connection stands, and hears on."""

    async def main() -> None:
        bus = NatsBus(server.as_user("ingestion", **FAST))
        await bus.open()
        client = bus.connection._client
        assert client is not None
        impatient = asyncio.create_task(client.flush())
        await asyncio.sleep(0)
        impatient.cancel()
        await bus.connection.flush()
        assert client._reading_task is not None
        assert not client._reading_task.done()
        await bus.close()

    run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_lies_between_the_socket_and_who_speaks_or_hears(server: RunningServer, loop: str) -> None:
    """What is published first in a turn of the loop is written in it, the rest together after it; a message is handled while it is read. All in order."""

    async def main() -> None:
        bus = NatsBus(server.as_user("ingestion", **FAST))
        await bus.open()
        client = bus.connection._client
        assert client is not None
        heard: list[bytes] = []
        readers: set[object] = set()

        def hear(message: Msg) -> None:
            heard.append(message.data)
            readers.add(asyncio.current_task())

        await bus.connection.subscribe(SUBJECTS.tape, hear)
        sent = [str(number).encode() for number in range(1_000)]
        for at in range(0, len(sent), 4):
            for payload in sent[at : at + 4]:
                bus.publish(SUBJECTS.tape, payload)
                assert (client.pending_data_size == 0) == (payload == sent[at]), "only the first is written at once"
            await asyncio.sleep(0)
        await until(lambda: len(heard) == len(sent))
        assert heard == sent
        assert readers == {client._reading_task}
        await bus.close()

    run(main(), LOOPS[loop])


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_published_behind_a_slow_socket_keeps_its_order(server: RunningServer, loop: str) -> None:
    """More than a socket takes, sent within one turn of the loop and over many, while the server does not read: nothing overtakes anything."""

    async def main() -> None:
        bus = NatsBus(server.as_user("ingestion"))
        await bus.open()
        client = bus.connection._client
        assert client is not None
        heard: list[int] = []
        await bus.connection.subscribe(SUBJECTS.tape, lambda message: heard.append(int.from_bytes(message.data[:4], "big")))
        server.pause()
        for number in range(400):
            bus.publish(SUBJECTS.tape, number.to_bytes(4, "big") + bytes(32 * 1024))
            if number % 7 == 0:
                await asyncio.sleep(0)
        waiting = client.pending_data_size
        server.resume()
        assert waiting > 0, "the socket was never behind, so nothing was tried"
        await until(lambda: len(heard) == 400)
        assert heard == list(range(400))
        assert bus.connection._client is client
        await bus.close()

    run(main(), LOOPS[loop])


def test_a_handler_that_fails_is_told_and_hears_on(server: RunningServer) -> None:
    """What a handler raises reaches the loop's exception handler, which ends a service; the reader goes on."""

    async def main() -> None:
        bus = NatsBus(server.as_user("ingestion", **FAST))
        await bus.open()
        client = bus.connection._client
        told: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        heard: list[bytes] = []

        def hear(message: Msg) -> None:
            heard.append(message.data)
            if message.data == b"bad":
                raise KeyError("what it did not expect")

        await bus.connection.subscribe(SUBJECTS.tape, hear)
        for payload in (b"good", b"bad", b"good again"):
            bus.publish(SUBJECTS.tape, payload)
        await until(lambda: len(heard) == 3)
        assert [type(error) for error in told] == [KeyError]
        assert bus.connection._client is client
        await bus.close()

    run(main())


def test_a_cancellation_that_is_dropped_is_said_again() -> None:
    """Else whoever closes a connection that is just being made, and waits for its keeper, waits for ever: Python 3.11 drops it in nats-py's hands."""

    async def main() -> None:
        greeted = asyncio.get_running_loop().create_future()

        async def keep() -> None:
            await asyncio.wait_for(greeted, 60)
            await asyncio.Event().wait()

        keeper = asyncio.create_task(keep())
        await asyncio.sleep(0)
        greeted.set_result(None)  # in the very turn in which the connection is closed
        await ended(keeper)
        assert keeper.cancelled()

    run(main())


def test_a_socket_that_closes_under_the_client_is_only_lost(server: RunningServer) -> None:
    """Between the socket's end and the moment at which the client notices, whoever sends or waits is told to try again; nothing else comes up."""

    async def main() -> None:
        bus = NatsBus(server.as_user("ingestion", **FAST))
        await bus.open()
        connection, client = bus.connection, bus.connection._client
        assert client is not None
        client._transport._io_writer.transport.abort()  # as when the kernel says that the other side is gone
        refused = 0
        while connection._client is client and client.is_connected:
            try:
                connection.send(SUBJECTS.tape, b"into the void")
                await connection.flush()
            except TryAgain:
                refused += 1
            await asyncio.sleep(0)
        assert refused
        await until(lambda: connection.up)
        await bus.close()

    run(main(), loop_factory())


def test_a_heartbeat_into_a_closing_socket_only_misses(server: RunningServer) -> None:
    """Between the socket's end and the moment at which the client notices the heart beats too: the connection is given up and made anew, not its keeper."""

    async def main() -> None:
        bus = NatsBus(server.as_user("ingestion", **FAST))
        await bus.open()
        client = bus.connection._client
        assert client is not None
        client._reading_task.cancel()  # so that it does not notice
        client._transport._io_writer.transport.abort()
        await until(lambda: bus.connection._client is not client and bus.connection.up)
        heard: list[bytes] = []
        await bus.subscribe(SUBJECTS.tape, lambda delivery: heard.append(delivery.payload))
        bus.publish(SUBJECTS.tape, b"again")
        await until(lambda: heard)
        await bus.close()

    run(main())


def test_nothing_leaves_late(server: RunningServer) -> None:
    """While there is no server: messages are dropped and counted, appends refused; after the outage none of them appears."""

    async def main() -> None:
        bus, journal = NatsBus(server.as_user("execution", **FAST)), NatsJournal(server.as_user("execution", **FAST), bytes_max=1 << 28)
        await bus.open()
        await journal.open()
        heard: list[bytes] = []
        await bus.subscribe("want.testing.>", lambda delivery: heard.append(delivery.payload))
        before = dropped("want", "disconnected")
        server.kill()
        await until(lambda: not bus.connection.up and not journal.connection.up)
        bus.publish(SUBJECTS.held, b"stale")
        with pytest.raises(TryAgain):
            await journal.append(SUBJECTS.journal_intent("stale"), b"x", create=True)
        assert dropped("want", "disconnected") == before + 1
        server.launch()
        await until(lambda: bus.connection.up and journal.connection.up)
        bus.publish(SUBJECTS.held, b"fresh")
        await until(lambda: heard)
        assert heard == [b"fresh"]
        assert [entry async for entry in journal.read(SUBJECTS.journal)] == []
        await bus.close()
        await journal.close()

    run(main())


def test_unawaited_entries_survive_a_killed_server_in_order_and_once(server: RunningServer) -> None:
    """The server dies by SIGKILL twice in the middle of the stream: every entry arrives, once, in order, also at a follower that never looks away."""

    async def main() -> None:
        journal = NatsJournal(server.as_user("execution", **FAST), bytes_max=1 << 28)
        await journal.open()
        heard: list[Entry] = []
        following = await journal.follow(SUBJECTS.journal_inbox, 1, heard.append)
        for number in range(3000):
            while True:
                try:
                    journal.append_later(SUBJECTS.journal_inbox, b"%d" % number)
                    break
                except TryAgain:
                    await asyncio.sleep(0)
            if number in (800, 1900):
                await until(lambda: len(heard) > 100)
                server.kill()
                server.launch()
            if number % 50 == 0:
                await asyncio.sleep(0)
        await journal.flush()
        stored = [int(entry.payload) async for entry in journal.read(SUBJECTS.journal_inbox)]
        assert stored == list(range(3000))
        await until(lambda: len(heard) >= 3000)
        assert [int(entry.payload) for entry in heard] == list(range(3000))
        await following.close()
        await journal.close()

    run(main())


def test_a_hanging_server_leaves_the_outcome_unknown(server: RunningServer) -> None:
    """No answer is neither yes nor no: the append says that nobody knows, and a second create tells what became of the first."""

    async def main() -> None:
        journal = NatsJournal(server.as_user("execution", **FAST), bytes_max=1 << 28)
        await journal.open()
        subject = SUBJECTS.journal_intent("hanging")
        server.pause()
        with pytest.raises(OutcomeUnknown):
            await journal.append(subject, b"x", create=True)
        server.resume()
        await until(lambda: journal.connection.up)
        with contextlib.suppress(RequestRefused):
            await journal.append(subject, b"x", create=True)
        assert [entry.payload async for entry in journal.read(subject)] == [b"x"]
        await journal.close()

    run(main())


def test_a_wiped_store_has_another_identity(server: RunningServer) -> None:
    """Latches live in the journal: whoever meets a new store must be able to see that it is new. A restart alone changes nothing."""

    async def identity() -> str:
        journal = NatsJournal(server.as_user("execution"), bytes_max=1 << 28)
        await journal.open()
        found = await journal.identity()
        await journal.close()
        return found

    first = run(identity())
    server.kill()
    server.start()
    assert run(identity()) == first
    server.stop()
    shutil.rmtree(server.settings.folder / "data")
    server.start()
    assert run(identity()) != first


def test_a_wrong_password_is_named_and_not_printed(server: RunningServer) -> None:
    """The person is told which user was refused; what was tried stays out of the text."""

    async def main() -> None:
        bus = NatsBus(server.as_user("filter", password="not-the-password"))
        with pytest.raises(NotAuthorized) as caught:
            # Told when the server's word has come, which may need several attempts; not when the time is over.
            await bus.open(timeout_seconds=3600.0)
        assert "filter" in str(caught.value)
        assert "not-the-password" not in str(caught.value)
        assert "not-the-password" not in repr(bus.connection.settings)

    run(main())


def test_a_member_that_refuses_a_password_does_not_speak_for_the_others(server: RunningServer, tmp_path: Path) -> None:
    """One of two addresses knows another password, and is asked first as often as not: the other one is asked as well, so the connection stands."""
    refusing = RunningServer(tmp_path / "refusing")
    refusing.start()

    async def main() -> None:
        for _ in range(8):
            bus = NatsBus(server.as_user("filter", url=f"{refusing.settings.url},{server.settings.url}"))
            await bus.open()
            await bus.close()

    try:
        run(main())
    finally:
        refusing.stop()


def test_the_tape_is_remembered_and_bounded(server: RunningServer) -> None:
    """A restarted filter finds the newest batches in their order; older ones than the memory holds are gone, not in the way."""

    async def main() -> None:
        journal = NatsJournal(server.as_user("filter"), bytes_max=1 << 28)
        await journal.open()
        tape = NatsTape(journal.connection, bytes_max=64 * 1024)
        await tape.ensure()
        bus = NatsBus(server.as_user("ingestion"))
        await bus.open()
        assert [payload async for payload in tape.recent()] == []
        for number in range(100):
            bus.publish(SUBJECTS.tape, b"%3d" % number + bytes(1000))
        await bus.flush()
        kept: list[int] = []
        while not kept or kept[-1] != 99:  # the stream stores in its own time; what is heard live is not missing meanwhile
            kept = [int(payload[:3]) async for payload in tape.recent()]
        assert kept == list(range(kept[0], 100))
        assert 40 < len(kept) < 66
        await bus.close()
        await journal.close()

    run(main())


def test_a_killed_server_s_tape_is_remembered_anew(server: RunningServer) -> None:
    """Memory dies with the server: the stream is made again by whoever is connected, so reading it never fails and new batches are kept."""

    async def main() -> None:
        journal, bus = NatsJournal(server.as_user("filter", **FAST), bytes_max=1 << 28), NatsBus(server.as_user("ingestion", **FAST))
        await journal.open()
        await bus.open()
        tape = NatsTape(journal.connection)
        await tape.ensure()
        server.kill()
        await until(lambda: not bus.connection.up and not journal.connection.up)
        server.launch()
        await until(lambda: bus.connection.up and journal.connection.up)
        kept: list[bytes] = []
        while not kept:
            bus.publish(SUBJECTS.tape, b"after")
            await bus.flush()
            kept = [payload async for payload in tape.recent()]
        assert set(kept) == {b"after"}
        other = NatsTape(journal.connection)
        assert [payload async for payload in other.recent()][: len(kept)] == kept
        await bus.close()
        await journal.close()

    run(main())


def test_what_a_user_may_not_write_is_refused_at_once(server: RunningServer) -> None:
    """A forbidden entry is not waited for: the server says nothing to such a publisher, so we do."""

    async def main() -> None:
        journal = NatsJournal(server.as_user("filter"), bytes_max=1 << 28)
        await journal.open()
        with pytest.raises(RequestRefused) as caught:
            await journal.append(SUBJECTS.journal_latch, b"not mine")
        assert caught.value.code == "forbidden"
        await journal.close()

    run(main())


def test_a_busy_loop_is_not_deafness(server: RunningServer) -> None:
    """A service that computed through ten heartbeats has not listened; taking that for a dead connection would cut it off just when it is behind."""

    async def main() -> None:
        bus = NatsBus(server.as_user("filter", **FAST))
        await bus.open()
        client = bus.connection._client
        for _ in range(3):
            end = time.monotonic() + 10 * 0.05
            while time.monotonic() < end:
                pass
            heard_ns = bus.connection._heard_ns
            await until(lambda before=heard_ns: bus.connection._heard_ns > before)  # type: ignore[misc]
        assert bus.connection._client is client
        await bus.close()

    run(main())
