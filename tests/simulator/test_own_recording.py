"""Our own recordings play like the market they were taken from: what the wire said, said again."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tradingsystem.domain import calendar
from tradingsystem.domain.control import SessionOpened, SymbolFact, SymbolTable
from tradingsystem.domain.rows import empty
from tradingsystem.messages.batch import Batch, encode_batch
from tradingsystem.recorder.segments import Record, SegmentWriter, segment_paths
from tradingsystem.simulator import own_recording, player
from tradingsystem.simulator.feed import SECOND_NS, VIX_SYMBOL, Kind, Slice
from tradingsystem.simulator.market import GeneratedMarket, MarketSettings
from tradingsystem.simulator.market_memory import MarketMemory
from tradingsystem.simulator.option_flow import RULES
from tradingsystem.simulator.player import Player
from tradingsystem.simulator.polygon_wire import EventEncoder, PolygonDialect
from tradingsystem.simulator.recorded import DamagedFile

DATE = datetime.date(2026, 3, 2)
SECONDS = 420  # from five minutes before the open to two after it
ALERT = {
    "id": "a-1", "ticker": "SPY", "option_chain": "SPY260320P00600000", "type": "put", "alert_rule": RULES[4], "price": "2.50",
    "total_premium": "250000.00", "total_ask_side_prem": "200000.00", "total_size": 1000, "created_at": "2026-03-02T14:29:00Z",
}  # fmt: skip


def records(market: GeneratedMarket) -> Iterator[tuple[Slice, list[Record]]]:
    """Each second of the market, and the frames that Polygon's wire would have sent for it."""
    memory = MarketMemory(len(market.symbols))
    encoder = EventEncoder(market, memory, PolygonDialect())
    begin = market.session.first_ns
    for second in range(1, SECONDS + 1):
        part = market.advance(begin + second * SECOND_NS)
        totals = memory.publish(part)
        stocks = np.flatnonzero((part.kind != Kind.INDEX) & (part.kind != Kind.FLOW))
        events = encoder.rows(part, stocks, totals, 0)
        events += [encoder.vix(part, row) for row in np.flatnonzero(part.kind == Kind.INDEX).tolist()]
        at_ns = begin + second * SECOND_NS
        yield part, [Record(0, second, at_ns, "polygon", b"[" + b",".join(events[at : at + 50]) + b"]") for at in range(0, len(events), 50)]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Slice], GeneratedMarket]:
    """A run's folder with frames and tape, and the market they are of."""
    folder = tmp_path_factory.mktemp("run")
    market = GeneratedMarket(MarketSettings(seed=5, date=DATE, symbols=40, flow_alerts_per_minute=0.0, events_per_second=200.0))
    frames = SegmentWriter(folder / "recording", "frame")
    frames.write([Record(0, 0, market.session.first_ns, "polygon", b'[{"ev":"status","status":"auth_success","message":"authenticated"}]')])
    parts = []
    for part, some in records(market):
        parts.append(part)
        frames.write(some)
    answer = msgspec.json.encode({"data": [ALERT]})
    at_ns = market.session.open_ns
    frames.write([Record(0, 9, at_ns + later, "flow", answer) for later in (SECOND_NS, 6 * SECOND_NS)])
    frames.write([Record(0, 10, at_ns, "polygon", b"<html>bad gateway</html>")])
    frames.close()
    facts = tuple(SymbolFact(symbol, "CS", "XNAS", 50.0, 1e6, 0.04) for symbol in market.symbols)
    first = Batch(1, 1, at_ns, gap=False, notes=(SymbolTable(facts), SessionOpened(calendar.session(DATE), (1.0,))), rows=empty())
    tape = SegmentWriter(folder / "recording", "tape")
    tape.write([Record(1, 1, at_ns, "tape.demo", encode_batch(first))])
    tape.close()
    return folder, parts, market


def rows_of(parts: list[Slice], symbols: tuple[str, ...], kind: Kind) -> list[tuple[object, ...]]:
    """What the wire carries of the rows of one kind, as a sorted list: milliseconds, and no more digits than a frame has."""
    found = []
    for part in parts:
        for row in np.flatnonzero(part.kind == kind).tolist():
            name = "VIX" if part.symbol[row] == VIX_SYMBOL else symbols[part.symbol[row]]
            values = [round(float(getattr(part, column)[row]), 4) for column in ("price", "size", "price2", "price3", "price4")]
            if kind in (Kind.HALT, Kind.RESUME):
                values = []
            found.append((name, int(part.at_ns[row]) // 1_000_000, *values))
    return sorted(found)


@pytest.mark.parametrize(
    "kind", [Kind.TRADE, Kind.QUOTE, Kind.SECOND_BAR, Kind.MINUTE_BAR, Kind.LULD, Kind.INDEX], ids=lambda kind: kind.name
)
def test_what_was_received_is_played_again(recorded: tuple[Path, list[Slice], GeneratedMarket], kind: Kind) -> None:
    """Every event of the first recording, with its values and its time; nothing else."""
    folder, parts, market = recorded
    again = Player(folder, DATE)
    assert player.dates(folder) == [DATE]
    played = again.advance(again.session.last_ns)
    expected = rows_of(parts, market.symbols, kind)
    assert rows_of([played], again.symbols, kind) == expected
    assert expected


def test_an_alert_is_played_once_at_its_first_receipt(recorded: tuple[Path, list[Slice], GeneratedMarket]) -> None:
    """Polls repeat it; knowing it earlier would be looking ahead."""
    folder, _, market = recorded
    again = Player(folder, DATE)
    played = again.advance(again.session.last_ns)
    (row,) = np.flatnonzero(played.kind == Kind.FLOW).tolist()
    assert (again.symbols[played.symbol[row]], int(played.at_ns[row])) == ("SPY", market.session.open_ns + SECOND_NS)
    assert (played.price[row], played.size[row], played.price2[row], played.size2[row]) == (2.5, 1000, 600.0, 250_000.0)
    assert (played.condition[row], played.exchange[row], played.price4[row]) == (2 * 4 + 1, 80, 18)
    assert again.notes == {"frames that are not played": 1}


def test_the_morning_is_as_it_was(recorded: tuple[Path, list[Slice], GeneratedMarket]) -> None:
    """Facts and averages come from the tape's first batch, so the same universe passes the same funnel again."""
    folder, _, market = recorded
    again = Player(folder, DATE)
    facts = {fact.symbol: fact for fact in again.reference()}
    assert set(facts) == set(market.symbols)
    assert (facts["SPY"].previous_close, facts["SPY"].average_volume, facts["SPY"].tape) == (50.0, 1e6, 3)
    days = again.history_days(20)
    assert len(days) == 20
    assert days[-1].session.date == datetime.date(2026, 2, 27)
    assert {(day.high[0] - day.low[0]) / day.close[0] for day in days} == {0.04}
    assert len(again.history_minutes(0, days[-1].session.date).start_ns) == 0


def test_a_torn_end_costs_its_last_rows_and_is_counted(recorded: tuple[Path, list[Slice], GeneratedMarket], tmp_path: Path) -> None:
    """A crash while writing: what is whole is played."""
    folder, _, _ = recorded
    (source,) = segment_paths(folder / "recording", "frame")
    content = source.read_bytes()
    (tmp_path / "frame-00000.arrows").write_bytes(content[: len(content) * 2 // 3])
    torn = Player(tmp_path, DATE)
    assert 0 < len(torn.advance(torn.session.last_ns)) < len(Player(folder, DATE).advance(torn.session.last_ns))
    assert torn.notes["torn ends of files"] == 1


def test_what_is_no_recording_is_named(tmp_path: Path) -> None:
    """A file of that name with something else in it, and a day that was not recorded."""
    (tmp_path / "frame-00000.arrows").write_bytes(b"nonsense" * 500)
    with pytest.raises(DamagedFile, match="frame-00000"):
        own_recording.dates(tmp_path)


def test_another_day_is_told_with_the_one_there_is(recorded: tuple[Path, list[Slice], GeneratedMarket]) -> None:
    """Nobody guesses which day a recording is of."""
    with pytest.raises(FileNotFoundError, match="2026-03-02"):
        Player(recorded[0], datetime.date(2026, 3, 3))
