"""Which faults a seeded day has: what goes wrong, at which step, and not before when.

A fault waits for its step: it is armed at a moment and strikes the first time that step is reached after it. So every kind meets every step it can
meet, however the day goes, and the table of hits can be demanded to have no zero.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass


class Step(enum.StrEnum):
    """Where in the life of a decision something can go wrong."""

    INTENT = "intent"  # decided, on its way into the journal
    DURABLE = "durable"  # in the journal, not yet sent
    SENT = "sent"  # arriving at the broker
    ANSWER = "answer"  # taken by the broker, the answer on its way back
    EVENT = "event"  # an event without shares, on its way back
    FILL = "fill"  # an event with shares, on its way back
    CANCEL = "cancel"  # a cancel arriving at the broker
    LATCH = "latch"  # a latch on its way into the journal
    INBOX = "inbox"  # the recording of what was applied
    QUESTION = "question"  # execution asks the broker
    MARKS = "marks"  # market values on the bus
    COMMAND = "command"  # a person's act on the bus
    FEEDS = "feeds"  # ingestion's word on the bus, how old its feeds are
    RESOURCE = "resource"  # the operator's word on the bus, that the resource stands


class Fault(enum.StrEnum):
    """What goes wrong."""

    CRASH = "crash"
    STORE_LOST = "store lost"  # crash, and the journal is a new one
    JOURNAL_LOST = "journal lost"  # not kept, and no answer
    JOURNAL_UNKNOWN = "journal unknown"  # kept, and no answer
    JOURNAL_LATE = "journal late"
    JOURNAL_REFUSED = "journal refused"  # unreachable for a while
    BUS_LOST = "bus lost"
    BUS_REPEATED = "bus repeated"
    BUS_DELAYED = "bus delayed"
    BUS_REORDERED = "bus reordered"
    TAKEN_500 = "taken, 500"
    NOT_TAKEN_500 = "not taken, 500"
    TAKEN_SILENT = "taken, silent"
    NOT_TAKEN_SILENT = "not taken, silent"
    UNREADABLE = "taken, unreadable"
    LATE_ANSWER = "late answer"
    REFUSED_403 = "refused 403"
    REFUSED_422 = "refused 422"
    REFUSED_429 = "refused 429"
    UNREACHABLE = "unreachable"  # for a while, with the stream
    STREAM_DROPPED = "stream dropped"
    STREAM_SILENT = "stream silent"  # open, and nothing comes
    STREAM_REPEATED = "stream repeated"
    STREAM_REORDERED = "stream reordered"
    STREAM_DELAYED = "stream delayed"
    STREAM_REPLAYED = "stream replayed"  # dropped, and old frames again after it
    LATE_FILL = "late fill"  # told after the order's end
    THIN_BOOK = "thin book"  # few shares at the touch: partial fills
    CLOCK_AHEAD = "clock ahead"
    CLOCK_BEHIND = "clock behind"
    BROKER_AHEAD = "broker ahead"  # the broker's clock, by the Date of its answers, for longer than it can stay unnoticed
    BROKER_BEHIND = "broker behind"
    FEEDS_STALE = "feeds stale"  # ingestion says that nothing it has is fresh
    FEEDS_SILENT = "feeds silent"  # ingestion says nothing
    RESOURCE_SILENT = "resource silent"  # nobody says that the resource stands


_S = Step
_JOURNAL = (_S.INTENT, _S.LATCH)
_WRITES = (_S.SENT, _S.CANCEL)
_STREAM = (_S.EVENT, _S.FILL)
_BUS = (_S.MARKS, _S.COMMAND)

STEPS: dict[Fault, tuple[Step, ...]] = {
    Fault.CRASH: (_S.INTENT, _S.DURABLE, _S.SENT, _S.ANSWER, _S.EVENT, _S.FILL, _S.CANCEL, _S.LATCH),
    Fault.STORE_LOST: (_S.DURABLE, _S.ANSWER, _S.FILL),
    Fault.JOURNAL_LOST: _JOURNAL,
    Fault.JOURNAL_UNKNOWN: _JOURNAL,
    Fault.JOURNAL_LATE: _JOURNAL,
    Fault.JOURNAL_REFUSED: (*_JOURNAL, _S.INBOX),
    Fault.BUS_LOST: _BUS,
    Fault.BUS_REPEATED: _BUS,
    Fault.BUS_DELAYED: _BUS,
    Fault.BUS_REORDERED: _BUS,
    Fault.TAKEN_500: _WRITES,
    Fault.NOT_TAKEN_500: _WRITES,
    Fault.TAKEN_SILENT: _WRITES,
    Fault.NOT_TAKEN_SILENT: (*_WRITES, _S.QUESTION),
    Fault.UNREADABLE: (_S.SENT, _S.QUESTION),
    Fault.LATE_ANSWER: (*_WRITES, _S.QUESTION),
    Fault.REFUSED_403: (_S.SENT,),
    Fault.REFUSED_422: (_S.SENT,),
    Fault.REFUSED_429: (*_WRITES, _S.QUESTION),
    Fault.UNREACHABLE: (*_WRITES, _S.QUESTION),
    Fault.STREAM_DROPPED: _STREAM,
    Fault.STREAM_SILENT: _STREAM,
    Fault.STREAM_REPEATED: _STREAM,
    Fault.STREAM_REORDERED: _STREAM,
    Fault.STREAM_DELAYED: _STREAM,
    Fault.STREAM_REPLAYED: _STREAM,
    Fault.LATE_FILL: (_S.FILL,),
    Fault.THIN_BOOK: (_S.INTENT,),
    Fault.CLOCK_AHEAD: (_S.INTENT, _S.FILL),
    Fault.CLOCK_BEHIND: (_S.INTENT, _S.FILL),
    Fault.BROKER_AHEAD: (_S.SENT, _S.QUESTION),
    Fault.BROKER_BEHIND: (_S.SENT, _S.QUESTION),
    Fault.FEEDS_STALE: (_S.FEEDS,),
    Fault.FEEDS_SILENT: (_S.FEEDS,),
    Fault.RESOURCE_SILENT: (_S.RESOURCE,),
}
"""The steps at which each fault can strike; a cell of the table for each."""

CELLS = tuple((fault, step) for fault, steps in STEPS.items() for step in steps)
EVERYDAY = frozenset(Step) - {_S.CANCEL, _S.LATCH, _S.COMMAND}
EVERYDAY_CELLS = tuple(cell for cell in CELLS if cell[1] in EVERYDAY)
LASTING = frozenset({Fault.BROKER_AHEAD, Fault.BROKER_BEHIND, Fault.FEEDS_STALE, Fault.FEEDS_SILENT, Fault.RESOURCE_SILENT})
"""Those that forbid to open for more than a minute: one in a day, since a day has seven minutes in which to open."""
EVERYDAY_UNTIL = (
    0.2,
    0.2,
    0.2,
    0.6,
)  # of the time, of faults at steps that no day is without: some days trade no more when half of it is over
FAULTS_MIN, FAULTS_MAX = 3, 6  # besides those, at any step


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault; it strikes the first ``step`` at or after ``armed_seconds`` of the trading time."""

    fault: Fault
    step: Step
    armed_seconds: float
    size: float  # how long or how far, 0 to 1 of what the fault allows


def between(bounds: tuple[float, float], size: float) -> float:
    """What a fault's size means between the least and the most that it can be."""
    return bounds[0] + (bounds[1] - bounds[0]) * size


def draw(chance: random.Random, first_seconds: float, last_seconds: float) -> list[Planned]:
    """A day's faults in the order of their arming: cells drawn with equal weight, moments spread over the time given. Three strike in any day that
    trades for a quarter of it."""
    wanted = [(EVERYDAY_CELLS, first_seconds + share * (last_seconds - first_seconds)) for share in EVERYDAY_UNTIL]
    wanted += [(CELLS, last_seconds)] * chance.randint(FAULTS_MIN, FAULTS_MAX)
    drawn: list[Planned] = []
    for cells, until in wanted:
        lasting = any(one.fault in LASTING for one in drawn)
        fault, step = chance.choice([cell for cell in cells if not (lasting and cell[0] in LASTING)])
        drawn.append(Planned(fault, step, chance.uniform(first_seconds, until), chance.random()))
    return sorted(drawn, key=lambda one: one.armed_seconds)


class Plan:
    """What is still to strike. One fault at a time and step."""

    def __init__(self, planned: list[Planned]) -> None:
        self.waiting = list(planned)
        self.struck: list[tuple[Fault, Step]] = []

    def awaits(self, steps: frozenset[Step], now_seconds: float) -> bool:
        """Whether an armed fault waits for one of these steps."""
        return any(one.step in steps for one in self.waiting if one.armed_seconds <= now_seconds)

    def strike(self, step: Step, now_seconds: float) -> Planned | None:
        """The fault that strikes here and now, used up by that."""
        for one in self.waiting:
            if one.armed_seconds > now_seconds:
                return None
            if one.step is step:
                self.waiting.remove(one)
                self.struck.append((one.fault, one.step))
                return one
        return None
