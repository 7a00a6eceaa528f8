"""Real faults in one running system of real processes: the message server, execution and the way to the broker, one after the other.

The tests share a day, in this order, and each can be run alone. The last one closes every position and asks the wire auditor about all of it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.chaos.ear import Ear
from tests.e2e.running import Running, manifest
from tests.faults.proxy import Fault, FaultProxy

SPEED = 60
BROKER = 20  # the simulator's port in the block
DEAF_SECONDS_MAX = 20.0  # a ping every 10 s, 5 s for its answer, and what a busy machine needs to say so
POST_GIVEN_UP_SECONDS = 6.0  # the client waits 5 s for an answer
OUTAGE_SECONDS_MAX = 40.0

Tell = Callable[[float], None]

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class Scene:
    """A system, its way to the broker, and who listens."""

    running: Running
    proxy: FaultProxy
    ear: Ear

    def ready(self, after_ns: int = 0) -> bool:
        """Whether every process says so since then, and the account agrees."""
        pids: dict[str, int] = dict(self.running.note["pids"])
        pids.pop("nats", None)
        return self.ear.all_ready(pids, after_ns)

    def recovered(self, since_ns: int, timeout_seconds: float = 60.0) -> float:
        """Wait until everything is ready again by words from after ``since_ns``; the seconds since then."""
        self.running.until(lambda: self.ready(since_ns), timeout_seconds)
        return (time.monotonic_ns() - since_ns) / 1e9

    def reconciled(self) -> bool:
        """Whether execution knows its account and may open."""
        return self.ear.status is not None and self.ear.status.reconciled

    def pid(self, name: str) -> int:
        """A process of the system."""
        return int(self.running.note["pids"][name])

    def positions(self) -> int:
        """How many positions the broker knows."""
        return len(self.running.ask("/simulator/summary")["positions"])

    def agrees(self) -> bool:
        """Whether execution knows the outcome of every order and holds what the broker says."""
        status = self.ear.status
        if status is None or status.unknown_orders:
            return False
        theirs = {symbol: int(quantity) for symbol, quantity in self.running.ask("/simulator/summary")["positions"].items()}
        return {position.symbol: position.quantity for position in status.positions} == theirs

    def given_up(self, posted_ns: int) -> bool:
        """Whether the client of a POST at that time has given its answer up."""
        return time.monotonic_ns() - posted_ns > POST_GIVEN_UP_SECONDS * 1e9

    def trades_again(self) -> None:
        """Wait for a fill that was not there before, by the broker's word."""
        before = self.running.ask("/simulator/summary")["fills"]
        self.running.until(lambda: self.running.ask("/simulator/summary")["fills"] > before, 90)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Ready, and with a position."""
    document = manifest("faults", seed=12, speed=SPEED, symbols=120, signals="Probe")
    proxy = FaultProxy(document["spec"]["telemetry"]["metricsPort"] + BROKER).start()
    program = (sys.executable, "-m", "tests.faults.up_through_proxy", str(proxy.port))
    running = Running.start(document, tmp_path_factory.mktemp("faults"), program=program)
    try:
        running.wait_for("all ready")
        ear = Ear("faults", running.note)
        try:
            made = Scene(running, proxy, ear)
            running.until(lambda: made.positions() > 0, 120)
            yield made
        finally:
            ear.close()
    finally:
        running.stop()
        proxy.stop()


def test_nats_server_killed(scene: Scene, back_after: Tell) -> None:
    """SIGKILL of the message server: the supervisor starts it again on its data, every service finds it, and nobody has to be restarted."""
    before, at_ns = scene.running.note["pids"], time.monotonic_ns()
    os.kill(scene.pid("nats"), signal.SIGKILL)
    scene.running.until(lambda: scene.running.note["pids"].get("nats") not in (None, before["nats"]))
    back_after(scene.recovered(at_ns))
    after = scene.running.note["pids"]
    assert {name for name in before if before[name] != after[name]} == {"nats"}


def test_nats_server_frozen_for_ten_seconds(scene: Scene, back_after: Tell) -> None:
    """SIGSTOP of the message server for as long as the lease lives: nothing can be written meanwhile, and the owner of the lease wins it back."""
    pid, execution = scene.pid("nats"), scene.pid("execution")
    os.kill(pid, signal.SIGSTOP)
    try:
        threading.Event().wait(10.0)
    finally:
        thawed_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGCONT)
    back_after(scene.recovered(thawed_ns))
    assert scene.pid("execution") == execution
    scene.trades_again()


def test_execution_frozen_for_five_seconds(scene: Scene, back_after: Tell) -> None:
    """SIGSTOP of execution for less than the lease: it goes on as the same process, with what it had."""
    pid = scene.pid("execution")
    os.kill(pid, signal.SIGSTOP)
    try:
        threading.Event().wait(5.0)
    finally:
        thawed_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGCONT)
    back_after(scene.recovered(thawed_ns))
    assert scene.pid("execution") == pid


def test_broker_black_holed(scene: Scene, back_after: Tell) -> None:
    """Every byte to and from the broker vanishes while connections stand: noticed by the missing pong, nothing opens, and it heals when the hole closes."""
    at_ns = time.monotonic_ns()
    scene.proxy.set(Fault.BLACK_HOLE)
    try:
        scene.running.until(lambda: not scene.reconciled(), DEAF_SECONDS_MAX)
        noticed = (time.monotonic_ns() - at_ns) / 1e9
    finally:
        scene.proxy.set(Fault.NONE)
    healed_ns = time.monotonic_ns()
    assert noticed <= DEAF_SECONDS_MAX
    assert scene.proxy.lost_bytes > 0
    back_after(scene.recovered(healed_ns, OUTAGE_SECONDS_MAX))


def test_broker_half_open(scene: Scene, back_after: Tell) -> None:
    """The connections that stand are dead and nobody said so, new ones work: the deaf stream is replaced and the account is compared anew."""
    at_ns = time.monotonic_ns()
    scene.proxy.sever()
    replaced = scene.proxy.carries(b"GET /stream ")  # the account is in doubt for a moment only, so the new stream is what can be seen
    assert replaced.wait(DEAF_SECONDS_MAX)
    back_after((time.monotonic_ns() - at_ns) / 1e9 + scene.recovered(time.monotonic_ns()))
    scene.trades_again()


def test_post_whose_answer_never_comes(scene: Scene, back_after: Tell) -> None:
    """The broker took the order and its answer is lost: the order is asked for by our id, is never sent again, and ends as the broker says."""
    swallowed = scene.proxy.swallow_answer_to(b"POST /v2/orders ")
    assert swallowed.wait(60)
    at_ns = time.monotonic_ns()
    fills = scene.running.ask("/simulator/summary")["fills"]
    scene.running.until(lambda: scene.running.ask("/simulator/summary")["fills"] > fills or scene.given_up(at_ns), 30)
    scene.running.until(scene.agrees, 30)
    back = (time.monotonic_ns() - at_ns) / 1e9
    scene.running.until(lambda: scene.given_up(at_ns), 30)
    scene.running.until(lambda: scene.agrees() and scene.ready(at_ns), 30)
    back_after(back)
    scene.trades_again()


def test_after_all_of_it_the_auditor_finds_nothing(scene: Scene) -> None:
    """No latch, no id accepted twice, no limit passed, covered in time, and flat once a person asked for it."""
    assert scene.ear.status is not None
    assert scene.ear.status.latches == ()
    scene.running.flatten()
    scene.running.until(lambda: scene.ear.status is not None and not scene.ear.status.positions, 30)
    scene.running.stop()
    found = scene.running.audit(3 + SPEED * (0.05 + DEAF_SECONDS_MAX + 10))  # who cannot reach the broker covers nothing
    assert found["flat"]
    assert found["executions"] >= 2
