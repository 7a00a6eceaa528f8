"""The monitor's judgement: silence, phases and disagreement are each named."""

from __future__ import annotations

import msgspec
import pytest

from tradingsystem.domain.control import Beat
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.monitor.view import Room, SystemView, filling

EXPECTED = ("execution", "filter")


def beat(service: str, applied_ns: int = 0) -> Beat:
    """A beat of a service that is well."""
    return Beat(
        service=service,
        instance="1",
        build="1",
        schema=1,
        boot_hash="a",
        live_generation=0,
        phase="ready",
        applied_ns=applied_ns,
        detail={},
    )


def view(*beats: Beat) -> SystemView:
    """A view that has heard these at time zero."""
    found = SystemView()
    for one in beats:
        found.hear(one, 0)
    return found


def test_all_well_is_silent() -> None:
    """No problem is reported when there is none."""
    assert view(beat("filter"), beat("execution")).problems(EXPECTED, NS_PER_SECOND) == []


def test_silence_is_named() -> None:
    """A service that was heard and is no more, and one that never was, are both named."""
    assert view(beat("filter")).problems(EXPECTED, 10 * NS_PER_SECOND) == [
        "execution has not been heard yet",
        "filter has been silent for 10 s",
    ]


def test_a_phase_other_than_ready_is_named() -> None:
    """Starting and failed services are problems."""
    failed = msgspec.structs.replace(beat("filter"), phase="failed")
    assert view(failed, beat("execution")).problems(EXPECTED, 0) == ["filter is failed"]


@pytest.mark.parametrize(("field", "value"), [("build", "2"), ("schema", 2), ("boot_hash", "b")])
def test_disagreement_is_named_with_both_sides(field: str, value: object) -> None:
    """One service of another build, schema or boot configuration is found and both values are shown."""
    other = msgspec.structs.replace(beat("filter"), **{field: value})
    (problem,) = view(other, beat("execution")).disagreements()
    assert f"disagree on {field}" in problem
    assert "filter" in problem
    assert "execution" in problem


def test_lag_is_the_slowest_that_applies_input() -> None:
    """Services that apply nothing do not count as infinitely late."""
    assert view(beat("filter", 90), beat("execution", 70), beat("models", 0)).applied_lag_ns(100) == 30


def test_what_fills_is_told_before_it_is_full() -> None:
    """At four fifths, unless much is left all the same; a store of unknown size is not judged."""
    rooms = {"the journal": Room(81, 100), "the disk": Room(79, 100), "a large disk": Room(900 << 30, 1000 << 30), "unknown": Room(5, 0)}
    (problem,) = filling(rooms)
    assert problem.startswith("the journal is 81 % full (0 MiB left)")
