"""Nobody has told for long that the resource stands, or what anything costs: trading goes on for a while, then less and less is done, without a latch."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.execution.desk import Desk, execution_slice
from tests.execution.venue import Running, Venue, opened
from tests.promises.waiting import run
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.domain.trading import TradingState
from tradingsystem.execution import inbox
from tradingsystem.execution.ages import PATIENCE, Ages, FeedsTold, Heard, Patience, judge
from tradingsystem.ingestion.freshness import FeedAge
from tradingsystem.messages.codec import decode, encode

DEPTH = list(TradingState).index


def silent(desk: Desk, heard: Heard, state: TradingState) -> None:
    """What the service offers when an age has passed a limit."""
    desk.enter(inbox.AgeJudged(received_at_ns=desk.now_ns, heard=heard, state=state, reason="nobody has told anything"))


def quoted() -> Desk:
    desk = Desk(before_close_minutes=31)
    for symbol in ("AAA", "BBB"):
        desk.quote(symbol, 99.98, 100.0)
    desk.signal("AAA")
    desk.advance(2)
    assert desk.state.held("AAA") == 40
    return desk


@pytest.mark.parametrize("heard", list(Heard))
@given(ages=st.lists(st.floats(0, 1e6), min_size=2, max_size=8))
def test_the_longer_the_silence_the_less_is_done(heard: Heard, ages: list[float]) -> None:
    """Never the other way round, with a reason whenever something is forced; the limits themselves belong to the deeper side."""
    depths = [DEPTH(judge(heard, age).state) for age in sorted(ages)]
    assert depths == sorted(depths)
    assert all(bool(judge(heard, age).reason) == (judge(heard, age).state is not TradingState.ACTIVE) for age in ages)
    patience = PATIENCE[heard]
    assert judge(heard, patience.reducing_seconds).state is TradingState.REDUCING
    assert judge(heard, patience.halted_seconds).state is TradingState.HALTED


def test_a_silence_is_told_once_at_each_step_and_once_when_it_ends() -> None:
    """Looked at every second, told four times in an hour: Reducing, Halted, heard again, and nothing of what nobody expects."""
    ages, told = Ages([Heard.RESOURCE], 0), []
    for second in range(4_000):
        if second == 3_700:
            ages.hear(Heard.RESOURCE, second * NS_PER_SECOND)
        ages.hear(Heard.MARKET_DATA, second * NS_PER_SECOND)
        told += [(second, judged.heard, judged.state) for judged in ages.changes(second * NS_PER_SECOND)]
    assert told == [
        (900, Heard.RESOURCE, TradingState.REDUCING),
        (3_600, Heard.RESOURCE, TradingState.HALTED),
        (3_700, Heard.RESOURCE, TradingState.ACTIVE),
    ]


def test_one_fresh_feed_of_prices_is_enough() -> None:
    """A system without a channel of quotes has none that is fresh; an index is no price of anything that is traded."""

    def told(*feeds: FeedAge) -> bool:
        return bool(decode(encode({"feeds": feeds, "rows": 5}), FeedsTold).fresh)

    assert told(FeedAge("trade", 0.2, False), FeedAge("quote", None, True))
    assert told(FeedAge("trade", 99.0, True), FeedAge("minute_bar", 70.0, False))
    assert not told(FeedAge("trade", 99.0, True), FeedAge("quote", 99.0, True), FeedAge("index", 0.1, False))
    assert not told()


@pytest.mark.parametrize("heard", list(Heard))
def test_reducing_by_age_opens_nothing_and_closes_what_is_held(heard: Heard) -> None:
    """The API server is away for a quarter of an hour: no entry, the position keeps its stop and is closed before the close."""
    desk = quoted()
    silent(desk, heard, TradingState.REDUCING)
    assert desk.state.trading() == (TradingState.REDUCING, "nobody has told anything")
    assert f"{heard.value.lower()}-unheard" in desk.alerts()
    desk.signal("BBB")
    desk.advance(2)
    assert desk.codes() == ["trading-state"]
    assert desk.state.held("BBB") == 0
    assert desk.state.held("AAA") == 40
    desk.to(desk.session.close_ns - 60 * NS_PER_SECOND)
    assert desk.shares("AAA") == desk.state.held("AAA") == 0
    assert not desk.state.latches


def test_halted_by_age_cancels_open_entries_and_ends_by_itself() -> None:
    """An hour of silence: what has not filled is cancelled by the broker's word; told again, the next signal opens. No hands, no latch."""
    desk = quoted()
    desk.quote("BBB", 99.98, 100.0, size=0.0)
    desk.signal("BBB")
    silent(desk, Heard.RESOURCE, TradingState.REDUCING)
    silent(desk, Heard.RESOURCE, TradingState.HALTED)
    desk.advance(2)
    assert desk.state.trading()[0] is TradingState.HALTED
    assert not [order for order in desk.ledger.open_orders("BBB") if str(order.side) == "buy"]
    assert desk.shares("AAA") == 40
    silent(desk, Heard.RESOURCE, TradingState.ACTIVE)
    assert desk.state.trading()[0] is TradingState.ACTIVE
    desk.quote("CCC", 99.98, 100.0)
    desk.signal("CCC")
    desk.advance(2)
    assert desk.state.held("CCC") == 40


def test_the_deepest_of_all_reasons_holds() -> None:
    """Two silences at once, and a person's halt above them: each end leaves the others in force."""
    desk = quoted()
    silent(desk, Heard.MARKET_DATA, TradingState.HALTED)
    silent(desk, Heard.RESOURCE, TradingState.REDUCING)
    assert desk.state.trading()[0] is TradingState.HALTED
    silent(desk, Heard.MARKET_DATA, TradingState.ACTIVE)
    assert desk.state.trading()[0] is TradingState.REDUCING
    silent(desk, Heard.RESOURCE, TradingState.ACTIVE)
    assert desk.state.trading()[0] is TradingState.ACTIVE


def test_a_restart_judges_anew() -> None:
    """What the process before had not heard is no matter of the next: its own watch begins, and says so by itself."""
    desk = quoted()
    silent(desk, Heard.RESOURCE, TradingState.HALTED)
    desk.crash()
    assert desk.state.trading()[0] is TradingState.ACTIVE


def test_the_service_listens_and_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the bus: without the operator's word it goes down by itself, with it it comes back; the same for ingestion's."""
    for heard in Heard:
        monkeypatch.setitem(PATIENCE, heard, Patience(0.3, 1e9, f"no word of {heard.value}", "look"))  # type: ignore[arg-type]

    async def main() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            venue.quote("AAA", 99.98, 100.0)
            settings = msgspec.structs.replace(execution_slice(), live_from_journal=True)
            running = Running(venue, settings, peers=("ingestion",))
            await running.start()
            state, subjects = running.service.state, venue.subjects
            fresh = encode({"feeds": [FeedAge("quote", 0.1, False)]})
            venue.bus.publish(subjects.state("ingestion"), b"not a status")
            await venue.until(lambda: set(state.silences) == {heard.value for heard in Heard})
            assert state.trading()[0] is TradingState.REDUCING

            def spoken(resource: bool, data: bool) -> None:
                if resource:
                    venue.bus.publish(subjects.resource, b"")
                if data:
                    venue.bus.publish(subjects.state("ingestion"), fresh)

            await venue.until(lambda: spoken(True, False) or set(state.silences) == {Heard.MARKET_DATA.value})  # type: ignore[func-returns-value]
            await venue.until(lambda: spoken(True, True) or not state.silences)  # type: ignore[func-returns-value]
            assert state.trading()[0] is TradingState.ACTIVE
            await running.stop()

    run(main())


def test_on_one_machine_nobody_speaks_for_a_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that nobody sends again does not grow old."""
    monkeypatch.setitem(PATIENCE, Heard.RESOURCE, Patience(0, 0, "never", "look"))

    async def main() -> None:
        async with opened(Venue(speed=20.0)) as venue:
            venue.quote("AAA", 99.98, 100.0)
            running = Running(venue)
            await running.start()
            assert running.service._ages.changes(1 << 62) == []
            await running.stop()

    run(main())
