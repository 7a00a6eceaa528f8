"""Validation believes what is plausible, refuses the rest by reason, and repairs nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.domain.control import SymbolFact
from tradingsystem.domain.rows import LAYOUT, RowFlag, RowKind, Rows, concatenate, empty
from tradingsystem.domain.time import NS_PER_MINUTE, NS_PER_SECOND
from tradingsystem.ingestion.reasons import Reason
from tradingsystem.ingestion.validation import Limits, Validator, scaled

NOW = 1_795_186_800 * NS_PER_SECOND
PRICE = 10.0
ALL = RowFlag.UPDATES_LAST | RowFlag.UPDATES_HIGH_LOW | RowFlag.UPDATES_VOLUME


def validator() -> Validator:
    facts = [SymbolFact(name, "CS", "XNYS", close, 1e6, 0.02) for name, close in (("ABC", PRICE), ("XYZ", float("nan")))]
    return Validator(facts, Limits())


def row(kind: RowKind, *values: float, symbol: int = 0, at_ns: int = NOW, flags: int = 0) -> Rows:
    made = empty(1)
    made.kind[0], made.symbol[0], made.at_ns[0], made.flags[0] = kind, symbol, at_ns, flags
    for column, value in zip((made.v0, made.v1, made.v2, made.v3, made.v4, made.v5), values, strict=False):
        column[0] = value
    return made


GOOD = {
    RowKind.TRADE: (10.0, 100.0),
    RowKind.QUOTE: (9.99, 10.01, 100.0, 200.0),
    RowKind.SECOND_BAR: (10.0, 10.1, 9.9, 10.0, 500.0, 10.02),
    RowKind.MINUTE_BAR: (10.0, 10.1, 9.9, 10.0, 500.0, float("nan")),
    RowKind.LULD: (9.5, 10.5),
    RowKind.INDEX: (17.5,),
    RowKind.FLOW: (1e5, 6e4, 2e4, 50.0, 1.0),
    RowKind.HALT: (),
    RowKind.RESUME: (),
}


@pytest.mark.parametrize("kind", list(RowKind))
def test_a_good_row_of_each_kind_is_believed(kind: RowKind) -> None:
    """No rule refuses an ordinary row; a bar without VWAP is ordinary."""
    verdict = validator().check(row(kind, *GOOD[kind]), NOW)
    assert (len(verdict.rows), verdict.refused) == (1, {})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(RowKind.TRADE, 0.0, 100.0), Reason.NOT_POSITIVE),
        (row(RowKind.TRADE, -1.0, 100.0), Reason.NOT_POSITIVE),
        (row(RowKind.TRADE, float("nan"), 100.0), Reason.NOT_FINITE),
        (row(RowKind.TRADE, 10.0, float("inf")), Reason.NOT_FINITE),
        (row(RowKind.TRADE, 10.0, 0.0), Reason.BAD_SIZE),
        (row(RowKind.TRADE, 16.0, 100.0), Reason.JUMP),
        (row(RowKind.TRADE, 6.0, 100.0), Reason.JUMP),
        (row(RowKind.TRADE, 10.0, 100.0, symbol=2), Reason.UNKNOWN_SYMBOL),
        (row(RowKind.TRADE, 10.0, 100.0, symbol=-1), Reason.UNKNOWN_SYMBOL),
        (row(RowKind.TRADE, 10.0, 100.0, at_ns=5), Reason.BAD_TIME),
        (row(RowKind.TRADE, 10.0, 100.0, at_ns=NOW + 3 * NS_PER_SECOND), Reason.FROM_FUTURE),
        (row(RowKind.TRADE, 10.0, 100.0, at_ns=NOW - 15 * NS_PER_MINUTE), Reason.LATE),
        (row(RowKind.QUOTE, 10.02, 10.01, 1.0, 1.0), Reason.CROSSED),
        (row(RowKind.QUOTE, 0.0, 10.01, 1.0, 1.0), Reason.ONE_SIDED),
        (row(RowKind.QUOTE, 9.99, 0.0, 1.0, 1.0), Reason.ONE_SIDED),
        (row(RowKind.QUOTE, 9.99, 10.0, -1.0, 1.0), Reason.BAD_SIZE),
        (row(RowKind.QUOTE, 20.0, 20.1, 1.0, 1.0), Reason.JUMP),
        (row(RowKind.SECOND_BAR, 10.0, 9.8, 9.9, 10.0, 5.0, 10.0), Reason.BAD_BAR),
        (row(RowKind.SECOND_BAR, 10.0, 10.1, 10.05, 10.0, 5.0, 10.0), Reason.BAD_BAR),
        (row(RowKind.SECOND_BAR, 10.0, 10.1, 9.9, 10.0, 5.0, 12.0), Reason.BAD_BAR),
        (row(RowKind.SECOND_BAR, 10.0, 10.1, 9.9, 10.0, -5.0, 10.0), Reason.BAD_SIZE),
        (row(RowKind.LULD, 10.5, 9.5), Reason.BAD_BAND),
        (row(RowKind.LULD, 0.0, 9.5), Reason.BAD_BAND),
        (row(RowKind.INDEX, 0.0), Reason.BAD_INDEX),
        (row(RowKind.FLOW, -1.0, 0.0, 0.0, 0.0, 1.0), Reason.BAD_SIZE),
    ],
)
def test_each_fault_has_its_reason(bad: Rows, reason: Reason) -> None:
    """The reason counted is the one that names the fault."""
    assert validator().check(bad, NOW).refused == {reason: 1}


def test_order_is_kept_per_symbol_and_kind() -> None:
    """An older quote or bar never replaces a newer one; a bar twice is one bar; trades may overtake a little."""
    judge = validator()
    second = NS_PER_SECOND
    first = concatenate([row(RowKind.QUOTE, *GOOD[RowKind.QUOTE]), row(RowKind.SECOND_BAR, *GOOD[RowKind.SECOND_BAR])])
    assert judge.check(first, NOW).refused == {}
    again = concatenate(
        [
            row(RowKind.QUOTE, *GOOD[RowKind.QUOTE], at_ns=NOW - 1),
            row(RowKind.SECOND_BAR, *GOOD[RowKind.SECOND_BAR]),
            row(RowKind.SECOND_BAR, *GOOD[RowKind.SECOND_BAR], at_ns=NOW - second),
            row(RowKind.TRADE, 10.0, 1.0, flags=ALL),
            row(RowKind.TRADE, 10.0, 1.0, at_ns=NOW - second),
            row(RowKind.TRADE, 10.0, 1.0, at_ns=NOW - 3 * second),
            row(RowKind.QUOTE, 99.0, 99.1, 1.0, 1.0, symbol=1, at_ns=NOW - second),
        ]
    )
    verdict = judge.check(again, NOW)
    assert verdict.refused == {Reason.OUT_OF_ORDER: 3, Reason.DUPLICATE: 1}
    assert verdict.rows.kind.tolist() == [RowKind.TRADE, RowKind.TRADE, RowKind.QUOTE]


def test_a_real_gap_in_price_is_believed_when_confirmed() -> None:
    """One wild print is refused, three that agree are the market."""
    judge = validator()
    wild = [row(RowKind.TRADE, price, 1.0, flags=ALL) for price in (20.0, 20.1, 20.05, 20.2)]
    assert [len(judge.check(one, NOW).rows) for one in wild] == [0, 0, 1, 1]
    assert judge.reference[0] == 20.2


def test_wild_prints_that_disagree_confirm_nothing() -> None:
    """Three different absurd prices do not add up to a market."""
    judge = validator()
    assert [len(judge.check(row(RowKind.TRADE, price, 1.0), NOW).rows) for price in (20.0, 40.0, 80.0, 20.0)] == [0] * 4


def test_a_locked_market_is_tolerated_for_a_while() -> None:
    """Bid equal to ask happens; bid equal to ask for long is a stuck feed."""
    judge = validator()
    locked = [row(RowKind.QUOTE, 10.0, 10.0, 1.0, 1.0, at_ns=NOW + at * NS_PER_SECOND) for at in (0, 4, 6)]
    verdicts = [judge.check(one, NOW + 6 * NS_PER_SECOND).refused for one in locked]
    assert verdicts == [{}, {}, {Reason.LOCKED: 1}]
    assert judge.check(row(RowKind.QUOTE, 9.99, 10.0, 1.0, 1.0, at_ns=NOW + 6 * NS_PER_SECOND), NOW + 6 * NS_PER_SECOND).refused == {}


def test_backfill_is_old_on_purpose_and_leaves_no_trace() -> None:
    """Fetched history passes the time rules and does not make live rows look out of order."""
    judge = validator()
    old = row(RowKind.MINUTE_BAR, *GOOD[RowKind.MINUTE_BAR], at_ns=NOW - 60 * NS_PER_MINUTE, flags=RowFlag.BACKFILL)
    assert judge.check(old, NOW).refused == {}
    assert judge.last_at_ns.max() == 0


def test_scaled_limits_never_shrink() -> None:
    """At high speed the skew and lateness limits widen with it; at speed 1 they are the plain ones."""
    assert scaled(Limits(), 1.0) == Limits()
    fast = scaled(Limits(), 1_000.0)
    assert fast.late_ns == 2_000 * NS_PER_SECOND
    assert fast.future_ns == 100 * NS_PER_SECOND


_number = st.floats() | st.sampled_from([0.0, -1.0, 9.99, 10.0, 10.01, float("nan"), float("inf"), 1e300])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 12), st.integers(0, 15), st.integers(-3, 4), st.integers(-(10**11), 10**11) | st.integers(-(2**62), 2**61),
            st.tuples(*[_number] * 6),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_every_believed_row_is_finite_and_plausible(raw: list[tuple[int, int, int, int, tuple[float, ...]]]) -> None:
    """Whatever comes in, what goes on has finite values where its kind has values, positive prices, an ordered book and a known symbol; and each
    row is either believed or counted."""
    rows = empty(len(raw))
    for position, (kind, flags, symbol, offset, values) in enumerate(raw):
        rows.kind[position], rows.flags[position], rows.symbol[position] = kind, flags, symbol
        rows.at_ns[position] = NOW + offset if abs(offset) < 2**61 else offset
        for column, value in zip((rows.v0, rows.v1, rows.v2, rows.v3, rows.v4, rows.v5), values, strict=True):
            column[position] = value
    verdict = validator().check(rows, NOW)
    believed = verdict.rows
    assert len(believed) + sum(verdict.refused.values()) == len(raw)
    for position in range(len(believed)):
        kind = RowKind(int(believed.kind[position]))
        values = [float(column[position]) for column in (believed.v0, believed.v1, believed.v2, believed.v3, believed.v4, believed.v5)]
        named = dict(zip(LAYOUT[kind], values, strict=False))
        named.pop("vwap", None)
        assert np.isfinite(list(named.values())).all()
        assert -1 <= believed.symbol[position] < 2 or kind is RowKind.INDEX
        if kind is RowKind.QUOTE:
            assert 0 < named["bid"] <= named["ask"]
        for price in ("price", "open", "high", "low", "close", "lower_band", "value"):
            assert named.get(price, 1.0) > 0
