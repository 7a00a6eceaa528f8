"""Signals: thresholds, one live one per symbol, cooldown, hysteresis; probes by schedule; what ingestion is asked for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.filter.days import Formula, TapeMaker, serving, spec_of
from tradingsystem.domain.signals import CutOutcome, Signal, signal_id
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.ensemble.blend import Assessed
from tradingsystem.filter.deciding import Decider
from tradingsystem.filter.marks import marks_of
from tradingsystem.filter.signals import SignalBook
from tradingsystem.filter.step import FilterState, Swept, create, step
from tradingsystem.filter.wanted import KEPT_NS, Wanted
from tradingsystem.market import columns as c

COUNT = 8


class Desk:
    """A warm state and a book over it."""

    def __init__(self) -> None:
        self.state: FilterState = create(spec_of())
        self.tape = TapeMaker(COUNT)
        for batch in self.tape.day(70, {1: 103.0}):
            step(self.state, [batch])
        self.book = SignalBook("momentum", self.state.spec.ensemble)

    def swept(self, seconds: float = 1.0) -> Swept:
        self.tape.now_ns += int(seconds * NS_PER_SECOND)
        found = step(self.state, [self.tape.batch(self.tape.vix(), self.tape.lift(1, 103.0, 2_000.0), seconds=0.0)])
        assert found.features.rows.tolist() == [1]
        return found

    def hear(self, confidence: float, p_low: float = 0.6, *, usable: bool = True, seconds: float = 1.0) -> list[Signal]:
        assessed = Assessed(np.array([0.65]), np.array([p_low]), np.array([confidence]), np.array([usable]))
        members = np.full((1, 3), 0.65, np.float32)
        return self.book.decide(self.swept(seconds), self.state.market, assessed, members, break_even=0.5, model=4, simulated=True)


def test_a_signal_says_what_it_was_judged_by() -> None:
    """Identity, market and chances at the cut; prices are the decimals that were quoted."""
    desk = Desk()
    (signal,) = desk.hear(0.7)
    assert signal.id == signal_id("momentum", desk.tape.epoch, desk.tape.seq, "S0001")
    assert (signal.bid, signal.ask) == (102.99, 103.01)
    assert signal.expires_at_ns - signal.at_ns == 300 * NS_PER_SECOND
    assert (signal.vix, signal.model, signal.simulated_model, signal.probe) == (15.0, 4, True, False)
    assert signal.average_volume == desk.state.market.facts[1].average_volume > 0
    assert (signal.p, signal.p_low, signal.confidence) == (0.65, 0.6, 0.7)


@pytest.mark.parametrize(
    ("confidence", "p_low", "usable"), [(0.69, 0.6, True), (0.9, 0.5, True), (np.nan, 0.6, True), (0.9, np.nan, True), (0.9, 0.6, False)]
)
def test_what_does_not_suffice_is_silent(confidence: float, p_low: float, usable: bool) -> None:
    """Too little confidence, no edge over break-even, NaN, an unusable row: no signal."""
    assert Desk().hear(confidence, p_low, usable=usable) == []


def test_a_volume_that_nobody_knows_is_told_as_unknown() -> None:
    """Not as a number that a limit could be compared with. The funnel lets no such symbol through, so the gate would refuse what cannot come."""
    desk = Desk()
    row = 1
    desk.state.market.columns.now[c.AVERAGE_VOLUME, row] = np.nan
    swept = step(desk.state, [desk.tape.batch(desk.tape.vix(), desk.tape.lift(row, 103.0, 2_000.0), seconds=0.0)])
    assert row not in swept.features.rows
    spoken = desk.book.speak(swept, desk.state.market, row, (0.7, 0.6, 0.9), (0.7,), model=1, simulated=True)
    assert spoken.average_volume is None


def test_after_a_signal_comes_quiet_until_cooldown_and_calm() -> None:
    """Within the cooldown nothing; after it nothing either while confidence never fell well below the threshold."""
    desk = Desk()
    assert len(desk.hear(0.9)) == 1
    assert desk.hear(0.9) == []
    assert desk.hear(0.9, seconds=15 * 60) == [], "entries wait for nobody, but confidence stayed high"
    assert desk.hear(0.61) == []
    assert desk.hear(0.9) == [], "0.61 is not far enough below 0.70"
    assert desk.hear(0.5) == []
    assert len(desk.hear(0.9)) == 1


def test_calm_alone_does_not_end_the_cooldown() -> None:
    """Confidence that fell and rose again within the cooldown stays silent."""
    desk = Desk()
    assert len(desk.hear(0.9)) == 1
    assert desk.hear(0.1) == []
    assert desk.hear(0.9) == []
    assert len(desk.hear(0.9, seconds=15 * 60)) == 1


def test_late_cuts_have_no_signals_and_leave_the_window_alone() -> None:
    """A late answer changes nothing that a later confidence is ranked against."""
    desk = Desk()
    decider = Decider(desk.state.spec, serving())
    before = decider.windows[1].snapshot()
    cut, signals = decider.decide(desk.state, desk.swept(), None, CutOutcome.LATE)
    assert (cut.signals, signals) == (0, [])
    np.testing.assert_array_equal(before["ring"], decider.windows[1].snapshot()["ring"])


def probe_day(batches: int, speed: int = 60, quoted_from: int = 0) -> list[Signal]:
    """So many times five seconds in which every symbol is a little traded, and quoted from that batch on, under the probe schedule."""
    spec = spec_of(probe=True, speed=speed)
    state, decider, tape = create(spec), Decider(spec, serving()), TapeMaker(COUNT)
    inference = decider.serving.inference
    assert isinstance(inference, Formula)
    found: list[Signal] = []
    for place in range(batches):
        rows = [tape.lift(symbol, 100.0, 10.0) if place >= quoted_from else tape.trade(symbol, 100.0, 10.0) for symbol in range(COUNT)]
        swept = step(state, [tape.batch(*rows, seconds=5.0)])
        assert not decider.asks_model(swept)
        found += decider.decide(state, swept, None, CutOutcome.NONE)[1]
    assert inference.asked == 0
    return found


def test_probes_follow_the_schedule_and_are_marked() -> None:
    """One probe each quarter of an hour from ten minutes after the open, the same for the same seed, each marked."""
    found = probe_day(720)
    assert len(found) == 4
    assert all(signal.probe for signal in found)
    gaps = {round((later.at_ns - earlier.at_ns) / NS_PER_MINUTE) for earlier, later in itertools.pairwise(found)}
    assert gaps == {15}
    assert [signal.id for signal in found] == [signal.id for signal in probe_day(720)]


@pytest.mark.parametrize(("speed", "probes"), [(60, 0), (200, 1), (1_000, 1)])
def test_a_fast_market_waits_longer_for_a_quote(speed: int, probes: int) -> None:
    """A subscription takes machine time: a hundred seconds of market time are too late for a slow market and half a second for a fast one."""
    moment, late = 10 * 60 // 5, 100 // 5
    assert len(probe_day(moment + 60, speed, quoted_from=moment + late)) == probes


def test_wanted_symbols_stay_for_a_while() -> None:
    """A symbol that passed the rules is subscribed for five minutes, quoted or not, and SPY always."""
    desk = Desk()
    wanted = Wanted()
    desk.swept()
    assert wanted.renew(desk.state) == {"SPY", "S0001"}
    step(desk.state, [desk.tape.batch(desk.tape.lift(1, 90.0), seconds=1.0)])
    assert wanted.renew(desk.state) == {"SPY", "S0001"}
    step(desk.state, [desk.tape.batch(seconds=KEPT_NS / NS_PER_SECOND)])
    assert wanted.renew(desk.state) == {"SPY"}


def test_marks_have_prices_or_are_not_made() -> None:
    """A symbol without quote has no mark; the others' decimals are what was quoted."""
    desk = Desk()
    desk.swept()
    (mark,) = marks_of(desk.state.market, [0, 1, 2])
    assert (mark.symbol, mark.bid, mark.ask, mark.last, mark.lower_band, mark.halted) == ("S0001", 102.99, 103.01, 103.0, None, False)
