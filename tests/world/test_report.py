"""The page: complete in itself, honest on its face, and safe with whatever text comes from outside."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from tests.world.recordings import at, beat, fill, intent, quotes, record, signal, status, traded_day
from tradingsystem.bundles.promotion import Alarmed, Appeared, Event, Judged, Phase, Pinned, Probed, Promoted, Removed, TakenBack, Watched
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.domain.control import ModelsAssigned
from tradingsystem.domain.orders import Side
from tradingsystem.messages.codec import encode
from tradingsystem.world.day import Day, read_day
from tradingsystem.world.report import render, write_report


def own_part(page: str) -> str:
    """The page without plotly's own code."""
    start, end = page.index("<script>"), page.index("<script type='application/json'")
    return page[:start] + page[end:]


@pytest.fixture
def page(tmp_path: Path) -> str:
    """The report of the day on which everything went right."""
    target = tmp_path / "out" / "report.html"
    write_report(record(tmp_path, traded_day(), [quotes(0, [10.0] * 20)]), target)
    return target.read_text(encoding="utf-8")


def test_every_picture_is_there(page: str) -> None:
    """Equity, trades, funnel, profit, latency, refusals: each has a place and a figure for it."""
    figures = msgspec.json.decode(page.split("id='figures'>")[1].split("</script>")[0], type=dict[str, dict[str, object]])
    assert set(figures) == {"equity", "trades", "funnel", "results", "latency", "refusals"}
    for name, figure in figures.items():
        assert f"<div id='{name}'" in page
        assert figure["data"]


def test_the_label_is_on_its_face(page: str) -> None:
    """Nobody sees the money without what it is worth."""
    assert page.index("it says nothing about profit") < page.index("+0.98")


def test_what_was_copied_is_told_beside_what_was_not(tmp_path: Path) -> None:
    """The filter reads rows where the message lay; what it writes anew is counted and shown."""
    numbers = beat(bytes_moved=812_400_000.0, bytes_copied=3_000_000.0)
    write_report(record(tmp_path, [*traded_day(), numbers], [quotes(0, [10.0] * 20)]), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "812.4 MB of rows read where the message lay, 3.0 MB written anew" in page


def test_it_needs_nothing_but_itself(page: str) -> None:
    """Opened offline, or years later: no script, style, font or picture is fetched."""
    assert re.findall(r"""(?:src|href)\s*=\s*['"]""", own_part(page)) == []
    assert "http" not in own_part(page)
    assert "@import" not in page[: page.index("<script>")]


def test_text_from_outside_cannot_become_markup(tmp_path: Path) -> None:
    """A ticker is a venue's text: it may hold anything."""
    evil = "<script>alert(1)</script>"
    entries = [
        *traded_day(),
        signal(700, evil),
        intent("c-9", symbol=evil),
        fill("e8", "c-9", Side.BUY, 5, "10.00", 701, symbol=evil),
        fill("e9", "leg-9", Side.SELL, 5, "10.00", 702, symbol=evil),
        status(901, orders_refused={"</script><b>": 1}),
    ]
    written = render(read_day(record(tmp_path, entries)), {}, "an <i>honest</i> label", ('it\'s "wrong" <here>',))
    own = own_part(written)
    assert evil not in own
    assert "<i>" not in own
    assert "<here>" not in own
    assert own.count("<script") == 2


def test_what_does_not_agree_stands_on_top(tmp_path: Path) -> None:
    """A report of a failed day must not look like one of a good day."""
    target = tmp_path / "report.html"
    write_report(record(tmp_path, traded_day()), target, problems=("executions differ: fills 2, broker 3",))
    assert "executions differ: fills 2, broker 3" in target.read_text(encoding="utf-8")


def test_an_empty_day_is_a_page_without_pictures() -> None:
    """A run that was stopped before anything happened still has a report, and it says so."""
    written = render(Day(), {}, "nothing is known")
    assert "no day recorded" in written
    assert "<section>" not in written


def test_a_day_tells_what_became_of_model_versions(tmp_path: Path) -> None:
    """Tried, refused, promoted, taken back: each step of the journal in a row with its reason, in the order in which it happened."""
    steps: list[Event] = [
        Appeared(at(1), 4),
        Judged(at(2), 4, Refusal.NOT_BETTER, "it is better with probability 41 %"),
        Promoted(at(3), 4, "ada", "a <drill>"),
        Probed(at(4), 4, None, "golden vectors differ by 1e-07"),
        Watched(at(5), 5, Phase.SHADOW, 3_600),
        Alarmed(at(6), 5, Refusal.LIVE_LOSS, "evidence 900 to 1"),
        TakenBack(at(7), "ada", "enough"),
        Pinned(at(8), 3),
        Pinned(at(9), 0),
        Removed(at(10), (1, 2)),
    ]
    journal = [("journal.paper.promotion", encode(step)) for step in steps]
    roles = ("journal.paper.model", encode(ModelsAssigned(4, canary=5, canary_percent=10)))
    text = render(read_day(record(tmp_path, [*traded_day(), *journal, roles])), {}, "simulated")
    table = text[text.index("Model versions") : text.index("<footer>")]
    told = [
        "published",
        "refused at the gate: NotBetter: it is better with probability 41 %",
        "promoted by ada: a &lt;drill&gt;",
        "it loads and answers rightly: golden vectors differ by 1e-07",
        "scored unheard for 60 minutes of open market, without an alarm",
        "alarm: LiveLoss: evidence 900 to 1",
        "taken back by ada: enough",
        "pinned by the settings",
        "the pin was taken off",
        "1, 2",
        "serves; version 5 decides for 10 % of the symbols",
    ]
    places = [table.index(words) for words in told]
    assert places == sorted(places)
