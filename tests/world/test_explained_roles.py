"""Who asks why a signal was spoken is told which version decided, and by which weights."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.world.recordings import cut, record, signal, started
from tradingsystem.domain.signals import CutOutcome
from tradingsystem.world.explain import explain
from tradingsystem.world.explanation_page import lines_of


@pytest.mark.parametrize(("version", "told"), [(4, "it decided here"), (1, "this symbol is not among them")])
def test_a_cut_with_a_canary_says_who_decided(tmp_path: Path, version: int, told: str) -> None:
    """Two versions stand in the cut; the signal's own is the one that counts."""
    spoken = msgspec.structs.replace(signal(61), model=version)
    roles = {"canary": 4, "canary_percent": 10, "canary_outcome": CutOutcome.OK, "weights": 3}
    made = cut(61, first_seq=spoken.last_seq, last_seq=spoken.last_seq, **roles)
    record(tmp_path, [started(), [made], spoken])
    page = "\n".join(line for line, _ in lines_of(explain(tmp_path, spoken.id)))
    assert f"canary 4 for 10 % of the symbols: Ok; {told}" in page
    assert "weights of update 3" in page
