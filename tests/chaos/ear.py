"""Listens to a running system from beside it: which process of which service beats, and which orders were decided when.

It speaks to nobody and changes nothing; a message server that was killed is found again.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from tradingsystem.adapters.nats import NatsBus, NatsSettings
from tradingsystem.domain.control import Beat
from tradingsystem.domain.orders import OrderIntent, Purpose
from tradingsystem.domain.trading import TradingStatus
from tradingsystem.interfaces import Delivery
from tradingsystem.messages.codec import decode
from tradingsystem.messages.permissions import PERSON
from tradingsystem.messages.subjects import Subjects

FRESH_SECONDS = 1.0  # four beats


class Ear:
    """What was heard, by machine time; in a thread of its own."""

    def __init__(self, system: str, note: dict[str, Any]) -> None:
        self.subjects = Subjects(system)
        password = Path(note["person_password_file"]).read_text().strip()
        self.settings = NatsSettings(url=note["nats_url"], system=system, user=PERSON, password=password)
        self.beats: dict[str, tuple[Beat, int]] = {}
        self.entries: dict[str, int] = {}  # client order id -> when its intent was heard
        self.status: TradingStatus | None = None
        self.status_ns = 0
        self._heard = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._listen()), daemon=True)
        self._thread.start()

    async def _listen(self) -> None:
        bus = NatsBus(self.settings)
        await bus.open(timeout_seconds=60.0)
        await bus.subscribe(self.subjects.beat("*"), self._on_beat)
        await bus.subscribe(self.subjects.journal_intents, self._on_intent)
        await bus.subscribe(self.subjects.state("execution"), self._on_status)
        await self._end.wait()
        await bus.close()

    def _on_beat(self, delivery: Delivery) -> None:
        beat: Beat = decode(delivery.payload, Beat)
        self.beats[beat.service] = (beat, time.monotonic_ns())

    def _on_intent(self, delivery: Delivery) -> None:
        intent: OrderIntent = decode(delivery.payload, OrderIntent)
        if intent.purpose is Purpose.ENTRY:
            self.entries.setdefault(intent.client_order_id, time.monotonic_ns())
            self._heard.set()

    def _on_status(self, delivery: Delivery) -> None:
        self.status, self.status_ns = decode(delivery.payload, TradingStatus), time.monotonic_ns()

    def wait_for_entry(self, timeout_seconds: float) -> bool:
        """Whether an entry was decided within the time, from now on."""
        self._heard.clear()
        return self._heard.wait(timeout_seconds)

    def all_ready(self, pids: dict[str, int], after_ns: int) -> bool:
        """Whether each of these processes has said since then, and lately, that it is ready, and execution that its account agrees."""
        now_ns = time.monotonic_ns()
        for service, pid in pids.items():
            beat, at_ns = self.beats.get(service, (None, 0))
            fresh = at_ns > after_ns and now_ns - at_ns < FRESH_SECONDS * 1e9
            if beat is None or not fresh or beat.phase != "ready" or not beat.instance.startswith(f"{pid}-"):
                return False
        return self.status is not None and self.status_ns > after_ns and self.status.reconciled

    def close(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        self._loop.close()
