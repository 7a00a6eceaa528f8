"""The example in the documentation votes like a member of ours; what fails, or answers nonsense, opens nothing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from tests.filter.days import spec_of
from tradingsystem.adapters import entry_points as announcing
from tradingsystem.adapters import own_members
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.domain.features import FEATURE_COUNT, MEMBER_NAMES
from tradingsystem.domain.rows import F32
from tradingsystem.ensemble.blend import assess
from tradingsystem.ensemble.confidence import ConfidenceWindow
from tradingsystem.process.serving import in_process_serving
from tradingsystem.spec.ensemble import Ensemble

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_member.py"
FEATURES = np.random.default_rng(3).normal(size=(40, FEATURE_COUNT)).astype(np.float32)


def raises(_: F32) -> F32:
    raise RuntimeError("no model file")


def spoils(features: F32) -> F32:
    features[:] = 0.0
    return np.full(len(features), 0.5, np.float32)


MEMBERS: dict[str, Callable[[F32], Any]] = {
    "raises": raises,
    "spoils": spoils,
    "short": lambda features: np.full(len(features) - 1, 0.5),
    "text": lambda features: ["no number"] * len(features),
    "absurd": lambda features: np.full(len(features), 7.0),
    "missing": lambda features: np.full(len(features), np.nan),
}


@pytest.fixture(autouse=True)
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example and some bad ones, as an installed package would announce them."""
    loader = importlib.util.spec_from_file_location("own_member", EXAMPLE)
    assert loader is not None
    assert loader.loader is not None
    module = importlib.util.module_from_spec(loader)
    monkeypatch.setitem(sys.modules, "own_member", module)
    loader.loader.exec_module(module)
    for name in MEMBERS:
        monkeypatch.setattr(module, f"build_{name}", lambda name=name: MEMBERS[name], raising=False)
    points = [EntryPoint("fade", "own_member:build", own_members.GROUP)]
    points += [EntryPoint(name, f"own_member:build_{name}", own_members.GROUP) for name in MEMBERS]
    monkeypatch.setattr(announcing, "entry_points", lambda **wanted: points if wanted == {"group": own_members.GROUP} else [])


def votes(*members: str) -> tuple[F32, F32]:
    """Members' votes and blend of the shipped bundle with those members."""
    spec = spec_of()
    piece = type(spec)(**{name: getattr(spec, name) for name in spec.__struct_fields__} | {"ensemble": Ensemble(members=members)})
    _, score = in_process_serving(piece, None)
    scores = score(FEATURES)
    return scores.members, scores.blend


def test_the_example_is_short() -> None:
    """A model of one's own takes some thirty lines."""
    assert len([line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line.strip()]) <= 30


def test_its_vote_counts_in_agreement_and_not_in_p() -> None:
    """One more column beside the bundle's, which stay as they are; p keeps the meaning it was calibrated with, confidence changes."""
    ours, blend = votes(*MEMBER_NAMES)
    with_it, same_blend = votes(*MEMBER_NAMES, "fade")
    assert with_it.shape == (40, 4)
    assert with_it[:, :3].tobytes() == ours.tobytes()
    assert same_blend.tobytes() == blend.tobytes()
    assert ((with_it[:, 3] > 0) & (with_it[:, 3] < 1)).all()
    manifest = in_process_serving(spec_of(), None)[0].manifest
    judged = [assess(members, blend, ConfidenceWindow((-3.0, 0.0, 3.0)), manifest.calibration) for members in (ours, with_it)]
    assert judged[0].p.tobytes() == judged[1].p.tobytes()
    assert (judged[0].confidence != judged[1].confidence).any()


def test_only_the_members_that_are_named_vote() -> None:
    """Who leaves one of the founding three out does not hear it."""
    ours, _ = votes(*MEMBER_NAMES)
    assert votes("mean_reversion")[0].tobytes() == ours[:, 1:2].tobytes()


@pytest.mark.parametrize("bad", ["raises", "short", "text", "absurd", "missing"])
def test_a_member_that_fails_opens_nothing(bad: str) -> None:
    """Whatever it does, its rows have no confidence; the other members and the process live on."""
    with structlog.testing.capture_logs():
        members, blend = votes(*MEMBER_NAMES, bad)
    manifest = in_process_serving(spec_of(), None)[0].manifest
    judged = assess(members, blend, ConfidenceWindow((-3.0, 0.0, 3.0)), manifest.calibration)
    assert not judged.usable.any()
    assert np.isfinite(members[:, :3]).all()


def test_it_cannot_change_what_others_see() -> None:
    """A member gets a copy of the features."""
    before = FEATURES.copy()
    votes("spoils", *MEMBER_NAMES)
    assert FEATURES.tobytes() == before.tobytes()


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    """At the start, and all at once: a forgotten member must not be a silent one."""
    with pytest.raises(InvalidInput) as refused:
        votes("momentum_linear", "fad", "nobody")
    for words in ("spec.ensemble.members", "'fad', 'nobody'", "volatility_tree", "fade"):
        assert words in str(refused.value)
