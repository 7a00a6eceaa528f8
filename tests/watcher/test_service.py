"""The watcher against the simulator's broker over real sockets: it cancels what nobody watches over, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.execution.venue import Venue, opened
from tradingsystem.adapters.alpaca.broker import AlpacaBroker
from tradingsystem.adapters.alpaca.credentials import Credentials
from tradingsystem.adapters.clocks import SystemClock
from tradingsystem.domain.control import Beat
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.identifiers import entry_id
from tradingsystem.simulator.faults import RestFault, RestFaultKind, Scenario
from tradingsystem.watcher import service
from tradingsystem.watcher.service import WatcherService
from tradingsystem.watcher.watching import WatcherStatus

SILENCE_SECONDS = 0.3
KEY = {"APCA-API-KEY-ID": "KEY", "APCA-API-SECRET-KEY": "SECRET"}


class Scene:
    """A watcher in front of a venue; ``halt`` is what the HALT file says."""

    def __init__(self, venue: Venue) -> None:
        self.venue, self.halt, self.states = venue, "", list[WatcherStatus]()
        self.there = False

    async def plant(self, key: str, **more: Any) -> str:
        """An order at the broker, posted past everything of ours; its id there."""
        about = {"symbol": "AAA", "qty": "3", "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": "90"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.venue.url}/v2/orders", json=about | {"client_order_id": key} | more, headers=KEY) as answer,
        ):
            assert answer.status == 200, await answer.text()
            made: str = (await answer.json())["id"]
            return made

    def status(self, order_id: str) -> str:
        return str(self.venue.ledger.orders[order_id].status)

    def beat(self) -> None:
        """Execution's heartbeat."""
        made = Beat(
            service="execution", instance="1", build="1", schema=1, boot_hash="b", live_generation=0, phase="ready", applied_ns=0, detail={}
        )
        self.venue.bus.publish(self.venue.subjects.beat("execution"), encode(made))

    def on_state(self, delivery: Delivery) -> None:
        self.states.append(decode(delivery.payload, WatcherStatus))


def played(story: Callable[[Scene], Awaitable[None]], monkeypatch: pytest.MonkeyPatch, silence_seconds: float = SILENCE_SECONDS) -> None:
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(service, "BROKER_SECONDS", 0.1)

    async def run() -> None:
        async with opened(Venue(speed=1.0)) as venue:
            venue.quote("AAA", 99.98, 100.00)
            scene, stop, ready = Scene(venue), asyncio.Event(), asyncio.Event()
            await venue.bus.subscribe(venue.subjects.state("watcher"), scene.on_state)
            broker = AlpacaBroker(venue.url, lambda: Credentials("KEY", "SECRET"), time.time_ns)
            watcher = WatcherService(
                system="desk",
                silence_seconds=silence_seconds,
                clock=SystemClock(),
                bus=venue.bus,
                broker=broker,
                halt_file=lambda: scene.halt if scene.there else None,
            )
            task = asyncio.ensure_future(watcher.run(ready.set, stop))
            await asyncio.wait_for(ready.wait(), 5)
            try:
                await story(scene)
            finally:
                stop.set()
                await asyncio.wait_for(task, 10)
                await broker.close()

    asyncio.run(run())


def test_a_silent_execution_leaves_no_entry_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of ours go, by the broker's word; an order of somebody else, of another system and a stop of ours stay."""

    async def story(scene: Scene) -> None:
        ours = [await scene.plant(entry_id("desk", f"s{number}", "AAA", 1)) for number in range(3)]
        others = [await scene.plant("somebody"), await scene.plant(entry_id("another", "s", "AAA", 1))]
        await scene.venue.until(lambda: all(scene.status(one) == "canceled" for one in ours))
        await scene.venue.until(lambda: scene.states[-1].entries_open == 0 and scene.states[-1].cancelled >= 3)
        assert all(scene.status(one) == "new" for one in others)
        assert scene.states[-1].acting
        scene.beat()
        await scene.venue.until(lambda: not scene.states[-1].acting)

    played(story, monkeypatch)


def test_a_living_execution_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is heard the broker is not even asked, file or no file."""

    async def story(scene: Scene) -> None:
        ours = await scene.plant(entry_id("desk", "s", "AAA", 1))
        scene.there = True
        scene.beat()
        looks = len(scene.states)
        await scene.venue.until(lambda: len(scene.states) >= looks + 5)
        assert scene.status(ours) == "new"
        assert not any(state.acting for state in scene.states)

    played(story, monkeypatch, silence_seconds=60)


def test_a_file_while_execution_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is a minute, the file makes it a second."""

    async def story(scene: Scene) -> None:
        ours = await scene.plant(entry_id("desk", "s", "AAA", 1))
        scene.there, scene.halt = True, "fire"
        await scene.venue.until(lambda: scene.status(ours) == "canceled", 5)
        assert any("fire" in state.acting for state in scene.states)

    played(story, monkeypatch, silence_seconds=60)


def test_a_broker_that_answers_badly_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists that cannot be had and cancels without an answer are told as a problem, and repeated until the orders are gone."""

    async def story(scene: Scene) -> None:
        ours = await scene.plant(entry_id("desk", "s", "AAA", 1))
        refused = (
            RestFault(kind=RestFaultKind.STATUS, path="/v2/orders", method="GET", status=503, times=2),
            RestFault(kind=RestFaultKind.CUT, path="/v2/orders/", method="DELETE", times=2),
        )
        scene.venue.faults.set(Scenario(rest=refused))
        await scene.venue.until(lambda: scene.status(ours) == "canceled")
        await scene.venue.until(lambda: not scene.states[-1].problem)
        problems = {state.problem for state in scene.states}
        assert any("cannot be had" in problem for problem in problems)
        assert any(entry_id("desk", "s", "AAA", 1) in problem for problem in problems)

    played(story, monkeypatch)
