"""Row 4: from an order that was decided to its bytes on the broker's socket, by the real service on a real journal, the fsynced intent included.

The goal is a distance from a floor: a bare fsynced publish of the same size on the same journal, measured between the decisions. What comes before, from
a signal in execution's hands to its decided orders, is told beside it. Orders are cancelled by the broker at once, and market time runs fast, so that the
gate's bounds per minute let enough decisions pass. An order that is held back, since the disk took longer than its approval holds, counts as that long.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tradingsystem.domain.rows import F64, I64
from tradingsystem.execution import inbox
from tradingsystem.execution.courier import APPROVAL, JOURNAL
from tradingsystem.execution.service import ExecutionService
from tradingsystem.interfaces import Entry, Journal, Subscription
from tradingsystem.messages.codec import decode, encode
from tradingsystem.messages.identifiers import entry_id
from tradingsystem.messages.subjects import Subjects
from tradingsystem.process import measured
from tradingsystem.world.bench import desk, programs
from tradingsystem.world.bench.clocks import RunningClock
from tradingsystem.world.bench.loopback_broker import STAMPED
from tradingsystem.world.bench.offering import until
from tradingsystem.world.bench.orders import BROKER
from tradingsystem.world.bench.result import Effort, Row, latencies

PER_SECOND = 25
SPEED = 60.0
TARGETS = 2  # the founding values: two targets, two brackets
WARM_UP = 20
LONGER = 4  # than other rows: of 125 pieces the second slowest would be p99, which is the disk's word on that moment
MORE_MS = (0.25, 0.7)
READY_SECONDS = 20.0
LAST_SECONDS = 5.0  # for the last orders to leave
WHERE = {
    True: "bytes are timed by the kernel as they come to the broker's socket, which on a loopback is while they are written",
    False: "bytes are timed where another process reads them: the loopback and its waking up are inside",
}


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


class _Begun(NamedTuple):
    """When a signal was due, and when what comes of it was decided."""

    due_ns: int
    decided_ns: int


def measure(effort: Effort) -> Row:
    """Decisions and bare publishes in turn."""
    with tempfile.TemporaryDirectory() as folder:
        begun, arrived, publish, held_back = programs.on_loop(_measure(Path(folder), effort))
    p50, p99 = (float(value) for value in np.quantile(publish, (0.5, 0.99)))
    due_ns, decided_ns = begun[:, 0], begun[:, 1]
    first, both = arrived.min(axis=1), arrived.max(axis=1)
    rate = f"{PER_SECOND}/s each, in turn"
    limits = (p50 + MORE_MS[0], p99 + MORE_MS[1])
    floor = f"fsynced publish in the same run {p50:.3g} / {p99:.3g} ms; founding claim 0.8 / 1.2 ms"
    lines = (
        latencies("fsynced publish alone", publish, "ms", offered=rate, beside="0.49 / 1.33 ms when the design was drawn"),
        latencies("decision to first order", (first - decided_ns) / 1e6, "ms", offered=rate, limits=limits, beside=floor),
        latencies("decision to both orders", (both - decided_ns) / 1e6, "ms", offered=rate),
        latencies("signal to decision", (decided_ns - due_ns) / 1e6, "ms", offered=rate),
        latencies("signal to first order", (first - due_ns) / 1e6, "ms", offered=rate),
    )
    notes = [WHERE[STAMPED]]
    if held_back:
        notes.append(f"{held_back} orders were held back, the disk took so long: each counts as the wait until then")
    return Row(name="decision", title="Decision to bytes on the socket, fsynced intent included", lines=lines, notes=tuple(notes))


async def _measure(folder: Path, effort: Effort) -> tuple[I64, I64, F64, int]:
    """Per signal when it was due and decided, I64[n, 2], and when its orders came, I64[n, targets]; each bare publish in milliseconds, F64[m]; and how many
    orders never came, since they were held back. Raises ``RuntimeError`` when orders are missing for any other reason."""
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
            begun, publish = await _in_turn(listening.decide, journal, subjects, clock, LONGER * effort.seconds)
            # Who stops while an order waits for the disk holds it back; and one that was held back is never answered.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(broker.answered(TARGETS * (WARM_UP + len(begun))), LAST_SECONDS)
            receipts = await desk.receipts(url)
        finally:
            stop.set()
            await asyncio.wait_for(work, READY_SECONDS)
            await client.close()
        ids = [_orders(number) for number in begun]
        missing = {key for keys in ids for key in keys if key not in receipts}
        held_back = await _held_back(journal, subjects, clock) if missing else {}
    if lost := missing - held_back.keys():
        raise RuntimeError(f"{len(lost)} of {TARGETS * len(begun)} orders were neither sent nor held back by the disk, such as {min(lost)}")
    came = held_back | {key: at_ns for key, (at_ns, _) in receipts.items()}
    return np.array(list(begun.values())), np.array([[came[key] for key in keys] for keys in ids]), publish, len(missing)


async def _in_turn(
    decide: Callable[[Entry], None], journal: Journal, subjects: Subjects, clock: RunningClock, seconds: float
) -> tuple[dict[int, _Begun], F64]:
    """By the number of its signal, when it was due and when it was decided; and the milliseconds of each bare publish."""
    count, half_ns = max(5, int(PER_SECOND * seconds)), int(5e8 / PER_SECOND)
    begun: dict[int, _Begun] = {}
    publish, begin_ns = np.empty(count), time.perf_counter_ns() + half_ns
    size = len(encode(desk.approved_order().intent))
    for at in range(-WARM_UP, count):
        due_ns = begin_ns + (at + WARM_UP) * 2 * half_ns
        number = at + WARM_UP + 1
        signal = Entry(seq=number, subject=subjects.journal_signal, payload=encode(desk.signal(number, clock.now())))
        await until(due_ns)
        decide(signal)
        if at >= 0:
            begun[number] = _Begun(due_ns, time.perf_counter_ns())
        await until(due_ns + half_ns)
        await journal.append(subjects.journal_intent(f"bare-{number}"), bytes(size), create=True)
        if at >= 0:
            publish[at] = (time.perf_counter_ns() - due_ns - half_ns) / 1e6
    return begun, publish


def _orders(number: int) -> list[str]:
    """The ids of a signal's orders."""
    made = desk.signal(number, 0)
    return [entry_id(made.system, made.id, made.symbol, target + 1) for target in range(TARGETS)]


async def _held_back(journal: Journal, subjects: Subjects, clock: RunningClock) -> dict[str, int]:
    """By execution's own record, the orders that were not sent, since too long had passed or the journal did not answer, and when they were given up."""
    found = {}
    async for entry in journal.read(subjects.journal_inbox):
        answer: inbox.InboxEntry = decode(entry.payload, inbox.InboxEntry)
        if isinstance(answer, inbox.AnswerReceived) and answer.outcome is inbox.Outcome.NOT_SENT and answer.code in {APPROVAL, JOURNAL}:
            found[answer.client_order_id] = time.perf_counter_ns() - int((clock.now() - answer.received_at_ns) / SPEED)
    return found
