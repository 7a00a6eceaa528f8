"""The control channel on a real message server with the users of production: settings in one order, commands answered, and never deaf without knowing it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.faults.authority import Authority
from tests.operator.speaking import Execution
from tests.operator.systems import position
from tests.promises.server import RunningServer
from tests.promises.waiting import run, until
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.domain.control import Command, CommandAnswer, CommandKind, ModelsState
from tradingsystem.domain.errors import TryAgain
from tradingsystem.messages.codec import encode
from tradingsystem.messages.live_settings import settings_entry
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.nats_server import free_ports
from tradingsystem_operator.control import ControlChannel, Link

pytestmark = pytest.mark.nats
SYSTEM = "testing"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server of its own, so that it may be stopped."""
    made = RunningServer(tmp_path / "nats", SYSTEM)
    made.start()
    yield made
    made.stop()


class Woken:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def channel_to(server: RunningServer, woken: Woken, password: str | None = None) -> ControlChannel:
    settings = server.as_user(PERSON)
    return ControlChannel(SYSTEM, Link((settings.url,), PERSON, settings.password if password is None else password), woken)


def connected(channel: ControlChannel) -> bool:
    return channel.fact(b"", "").connected


def wanting(settings: bytes) -> Callable[[], Awaitable[bytes]]:
    async def read() -> bytes:
        return settings

    return read


def test_it_hears_what_models_says_and_wakes_only_for_a_step(server: RunningServer) -> None:
    """How long a trial has run moves each second and is no news; another phase is, and is in the status at once."""

    async def main() -> None:
        woken = Woken()
        channel = channel_to(server, woken)
        channel.start()
        bus = NatsBus(server.as_user("models"))
        await bus.open()
        state = ModelsState(serving=3, pinned=0, generation=1, refused={}, trial=4, phase="Shadow")

        def say(**changes: object) -> None:
            bus.publish(Subjects(SYSTEM).state("models"), encode(msgspec.structs.replace(state, **changes)))

        def phase() -> str:
            models = channel.fact(b"", "").models
            return models.phase if models is not None else ""

        await until(lambda: connected(channel))
        say()
        await until(lambda: phase() == "Shadow")
        count = woken.count
        for second in range(1, 6):
            say(phase_open_seconds=second)
        say(phase="Canary")
        await until(lambda: phase() == "Canary")
        assert woken.count == count + 1
        await bus.close()
        await channel.close()

    run(main())


def test_it_hears_what_services_say_and_wakes_only_for_news(server: RunningServer) -> None:
    """Four heartbeats a second must not be four rounds a second; a new state is a round at once."""

    async def main() -> None:
        woken, execution = Woken(), Execution(SYSTEM)
        channel = channel_to(server, woken)
        channel.start()
        async with execution.speaking(server):
            await until(lambda: channel.fact(b"", "").status is not None and channel.fact(b"", "").beat("execution") is not None)
            count, said = woken.count, execution.said
            await until(lambda: execution.said >= said + 5)
            assert woken.count <= count + 1
            count = woken.count
            execution.become(positions=(position(),))
            await until(lambda: woken.count > count)
            status = channel.fact(b"", "").status
            assert status is not None
            assert len(status.positions) == 1
        await channel.close()
        assert not connected(channel)

    run(main())


def test_settings_are_journaled_once_and_acknowledged_by_execution(server: RunningServer) -> None:
    """The same settings twice are one entry; they are in force when execution says so and not before."""

    async def main() -> None:
        execution = Execution(SYSTEM)
        execution.takes_over = False
        channel = channel_to(server, Woken())
        channel.start()
        async with execution.speaking(server) as journal:
            await until(lambda: connected(channel) and channel.fact(b"", "").beat("execution") is not None)
            assert await channel.put_in_force(wanting(b"first")) == 1
            assert await channel.put_in_force(wanting(b"first")) == 0
            assert not channel.fact(b"first", "ab").acknowledged
            execution.takes_over = True
            entries = [entry async for entry in journal.read(execution.subjects.journal_spec)]
            assert len(entries) == 1
            execution._on_spec(entries[0])
            await until(lambda: channel.fact(b"first", "ab").acknowledged)
            assert channel.fact(b"first", "ab").live_hash == "ab"
            assert not channel.fact(b"second", "cd").acknowledged
        await channel.close()

    run(main())


def test_generations_go_on_from_whatever_was_applied_by_others(server: RunningServer) -> None:
    """A person's `tradingsystem apply` and the operator share one counter: the journal's."""

    async def main() -> None:
        execution = Execution(SYSTEM)
        channel = channel_to(server, Woken())
        channel.start()
        async with execution.speaking(server), execution.person(server) as journal:
            await until(lambda: connected(channel))
            await journal.append(execution.subjects.journal_spec, settings_entry(41, b"by hand"))
            assert await channel.put_in_force(wanting(b"mine")) == 42
            assert channel.is_in_force(b"mine")
            await journal.append(execution.subjects.journal_spec, settings_entry(43, b"by hand again"))
            await until(lambda: not channel.is_in_force(b"mine"))
            assert await channel.put_in_force(wanting(b"mine")) == 44
        await channel.close()

    run(main())


def test_execution_hears_that_the_resource_stands(server: RunningServer) -> None:
    """Each round's word arrives with the users of production; without a connection it is lost and breaks nothing."""

    async def main() -> None:
        execution = Execution(SYSTEM)
        channel = channel_to(server, Woken())
        await channel.say_it_stands()
        channel.start()
        async with execution.speaking(server):
            await until(lambda: connected(channel))
            for count in (1, 2):
                await channel.say_it_stands()
                await until(lambda count=count: execution.resource_told == count)
        await channel.close()

    run(main())


def test_of_two_that_write_in_the_same_moment_one_is_refused(server: RunningServer) -> None:
    """Two operators that meet must not put an older spec over a newer one: the journal takes one, the other looks again."""

    async def main() -> None:
        execution = Execution(SYSTEM)
        channel = channel_to(server, Woken())
        channel.start()
        async with execution.speaking(server), execution.person(server) as journal:
            await until(lambda: connected(channel))

            async def overtaken() -> bytes:
                await journal.append(execution.subjects.journal_spec, settings_entry(7, b"newer"))
                return b"older"

            with pytest.raises(TryAgain, match="in the same moment"):
                await channel.put_in_force(overtaken)
            entries = [entry.payload async for entry in journal.read(execution.subjects.journal_spec)]
            assert entries == [settings_entry(7, b"newer")]
        await channel.close()

    run(main())


def test_without_a_journal_yet_it_says_so(server: RunningServer) -> None:
    """Pods start in any order: a stream that nobody has made yet is waited for."""

    async def main() -> None:
        channel = channel_to(server, Woken())
        channel.start()
        await until(lambda: connected(channel))
        with pytest.raises(TryAgain, match="not there yet"):
            await channel.put_in_force(wanting(b"x"))
        with pytest.raises(TryAgain, match="nobody answers"):
            await channel.command(Command(id="1", kind=CommandKind.HALT, name="Ada", reason="drill"))
        await channel.close()

    run(main())


def test_commands_are_answered(server: RunningServer) -> None:
    """What execution says is what the event will say."""

    async def main() -> None:
        execution = Execution(SYSTEM)
        execution.answer = lambda command: CommandAnswer(id=command.id, accepted=False, reason="no such latch")
        channel = channel_to(server, Woken())
        channel.start()
        async with execution.speaking(server):
            await until(lambda: connected(channel))
            answer = await channel.command(Command(id="1", kind=CommandKind.CLEAR_LATCH, name="Ada", reason="drill", latch_id="l"))
            assert (answer.accepted, answer.reason) == (False, "no such latch")
            assert [command.latch_id for command in execution.commands] == ["l"]
        await channel.close()

    run(main())


def test_a_server_that_goes_and_comes_is_reconnected_and_everything_read_anew(server: RunningServer) -> None:
    """After a restart the journal may be another one: nothing counts as in force until it was read again."""

    async def main() -> None:
        woken = Woken()
        channel = channel_to(server, woken)
        channel.start()
        execution = Execution(SYSTEM)
        async with execution.speaking(server):
            await until(lambda: connected(channel))
            assert await channel.put_in_force(wanting(b"x")) == 1
        count = woken.count
        await asyncio.to_thread(server.stop)
        await until(lambda: not connected(channel))
        assert woken.count > count
        assert channel.fact(b"x", "").problem
        with pytest.raises(TryAgain, match="not reached"):
            await channel.put_in_force(wanting(b"x"))
        await asyncio.to_thread(server.start)
        await until(lambda: connected(channel))
        assert not channel.is_in_force(b"x")
        await channel.close()

    run(main())


def test_a_wrong_password_is_told_and_printed_nowhere(server: RunningServer) -> None:
    """The person learns that the Secret and the server differ; the password stays out of it."""

    async def main() -> None:
        channel = channel_to(server, Woken(), password="canary-password")
        channel.start()
        await until(lambda: "uthorization" in channel.fact(b"", "").problem)
        assert "canary" not in channel.fact(b"", "").problem
        await channel.close()

    run(main())


def test_a_server_of_a_person_is_spoken_to_by_any_address_with_tls(server: RunningServer, tmp_path: Path) -> None:
    """One that nobody listens at is passed by; a certificate of somebody else, and a server without TLS, are refused by name, and nothing is sent to them."""
    authority = Authority.made("an authority")
    signed_by = authority.certificate(tmp_path / "authority.pem", days=400, authority=True).read_text()
    foreign = Authority.made("somebody else").certificate(tmp_path / "foreign.pem", days=400, authority=True).read_text()
    (port,) = free_ports(1)
    password, nobody = server.as_user(PERSON).password, f"tls://127.0.0.1:{port}"
    url = server.settings.url.replace("nats://", "tls://")

    async def problem(signers: str) -> str:
        channel = ControlChannel(SYSTEM, Link((url,), PERSON, password, signers, external=True), Woken())
        channel.start()
        await until(lambda: channel.fact(b"", "").problem != "not connected yet")
        assert not connected(channel)
        said = channel.fact(b"", "").problem
        await channel.close()
        return said

    async def main() -> None:
        assert "it does not ask for TLS" in await problem(signed_by)
        server.stop()
        certificate = str(authority.certificate(tmp_path / "server.pem", days=90))
        with (server.settings.folder / "nats.conf").open("a") as file:
            file.write(f'tls: {{"cert_file": "{certificate}", "key_file": "{certificate}"}}\n')
        server.launch()
        channel = ControlChannel(SYSTEM, Link((nobody, url), PERSON, password, signed_by, external=True), Woken())
        channel.start()
        await until(lambda: connected(channel))
        await channel.close()
        assert "its certificate is refused: unable to get local issuer certificate" in await problem(foreign)

    run(main())
