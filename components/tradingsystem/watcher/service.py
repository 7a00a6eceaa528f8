"""The watcher's shell: hears execution's heartbeat, and asks the broker directly when it stops.

It works with the journal, the bus and execution dead: what it needs is the broker, its key and the machine's clock. It journals nothing and has no way to
submit an order; what it did it says as state, log and alarm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from tradingsystem.domain.control import Beat
from tradingsystem.domain.errors import NotAuthorized, OutcomeUnknown, RequestRefused, TryAgain
from tradingsystem.domain.orders import BrokerOrder
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.interfaces import Broker, Bus, Clock, Delivery
from tradingsystem.messages.codec import Malformed, decode, encode
from tradingsystem.messages.subjects import Subjects
from tradingsystem.telemetry import metrics
from tradingsystem.telemetry.dropping import Dropping
from tradingsystem.watcher.watching import Watch, WatcherStatus, half_filled_entries, unfilled_entries

LOOK_SECONDS = 0.5
BROKER_SECONDS = 1.5  # between two questions while execution is silent: forty of two hundred requests a minute

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Round:
    """What one question to the broker found and did."""

    found: tuple[BrokerOrder, ...]  # unfilled entries that were open; each has been asked to be cancelled
    half_filled: tuple[BrokerOrder, ...]
    failed: tuple[str, ...]  # cancels that surely or perhaps were not taken, and why


async def cancel_unfilled_entries(broker: Broker, system: str) -> Round:
    """Ask the broker for open orders and for a cancel of each unfilled entry of ours, by its id. Whoever calls asks again until nothing is found:
    only the broker's list says that they are gone. Raises ``TryAgain`` or ``NotAuthorized`` when the list cannot be had."""
    orders = await broker.orders(open_only=True)
    found = unfilled_entries(system, orders)
    answers = await asyncio.gather(*(_cancel(broker, order) for order in found))
    return Round(tuple(found), tuple(half_filled_entries(system, orders)), tuple(filter(None, answers)))


async def _cancel(broker: Broker, order: BrokerOrder) -> str:
    try:
        await broker.cancel(order.order_id)
    except (TryAgain, OutcomeUnknown, RequestRefused, NotAuthorized) as error:
        return f"{order.client_order_id}: {error}"
    return ""


class WatcherService:
    """The dead-man watch over one system. ``halt_file`` gives the text of a person's HALT file, None while there is none."""

    name = "watcher"

    def __init__(
        self, *, system: str, silence_seconds: float, clock: Clock, bus: Bus, broker: Broker, halt_file: Callable[[], str | None]
    ) -> None:
        self.progress_ns = 0
        self._system, self._clock, self._bus, self._broker, self._halt_file = system, clock, bus, broker, halt_file
        self._silence_seconds, self._subjects = silence_seconds, Subjects(system)
        self._watch = Watch(silence_seconds, clock.monotonic())
        self._asked_ns = 0
        self._acting = self._problem = ""
        self._asked_for: frozenset[str] = frozenset()
        self._open = self._half_filled = self._cancelled = 0

    def detail(self) -> dict[str, float]:
        """Numbers for the beat."""
        silent = self._watch.silent_seconds(self._clock.monotonic())
        return {"silent_seconds": silent, "entries_open": float(self._open), "cancelled": float(self._cancelled)}

    async def run(self, ready: Callable[[], None], stop: asyncio.Event) -> None:
        """Look twice a second until told to stop."""
        heard = await self._bus.subscribe(self._subjects.beat("execution"), self._on_beat)
        self._watch = Watch(self._silence_seconds, self._clock.monotonic())
        ready()
        try:
            while not stop.is_set():
                await self._look()
                try:
                    await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
                except TimeoutError:
                    continue
        finally:
            await heard.close()

    def _on_beat(self, delivery: Delivery) -> None:
        with Dropping(Malformed, "beat"):
            self._watch.hear(decode(delivery.payload, Beat), self._clock.monotonic())

    async def _look(self) -> None:
        now_ns, halt_file = self._clock.monotonic(), self._halt_file()
        acting = self._watch.why(now_ns, halt_file)
        if acting and now_ns - self._asked_ns >= BROKER_SECONDS * NS_PER_SECOND:
            self._asked_ns = now_ns
            await self._act(acting)
        if not acting and self._acting:
            log.info("execution_is_back")
            self._asked_for, self._open, self._half_filled, self._problem = frozenset(), 0, 0, ""
        self._acting = acting
        status = WatcherStatus(
            acting=acting,
            halt_file=halt_file or "",
            silent_seconds=round(self._watch.silent_seconds(now_ns), 3),
            entries_open=self._open,
            half_filled=self._half_filled,
            cancelled=self._cancelled,
            problem=self._problem,
        )
        self._bus.publish(self._subjects.state(self.name), encode(status))

    async def _act(self, why: str) -> None:
        """One round: what the last one asked for and is still there is asked for again, with an alarm."""
        try:
            made = await cancel_unfilled_entries(self._broker, self._system)
        except (TryAgain, NotAuthorized, RequestRefused, OutcomeUnknown) as error:
            self._tell_problem("watcher_cannot_see", f"the broker's orders cannot be had: {error}")
            return
        found = frozenset(order.client_order_id for order in made.found)
        self._open, self._half_filled, self._problem = len(found), len(made.half_filled), ""
        self._cancelled += len(found)
        if fresh := sorted(found - self._asked_for):
            metrics.alarms.labels(alarm="watcher_cancels").inc()
            log.error("entries_cancelled", why=why, orders=fresh)
        if still := sorted(found & self._asked_for):
            self._tell_problem("watcher_unconfirmed", f"still open after a cancel was asked for: {', '.join(still)}")
        if made.failed:
            self._tell_problem("watcher_unconfirmed", "; ".join(made.failed))
        if gone := sorted(self._asked_for - found):
            log.info("entries_gone", orders=gone)
        self._asked_for = found

    def _tell_problem(self, alarm: str, reason: str) -> None:
        metrics.alarms.labels(alarm=alarm).inc()
        log.error(alarm, reason=reason)
        self._problem = reason
