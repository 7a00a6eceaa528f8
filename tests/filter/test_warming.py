"""After the warm-up nothing compiles any more: a live batch and a built one are the same types to every kernel."""

from __future__ import annotations

from tests.filter.days import TapeMaker, spec_of
from tradingsystem.features import kernel
from tradingsystem.filter import tradability
from tradingsystem.filter.step import create, step
from tradingsystem.filter.warming import warm_up
from tradingsystem.market.applying import apply_rows
from tradingsystem.messages.batch import decode_batch, encode_batch


def test_a_warm_filter_does_not_compile() -> None:
    """Compiling takes seconds; it must not happen at the first live batch, the first touched row or the first full sweep."""
    warm_up()
    kernels = (apply_rows, kernel.compute, tradability._classify)
    before = [len(each.signatures) for each in kernels]  # type: ignore[attr-defined]
    state = create(spec_of())
    for index, batch in enumerate(TapeMaker(8).day(5, {1: 103.0})):
        step(state, [decode_batch(encode_batch(batch)) if index % 2 else batch])
    assert [len(each.signatures) for each in kernels] == before == [1, 1, 1]  # type: ignore[attr-defined]
