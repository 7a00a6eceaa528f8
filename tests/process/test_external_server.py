"""A system whose message servers a person runs: it finds them, starts none of its own, and names what they lack before anything runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.process.systems import free_block, resource, small_run
from tests.promises.cluster import RunningCluster
from tests.promises.server import RunningServer
from tests.promises.waiting import run
from tradingsystem.domain.errors import InvalidInput, NotAuthorized
from tradingsystem.messages.permissions import permissions
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.connecting import connected_journal
from tradingsystem.process.local import Happening, LocalRun
from tradingsystem.process.nats_server import free_ports
from tradingsystem.process.private_files import read_password, write_private
from tradingsystem.process.secrets import Secrets, local_folder
from tradingsystem.process.state import RunningSystem
from tradingsystem.process.supervisor import Supervisor
from tradingsystem.process.venues import venues_of
from tradingsystem.spec import Mode, load
from tradingsystem.world.doctor import Finding, examine

pytestmark = pytest.mark.nats

SECRET = "nats-users"
START_SECONDS = 30.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RunningCluster]:
    """Three servers with the account of the system."""
    running = RunningCluster(tmp_path / "servers")
    running.start()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def _secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this person keeps keys."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def messaging(urls: list[str], replicas: int) -> str:
    """The section of the resource."""
    return msgspec.json.encode({"type": "External", "urls": urls, "secretRef": {"name": SECRET}, "replicas": replicas}).decode()


def give_passwords(password_of: dict[str, str]) -> None:
    """As the page of the message server tells a person to."""
    folder = local_folder() / SECRET
    folder.mkdir(parents=True)
    for user, password in password_of.items():
        write_private(folder / user, password.encode())


async def started(local: LocalRun) -> list[Happening]:
    """What happened until everybody was ready, and to the ordered end. Raises what kept the run from starting."""
    happened: list[Happening] = []
    supervisor = Supervisor(local, happened.append)
    running = asyncio.create_task(supervisor.run())
    ready = asyncio.create_task(supervisor.everybody_ready.wait())
    async with asyncio.timeout(START_SECONDS):
        await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if not running.done():
        note = msgspec.json.decode(local.state.note_path.read_bytes(), type=RunningSystem)
        assert "nats" not in note.pids
        async with connected_journal(note.server, note.system, "person", read_password(Path(note.person_password_file))) as journal:
            await journal.append(Subjects(note.system).journal_spec, b"a person was here")
        supervisor.stop()
    assert await running == 0
    return happened


def test_services_run_on_servers_that_are_there_already(cluster: RunningCluster, tmp_path: Path) -> None:
    """On three members with the users of the printed account: no server is started, commands find the way, and a second simulated run does not begin on
    what the first has left."""
    give_passwords({row.user: cluster.as_user(row.user).password for row in permissions("testing")})
    section = messaging([member.url for member in cluster.members], 3)
    happened = run(started(small_run(tmp_path, messaging=section)))
    assert Happening("nats", "ready", ",".join(member.url for member in cluster.members)) in happened
    assert {one.workload for one in happened if one.what == "ready"} == {"nats", "recorder", "monitor"}
    assert not (tmp_path / "state" / "testing" / "nats").exists()
    with pytest.raises(InvalidInput, match="a simulated account begins with nothing"):
        run(started(small_run(tmp_path, messaging=section)))


def test_missing_passwords_are_named_before_anything_runs(tmp_path: Path) -> None:
    """Each by its file; the server is not even asked."""
    (port,) = free_ports(1)
    local = small_run(tmp_path, messaging=messaging([f"nats://127.0.0.1:{port}"], 1))
    give_passwords({"recorder": "x"})
    with pytest.raises(NotAuthorized) as caught:
        local.check()
    assert all(f"secret {SECRET}, key {user}: not found" in str(caught.value) for user in ("monitor", "person"))
    assert "key recorder" not in str(caught.value)


def test_the_doctor_asks_the_server_with_the_person_s_password(tmp_path: Path) -> None:
    """What lacks is named with the file it belongs into; then whether anybody answers there."""
    (port,) = free_ports(1)
    url = f"nats://127.0.0.1:{port}"
    local = small_run(tmp_path, messaging=messaging([url], 1))

    def found() -> dict[str, Finding]:
        system = load(resource(free_block(), messaging=messaging([url], 1)))
        return {
            one.what: one
            for one in examine(
                system, local.plan, Secrets(local_folder(), environment={}), venues_of(Mode.SIMULATION, "http://127.0.0.1:9")
            )
        }

    assert str(local_folder() / SECRET / "person") in found()[f"key {SECRET}/person"].remedy
    give_passwords({row.user: "x" for row in permissions("testing")})
    assert url in found()["message server"].says
    assert found()["message server"].remedy


def test_a_server_that_takes_too_small_messages_is_named(tmp_path: Path) -> None:
    """With what its administrator writes."""
    server = RunningServer(tmp_path / "nats")
    server.start()
    server.stop()
    configuration = server.settings.folder / "nats.conf"
    configuration.write_text(configuration.read_text().replace("max_payload: 8388608", "max_payload: 1048576"))
    server.launch()
    give_passwords({row.user: server.as_user(row.user).password for row in permissions("testing")})
    users = server.settings.folder / "users.conf"
    users.write_text(users.read_text().replace('"user": "', '"user": "testing-'))
    server.kill()
    server.launch()
    try:
        with pytest.raises(InvalidInput, match="max_payload: 8MB"):
            run(started(small_run(tmp_path, messaging=messaging([server.settings.url], 1))))
    finally:
        server.stop()
