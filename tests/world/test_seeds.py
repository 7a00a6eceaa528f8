"""What signals would have met is reckoned honestly: at the ask in, at the bid out, and not more than the limits allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tradingsystem.cli.seeds import seeds as command
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.rows import F32
from tradingsystem.world import seeds as world
from tradingsystem.world.seeds import DAYS_TO_JUDGE, ENTRIES_MAX, NOTIONAL, OPEN_MAX, Distribution, Played, SeedDay, _trades, findings, play


def quoted(path: list[float], spread: float = 0.02) -> tuple[F32, F32]:
    """Bids and asks of one symbol."""
    bid = np.array([path], np.float32)
    return bid, bid + np.float32(spread)


def test_a_round_trip_pays_the_spread_and_the_fee() -> None:
    """A price that never moves loses spread and fees, and is no hit."""
    bid, ask = quoted([100.0] * 4_000)
    ((hit, net),) = _trades([(10, 0)], bid, ask)
    assert not hit
    assert net == pytest.approx(-NOTIONAL * (0.02 / 100.02 + 0.00005), rel=1e-3)


@pytest.mark.parametrize(("jump", "hit"), [(1.0, True), (-1.0, False)])
def test_target_and_stop_are_met_at_the_bid(jump: float, hit: bool) -> None:
    """A jump is sold at the price that was there, better or worse than the level."""
    bid, ask = quoted([100.0] * 50 + [100.0 + jump] * 50)
    ((found, net),) = _trades([(10, 0)], bid, ask)
    assert found is hit
    assert np.sign(net) == np.sign(jump)


def test_limits_hold() -> None:
    """At most five at once, and twenty a day."""
    bid, ask = quoted([100.0] * 3_000)
    assert len(list(_trades([(10 + at, 0) for at in range(12)], bid, ask))) == OPEN_MAX
    long_bid, long_ask = quoted([100.0] * 60_000)
    assert len(list(_trades([(at * 1_900, 0) for at in range(30)], long_bid, long_ask))) == ENTRIES_MAX


def test_without_a_quote_nothing_is_bought() -> None:
    """A symbol without an ask cannot be entered."""
    bid, _ = quoted([100.0] * 100)
    assert list(_trades([(10, 0)], bid, np.full_like(bid, np.nan))) == []


def day(seed: int, edge: float, hits: int = 3, net: float = 1.0) -> SeedDay:
    """A made-up day of five trades; the oracle is right three times in five."""
    return SeedDay(seed=seed, edge=edge, signals=6, trades=5, hits=hits, net=net, oracle_hits=6, oracle_entries=10)


def many(edge: float, **values: float) -> Distribution:
    return Distribution(edge, tuple(day(seed, edge, **values) for seed in range(DAYS_TO_JUDGE)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (many(1.0, hits=3), []),
        (many(1.0, hits=4), ["hit rate is 0.800"]),
        (many(1.0, hits=2), ["hit rate is 0.400"]),
        (many(0.0, net=-0.01), []),
        (many(0.0, net=0.01), ["earns +0.01"]),
        (Distribution(0.0, many(0.0, net=5.0).days[1:]), []),
    ],
)
def test_what_cannot_be_is_found(found: Distribution, told: list[str]) -> None:
    """Better than can be known is as wrong as worse than chance; a profit out of nothing is wrong; too few days say nothing."""
    problems = findings([found])
    assert len(problems) == len(told)
    assert all(words in problem for words, problem in zip(told, problems, strict=True))


def test_the_command_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Days on disk are not played again, unless the market has another size; page and JSON are there after every run; what must not be is status 1."""
    asked: list[tuple[int, float]] = []

    def quick(jobs: Iterable[tuple[int, float]], symbols: int, processes: int) -> Iterator[SeedDay]:
        assert processes == 2
        for seed, edge in jobs:
            asked.append((seed, edge))
            yield day(seed, edge, net=-1.0 if edge == 0 else 2.0)

    monkeypatch.setattr(world, "play_all", quick)
    command(count=2, folder=tmp_path)
    assert asked == [(1, 1.0), (1, 0.0), (2, 1.0), (2, 0.0)]
    command(count=3, folder=tmp_path)
    assert asked[4:] == [(3, 1.0), (3, 0.0)]
    assert len(msgspec.json.decode((tmp_path / "seeds.json").read_bytes(), type=Played).days) == 6
    assert "Simulated: it says nothing about profit" in (tmp_path / "seeds.html").read_text()
    command(count=1, symbols=301, folder=tmp_path)
    assert asked[6:] == [(1, 1.0), (1, 0.0)]
    assert "no edge" in capsys.readouterr().out


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """It is not overwritten in silence."""
    (tmp_path / "seeds.json").write_text("[]")
    with pytest.raises(InvalidInput, match=r"seeds.json: not what this command keeps"):
        command(count=1, folder=tmp_path)


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_the_model_finds_what_is_planted_and_nothing_where_nothing_is() -> None:
    """Three days with the edge: hits lie between a loss and what can be known; the same days without it earn nothing beyond chance."""
    planted = Distribution(1.0, tuple(play(seed, 300, 1.0) for seed in (1, 2, 3)))
    nothing = Distribution(0.0, tuple(play(seed, 300, 0.0) for seed in (1, 2, 3)))
    assert planted.trades >= 10
    assert planted.hit_rate < planted.oracle + 3 * planted.hit_rate_error
    assert nothing.net_mean < 3 * nothing.net_error
