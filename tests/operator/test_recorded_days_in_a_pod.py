"""Recorded days on a person's volume: the rendered simulator, as a process with its rendered command line and files, plays them, or says why it cannot.

Beside it runs a real nats-server as rendered; the consumers, without whom no market begins, are the test's own heartbeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.operator.pods import Cluster
from tests.operator.systems import OWNER, RELEASE, beat, observed, pod, workload_object
from tests.promises.waiting import until_answered
from tests.simulator.test_player import DATE, TRADES, lean_folder
from tests.spec.documents import document
from tradingsystem.adapters.nats import NatsBus, NatsSettings
from tradingsystem.messages.codec import encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process.simulated_time import CONSUMERS
from tradingsystem.simulator.feed import session_of
from tradingsystem.spec import from_document
from tradingsystem_operator.credentials import credentials, secret
from tradingsystem_operator.desired import build_all
from tradingsystem_operator.facts import workload_facts
from tradingsystem_operator.objects import key_of

pytestmark = [pytest.mark.nats, pytest.mark.timeout(300)]

READY_SECONDS = 120.0
KEPT_BY_KUBELET_BYTES = 2_048
OPEN_NS = session_of(DATE).open_ns
SIMULATION = {"source": "Recorded", "dataClaimName": "days", "data": "us/lean", "startDate": f"{DATE}", "speed": 1000}
SYSTEM = from_document(document({"spec.simulation": SIMULATION, "spec.storage.journal.size": "512Mi"}))
PASSWORDS = credentials("momentum", None, lambda: secrets.token_urlsafe(24))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """What the claim is bound to; nothing is on it yet."""
    made = tmp_path / "volume"
    (made / "us/lean").mkdir(parents=True)
    return made


@pytest.fixture
def cluster(volume: Path, tmp_path: Path) -> Iterator[Cluster]:
    """Its message server runs; the simulator is not started yet."""
    made = Cluster(build_all(SYSTEM, RELEASE, OWNER), secret(OWNER, PASSWORDS), tmp_path / "pods", {"days": volume})
    try:
        made.pods["nats"].start()
        yield made
    finally:
        made.stop()


def files_of(volume: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in volume.rglob("*")}


def test_a_day_on_the_volume_is_played_and_left_as_it_was(cluster: Cluster, volume: Path) -> None:
    """The trade that lies in the file is on the wire of the venue, at its price and time; nothing is written beside it."""
    lean_folder(volume / "us/lean", trades=TRADES[:1])
    before, simulator = files_of(volume), cluster.pods["simulator"]
    simulator.start()
    cluster.until(lambda: simulator.asks("readinessProbe") == 200, READY_SECONDS, "the simulator with its day")
    trade = asyncio.run(first_trade(cluster))
    assert (trade["T"], trade["p"]) == ("ABC", 10.1)
    assert trade["t"] == OPEN_NS + 500_000_000
    assert files_of(volume) == before


async def first_trade(cluster: Cluster) -> dict[str, Any]:
    """The consumers report as ready until the venue knows of a trade."""
    nats, simulator = cluster.pods["nats"], cluster.pods["simulator"]
    url = f"http://{simulator.address}:{simulator.ports['venues']}/v2/last/trade/ABC?apiKey=simulation"
    found: list[dict[str, Any]] = []
    async with contextlib.AsyncExitStack() as later:
        buses = {}
        for service in CONSUMERS:
            settings = NatsSettings(f"nats://{nats.address}:{nats.ports['client']}", "momentum", service, PASSWORDS[service].decode())
            buses[service] = NatsBus(settings)
            await buses[service].open()
            later.push_async_callback(buses[service].close)

        async def traded() -> bool:
            for service, bus in buses.items():
                bus.publish(Subjects("momentum").beat(service), encode(beat(service)))
            with contextlib.suppress(urllib.error.HTTPError):  # 404 until there is one
                found.append(await asyncio.to_thread(_results, url))
            return bool(found)

        await until_answered(traded, READY_SECONDS)
    return found[0]


def _results(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        results: dict[str, Any] = json.load(answer)["results"]
    return results


@pytest.mark.parametrize(
    ("damage", "reason", "words"),
    [
        ("nothing there", "NoRecordedDay", ["/recorded/us/lean has nothing of 2013-10-08: no recorded day there; expected LEAN's"]),
        ("another day", "NoRecordedDay", ["has nothing of 2013-10-08", "days there: 2013-10-07"]),
        ("a cut file", "DamagedRecording", ["abc-20131008_trade.zip: not a readable zip"]),
        ("a file that cannot be read", "UnreadableRecording", ["/recorded/us/lean: cannot be read", "2013-10-08.csv.gz"]),
    ],
)
def test_what_cannot_be_played_is_its_own_reason(cluster: Cluster, volume: Path, damage: str, reason: str, words: list[str]) -> None:
    """The process ends with its reason, its last lines are what a kubelet keeps, and the operator makes of them what stands in the status."""
    if damage == "a file that cannot be read":  # whoever runs this may read every file, but no folder as one
        (volume / f"us/lean/trades_v1/2013/10/{DATE}.csv.gz").mkdir(parents=True)
    elif damage != "nothing there":
        folder = lean_folder(volume / "us/lean")
        trades = folder / "tick/abc-20131008_trade.zip"
        if damage == "another day":
            for path in folder.glob("*/*20131008*"):
                path.unlink()
        else:
            trades.write_bytes(trades.read_bytes()[:20])
    simulator = cluster.pods["simulator"]
    assert simulator.run(READY_SECONDS) == 2
    kept = simulator.log()[-KEPT_BY_KUBELET_BYTES:]
    ended = {"terminated": {"exitCode": 2, "message": kept}}
    status = {"name": "simulator", "image": "x", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}
    things = [observed(workload_object("Deployment", "simulator"), revision=1, ready=False), pod("simulator", containerStatuses=[status])]
    (fact,) = workload_facts([("simulator", "Deployment")], {key_of(thing): thing for thing in things}, OWNER.name)
    assert [problem.reason for problem in fact.problems] == [reason]
    assert [word for word in words if word not in fact.problems[0].message] == []
