"""Recorded days: LEAN zips and Polygon flat files play like a market; damage is named by file and line."""

from __future__ import annotations

import datetime
import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tradingsystem.simulator import lean, player
from tradingsystem.simulator.feed import SECOND_NS, Kind, session_of
from tradingsystem.simulator.flat_files import restricting
from tradingsystem.simulator.player import Player
from tradingsystem.simulator.recorded import SUSPICIOUS, DamagedFile

DATE = datetime.date(2013, 10, 8)
REAL = Path(__file__).parents[3] / "shared" / "data" / "us-equities-2013"
REAL_FOLDERS = [pytest.param(REAL, id="us-equities-2013")] if REAL.is_dir() else []  # none: pytest reports the skip by name
OPEN_MS = 34_200_000
TRADES = [f"{OPEN_MS + 500},101000,100,N,1,0", f"{OPEN_MS + 700},102000,50,P,80000000,0", f"{OPEN_MS + 61_000},990000,100,P,1,1"]
QUOTES = [
    f"{OPEN_MS - 400_000},100000,100,0,0,N,1,0",
    f"{OPEN_MS - 400_000},0,0,101000,200,N,1,0",
    f"{OPEN_MS + 100},100500,300,0,0,P,1,0",
    f"{OPEN_MS + 200},0,0,100900,400,Q,1,0",
    f"{OPEN_MS + 300},200000,400,0,0,Q,1,1",
]


def write_zip(folder: Path, kind: str, name: str, lines: list[str]) -> Path:
    path = folder / kind / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.csv", "\n".join(lines) + "\n")
    return path


def lean_folder(folder: Path, trades: list[str] | None = None, quotes: list[str] | None = None) -> Path:
    write_zip(folder, "tick", "abc-20131008_trade", TRADES if trades is None else trades)
    write_zip(folder, "tick", "abc-20131008_quote", QUOTES if quotes is None else quotes)
    write_zip(
        folder, "minute", "abc-20131007_trade", ["34200000,99000,101000,98000,100000,1200", "34260000,100000,100000,100000,100500,300"]
    )
    return folder


def test_a_lean_day_plays_with_the_best_quote_and_bars(tmp_path: Path) -> None:
    """Standing quote at the start, then the best over exchanges, trades with Polygon's codes, bars from eligible trades."""
    day = Player(lean_folder(tmp_path), DATE)
    events = day.advance(day.session.last_ns)
    quotes = events.select(np.flatnonzero(events.kind == Kind.QUOTE))
    assert quotes.at_ns[0] == day.session.first_ns + 1
    assert list(zip(quotes.price.tolist(), quotes.price2.tolist(), strict=True)) == [(10.0, 10.1), (10.05, 10.1), (10.05, 10.09)]
    trades = events.select(np.flatnonzero(events.kind == Kind.TRADE))
    assert trades.condition.tolist() == [0, 37, SUSPICIOUS]
    assert trades.exchange.tolist() == [10, 11, 11]
    bars = events.select(np.flatnonzero(events.kind == Kind.MINUTE_BAR))
    assert (bars.price[0], bars.price2[0], bars.size[0], len(bars)) == (10.1, 10.1, 150.0, 1)
    assert day.notes["suspicious trades"] == day.notes["suspicious quotes"] == 1


def test_facts_come_from_the_days_before(tmp_path: Path) -> None:
    """Previous close and volume are of sessions that lie before the one played."""
    facts = Player(lean_folder(tmp_path), DATE).reference()
    assert (facts[0].symbol, facts[0].previous_close, facts[0].average_volume) == ("ABC", 10.05, 1500.0)


def test_slices_do_not_change_the_recording(tmp_path: Path) -> None:
    """Played in one piece or by the second, the same rows come."""
    folder = lean_folder(tmp_path)
    whole, cut = Player(folder, DATE), Player(folder, DATE)
    expected = whole.advance(whole.session.last_ns)
    got = [cut.advance(at) for at in range(cut.session.first_ns, cut.session.last_ns + 1, 30 * SECOND_NS)]
    assert sum(len(part) for part in got) == len(expected)
    assert [at for part in got for at in part.at_ns.tolist()] == expected.at_ns.tolist()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("34200600,101000,100,N,1", "5 fields where 6 are expected"),
        ("34200600,x,100,N,1,0", "price is 'x', which is not a number"),
        ("99999999999,101000,100,N,1,0", "time must lie in"),
        ("34200100,101000,100,N,1,0", "time goes back"),
        ("34200600,-5,100,N,1,0", "price must be above 0"),
        ("34200600,101000,100,?,1,0", "exchange is not a known letter"),
        ("34200600,101000,100,N,zz,0", "condition is not a hexadecimal number"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    """Whoever has to repair the file must not have to search for the place."""
    folder = lean_folder(tmp_path, trades=[TRADES[0], line])
    with pytest.raises(DamagedFile, match=r"abc-20131008_trade\.zip, line 2") as caught:
        Player(folder, DATE)
    assert why in str(caught.value)


def test_a_file_that_is_no_zip_or_is_empty_is_named(tmp_path: Path) -> None:
    """Cut downloads are the commonest damage."""
    folder = lean_folder(tmp_path)
    path = folder / "tick" / "abc-20131008_trade.zip"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DamagedFile, match=r"abc-20131008_trade.zip: not a readable zip"):
        Player(folder, DATE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("abc.csv", "\n".join(TRADES))
    whole = path.read_bytes()
    path.write_bytes(whole[:40] + b"\xff" * 10 + whole[50:])
    with pytest.raises(DamagedFile, match=r"abc-20131008_trade.zip: not a readable zip"):
        Player(folder, DATE)
    write_zip(folder, "tick", "abc-20131008_trade", [])
    with pytest.raises(DamagedFile, match="the file is empty"):
        Player(folder, DATE)


def test_a_day_that_is_not_there_tells_which_are(tmp_path: Path) -> None:
    """The error is also the list to choose from."""
    folder = lean_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="2013-10-08"):
        Player(folder, datetime.date(2013, 10, 9))
    assert player.dates(folder) == [datetime.date(2013, 10, 7), DATE]


def test_quotes_that_are_the_national_best_already_are_recognised(tmp_path: Path) -> None:
    """Read per exchange such a file is crossed for ever, because nobody withdraws; the last row of a side is the truth."""
    rows = []
    for step in range(40):
        price, exchange = 100_000 + 100 * ((step * 7) % 10), "NPQZ"[step % 4]
        at = OPEN_MS + step * 1_000
        rows += [f"{at},{price},100,0,0,{exchange},1,0", f"{at},0,0,{price + 100},100,{exchange},1,0"]
    day = Player(lean_folder(tmp_path, quotes=rows), DATE)
    assert day.notes["files whose quotes are the NBBO already"] == 1
    events = day.advance(day.session.last_ns)
    last = events.select(np.flatnonzero(events.kind == Kind.QUOTE)[-1:])
    assert last.price2[0] - last.price[0] == pytest.approx(0.01)


@pytest.mark.parametrize(("flags", "condition"), [(1, 0), (0x20000020, 14), (0x2000, 12), (0x1000000, 15), (0x80000020, 37)])
def test_lean_flags_become_the_most_restrictive_condition(flags: int, condition: int) -> None:
    """Several flags at once: any "no" wins."""
    assert lean.polygon_condition(flags) == condition


def test_vix_is_the_close_known_before_the_session_or_missing(tmp_path: Path) -> None:
    """Today's VIX close would be look-ahead; a year without data stays without."""
    (tmp_path / "daily").mkdir()
    (tmp_path / "daily" / "vix.csv").write_text("Date,vix\n2013-10-07,19.41\n2013-10-08,20.34\n2013-10-09,\n")
    assert player.vix_before(tmp_path, DATE) == 19.41
    assert player.vix_before(tmp_path, datetime.date(2013, 10, 10)) is None
    assert player.vix_before(tmp_path, datetime.date(2012, 10, 10)) is None
    (tmp_path / "daily" / "vix.csv").write_text("Date,vix\n2013-10-07,abc\n")
    with pytest.raises(DamagedFile, match=r"vix\.csv, line 2"):
        player.vix_before(tmp_path, DATE)


def flat_folder(folder: Path, trades: str) -> Path:
    at = session_of(datetime.date(2026, 3, 2)).open_ns
    quotes = "ticker,ask_exchange,ask_price,ask_size,bid_exchange,bid_price,bid_size,conditions,sip_timestamp\n"
    quotes += f"ABC,11,10.02,300,12,10.00,200,1,{at + 5}\nABC,11,0,0,12,10.00,200,1,{at + 6}\n"
    for kind, text in (("trades_v1", trades), ("quotes_v1", quotes)):
        path = folder / "us_stocks_sip" / kind / "2026" / "03" / "2026-03-02.csv.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(text.encode()))
    return folder


def test_polygon_flat_files_play(tmp_path: Path) -> None:
    """Conditions in a quoted list, decimal sizes, rows of other tickers left out."""
    at = session_of(datetime.date(2026, 3, 2)).open_ns
    head = "ticker,conditions,correction,exchange,id,participant_timestamp,price,sequence_number,sip_timestamp,size,tape\n"
    text = (
        head
        + f'XYZ,,0,4,1,{at},5,1,{at + 1},1,1\nABC,"14,37",0,12,2,{at},10.01,2,{at + 9},0.5,3\nABC,,0,12,3,{at},10.02,3,{at + 10},100,3\n'
    )
    day = Player(flat_folder(tmp_path, text), datetime.date(2026, 3, 2), frozenset({"ABC"}))
    events = day.advance(day.session.last_ns)
    assert day.symbols == ("ABC",)
    kinds = [Kind(kind).name for kind in events.kind.tolist()]
    assert kinds == ["QUOTE", "TRADE", "TRADE", "SECOND_BAR", "MINUTE_BAR"]
    assert events.size[1] == 0.5
    assert (events.condition[1], events.size[3], events.price[3]) == (37, 100.5, 10.02)
    assert restricting("14,37,2") == 37
    assert player.dates(tmp_path) == [datetime.date(2026, 3, 2)]


def test_a_damaged_flat_file_is_named(tmp_path: Path) -> None:
    """Line numbers count the header; a missing column is named."""
    head = "ticker,conditions,exchange,price,sip_timestamp,size\n"
    folder = flat_folder(tmp_path, head + "ABC,,12,10.0,1772461800000000001,5\nABC,,12,ten,1772461800000000001,5\n")
    with pytest.raises(DamagedFile, match=r"2026-03-02.csv.gz, line 3: price is 'ten'"):
        Player(folder, datetime.date(2026, 3, 2))
    path = folder / "us_stocks_sip" / "trades_v1" / "2026" / "03" / "2026-03-02.csv.gz"
    path.write_bytes(gzip.compress(b"ticker,price\nABC,1\n"))
    with pytest.raises(DamagedFile, match="columns missing: conditions, exchange, sip_timestamp, size"):
        Player(folder, datetime.date(2026, 3, 2))
    path.write_bytes(b"plain")
    with pytest.raises(DamagedFile, match="not a readable gzip"):
        Player(folder, datetime.date(2026, 3, 2))


@pytest.mark.parametrize("folder", REAL_FOLDERS)
def test_the_real_day_has_a_sane_market(folder: Path) -> None:
    """AIG, BAC, IBM and SPY of 8 October 2013: hardly ever crossed, minute volumes as the sample's own minute files say."""
    day = Player(folder, DATE)
    events = day.advance(day.session.last_ns)
    assert day.symbols == ("AIG", "BAC", "IBM", "SPY")
    quotes = events.select(np.flatnonzero(events.kind == Kind.QUOTE))
    assert (quotes.price > quotes.price2).mean() < 0.001
    assert day.vix is None
    bars = events.select(np.flatnonzero((events.kind == Kind.MINUTE_BAR) & (events.symbol == 0)))
    own = lean.minute_bars(folder, "AIG", DATE)
    _, mine, theirs = np.intersect1d(bars.at_ns - 60 * SECOND_NS, own.start_ns, return_indices=True)
    assert np.isclose(bars.size[mine], own.volume[theirs]).mean() > 0.97
