"""Which cuts count as the kill window's, and what is said when a promise did not hold."""

from __future__ import annotations

from tradingsystem.domain.signals import CutOutcome
from tradingsystem.world.inference_watch import InferenceWatch


def day(before: list[CutOutcome], after: list[CutOutcome]) -> InferenceWatch:
    """A day with a kill between."""
    watch = InferenceWatch()
    for outcome in before:
        watch.hear(outcome, 1.0)
    watch.killed_at = 2.0
    for place, outcome in enumerate(after):
        watch.hear(outcome, 3.0 + place)
    return watch


OK, LATE, FALLBACK, NONE = CutOutcome.OK, CutOutcome.LATE, CutOutcome.FALLBACK, CutOutcome.NONE


def test_the_window_ends_with_the_first_answer_of_the_server() -> None:
    """Fallbacks inside it are its purpose, those outside are counted against the server; cuts that asked nobody count nowhere."""
    watch = day([OK] * 97 + [NONE], [OK, FALLBACK, NONE, FALLBACK, OK, FALLBACK])
    assert watch.window == {FALLBACK: 2}
    assert watch.outside == {OK: 99, FALLBACK: 1}
    assert watch.share_percent == 99.0
    assert (watch.fell_back_at, watch.back_at) == (4.0, 7.0)
    assert watch.problems() == []


def test_what_did_not_hold_is_said() -> None:
    """A server that answers too little, a late cut while it was away, and one that never came back."""
    assert any("95 %" in problem for problem in day([OK] * 9 + [FALLBACK], [FALLBACK, OK]).problems())
    assert any("no answer within" in problem for problem in day([OK], [LATE, OK]).problems())
    assert any("come back" in problem for problem in day([OK], [FALLBACK]).problems())
    assert any("not killed" in problem for problem in InferenceWatch().problems())
