"""One recorded day as a value: what the report draws, what the ending compares. It reads recordings and decides, sends and repairs nothing.

Positions and profit are summed here from the executions that the broker's update stream brought, each counted once by its id: a second reckoning beside
execution's own.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tradingsystem.bundles.promotion import Event
from tradingsystem.domain.control import Beat, ModelsAssigned
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.orders import OrderIntent, OrderType, OrderUpdate, Purpose, Side
from tradingsystem.domain.signals import Cut, Regime, Signal
from tradingsystem.domain.splits import Rebased
from tradingsystem.domain.trading import TradingStatus
from tradingsystem.execution.inbox import AnswerReceived, InboxEntry, MarksReceived, Outcome, Request, Started, UpdateReceived
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.recorder.segments import Record, read_records, segment_paths
from tradingsystem.spec.slices import ExecutionSlice

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Span:
    """A regime and the market time in which it held."""

    regime: Regime
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Execution:
    """Shares that changed hands, once, and which order did it. ``way`` says in a word what kind of order that was."""

    id: str
    symbol: str
    side: Side
    quantity: int
    price: Decimal
    at_ns: int
    way: str


@dataclass(frozen=True, slots=True)
class Trade:
    """One position from first buy to flat, at average prices, before fees."""

    symbol: str
    quantity: int
    bought_at: Decimal
    sold_at: Decimal
    opened_ns: int
    closed_ns: int
    way: str  # how its shares were sold: target, stop, flattened; several when it was in parts

    @property
    def profit(self) -> Decimal:
        """Before fees."""
        return (self.sold_at - self.bought_at) * self.quantity


@dataclass(slots=True)
class Cuts:
    """What the filter did, counted."""

    count: int = 0
    full: int = 0
    signals: int = 0
    candidates_most: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    runtimes: Counter[str] = field(default_factory=Counter)
    models: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class Day:
    """Everything of one run that a person would look at, in the order in which it happened."""

    system: str = ""
    settings: ExecutionSlice | None = None
    statuses: list[TradingStatus] = field(default_factory=list)
    regimes: list[Span] = field(default_factory=list)
    cuts: Cuts = field(default_factory=Cuts)
    signals: list[Signal] = field(default_factory=list)
    intents: dict[str, OrderIntent] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    rebased: list[Rebased] = field(default_factory=list)  # positions that a split changed
    answers: list[AnswerReceived] = field(default_factory=list)
    marks: dict[str, list[tuple[int, float, float]]] = field(default_factory=dict)  # market time, bid, ask, of what was held
    funnel: dict[str, float] = field(default_factory=dict)  # symbols that stopped at each stage, mean of the sweeps with any
    filter_numbers: dict[str, float] = field(default_factory=dict)
    beats: dict[str, Beat] = field(default_factory=dict)
    unreadable: int = 0
    endings: list[str] = field(default_factory=list)  # of the recording, where nobody wrote an end
    filled_orders: set[str] = field(default_factory=set)
    promotion: list[tuple[int, Event | ModelsAssigned]] = field(default_factory=list)  # recorded at, and what models journaled

    @property
    def status(self) -> TradingStatus | None:
        """Execution's last word."""
        return self.statuses[-1] if self.statuses else None

    def positions(self) -> dict[str, int]:
        """What the executions leave: shares by symbol, without those that are flat."""
        held: dict[str, int] = {}
        for one in self._changes():
            held[one.symbol] = one.quantity if isinstance(one, Rebased) else held.get(one.symbol, 0) + _signed(one)
        return {symbol: quantity for symbol, quantity in held.items() if quantity}

    def _changes(self) -> list[Execution | Rebased]:
        """All that changed shares, oldest first."""
        return sorted([*self.executions.values(), *self.rebased], key=lambda one: one.at_ns)

    def cash(self) -> Decimal:
        """Sales less purchases, before fees: the day's profit once everything is flat."""
        return sum((one.price * one.quantity * (1 if one.side is Side.SELL else -1) for one in self.executions.values()), ZERO)

    def trades(self) -> list[Trade]:
        """Finished positions, oldest first."""
        by_symbol: dict[str, list[Execution | Rebased]] = {}
        for one in self._changes():
            by_symbol.setdefault(one.symbol, []).append(one)
        found = [trade for changes in by_symbol.values() for trade in _round_trips(changes)]
        return sorted(found, key=lambda trade: trade.closed_ns)

    def latencies_us(self) -> list[int]:
        """From decision to the broker's answer, machine time, of orders that the broker took."""
        wanted = (answer for answer in self.answers if answer.request is Request.SUBMIT and answer.outcome is Outcome.DONE)
        return [answer.took_us for answer in wanted if answer.took_us > 0]


def _signed(one: Execution) -> int:
    return one.quantity if one.side is Side.BUY else -one.quantity


def _round_trips(changes: list[Execution | Rebased]) -> Iterator[Trade]:
    """A position that a split has changed goes on in shares after it; what had been sold of it before is a trade of its own."""
    held = 0
    bought: list[Execution] = []
    sold: list[Execution] = []
    for one in changes:
        if isinstance(one, Rebased):
            if bought and sold:
                yield _trade(bought, sold)
            if bought:
                bought, sold = [dataclasses.replace(bought[0], quantity=one.quantity, price=one.average_price)], []
            held = one.quantity
            continue
        (bought if one.side is Side.BUY else sold).append(one)
        held += _signed(one)
        if held == 0:
            if bought and sold:
                yield _trade(bought, sold)
            bought, sold = [], []


def _trade(bought: list[Execution], sold: list[Execution]) -> Trade:
    way = ", ".join(dict.fromkeys(each.way for each in sold))
    quantity = sum(each.quantity for each in sold)
    return Trade(sold[0].symbol, quantity, _average(bought), _average(sold), bought[0].at_ns, sold[-1].at_ns, way)


def _average(executions: list[Execution]) -> Decimal:
    return sum((one.price * one.quantity for one in executions), ZERO) / sum(one.quantity for one in executions)


def recording_of(run: Path) -> Path:
    """The recording in a run's folder, or the folder itself. Raises ``InvalidInput`` saying what was looked for."""
    for folder in (run, run / "recording"):
        if segment_paths(folder, "journal"):
            return folder
    raise InvalidInput(
        f"{run}: no recording there (journal-*.arrows, directly or under recording/); a run's folder is what `up` prints first"
    )


def read_day(run: Path) -> Day:
    """The day of a run. Raises ``InvalidInput`` when there is no recording or it is damaged."""
    folder = recording_of(run)
    reader = _Reader()
    for record in read_records(folder, "journal", reader.day.endings.append):
        reader.journal(record)
    for record in read_records(folder, "state", reader.day.endings.append):
        reader.state(record)
    return reader.finish()


class _Reader:
    """Takes records over, one by one."""

    def __init__(self) -> None:
        self.day = Day()
        self._funnel: list[dict[str, float]] = []
        self._cut: Cut | None = None

    def journal(self, record: Record) -> None:
        """One entry of the journal; subjects are ``journal.<system>.<kind>``."""
        _, self.day.system, kind, *_ = record.subject.split(".")
        match kind:
            case "cut":
                for cut in self._decoded(record, list[Cut]) or []:
                    self._take_cut(cut)
            case "signal":
                if (signal := self._decoded(record, Signal)) is not None:
                    self.day.signals.append(signal)
            case "intent":
                if (intent := self._decoded(record, OrderIntent)) is not None:
                    self.day.intents[intent.client_order_id] = intent
            case "promotion" | "model":
                if (step := self._decoded(record, Event if kind == "promotion" else ModelsAssigned)) is not None:
                    self.day.promotion.append((record.at_ns, step))
            case "split":
                if (rebased := self._decoded(record, Rebased)) is not None:
                    self.day.rebased.append(rebased)
            case "inbox":
                if (entry := self._decoded(record, InboxEntry)) is not None:
                    self._take_entry(entry)

    def state(self, record: Record) -> None:
        """A status or a beat."""
        kind, _, service, *_ = record.subject.split(".")
        if kind == "beat":
            if (beat := self._decoded(record, Beat)) is not None:
                self._take_beat(beat)
        elif service == "execution" and (status := self._decoded(record, TradingStatus)) is not None:
            self.day.statuses.append(status)

    def finish(self) -> Day:
        """The day, once everything was read."""
        if self.day.regimes and self._cut is not None:
            last = self.day.regimes[-1]
            self.day.regimes[-1] = Span(last.regime, last.from_ns, self._cut.sealed_at_ns)
        if self._funnel:
            self.day.funnel = {name: sum(each[name] for each in self._funnel) / len(self._funnel) for name in self._funnel[0]}
        return self.day

    def _decoded(self, record: Record, kind: Any) -> Any:
        try:
            return decode(record.payload, kind)
        except Malformed:
            self.day.unreadable += 1
            return None

    def _take_cut(self, cut: Cut) -> None:
        cuts, regimes = self.day.cuts, self.day.regimes
        cuts.count += 1
        cuts.full += cut.full
        cuts.signals += cut.signals
        cuts.candidates_most = max(cuts.candidates_most, cut.candidates)
        cuts.outcomes[cut.outcome.value] += 1
        cuts.runtimes[cut.runtime] += 1
        cuts.models[cut.model] += 1
        self._cut = cut
        if not regimes or regimes[-1].regime is not cut.regime:
            if regimes:
                regimes[-1] = Span(regimes[-1].regime, regimes[-1].from_ns, cut.sealed_at_ns)
            regimes.append(Span(cut.regime, cut.sealed_at_ns, cut.sealed_at_ns))

    def _take_beat(self, beat: Beat) -> None:
        self.day.beats[beat.service] = beat
        if beat.service != "filter":
            return
        stages = {name.removeprefix("funnel_"): value for name, value in beat.detail.items() if name.startswith("funnel_")}
        if any(stages.values()) and (not self._funnel or stages.keys() == self._funnel[0].keys()):
            self._funnel.append(stages)
        self.day.filter_numbers = beat.detail

    def _take_entry(self, entry: InboxEntry) -> None:
        if isinstance(entry, Started):
            self.day.settings = entry.settings
        elif isinstance(entry, UpdateReceived):
            self._take_update(entry.update)
        elif isinstance(entry, AnswerReceived):
            self.day.answers.append(entry)
        elif isinstance(entry, MarksReceived):
            for mark in entry.marks:
                self.day.marks.setdefault(mark.symbol, []).append((mark.at_ns, mark.bid, mark.ask))

    def _take_update(self, update: OrderUpdate) -> None:
        if update.execution_id is None or not update.quantity or update.price is None:
            return
        self.day.filled_orders.add(update.order.client_order_id)
        self.day.executions.setdefault(
            update.execution_id,
            Execution(
                id=update.execution_id,
                symbol=update.order.symbol,
                side=update.order.side,
                quantity=update.quantity,
                price=update.price,
                at_ns=update.at_ns,
                way=self._way(update),
            ),
        )

    def _way(self, update: OrderUpdate) -> str:
        """Why it traded, in a word: by our intent when the order is ours, else a leg by its type."""
        intent = self.day.intents.get(update.order.client_order_id)
        if intent is not None and intent.purpose is Purpose.ENTRY:
            return "entry"
        if intent is not None and intent.purpose is Purpose.FLATTEN:
            return "flattened"
        return "stop" if update.order.order_type in {OrderType.STOP, OrderType.STOP_LIMIT} else "target"
