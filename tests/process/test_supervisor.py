"""Real processes: started in order, started again when killed, ended in order, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.process.systems import free_block, resource, small_run
from tests.promises.waiting import run, until
from tradingsystem.process.local import Happening, LocalRun
from tradingsystem.process.nats_server import PortTaken, free_ports
from tradingsystem.process.one_process import OneProcess
from tradingsystem.process.state import RunningSystem
from tradingsystem.process.supervisor import Supervisor
from tradingsystem.spec import Placement

pytestmark = pytest.mark.nats


def alive(pid: int) -> bool:
    """Whether a process is there and not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def listens(port: int) -> bool:
    """Whether somebody takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_free_ports_differ() -> None:
    """Servers that are started together never get the same port: of so many, asked for one by one, some would be equal nearly always."""
    ports = free_ports(400)
    assert len(set(ports)) == len(ports)


class Watched:
    """A supervised run in the background of a test."""

    def __init__(self, local: LocalRun, supervisor: Supervisor | OneProcess, happenings: list[Happening]) -> None:
        self.local = local
        self.supervisor = supervisor
        self.happenings = happenings

    def note(self) -> RunningSystem:
        """What the running system says of itself."""
        return msgspec.json.decode(self.local.state.note_path.read_bytes(), type=RunningSystem)

    def count(self, workload: str, what: str) -> int:
        """How often something happened."""
        return sum(1 for one in self.happenings if (one.workload, one.what) == (workload, what))


@contextlib.asynccontextmanager
async def supervised(folder: Path, placement: Placement = Placement.PROCESSES) -> AsyncIterator[Watched]:
    """Started and everybody ready; stopped at the end."""
    local = small_run(folder, placement)
    happenings: list[Happening] = []
    kind = Supervisor if placement is Placement.PROCESSES else OneProcess
    supervisor = kind(local, happenings.append)
    running = asyncio.create_task(supervisor.run())
    try:
        async with asyncio.timeout(30):
            ready = asyncio.create_task(supervisor.everybody_ready.wait())
            await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
            assert ready.done(), happenings
        yield Watched(local, supervisor, happenings)
    finally:
        supervisor.stop()
        assert await running == 0


def test_a_killed_service_is_back(tmp_path: Path) -> None:
    """SIGKILL: it is started at once, ready again soon, and the person is told how it died."""

    async def main() -> None:
        async with supervised(tmp_path) as watched:
            pid = watched.note().pids["recorder"]
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            await until(lambda: watched.count("recorder", "ready") == 2)
            assert time.monotonic() - killed < 15
            assert Happening("recorder", "ended", "killed by SIGKILL") in watched.happenings
            assert Happening("recorder", "restarting", "at once") in watched.happenings
            assert watched.note().pids["recorder"] != pid
            assert watched.count("monitor", "ended") == 0

    run(main())


def test_a_killed_message_server_is_back(tmp_path: Path) -> None:
    """The services live through it: none of them dies with the server."""

    async def main() -> None:
        async with supervised(tmp_path) as watched:
            os.kill(watched.note().pids["nats"], signal.SIGKILL)
            await until(lambda: watched.count("nats", "started") == 1)
            await until(lambda: listens(watched.local.nats().port))
            assert watched.count("recorder", "ended") == watched.count("monitor", "ended") == 0

    run(main())


def test_the_end_leaves_nobody(tmp_path: Path) -> None:
    """Every process has ended of its own accord, and the note by which commands find the system is gone."""

    async def main() -> None:
        async with supervised(tmp_path) as watched:
            pids = dict(watched.note().pids)
            assert set(pids) == {"nats", "recorder", "monitor"}
        assert [name for name, pid in pids.items() if alive(pid)] == []
        assert [one.detail for one in watched.happenings if one.what == "stopped"] == ["", ""]
        assert not watched.local.state.note_path.exists()

    run(main())


def test_all_services_in_one_process(tmp_path: Path) -> None:
    """The same services, the same addresses, one process beside the server."""

    async def main() -> None:
        async with supervised(tmp_path, Placement.ONE_PROCESS) as watched:
            note = watched.note()
            assert set(note.pids.values()) == {os.getpid()}
            reader, writer = await asyncio.open_connection("127.0.0.1", note.ports["monitor"]["metrics"])
            writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
            answer = (await reader.read()).decode()
            writer.close()
            await writer.wait_closed()
            assert "200 OK" in answer
            assert "recorder: ready" in answer
            assert "monitor: ready" in answer

    run(main())


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """Which port, what for, and what to do; nothing was started."""

    async def main() -> None:
        local = small_run(tmp_path)
        with socket.socket() as taker:
            taker.bind(("127.0.0.1", local.plan.workload("recorder").port("metrics")))
            taker.listen()
            with pytest.raises(PortTaken, match=r"\(recorder metrics\).*metricsPort"):
                await Supervisor(local, lambda _: None).run()

    run(main())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_up_leaves_no_orphans(tmp_path: Path, number: signal.Signals) -> None:
    """Whether the person ends it or the machine kills the supervisor: a moment later nothing of the system runs any more."""
    file = tmp_path / "system.yaml"
    file.write_text(resource(free_block()))
    environment = os.environ | {"TRADINGSYSTEM_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "tradingsystem.cli", "up", str(file)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    note_path = tmp_path / "state" / "testing" / "ports.json"

    def pids() -> dict[str, int]:
        return msgspec.json.decode(note_path.read_bytes(), type=RunningSystem).pids if note_path.exists() else {}

    async def main() -> None:
        await until(lambda: {"nats", "monitor", "recorder"} <= pids().keys())
        started = pids()
        process.send_signal(number)
        await until(lambda: process.poll() is not None)
        await until(lambda: not any(alive(pid) for name, pid in started.items() if name != "nats"))
        await until(lambda: not alive(started["nats"]), deadline_seconds=50)
        assert process.returncode == (0 if number is signal.SIGINT else -signal.SIGKILL)

    run(main())
