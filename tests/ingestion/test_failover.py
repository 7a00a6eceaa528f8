"""One source is heard per kind of row, never two."""

from __future__ import annotations

from tradingsystem.domain.rows import RowKind
from tradingsystem.ingestion.failover import LEAVE_AFTER_NS, RETURN_AFTER_NS, Carrier, Failover, carriers_of
from tradingsystem.spec.sources import Channel, Source, SourceType

TRADE, QUOTE, BAR, INDEX = RowKind.TRADE, RowKind.QUOTE, RowKind.MINUTE_BAR, RowKind.INDEX


def failover() -> Failover:
    made = Failover([Carrier("first", frozenset({TRADE, BAR})), Carrier("second", frozenset({TRADE, QUOTE}))], 0)
    made.told("first", healthy=True, machine_ns=0)
    made.told("second", healthy=True, machine_ns=0)
    return made


def test_the_first_that_carries_a_kind_serves_it() -> None:
    """The spec's order decides; the second source's trades do not count while the first lives."""
    one = failover()
    assert one.all_heard() == {"trade": "first", "minute_bar": "first", "quote": "second"}
    assert one.mask("first") is None
    mask = one.mask("second")
    assert mask is not None
    assert (mask[TRADE], mask[QUOTE]) == (False, True)


def test_a_short_loss_moves_nothing() -> None:
    """A reconnect is cheaper than two changes of source."""
    one = failover()
    one.told("first", healthy=False, machine_ns=100)
    assert one.review(100 + LEAVE_AFTER_NS - 1) == ()


def test_a_loss_moves_what_another_can_serve_and_health_brings_it_back() -> None:
    """Trades go to the second source; bars stay, since nobody else has them; the way back takes longer than the way out."""
    one = failover()
    one.told("first", healthy=False, machine_ns=0)
    assert one.review(LEAVE_AFTER_NS) == (TRADE,)
    assert (one.heard(TRADE), one.heard(BAR)) == ("second", "first")
    assert one.mask("second") is None
    one.told("first", healthy=True, machine_ns=2 * LEAVE_AFTER_NS)
    assert one.review(2 * LEAVE_AFTER_NS + RETURN_AFTER_NS - 1) == ()
    assert one.review(2 * LEAVE_AFTER_NS + RETURN_AFTER_NS) == (TRADE,)
    assert one.heard(TRADE) == "first"


def test_nobody_healthy_means_nobody_moves() -> None:
    """From one dead source to another is no improvement."""
    one = failover()
    for name in ("first", "second"):
        one.told(name, healthy=False, machine_ns=0)
    assert one.review(10**12) == ()


def test_carriers_follow_the_channels_of_the_spec() -> None:
    """Polygon's indices have a health of their own; Alpaca has no second bars; a source without channels carries all its type can."""
    polygon = Source(name="polygon", type=SourceType.POLYGON, channels=(Channel.TRADES, Channel.INDICES))
    alpaca = Source(name="backup", type=SourceType.ALPACA)
    flow = Source(name="flow", type=SourceType.UNUSUAL_WHALES)
    carriers = {carrier.name: carrier.kinds for carrier in carriers_of([polygon, alpaca, flow])}
    assert carriers["polygon"] == {TRADE, RowKind.SECOND_BAR}
    assert carriers["polygon-indices"] == {INDEX}
    assert carriers["backup"] == {TRADE, QUOTE, BAR, RowKind.LULD, RowKind.HALT, RowKind.RESUME}
    assert carriers["flow"] == {RowKind.FLOW}
