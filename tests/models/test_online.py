"""Online weights between the filter's outcomes and the tape: only what counts is learned from, every update has its number, one act takes it back."""

from __future__ import annotations

import msgspec
import numpy as np

from tests.filter.days import manifest
from tradingsystem.bundles.manifest import Manifest
from tradingsystem.domain.control import WeightsUpdated
from tradingsystem.domain.outcomes import Outcome, Role
from tradingsystem.ensemble.online import FLOOR, UPDATE_ROWS
from tradingsystem.models.online import OnlineWeights

MEMBERS = manifest().members


def outcomes(count: int, *, version: int = 1, role: Role = Role.SERVING, seed: int = 1) -> list[Outcome]:
    """Closed predictions of which the third member is always right."""
    chance = np.random.default_rng(seed)
    found = []
    for number in range(count):
        label = int(chance.random() < 0.5)
        members = (*chance.uniform(0.3, 0.7, 2).tolist(), 0.8 if label else 0.2)
        found.append(
            Outcome(
                model=version, role=role, symbol=f"S{number % 50}", at_ns=number * 10**12, closed_ns=0, p=0.5, members=members, label=label
            )
        )
    return found


def learner(*, enabled: bool = True, members: tuple[str, ...] = MEMBERS, bundle: Manifest | None = None) -> OnlineWeights:
    """A learner of a system whose first version serves."""
    online = OnlineWeights(enabled=enabled, members=members)
    assert online.serve(bundle or manifest()) is None
    return online


def updated(online: OnlineWeights, seed: int = 1) -> WeightsUpdated:
    """The next update."""
    online.hear(outcomes(UPDATE_ROWS, seed=seed))
    note = online.due()
    assert note is not None
    return note


def test_an_update_is_due_when_enough_was_heard() -> None:
    """One prediction short there is none; then one, numbered, whose weights turn to the member that was right, within their bounds."""
    online = learner()
    online.hear(outcomes(UPDATE_ROWS - 1))
    assert online.due() is None
    online.hear(outcomes(1, seed=2))
    note = online.due()
    assert note is not None
    assert (note.model, note.update, note.rows) == (1, 1, UPDATE_ROWS)
    assert note.weights[2] > manifest().weights[2]
    assert min(note.weights) >= FLOOR / 3
    assert online.due() is None
    assert updated(online, seed=3).update == 2


def test_only_the_serving_versions_predictions_count() -> None:
    """Those of a challenger, of another version, or of another number of members are not learned from."""
    online = learner()
    odd = [msgspec.structs.replace(outcome, members=(0.5,)) for outcome in outcomes(UPDATE_ROWS)]
    wild = [msgspec.structs.replace(outcome, members=(0.5, float("nan"), 0.5)) for outcome in outcomes(UPDATE_ROWS)]
    online.hear([*outcomes(UPDATE_ROWS, role=Role.SHADOW), *outcomes(UPDATE_ROWS, version=2, role=Role.CANARY), *odd, *wild])
    assert online.due() is None


def test_off_learns_nothing_and_takes_back_what_was_left() -> None:
    """Switched off with learned weights in force: the first thing said is the bundle's own again; with none in force nothing is said."""
    note = updated(learner())
    off = OnlineWeights(enabled=False, members=MEMBERS)
    off.recall(note)
    back = off.serve(manifest())
    assert back is not None
    assert (back.model, back.update, back.weights, back.reason) == (1, note.update + 1, (), "learning.online is off")
    off.hear(outcomes(5 * UPDATE_ROWS))
    assert off.due() is None
    again = OnlineWeights(enabled=False, members=MEMBERS)
    again.recall(note)
    again.recall(back)
    assert again.serve(manifest()) is None


def test_members_of_ones_own_are_not_reweighted() -> None:
    """Where others vote than the bundle's, its blend has no weights for them: nothing is learned, and it says why."""
    online = learner(members=(*MEMBERS, "mine"))
    online.hear(outcomes(UPDATE_ROWS))
    assert online.due() is None
    assert "not those of bundle 1" in online.why_not


def test_one_act_takes_it_back() -> None:
    """By a person's word, with the reason in the note; a second time there is nothing to take back, and learning starts over."""
    online = learner()
    first = updated(online)
    back = online.revert("ada: too eager")
    assert back is not None
    assert (back.weights, back.update, back.reason) == ((), 2, "ada: too eager")
    assert online.revert("again") is None
    assert updated(online).weights == first.weights


def test_a_restart_goes_on_from_the_newest_note() -> None:
    """The weights in force are where the next update starts, within the bundle's bounds as before, and its number is the next."""
    note = updated(learner())
    online = OnlineWeights(enabled=True, members=MEMBERS)
    online.recall(note)
    assert online.serve(manifest()) is None
    following = updated(online, seed=2)
    assert following.update == note.update + 1
    assert following.weights[2] > note.weights[2]
    assert min(following.weights) >= FLOOR / 3


def test_another_version_starts_with_its_own() -> None:
    """A note names one version: another one that serves has nothing to take back, and the old one's predictions teach it nothing."""
    online = learner()
    updated(online)
    assert online.serve(manifest(2)) is None
    online.hear(outcomes(UPDATE_ROWS))
    assert online.due() is None


def test_an_unlucky_blend_is_taken_back_by_itself() -> None:
    """When the member that was right turns wrong, the bundle's own weights are said again, with the reason."""
    online = learner()
    for seed in range(6):
        updated(online, seed)
    said: list[WeightsUpdated] = []
    for seed in range(100, 110):
        online.hear([msgspec.structs.replace(outcome, label=1 - outcome.label) for outcome in outcomes(UPDATE_ROWS, seed=seed)])
        note = online.due()
        said += [note] if note is not None else []
    back = [note for note in said if not note.weights]
    assert back
    assert "lost less" in back[0].reason
