"""The kill switch as a drill on real parts: five ways, each with the others dead, and the watcher that stands in for a dead execution.

Entries that rest are planted at the broker under ids of this system, far below the market; what becomes of them is the broker's word. Where execution lives
and market time runs it would cancel them by their age as well, a tenth of a second later: that a halt does it with its own entry is proved at the desk
(`tests/execution/test_halting.py`). With the message server frozen execution's market time stands, and only the halt can have done it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml

from tests.e2e.commands import command, refused
from tests.e2e.running import Running, manifest
from tests.faults import recovery
from tradingsystem.messages.identifiers import entry_id

SPEED = 30
CANCELLED_SECONDS = 5.0
KEY = {"APCA-API-KEY-ID": "simulation", "APCA-API-SECRET-KEY": "simulation"}
SERVICES = ("execution", "watcher", "filter", "ingestion", "models", "monitor", "recorder")

pytestmark = [pytest.mark.nats, pytest.mark.slow, pytest.mark.timeout(900)]


class Drill:
    """A running day with a protected position, seen from the broker."""

    def __init__(self, running: Running, folder: Path) -> None:
        self.running, self.folder = running, folder
        self.name: str = running.document["metadata"]["name"]
        self.venues = f"http://127.0.0.1:{running.document['spec']['telemetry']['metricsPort'] + 20}"
        self.halt_file = Path(running.note["halt_file"])
        self.symbol = ""
        self.took: dict[str, float] = {}
        self.node = ""  # of the test that plays
        self._numbers = itertools.count(1)

    # --- the broker's word ---------------------------------------------------------------------------------------------------------------------

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.venues + path, data, KEY), timeout=10) as answer:
            return json.load(answer)

    def order(self, order_id: str) -> Any:
        return self.ask(f"/v2/orders/{order_id}")

    def post(self, limit: float, target: float, stop: float, *, ours: bool = True) -> str:
        """A bracket of two shares, past everything of ours; the broker's id. One that is not ours has an id that this system never makes."""
        number = next(self._numbers)
        key = entry_id(self.name, f"planted-{number}", self.symbol, 1) if ours else f"somebody-{number}"
        about = {"symbol": self.symbol, "qty": "2", "side": "buy", "type": "limit", "time_in_force": "day", "order_class": "bracket"}
        prices = {
            "limit_price": f"{limit:.2f}",
            "take_profit": {"limit_price": f"{target:.2f}"},
            "stop_loss": {"stop_price": f"{stop:.2f}"},
        }
        made: str = self.ask("/v2/orders", {**about, **prices, "client_order_id": key})["id"]
        return made

    def plant(self, *, ours: bool = True) -> str:
        """An entry that rests, far below the market."""
        return self.post(3.0, 3.1, 2.9, ours=ours)

    def entries(self) -> set[str]:
        """Every buy the broker has ever taken, by its id."""
        return {order["id"] for order in self.ask("/v2/orders?status=all&limit=500&nested=true") if order["side"] == "buy"}

    def hold(self) -> None:
        """Buy what a probe has bought, as this system would, with a stop and a target that are not reached today."""
        bought = next(order for order in self.ask("/v2/orders?status=all&limit=500") if order["side"] == "buy" and int(order["filled_qty"]))
        self.symbol, price = bought["symbol"], float(bought["filled_avg_price"])
        self.post(price * 1.02, price * 1.8, price * 0.4)

    def all_protected(self) -> bool:
        """Whether something is held, and every held share has an open stop at the broker."""
        listed = self.ask("/v2/orders?status=open&limit=500&nested=true")
        stops: dict[str, int] = {}
        for order in [*listed, *(leg for parent in listed for leg in parent["legs"] or ())]:
            if order["side"] == "sell" and order["type"] == "stop" and order["status"] in {"new", "held", "accepted"}:
                stops[order["symbol"]] = stops.get(order["symbol"], 0) + int(order["qty"]) - int(order["filled_qty"])
        held = {one["symbol"]: int(one["qty"]) for one in self.ask("/v2/positions")}
        return self.symbol in held and all(stops.get(symbol, 0) >= shares for symbol, shares in held.items())

    def gone(self, way: str, *orders: str) -> None:
        """They are cancelled, by the broker's word, in time; protection is where it was."""
        began = time.monotonic()
        self.running.until(lambda: all(self.order(one)["status"] == "canceled" for one in orders), CANCELLED_SECONDS)
        self.tell(way, time.monotonic() - began)
        assert self.all_protected()

    def tell(self, way: str, seconds: float) -> None:
        """How long it took until entries were gone: for the page about reliability, and at the end."""
        self.took[way] = seconds
        recovery.took(self.node, seconds)

    # --- the system ----------------------------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What execution says; empty when it says nothing."""
        answer = command("status", self.name, "--json", state=self.folder / "state")
        found: dict[str, Any] = json.loads(answer.stdout)["trading"] or {}
        return found

    def is_halted(self, *, by: str = "", kind: str = "") -> bool:
        found = self.status()
        latches = [one for one in found.get("latches", ()) if by in one["set_by"] and kind in one["kind"]]
        return found.get("state") == "Halted" and (bool(latches) or not (by or kind))

    def say(self, *arguments: str) -> str:
        answer = command(*arguments, state=self.folder / "state")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def resume(self) -> None:
        """Trade again, and see it."""
        self.say("resume", self.name, "--reason", "the drill is over", "--by", "Ada")
        self.running.until(lambda: self.status().get("state") == "Active", 30)

    def file(self, name: str, **changes: Any) -> str:
        """The resource with other live sections."""
        document = json.loads(json.dumps(self.running.document))
        document["spec"] |= changes
        path = self.folder / name
        path.write_text(yaml.safe_dump(document))
        return str(path)

    @contextlib.contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """These processes stand still."""
        pids = [self.running.note["pids"][name] for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def restart(self, *names: str) -> None:
        """kill -9, and wait until each is ready again."""
        place = len(self.running.lines)
        for name in names:
            os.kill(self.running.note["pids"][name], signal.SIGKILL)
        for name in names:
            self.running.wait_for(f"{name:<10} {'started' if name == 'nats' else 'ready'}", after=place, timeout_seconds=120)


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """A day in which something is held and protected."""
    folder = tmp_path_factory.mktemp("drill")
    running = Running.start(manifest("drill", seed=12, speed=SPEED, symbols=60, signals="Probe"), folder)
    try:
        running.wait_for("all ready")
        made = Drill(running, folder)
        running.until(lambda: made.ask("/simulator/summary")["fills"] > 0, 240)
        made.hold()
        running.until(made.all_protected, 60)
        yield made
    finally:
        running.stop()
        sys.stdout.write("cancelled after: " + ", ".join(f"{way} {seconds:.1f} s" for way, seconds in made.took.items()) + "\n")


@pytest.fixture(autouse=True)
def named(drill: Drill, request: pytest.FixtureRequest) -> None:
    """The drill knows whose time it measures; cases of one test share a row."""
    drill.node = request.node.nodeid.partition("[")[0]


def test_by_the_manifest(drill: Drill) -> None:
    """A mistake changes nothing and says which generation stays; the wish Halted is taken over, cancels, refuses, and outlives a restart of everybody."""
    bad = drill.file("bad.yaml", trading={"state": "Stopped"}, risk={"dailyLossMax": -5})
    said = refused("apply", bad, drill.name, state=drill.folder / "state")
    assert "spec.risk.dailyLossMax" in said
    assert "spec.trading.state" in said
    assert "generation 0 stays in force" in said
    said = refused("apply", drill.file("other.yaml", sizing={"kellyFractionPercent": 20}), state=drill.folder / "state")
    assert "spec.sizing.kellyFractionPercent" in said
    assert "spec.risk" not in said
    planted = drill.plant()
    assert "generation 1 is in force" in drill.say("apply", drill.file("halted.yaml", trading={"state": "Halted"}))
    drill.gone("manifest", planted)
    before = drill.entries()
    drill.running.until(lambda: drill.status()["orders_refused"].get("trading-state", 0) > 0, 90)  # a probe came and was refused
    drill.restart(*SERVICES, "nats")
    assert drill.is_halted()
    assert drill.entries() == before
    assert "generation 2 is in force" in drill.say("apply", drill.file("active.yaml"))
    drill.running.until(lambda: drill.status().get("state") == "Active", 30)


def test_by_command(drill: Drill) -> None:
    """`tradingsystem halt`, with nobody else alive but who is asked; it outlives kill -9 of execution and of the message server."""
    with drill.frozen("watcher", "monitor", "recorder", "filter", "ingestion", "models"):
        planted = drill.plant()
        said = drill.say("halt", drill.name, "--reason", "a drill", "--by", "Ada")
        assert "Halted by latch" in said
        assert "no entry of ours is open, by the broker's word" in said
        drill.gone("command", planted)
    drill.restart("nats", "execution")
    assert drill.is_halted(by="Ada")
    drill.resume()


@pytest.mark.parametrize("payload", [b"HALT from a terminal", b'{"kind": "Halt", "name": "Grace", "reason": "by hand"}'])
def test_by_a_plain_message(drill: Drill, payload: bytes) -> None:
    """What `nats pub` sends: the word or a JSON object, without waiting for an answer."""
    planted = drill.plant()
    password = Path(drill.running.note["person_password_file"]).read_text().strip()

    async def publish() -> None:
        client = await nats.connect(drill.running.note["nats_url"], user="person", password=password, inbox_prefix="_INBOX_person")
        await client.publish(f"command.{drill.name}.execution", payload)
        await client.close()

    asyncio.run(publish())
    drill.gone("message", planted)
    drill.running.until(lambda: drill.is_halted(kind="Halt"), 10)
    drill.restart("execution")
    assert drill.is_halted(kind="Halt")
    drill.resume()


def test_by_a_file(drill: Drill) -> None:
    """With the message server and the watcher frozen: execution reads the file and cancels; removing the file does not resume, nor does a restart."""
    with drill.frozen("nats", "watcher"):
        planted, foreign = drill.plant(), drill.plant(ours=False)
        drill.halt_file.write_text("somebody pulled the plug")
        drill.gone("file", planted)
        assert drill.order(foreign)["status"] not in {"canceled", "pending_cancel"}
    drill.running.until(lambda: drill.is_halted(by="file"), 30)
    assert "remove it first" in refused("resume", drill.name, "--reason", "too early", state=drill.folder / "state")
    drill.halt_file.unlink()
    drill.restart("execution")
    assert drill.is_halted(by="file")
    drill.resume()


def test_at_the_broker(drill: Drill) -> None:
    """With message server, execution and watcher frozen the account is suspended and our entries are gone; execution latches when it sees it."""
    with drill.frozen("nats", "execution", "watcher"):
        planted, foreign = drill.plant(), drill.plant(ours=False)
        said = drill.say("halt", drill.name, "--at-broker")
        assert "none is open by the broker's word" in said
        drill.gone("broker", planted)
        assert drill.order(foreign)["status"] not in {"canceled", "pending_cancel"}
        with pytest.raises(urllib.error.HTTPError, match="403"):
            drill.plant()
    drill.running.until(lambda: drill.is_halted(by="broker"), 60)
    drill.restart("execution")
    assert drill.is_halted(by="broker")
    said = refused("resume", drill.name, "--reason", "not lifted yet", "--by", "Ada", state=drill.folder / "state")
    assert "--at-broker" in said
    drill.say("resume", drill.name, "--at-broker")
    drill.running.until(lambda: command("resume", drill.name, "--reason", "lifted", state=drill.folder / "state").returncode == 0, 30)
    drill.running.until(lambda: drill.status().get("state") == "Active", 30)


@pytest.mark.parametrize("with_file", [False, True])
def test_the_watcher(drill: Drill, with_file: bool) -> None:
    """Execution frozen: what rests is cancelled by the watcher, at once when the file says so; exits and orders of others are not its business."""
    with drill.frozen("execution"):
        planted, foreign = drill.plant(), drill.plant(ours=False)
        if with_file:
            drill.halt_file.write_text("")
        began = time.monotonic()
        asked = CANCELLED_SECONDS if with_file else 5 + CANCELLED_SECONDS  # the silence it waits for, then the time a cancel may take
        drill.running.until(lambda: drill.order(planted)["status"] in {"pending_cancel", "canceled"}, asked)
        drill.tell("watcher with file" if with_file else "watcher", time.monotonic() - began)
        # A simulated market waits four seconds for a frozen consumer; only then the cancel that was taken can come into force.
        drill.running.until(lambda: drill.order(planted)["status"] == "canceled", CANCELLED_SECONDS)
        assert drill.order(foreign)["status"] not in {"canceled", "pending_cancel"}
        assert drill.all_protected()
    drill.halt_file.unlink(missing_ok=True)


def test_halted_after_the_store_is_wiped(drill: Drill) -> None:
    """Everybody killed and the message server's data gone: a new store is Halted until a person resumes (invariant 5)."""
    drill.say("halt", drill.name, "--reason", "a drill", "--by", "Ada")
    before = drill.entries()
    data = next(drill.running.run_folder.rglob("nats/data"))
    shutil.move(data, data.with_name("lost"))
    drill.restart("nats")
    drill.restart("execution")
    assert drill.is_halted(kind="NewStore")
    assert drill.entries() == before
    assert drill.all_protected()
