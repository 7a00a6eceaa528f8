"""The way to serving and back: whatever happens in whatever order, something serves, a bad candidate changes nothing, and the journal tells it all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradingsystem.bundles.promotion import (
    Alarmed,
    Appeared,
    Begun,
    Event,
    Judge,
    Judged,
    Phase,
    Pinned,
    Probed,
    ProbeVersion,
    Promoted,
    Removed,
    Rules,
    State,
    TakenBack,
    Watched,
    assignment,
    fold,
    kept,
    loaded,
    promotion_refused,
    rollback_refused,
    step,
    task,
)
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.domain.control import ModelsAssigned
from tradingsystem.messages.codec import decode, encode

RULES = Rules(shadow_minutes=60, canary_minutes=30, canary_percent=10)
BEGUN = Begun(1, serving=1, seen=1)


def walk(*events: Event, rules: Rules = RULES) -> State:
    """The state after these, from the first start with version 1."""
    return fold((BEGUN, *events), rules)


def to_canary(version: int) -> tuple[Event, ...]:
    """Everything that goes well, up to the canary."""
    return (
        Appeared(2, version),
        Judged(3, version, None, ""),
        Probed(4, version, None, ""),
        Watched(5, version, Phase.SHADOW, 3_600),
    )


def to_serving(version: int) -> tuple[Event, ...]:
    """And on to serving."""
    return (*to_canary(version), Watched(6, version, Phase.CANARY, 1_800))


def test_a_good_candidate_goes_all_the_way() -> None:
    """Each phase has its task and its roles; in the end it serves, the one before it is loaded and scored beside it."""
    state = walk()
    assert (state.serving, task(state), assignment(state, RULES)) == (1, None, ModelsAssigned(serving=1))
    state = step(state, Appeared(2, 2), RULES)
    assert (task(state), loaded(state), kept(state)) == (Judge(2), (1,), {1, 2})
    state = step(state, Judged(3, 2, None, ""), RULES)
    assert (task(state), loaded(state)) == (ProbeVersion(2, pin=False), (1, 2))
    state = step(state, Probed(4, 2, None, ""), RULES)
    assert assignment(state, RULES) == ModelsAssigned(serving=1, shadow=2)
    assert step(state, Watched(5, 2, Phase.SHADOW, 3_599), RULES) is state
    state = step(state, Watched(5, 2, Phase.SHADOW, 3_600), RULES)
    assert assignment(state, RULES) == ModelsAssigned(serving=1, canary=2, canary_percent=10)
    assert step(state, Watched(6, 2, Phase.SHADOW, 9_999), RULES) is state
    state = step(state, Watched(6, 2, Phase.CANARY, 1_800), RULES)
    assert (state.serving, state.previous, state.trial, loaded(state)) == (2, 1, None, (1, 2))
    assert assignment(state, RULES) == ModelsAssigned(serving=2, shadow=1)


@pytest.mark.parametrize(
    ("rules", "roles"),
    [
        (Rules(shadow_minutes=0, canary_minutes=30, canary_percent=10), ModelsAssigned(serving=1, canary=2, canary_percent=10)),
        (Rules(shadow_minutes=0, canary_minutes=30, canary_percent=0), ModelsAssigned(serving=2, shadow=1)),
        (Rules(shadow_minutes=0, canary_minutes=0, canary_percent=10), ModelsAssigned(serving=2, shadow=1)),
    ],
)
def test_a_phase_of_no_length_is_left_out(rules: Rules, roles: ModelsAssigned) -> None:
    """Who wants no shadow or no canary has none, and is never stuck in it."""
    state = walk(Appeared(2, 2), Judged(3, 2, None, ""), Probed(4, 2, None, ""), rules=rules)
    assert assignment(state, rules) == roles


BAD: list[tuple[Event, ...]] = [
    (Appeared(2, 2), Judged(3, 2, Refusal.CORRUPT, "golden.npz")),
    (Appeared(2, 2), Judged(3, 2, Refusal.NOT_BETTER, "0.61")),
    (Appeared(2, 2), Judged(3, 2, None, ""), Probed(4, 2, Refusal.TOO_SLOW, "12 ms")),
    (Appeared(2, 2), Judged(3, 2, None, ""), Probed(4, 2, None, ""), Alarmed(5, 2, Refusal.SHADOW_DISAGREES, "")),
    (*to_canary(2), Alarmed(6, 2, Refusal.LIVE_LOSS, "")),
]


@pytest.mark.parametrize("events", BAD)
def test_a_bad_candidate_changes_nothing_but_what_is_said(events: tuple[Event, ...]) -> None:
    """Wherever it fails: what served serves, nothing of it stays loaded, and its reason has a name."""
    state = walk(*events)
    assert assignment(state, RULES) == ModelsAssigned(serving=1)
    assert loaded(state) == (1,)
    verdict = state.verdict(2)
    assert verdict is not None
    assert verdict.refusal is [event.refusal for event in events if isinstance(event, Judged | Probed | Alarmed)][-1]


def test_one_that_turns_bad_is_taken_back_and_not_tried_again() -> None:
    """The pointer moves at once; the same number never comes up again by itself, a person may still want it."""
    state = walk(*to_serving(2), Alarmed(7, 2, Refusal.LIVE_LOSS, "0.2 worse"))
    assert assignment(state, RULES) == ModelsAssigned(serving=1)
    assert state.rolled_back is not None
    assert state.rolled_back.refusal is Refusal.LIVE_LOSS
    assert step(state, Appeared(8, 2), RULES) is state
    state = step(state, Promoted(9, 2, "ada", "checked"), RULES)
    assert task(state) == ProbeVersion(2, pin=False)
    state = step(state, Probed(10, 2, None, ""), RULES)
    assert (state.serving, state.previous, state.verdict(2)) == (2, 1, None)


def test_an_alarm_without_anything_to_go_back_to_moves_nothing() -> None:
    """The first version has none before it, and a pinned one was pinned by a person."""
    state = walk()
    assert step(state, Alarmed(2, 1, Refusal.DRIFT, ""), RULES) is state
    state = walk(*to_serving(2), Pinned(7, 2), Probed(8, 2, None, "", pin=True))
    assert step(state, Alarmed(9, 2, Refusal.LIVE_LOSS, ""), RULES) is state


def test_a_person_takes_back_and_promotes_with_a_reason() -> None:
    """Past gate, shadow and canary, but never past the golden vectors."""
    state = walk(*to_serving(2), TakenBack(7, "ada", "looks odd"))
    assert state.serving == 1
    verdict = state.verdict(2)
    assert verdict is not None
    assert (verdict.refusal, verdict.detail) == (Refusal.ROLLED_BACK, "by ada: looks odd")
    assert "no version before it" in rollback_refused(state)
    assert step(state, TakenBack(8, "ada", "again"), RULES) is state
    state = step(state, Promoted(9, 2, "ada", "was fine"), RULES)
    state = step(state, Probed(10, 2, Refusal.WRONG_ANSWERS, ""), RULES)
    assert (state.serving, state.trial) == (1, None)
    assert "serves already" in promotion_refused(state, 1)


def test_a_pin_goes_before_everything_and_leaves_no_trace() -> None:
    """It ends a trial and holds candidates back; taken off, promotion's choice serves again and the newest candidate is tried."""
    state = walk(*to_serving(2), *to_canary(3), Pinned(7, 1))
    assert state.verdict(3) is not None
    assert (state.serving, task(state)) == (2, ProbeVersion(1, pin=True))
    state = step(state, Probed(8, 1, None, "", pin=True), RULES)
    assert assignment(state, RULES) == ModelsAssigned(serving=1)
    for version in (4, 5):
        state = step(state, Appeared(9, version), RULES)
    assert state.trial is None
    superseded = state.verdict(4)
    assert superseded is not None
    assert superseded.refusal is Refusal.SUPERSEDED
    assert "pinned" in rollback_refused(state)
    state = step(state, Pinned(10, 0), RULES)
    assert (state.serving, state.previous, task(state)) == (2, 1, Judge(5))


def test_a_pin_that_is_not_there_leaves_what_serves() -> None:
    """Also an earlier pin: nothing flips on the way to a version that does not exist."""
    state = walk(*to_serving(2), Pinned(7, 1), Probed(8, 1, None, "", pin=True), Pinned(9, 99))
    state = step(state, Probed(10, 99, Refusal.VERSION_NOT_FOUND, "no such version", pin=True), RULES)
    assert (state.serving, task(state)) == (1, None)
    verdict = state.verdict(99)
    assert verdict is not None
    assert verdict.refusal is Refusal.VERSION_NOT_FOUND


def test_a_late_answer_about_another_version_is_nothing() -> None:
    """Answers come when they come; only the one that is waited for moves the machine."""
    state = walk(*to_canary(2), Alarmed(6, 2, Refusal.LIVE_LOSS, ""), Appeared(7, 3))
    for late in (Judged(8, 2, None, ""), Probed(8, 3, None, ""), Watched(8, 2, Phase.CANARY, 9_999), Probed(8, 3, None, "", pin=True)):
        assert step(state, late, RULES) is state


VERSIONS = st.integers(1, 6)
REFUSALS = st.sampled_from([None, None, Refusal.CORRUPT, Refusal.TOO_SLOW, Refusal.VERSION_NOT_FOUND])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Appeared, st.just(2), VERSIONS),
    st.builds(Judged, st.just(2), VERSIONS, REFUSALS, st.just("why")),
    st.builds(Probed, st.just(2), VERSIONS, REFUSALS, st.just("why"), st.booleans()),
    st.builds(Watched, st.just(2), VERSIONS, st.sampled_from([Phase.SHADOW, Phase.CANARY]), st.sampled_from([10, 7_200])),
    st.builds(Alarmed, st.just(2), VERSIONS, st.just(Refusal.LIVE_LOSS), st.just("why")),
    st.builds(Pinned, st.just(2), st.integers(0, 6)),
    st.builds(Promoted, st.just(2), VERSIONS, st.just("ada"), st.just("because")),
    st.builds(TakenBack, st.just(2), st.just("ada"), st.just("because")),
    st.builds(Removed, st.just(2), st.tuples(VERSIONS)),
)


def asked_for(state: State) -> tuple[Event, ...]:
    """The good answer to what the machine waits for: keeps random walks from ending in the first phase."""
    match task(state):
        case Judge(version):
            return (Judged(2, version, None, ""),)
        case ProbeVersion(version, pin):
            return (Probed(2, version, None, "", pin),)
        case _:
            return ()


@given(st.lists(st.tuples(EVENTS, st.booleans()), max_size=40))
def test_whatever_happens_something_that_is_loaded_serves(walked: list[tuple[Event, bool]]) -> None:
    """After every event: a version serves and is loaded, so is every other that has a role or could be gone back to; one event flips at most once and only
    to a version that was loaded before; nothing that was refused serves by itself again; and the journal gives the same state."""
    state = walk()
    journal: list[Event] = [BEGUN]
    refused: set[int] = set()
    for drawn, answered in walked:
        for event in (*(asked_for(state) if answered else ()), drawn):
            before, state = state, step(state, event, RULES)
            if state is not before:
                journal.append(event)
            roles = assignment(state, RULES)
            assert state.serving > 0
            assert {state.serving, state.chosen, roles.serving, *({roles.canary, roles.shadow, state.previous} - {0})} <= set(loaded(state))
            assert set(loaded(state)) <= kept(state)
            assert roles.canary != state.serving
            assert roles.shadow != state.serving
            if state.serving != before.serving:
                assert state.serving in (*loaded(before), before.pinned)
            if isinstance(event, Promoted):
                refused.discard(event.version)
            if isinstance(event, Alarmed | TakenBack) and state is not before and state.rolled_back is not before.rolled_back:
                refused.add(before.chosen)
            if not state.pin_serves:
                assert state.chosen not in refused
            if state.previous and not state.pinned:
                assert step(state, TakenBack(2, "ada", "because"), RULES).serving == state.previous
    assert fold((decode(encode(event), Event) for event in journal), RULES) == state
