"""Nobody but the right one: the table of users, and the real server that enforces it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.server import RunningServer
from tests.promises.waiting import run, until
from tradingsystem.adapters.in_process_bus import matches
from tradingsystem.adapters.jetstream import call
from tradingsystem.adapters.nats import NatsBus
from tradingsystem.adapters.nats_journal import NatsJournal
from tradingsystem.domain.errors import RequestRefused, TryAgain
from tradingsystem.messages.permissions import ENGINE, PERSON, SERVICES, permissions
from tradingsystem.messages.subjects import Subjects

SUBJECTS = Subjects("testing")

ONLY_SPEAKERS = {
    SUBJECTS.tape: "ingestion",
    SUBJECTS.frames: "ingestion",
    SUBJECTS.marks: "filter",
    SUBJECTS.outcomes: "filter",
    SUBJECTS.journal_cut: "filter",
    SUBJECTS.journal_signal: "filter",
    SUBJECTS.held: "execution",
    SUBJECTS.journal_inbox: "execution",
    SUBJECTS.journal_intent("any"): "execution",
    SUBJECTS.journal_latch: "execution",
    SUBJECTS.journal_split: "execution",
    SUBJECTS.journal_fence: "execution",
    SUBJECTS.journal_model: "models",
    SUBJECTS.journal_promotion: "models",
    SUBJECTS.journal_weights: "models",
    SUBJECTS.clock: "simulator",
    SUBJECTS.command: PERSON,
    SUBJECTS.command_models: PERSON,
    SUBJECTS.journal_spec: PERSON,
    SUBJECTS.resource: PERSON,
}


def speakers(subject: str) -> list[str]:
    """The users that may publish on a subject."""
    return [row.user for row in permissions("testing") if any(matches(pattern, subject) for pattern in row.publish)]


@pytest.mark.parametrize(("subject", "speaker"), ONLY_SPEAKERS.items())
def test_each_decision_has_one_speaker(subject: str, speaker: str) -> None:
    """Whoever else could say this could trade, halt or promote in another's name."""
    assert speakers(subject) == [speaker]


def test_outcomes_are_heard_by_who_promotes() -> None:
    """Closed predictions are the evidence of a rollback: models hears them, and nobody who trades does."""
    heard = [row.user for row in permissions("testing") if any(matches(pattern, SUBJECTS.outcomes) for pattern in row.subscribe)]
    assert heard == ["models"]


@pytest.mark.parametrize("service", SERVICES)
def test_heartbeats_are_ones_own(service: str) -> None:
    """A service cannot claim that another one lives, nor answer in another's name."""
    assert speakers(SUBJECTS.beat(service)) == [service]
    assert speakers(SUBJECTS.state(service)) == [service]
    assert speakers(f"_INBOX_{service}.x") == [service]


@pytest.mark.parametrize("verb", ["STREAM.DELETE", "STREAM.PURGE", "STREAM.UPDATE", "STREAM.MSG.DELETE", "STREAM.RESTORE"])
def test_nobody_may_unmake_the_journal(verb: str) -> None:
    """A latch that could be purged would not be a latch."""
    assert speakers(f"$JS.API.{verb}.JOURNAL_testing") == []


def test_another_system_is_out_of_reach() -> None:
    """Two systems on one server share nothing: no user of one may speak on a subject of the other."""
    other = Subjects("other")
    for subject in (other.tape, other.command, other.journal_latch, other.beat("execution"), "$JS.API.STREAM.INFO.JOURNAL_other"):
        assert speakers(subject) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the generated users."""
    folder: Path = tmp_path_factory.mktemp("nats")
    running = RunningServer(folder)
    running.start()
    yield running
    running.stop()


@pytest.mark.nats
def test_the_server_refuses_a_foreign_intent(server: RunningServer) -> None:
    """Published straight onto the subject, by a service with a valid password: the journal does not take it and nobody hears it."""

    async def main() -> None:
        thief, owner = NatsBus(server.as_user("filter")), NatsJournal(server.as_user("execution"), bytes_max=1 << 28)
        await thief.open()
        await owner.open()
        heard: list[str] = []
        await owner.connection.subscribe(SUBJECTS.journal, lambda message: heard.append(message.subject))
        for subject in (SUBJECTS.journal_intent("forged"), SUBJECTS.journal_latch, SUBJECTS.command):
            thief.publish(subject, b"forged")
        await thief.flush()
        await owner.append(SUBJECTS.journal_intent("honest"), b"x", create=True)
        await until(lambda: heard)
        assert heard == [SUBJECTS.journal_intent("honest")]
        assert [entry.payload async for entry in owner.read(SUBJECTS.journal)] == [b"x"]
        await thief.close()
        await owner.close()

    run(main())


@pytest.mark.nats
def test_the_server_refuses_a_purge(server: RunningServer) -> None:
    """Not even execution may empty its own journal."""

    async def main() -> None:
        journal = NatsJournal(server.as_user("execution"), bytes_max=1 << 28)
        await journal.open()
        before = await journal.last_seq()
        with pytest.raises((TryAgain, RequestRefused)):
            await call(journal.connection, "STREAM.PURGE.JOURNAL_testing", timeout_seconds=0.3)
        assert await journal.last_seq() == before
        await journal.close()

    run(main())


@pytest.mark.nats
def test_passwords_and_configuration_are_private(server: RunningServer) -> None:
    """Whoever may read a password is that user: one file each, for the owner only, all different, kept across restarts."""
    folder = server.settings.folder
    files = sorted((folder / "passwords").iterdir())
    assert [path.name for path in files] == sorted((*SERVICES, PERSON, ENGINE))
    assert {path.stat().st_mode & 0o777 for path in (*files, folder / "nats.conf")} == {0o600}
    before = [path.read_text() for path in files]
    assert len(set(before)) == len(before)
    server.stop()
    server.start()
    assert [path.read_text() for path in files] == before
