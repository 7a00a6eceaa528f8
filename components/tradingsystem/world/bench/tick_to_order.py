"""Row 6: from the moment a trade was due on Polygon's socket to its order's first bytes at the broker's: read, judged, sealed, filtered, inferred,
signalled, gated, the intent fsynced, sent. Generator, broker and message server share the cores with it.

The load is offered at a fixed rate whether or not it is taken; where the goal's rate is too much, lower ones are tried and the highest that holds is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import numpy as np

from tradingsystem.domain.rows import F64
from tradingsystem.filter.warming import warm_up
from tradingsystem.process import measured
from tradingsystem.world.bench import desk, programs
from tradingsystem.world.bench.offering import until
from tradingsystem.world.bench.orders import BROKER
from tradingsystem.world.bench.result import Absent, Effort, Line, Row, latencies
from tradingsystem.world.bench.tick_market import LEAP_AFTER_NS, LEAP_NS, PENDING_MAX, SETTLE_NS, frames_at, pending
from tradingsystem.world.bench.tick_service import SERVICES, Place, built

RATES = (50_000, 25_000, 10_000)  # events a second, until one is held
IDLE = 1_000
TICKS_PER_SECOND = 15
PLACEMENTS = {"one process": (2.0, 6.0), "split": (3.5, 12.0)}
HELD_MS = 100.0  # the last ticks of a rate that is held are not later than this in the median
READY_SECONDS = 30.0
GRACE_SECONDS = 5.0
MARKET = "tradingsystem.world.bench.tick_market"
SERVICE = "tradingsystem.world.bench.tick_service"


def measure(effort: Effort) -> Row:
    """Both placements: at the goal's rate and then downwards until one holds, and nearly idle."""
    effort.tell("kernels, compiled once for this processor")
    warm_up()
    found = [_placement(effort, placement) for placement in PLACEMENTS]
    notes = (
        "each tick is a trade that makes its symbol pass the rules; the ensemble's answer is computed and then replaced by yes: the way is timed, not the "
        "judgement",
        "inside are up to 1 ms until the batch is sealed and two waits for the disk: the signal's cut before it, and the intent",
        *(note for lines, told in found for note in told),
    )
    absent = (Absent(name="tick to order with TLS", reason="the loopback servers speak plain text"),)
    lines = tuple(line for lines, _ in found for line in lines)
    return Row(name="tick_to_order", title="Tick to order on the wire", lines=lines, notes=notes, absent=absent)


def _placement(effort: Effort, placement: str) -> tuple[list[Line], list[str]]:
    """Lines and what must be known of them."""
    lines: list[Line] = []
    notes: list[str] = []
    ticks = min(PENDING_MAX, max(5, int(TICKS_PER_SECOND * effort.seconds)))
    held_rate = 0
    for rate in (*RATES, IDLE):
        if held_rate and rate != IDLE:
            continue
        effort.tell(f"{placement}, {rate:,} events/s")
        took = programs.on_loop(_one(placement == "split", rate, effort.seconds, ticks))
        if len(took):
            name = f"{placement}, {rate // 1_000} k/s"
            lines.append(
                latencies(name, took, "ms", offered=f"{rate:,} events/s", limits=PLACEMENTS[placement] if rate == RATES[0] else None)
            )
        if len(took) < ticks:
            notes.append(
                f"{placement}, {rate:,} events/s: {ticks - len(took)} of {ticks} ticks had no order {GRACE_SECONDS:g} s after the last"
            )
        elif float(np.median(took[-max(1, ticks // 4) :])) <= HELD_MS:
            held_rate = held_rate or rate
    notes.append(
        f"{placement}: the highest rate tried that is held is {held_rate:,} events/s"
        if held_rate
        else f"{placement}: no rate tried is held"
    )
    return lines, notes


async def _one(split: bool, per_second: int, seconds: float, ticks: int) -> F64:
    """Milliseconds of each tick that became an order F64[n], in the order of their ticks."""
    begun_ns = time.monotonic_ns()
    offset_ns = desk.begin_ns() - begun_ns
    with tempfile.TemporaryDirectory() as folder:
        async with (
            measured.message_server(Path(folder)) as nats_port,
            programs.running(BROKER) as broker,
            programs.running(MARKET, str(per_second), str(seconds), str(ticks), str(offset_ns)) as market,
        ):
            broker_url = f"http://127.0.0.1:{broker.port}"
            place = Place(folder, nats_port, f"ws://127.0.0.1:{market.port}", broker_url, begun_ns, ticks)
            async with (_split if split else _shared)(place, market.said) as begin:
                _, first_ns, interval_ns, count = begin.split()
                due = frames_at(int(count), ticks)
                due_ns = {symbol: int(first_ns) + at * int(interval_ns) for symbol, at in zip(pending(ticks), due, strict=True)}
                arrived = await _arrivals(broker_url, ticks, int(first_ns) + int(count) * int(interval_ns))
    return np.array([(arrived[symbol] - at_ns) / 1e6 for symbol, at_ns in due_ns.items() if symbol in arrived])


@contextlib.asynccontextmanager
async def _shared(place: Place, said: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """All three on this loop; yields the market's word on its schedule."""
    clock, stop = place.clock(), asyncio.Event()
    shared = await measured.local_bus_and_tape()
    async with contextlib.AsyncExitStack() as stack:
        running: list[asyncio.Task[None]] = []
        try:
            for name in SERVICES:
                service, ready = await stack.enter_async_context(built(name, place, clock, shared)), asyncio.Event()
                running.append(asyncio.create_task(service.run(ready.set, stop)))
                if name != SERVICES[-1]:  # ingestion is ready when data comes
                    await asyncio.wait_for(ready.wait(), READY_SECONDS)
            yield await _begun(said, lambda: clock.leap(LEAP_NS))
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*running), READY_SECONDS)


@contextlib.asynccontextmanager
async def _split(place: Place, said: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Each in a process of its own; yields the market's word on its schedule."""
    encoded = msgspec.json.encode(place).decode()
    async with contextlib.AsyncExitStack() as stack:
        programs_running = [await stack.enter_async_context(programs.running(SERVICE, name, encoded)) for name in SERVICES]

        def leap() -> None:
            for program in programs_running:
                program.process.send_signal(signal.SIGUSR1)

        yield await _begun(said, leap)


async def _begun(said: asyncio.StreamReader, leap: Callable[[], None]) -> bytes:
    """The market has a subscriber and will begin in a moment: meanwhile all clocks leap over the minute in which nothing may be entered."""
    begin = await asyncio.wait_for(said.readline(), READY_SECONDS)
    await until(int(begin.split()[1]) - SETTLE_NS + LEAP_AFTER_NS)
    leap()
    return begin


async def _arrivals(url: str, ticks: int, end_ns: int) -> dict[str, int]:
    """When each symbol's first order arrived; asked for after the market's end, until all are there or the time is over."""
    arrived: dict[str, int] = {}
    while len(arrived) < ticks and time.monotonic_ns() < end_ns + int(GRACE_SECONDS * 1e9):
        await asyncio.sleep(max(0.25, (end_ns - time.monotonic_ns()) / 1e9))
        for at_ns, symbol in (await desk.receipts(url)).values():
            arrived[symbol] = min(at_ns, arrived.get(symbol, at_ns))
    return arrived
