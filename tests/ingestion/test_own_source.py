"""The example in the documentation is a source like ours: found by entry point, validated like every other."""

from __future__ import annotations

import asyncio
import importlib.util
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.adapters.listening import DAY, SessionClock
from tests.ingestion.test_service import serving
from tradingsystem.adapters import entry_points as announcing
from tradingsystem.adapters import own_sources
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.rows import RowKind
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.spec.sources import Channel, Source, SourceType

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_source.py"


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example as an installed package would announce it."""
    loader = importlib.util.spec_from_file_location("own_source", EXAMPLE)
    assert loader is not None
    assert loader.loader is not None
    module = importlib.util.module_from_spec(loader)
    monkeypatch.setitem(__import__("sys").modules, "own_source", module)
    loader.loader.exec_module(module)
    points = [
        EntryPoint("csv", "own_source:build", own_sources.GROUP),
        EntryPoint("broken", "own_source:absent", own_sources.GROUP),
        EntryPoint("number", "own_source:__doc__", own_sources.GROUP),
    ]
    monkeypatch.setattr(announcing, "entry_points", lambda **wanted: points if wanted == {"group": own_sources.GROUP} else [])


def test_the_example_is_short() -> None:
    """A feed of one's own takes some forty lines of code."""
    lines = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 45


@pytest.mark.usefixtures("announced")
def test_the_example_delivers_through_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows reach the tape, its absurd ones do not."""
    path = tmp_path / "mine.csv"
    path.write_text("symbol,price,size\nABC,10.1,5\nNOPE,1,1\nXYZ,10.2,7\nABC,-3,5\nABC,10.3,1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    spec = Source(name="mine", type=SourceType.CUSTOM, plugin="csv", channels=(Channel.TRADES,))

    async def scenario() -> None:
        clock = SessionClock(start_ns=DAY.open_ns + NS_PER_SECOND)
        source = own_sources.factory("csv")(spec, clock, "")
        async with serving([source], spec, clock=clock) as bench:
            await bench.until(lambda: len(bench.rows(RowKind.TRADE)) == 3)
            assert bench.ready.is_set()
        assert bench.rows(RowKind.TRADE) == [10.1, 10.2, 10.3]

    asyncio.run(scenario())


@pytest.mark.usefixtures("announced")
@pytest.mark.parametrize(
    ("plugin", "told"),
    [("missing", "known: broken, csv, number"), ("broken", "cannot be loaded"), ("number", "is not a function")],
)
def test_a_wrong_name_is_told_with_the_right_ones(plugin: str, told: str) -> None:
    """A plugin that cannot be used says why, and which there are."""
    with pytest.raises(InvalidInput, match=told):
        own_sources.factory(plugin)
