"""Client order ids: one decision, one id (invariant 2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.messages.identifiers import LENGTH_MAX, entry_id, exit_id, is_ours

words = st.text(max_size=60)
tickers = st.from_regex(r"[A-Z]{1,5}([.p][A-Z]{1,2})?", fullmatch=True)


@given(words, words, tickers, st.integers(1, 2), st.integers(1, 999))
def test_ids_fit_everywhere(system: str, decision: str, symbol: str, number: int, attempt: int) -> None:
    """At most 48 characters, one token of a subject, and known as ours."""
    for made in (entry_id(system, decision, symbol, number), exit_id(system, symbol, decision, "close", attempt)):
        assert len(made) <= LENGTH_MAX
        assert made.isascii()
        assert not set(made) & set(" .*>")
        assert is_ours(system, made)


@given(st.lists(st.tuples(words, tickers, st.integers(1, 2)), unique=True, max_size=30))
def test_two_decisions_never_share_an_id(decisions: list[tuple[str, str, int]]) -> None:
    """Different signals, symbols or numbers are different orders; the same are the same."""
    ids = [entry_id("desk", *decision) for decision in decisions]
    assert len(set(ids)) == len(ids)
    assert ids == [entry_id("desk", *decision) for decision in decisions]


def test_parts_cannot_be_shifted_into_each_other() -> None:
    """Reason and attempt are told apart from the position they belong to."""
    assert exit_id("desk", "AAA", "epoch1", "close", 1) != exit_id("desk", "AAA", "epoch", "1close", 1)
    assert not is_ours("desk", entry_id("desk2", "s", "AAA", 1))
