"""A sealed journal: whatever is done to one of its entries is found and named by its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingsystem.domain.seals import Seal, Sealer, Verified, Verifier

Written = list[tuple[str, bytes | Seal]]

STORE = "store-1"


def journal(sizes: list[int], lost: frozenset[int] = frozenset()) -> Written:
    """Entries with a seal after each group; a seal in ``lost`` was made and never came to be an entry."""
    sealer, entries = Sealer(STORE, None), Written()
    for number, size in enumerate(sizes):
        for _ in range(size):
            entries.append(("journal.desk.inbox", f"entry {len(entries) + 1}".encode()))
            sealer.add(len(entries), *entries[-1])  # type: ignore[arg-type]
        seal = sealer.seal()
        if number not in lost:
            entries.append(("journal.desk.seal", seal))
            sealer.add(len(entries), "journal.desk.seal", seal.digest)
    return entries


def verified(places: list[tuple[int, str, bytes | Seal]]) -> Verified:
    verifier = Verifier(STORE)
    for seq, subject, what in places:
        if isinstance(what, Seal):
            verifier.seal(what, seq)
        verifier.entry(seq, subject, what.digest if isinstance(what, Seal) else what)
    return verifier.verified


def numbered(entries: Written) -> list[tuple[int, str, bytes | Seal]]:
    return [(seq, subject, what) for seq, (subject, what) in enumerate(entries, start=1)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.frozensets(st.integers(0, 4)))
def test_what_was_written_is_as_it_was_written(sizes: list[int], lost: frozenset[int]) -> None:
    """Seals that were lost leave their entries to the next."""
    entries = journal(sizes, lost)
    found = verified(numbered(entries))
    assert found.problems == []
    assert found.entries == len(entries)


@settings(max_examples=200)
@given(st.data())
def test_whatever_is_done_to_an_entry_names_it(data: st.DataObject) -> None:
    """Altered, removed, exchanged with another: the place is in what is said."""
    places = numbered(journal(data.draw(st.lists(st.integers(2, 6), min_size=2, max_size=4))))
    plain = [at for at, (_, _, what) in enumerate(places) if not isinstance(what, Seal)]
    at = data.draw(st.sampled_from(plain))
    seq, subject, what = places[at]
    deed = data.draw(st.sampled_from(["altered", "renamed", "removed", "exchanged"]))
    if deed == "altered":
        assert isinstance(what, bytes)
        bit = data.draw(st.integers(0, 8 * len(what) - 1))
        places[at] = (seq, subject, bytes(byte ^ (1 << bit % 8 if place == bit // 8 else 0) for place, byte in enumerate(what)))
    elif deed == "renamed":
        places[at] = (seq, "journal.desk.latch", what)
    elif deed == "removed":
        del places[at]
    else:
        other = data.draw(st.sampled_from([each for each in plain if each != at]))
        places[at], places[other] = (seq, *places[other][1:]), (places[other][0], *places[at][1:])  # type: ignore[assignment]
    problems = verified(places).problems
    assert any(f"entry {seq} " in problem for problem in problems)
    assert len(problems) == (2 if deed == "exchanged" else 1)


def test_an_altered_seal_is_named() -> None:
    """A seal that fits nothing is not the entries' fault."""
    places = numbered(journal([3, 3]))
    seq, subject, seal = places[3]
    assert isinstance(seal, Seal)
    places[3] = (seq, subject, Seal(store=STORE, first_seq=1, last_seq=3, digest=b"\\0" * 32, marks=seal.marks))
    assert any("the seal itself was altered" in problem for problem in verified(places).problems)


def test_another_stores_seal_is_named() -> None:
    """A journal put together from two is none."""
    places = numbered(journal([3]))
    verifier = Verifier("store-2")
    for seq, subject, what in places:
        if isinstance(what, Seal):
            verifier.seal(what, seq)
        verifier.entry(seq, subject, what.digest if isinstance(what, Seal) else what)
    assert verifier.verified.problems == [f"the seal in entry 4 was made for store {STORE}, this is store-2"]


def test_an_entry_that_stands_behind_its_place_is_named() -> None:
    """Nothing is put in between."""
    places = numbered(journal([3]))
    places.insert(3, places[0])
    assert verified(places).problems == ["entry 1 (journal.desk.inbox) stands behind entry 3: moved, or put in"]


@pytest.mark.parametrize("count", [1, 5])
def test_a_sealer_goes_on_behind_the_newest_seal(count: int) -> None:
    """A restarted recorder makes the chain that a running one would have made."""
    one, two = Sealer(STORE, None), Sealer(STORE, None)
    for seq in range(1, 4):
        one.add(seq, "journal.desk.cut", b"x")
        two.add(seq, "journal.desk.cut", b"x")
    one.seal()
    later = Sealer(STORE, two.seal())
    assert later.last_seq == 3
    for seq in range(4, 4 + count):
        one.add(seq, "journal.desk.cut", b"y")
        later.add(seq, "journal.desk.cut", b"y")
    assert one.seal() == later.seal()
