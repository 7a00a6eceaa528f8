"""Row 4: from a signal in execution's hands to its order's bytes at the broker, by the real service on a real journal, the fsynced intent included.

The goal is a distance from a floor: a bare fsynced publish of the same size on the same journal, measured between the decisions. Orders are cancelled
by the broker at once, and market time runs fast, so that the gate's bounds per minute let enough decisions pass.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np

from tradingsystem.domain.rows import F64
from tradingsystem.execution.service import ExecutionService
from tradingsystem.interfaces import Entry, Journal, Subscription
from tradingsystem.messages.codec import encode
from tradingsystem.messages.identifiers import entry_id
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process import measured
from tradingsystem.world.bench import desk, programs
from tradingsystem.world.bench.clocks import RunningClock
from tradingsystem.world.bench.loopback_broker import Receipts
from tradingsystem.world.bench.offering import until
from tradingsystem.world.bench.orders import BROKER
from tradingsystem.world.bench.result import Effort, Row, latencies

PER_SECOND = 25
SPEED = 60.0
TARGETS = 2  # the founding values: two targets, two brackets
WARM_UP = 20
MORE_MS = (0.25, 0.7)
READY_SECONDS = 20.0


class _Listening:
    """The journal with its signals handed in: what follows the signal subject is told by ``decide``, everything else is the journal's own."""

    def __init__(self, journal: Journal, signals: str) -> None:
        self._journal, self._signals = journal, signals
        self.decide: Callable[[Entry], None] | None = None
        self.append, self.append_later, self.flush = journal.append, journal.append_later, journal.flush
        self.last_seq, self.identity = journal.last_seq, journal.identity

    def read(self, subject: str, from_seq: int = 1) -> AsyncIterator[Entry]:
        """See ``interfaces.Journal``."""
        return self._journal.read(subject, from_seq)

    async def follow(self, subject: str, from_seq: int, handler: Callable[[Entry], None]) -> Subscription:
        """See ``interfaces.Journal``."""
        if subject == self._signals:
            self.decide = handler
        return await self._journal.follow(subject, from_seq, handler)


def measure(effort: Effort) -> Row:
    """Decisions and bare publishes in turn."""
    with tempfile.TemporaryDirectory() as folder:
        first, both, publish = programs.on_loop(_measure(Path(folder), effort))
    p50, p99 = (float(value) for value in np.quantile(publish, (0.5, 0.99)))
    rate = f"{PER_SECOND}/s each, in turn"
    limits = (p50 + MORE_MS[0], p99 + MORE_MS[1])
    floor = f"fsynced publish in the same run {p50:.3g} / {p99:.3g} ms; founding claim 0.8 / 1.2 ms"
    lines = (
        latencies("fsynced publish alone", publish, "ms", offered=rate, beside="0.49 / 1.33 ms when the design was drawn"),
        latencies("decision to first order", first, "ms", offered=rate, limits=limits, beside=floor),
        latencies("decision to both orders", both, "ms", offered=rate),
    )
    notes = ("bytes are timed where another process reads them: the loopback and its waking up are inside",)
    return Row(name="decision", title="Decision to bytes on the socket, fsynced intent included", lines=lines, notes=notes)


async def _measure(folder: Path, effort: Effort) -> tuple[F64, F64, F64]:
    clock = RunningClock(desk.begin_ns(), SPEED)
    subjects = Subjects(measured.SYSTEM)
    async with measured.durable_journal(folder) as journal, programs.running(BROKER) as (port, *_):
        url = f"http://127.0.0.1:{port}"
        client, listening = measured.order_client(url, clock.now), _Listening(journal, subjects.journal_signal)
        stop, ready = asyncio.Event(), asyncio.Event()
        broker = desk.QuietBroker(client.submit)
        service = ExecutionService(
            system=measured.SYSTEM,
            spec=desk.settings(),
            clock=clock,
            bus=measured.local_bus(),
            journal=listening,
            broker=broker,
            **measured.sole_writer(),
        )
        work = asyncio.create_task(service.run(ready.set, stop))
        try:
            await asyncio.wait_for(ready.wait(), READY_SECONDS)
            assert listening.decide is not None, "a ready service follows the signals"
            effort.tell("decisions and bare publishes in turn")
            begun, publish = await _in_turn(listening.decide, journal, subjects, clock, effort.seconds)
            receipts = await desk.receipts(url)
        finally:
            stop.set()
            await asyncio.wait_for(work, READY_SECONDS)
            await client.close()
    took = [_took_ms(number, begun_ns, receipts) for number, begun_ns in begun.items()]
    measured_ones = np.array([pair for pair in took if pair is not None])
    if len(measured_ones) < len(begun):
        raise RuntimeError(f"{len(begun) - len(measured_ones)} of {len(begun)} signals did not become two orders")
    return measured_ones[:, 0], measured_ones[:, 1], publish


async def _in_turn(
    decide: Callable[[Entry], None], journal: Journal, subjects: Subjects, clock: RunningClock, seconds: float
) -> tuple[dict[int, int], F64]:
    """When each decision was due, by the number of its signal; and the milliseconds of each bare publish."""
    count, half_ns = max(5, int(PER_SECOND * seconds)), int(5e8 / PER_SECOND)
    begun: dict[int, int] = {}
    publish, begin_ns = np.empty(count), time.perf_counter_ns() + half_ns
    size = len(encode(desk.approved_order().intent))
    for at in range(-WARM_UP, count):
        due_ns = begin_ns + (at + WARM_UP) * 2 * half_ns
        number = at + WARM_UP + 1
        signal = Entry(seq=number, subject=subjects.journal_signal, payload=encode(desk.signal(number, clock.now())))
        await until(due_ns)
        decide(signal)
        if at >= 0:
            begun[number] = due_ns
        await until(due_ns + half_ns)
        await journal.append(subjects.journal_intent(f"bare-{number}"), bytes(size), create=True)
        if at >= 0:
            publish[at] = (time.perf_counter_ns() - due_ns - half_ns) / 1e6
    return begun, publish


def _took_ms(number: int, begun_ns: int, receipts: Receipts) -> tuple[float, float] | None:
    """To the first and to the last of a signal's orders; None when one did not arrive."""
    made = desk.signal(number, 0)
    arrived = [receipts.get(entry_id(made.system, made.id, made.symbol, target + 1)) for target in range(TARGETS)]
    times = [receipt[0] - begun_ns for receipt in arrived if receipt is not None]
    return (min(times) / 1e6, max(times) / 1e6) if len(times) == TARGETS else None
