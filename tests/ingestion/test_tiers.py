"""Who gets trades and quotes: held before candidates, never more than the limit, and not on and off with every flicker."""

from __future__ import annotations

from tradingsystem.ingestion.tiers import LINGER_NS, Tiers


def tiers(limit: int = 3) -> Tiers:
    return Tiers(("execution", "filter"), ("A", "B", "C", "D"), limit)


def test_wishes_add_up_and_unknown_names_are_ignored() -> None:
    """Both publishers are served; a symbol outside the table or a stranger's wish is nobody's."""
    one = tiers()
    one.heard("execution", ["A", "nope"], 0)
    one.heard("filter", ["B"], 0)
    one.heard("stranger", ["C"], 0)
    assert one.detailed(0) == {"A", "B"}


def test_what_is_held_comes_first() -> None:
    """When there is no room for all, positions keep their quotes and candidates lose theirs."""
    one = tiers(limit=2)
    one.heard("filter", ["A", "B", "C"], 0)
    one.heard("execution", ["D"], 0)
    assert one.detailed(0) == {"D", "A"}
    assert one.turned_away == 2


def test_a_wish_lingers() -> None:
    """A symbol that is no longer wanted stays for a while, unless its place is needed."""
    one = tiers()
    one.heard("filter", ["A"], 0)
    one.heard("filter", ["B"], 100)
    assert one.detailed(100) == {"A", "B"}
    assert one.detailed(100 + LINGER_NS) == {"B"}


def test_a_silent_publisher_keeps_its_wish() -> None:
    """Execution that restarts still holds what it held."""
    one = tiers()
    one.heard("execution", ["A"], 0)
    assert one.detailed(10**18) == {"A"}
