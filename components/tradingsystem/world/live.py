"""What a person watching a running system sees: the newest word of each service, put into one line. It listens and asks for nothing."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from tradingsystem.domain.control import Beat, ClockTick, ModelsState
from tradingsystem.domain.signals import Cut, Regime
from tradingsystem.domain.time import new_york_clock
from tradingsystem.domain.trading import TradingStatus
from tradingsystem.interfaces import Bus, Delivery
from tradingsystem.messages.codec import Malformed, decode
from tradingsystem.messages.subjects import Subjects

RATE_SECONDS = 3.0


@dataclass(slots=True)
class Watch:
    """The newest of everything heard on the bus."""

    subjects: Subjects
    tick: ClockTick | None = None
    status: TradingStatus | None = None
    models: ModelsState | None = None
    regime: Regime = Regime.UNKNOWN
    candidates: int = 0
    beats: dict[str, Beat] = field(default_factory=dict)
    heard: float = 0.0  # machine time of the last tick that moved
    malformed: int = 0
    _rows: deque[tuple[float, float]] = field(default_factory=deque)

    async def listen(self, bus: Bus) -> None:
        """Hear beats, execution's and models' status, the clock and the cuts."""
        await bus.subscribe(self.subjects.beat("*"), self._on_beat)
        await bus.subscribe(self.subjects.state("execution"), self._on_status)
        await bus.subscribe(self.subjects.state("models"), self._on_models)
        await bus.subscribe(self.subjects.clock, self._on_tick, pending_max=4)
        await bus.subscribe(self.subjects.journal_cut, self._on_cuts)

    @property
    def finished(self) -> bool:
        """Whether the simulated market has come to its end."""
        return self.tick is not None and self.tick.finished

    @property
    def flat(self) -> bool:
        """Whether execution says, after the market's end, that it holds nothing and knows what became of every order."""
        status, tick = self.status, self.tick
        if status is None or tick is None or status.at_ns < tick.market_ns - int(2e9 * max(1.0, tick.speed)):
            return False
        return not status.positions and not status.unknown_orders

    @property
    def events_per_second(self) -> float:
        """Rows that ingestion accepted, per machine second."""
        if len(self._rows) < 2 or self._rows[-1][0] <= self._rows[0][0]:
            return 0.0
        return max(0.0, (self._rows[-1][1] - self._rows[0][1]) / (self._rows[-1][0] - self._rows[0][0]))

    @property
    def profit(self) -> Decimal:
        """The day's, open positions marked, fees paid."""
        status = self.status
        return status.day_realised + status.day_unrealised - status.day_fees if status is not None else Decimal(0)

    def number(self, service: str, name: str) -> float:
        """One number of a service's last beat; 0 while there is none."""
        beat = self.beats.get(service)
        return beat.detail.get(name, 0.0) if beat is not None else 0.0

    def _on_beat(self, delivery: Delivery) -> None:
        try:
            beat: Beat = decode(delivery.payload, Beat)
        except Malformed:
            self.malformed += 1
            return
        self.beats[beat.service] = beat
        if beat.service == "ingestion" and "rows" in beat.detail:
            now = time.monotonic()
            if self._rows and beat.detail["rows"] < self._rows[-1][1]:  # a new epoch counts from nothing
                self._rows.clear()
            self._rows.append((now, beat.detail["rows"]))
            while len(self._rows) > 2 and now - self._rows[0][0] > RATE_SECONDS:
                self._rows.popleft()

    def _on_status(self, delivery: Delivery) -> None:
        try:
            self.status = decode(delivery.payload, TradingStatus)
        except Malformed:
            self.malformed += 1

    def _on_models(self, delivery: Delivery) -> None:
        try:
            self.models = decode(delivery.payload, ModelsState)
        except Malformed:
            self.malformed += 1

    def _on_tick(self, delivery: Delivery) -> None:
        try:
            tick: ClockTick = decode(delivery.payload, ClockTick)
        except Malformed:
            self.malformed += 1
            return
        if self.tick is None or tick.market_ns > self.tick.market_ns:
            self.heard = time.monotonic()
        self.tick = tick

    def _on_cuts(self, delivery: Delivery) -> None:
        try:
            cuts: list[Cut] = decode(delivery.payload, list[Cut])
        except Malformed:
            self.malformed += 1
            return
        for cut in cuts:
            self.regime = cut.regime
            if cut.full:
                self.candidates = cut.candidates


def line(watch: Watch) -> str:
    """The one live line: market time, regime, events a second, candidates, signals, positions, profit, lag."""
    at = new_york_clock(watch.tick.market_ns) if watch.tick is not None else "--:--:--"
    status = watch.status
    parts = [
        at,
        f"{watch.regime.value:<7}",
        f"{watch.events_per_second:>9,.0f} events/s",
        f"{watch.candidates:>3} candidates",
        f"{status.signals_seen if status else 0:>3} signals",
        f"{len(status.positions) if status else 0} positions",
        f"P&L {watch.profit:+.2f}",
        f"lag {watch.number('simulator', 'lag_seconds') * 1e3:.0f} ms",
    ]
    if watch.malformed:
        parts.append(f"{watch.malformed} unreadable")
    return "  ".join(parts)
