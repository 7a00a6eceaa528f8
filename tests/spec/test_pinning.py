"""A pin is written into a resource's text and nothing else in it changes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradingsystem.spec.load import load
from tradingsystem.spec.pinning import NotEditable, pinned
from tradingsystem.spec.problems import InvalidSpec

SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))
HEAD = "apiVersion: tradingsystem.dev/v1alpha1\nkind: TradingSystem\nmetadata: {name: desk}  # größe\n"
BODY = "mode: Simulation, sources: [{name: polygon, type: Polygon}]"
SOURCES = "  sources:\n    - {name: polygon, type: Polygon}\n"
WAYS = {
    "no models": f"{HEAD}spec:\n  # first\n  mode: Simulation  # not live\n{SOURCES}",
    "a block": f"{HEAD}spec:\n  mode: Simulation\n  models:\n    pinnedVersion: 12  # since Monday\n{SOURCES}",
    "in braces": f"{HEAD}spec:\n  mode: Simulation\n  models: {{pinnedVersion: 12}}  # since Monday\n{SOURCES}",
    "empty braces": f"{HEAD}spec:\n  mode: Simulation\n  models: {{}}\n{SOURCES}",
    "spec in braces": f"{HEAD}spec: {{{BODY}}}\n",
    "no spec": HEAD.rstrip(),
    "JSON without spec": '{"apiVersion": "tradingsystem.dev/v1alpha1", "kind": "TradingSystem", "metadata": {"name": "desk"}}',
    "JSON": (
        '{"apiVersion": "tradingsystem.dev/v1alpha1", "kind": "TradingSystem", "metadata": {"name": "desk"},'
        ' "spec": {"mode": "Simulation", "sources": [{"name": "polygon", "type": "Polygon"}]}}\n'
    ),
}


def kept(before: str, after: str) -> bool:
    """Whether every line of the text is still there in its order, but for at most one that was edited."""
    old, new = before.splitlines(), after.splitlines()
    return len(new) - len(old) in (0, 1, 2) and len([line for line in old if line not in new]) <= 1


@pytest.mark.parametrize("text", WAYS.values(), ids=WAYS.keys())
@settings(max_examples=12)
@given(version=st.integers(0, 1_000_000_000))
def test_the_pin_and_nothing_else(text: str, version: int) -> None:
    """However the document is written, it says the new pin and all that it said before, comments included; again changes nothing."""
    edited = pinned(text, version)
    before, after = load(text), load(edited)
    assert after.spec.models.pinned_version == version
    models = msgspec.structs.replace(after.spec.models, pinned_version=before.spec.models.pinned_version)
    assert msgspec.structs.replace(after, spec=msgspec.structs.replace(after.spec, models=models)) == before
    assert kept(text, edited)
    for comment in ("# größe", "# first", "# not live", "# since Monday"):
        assert (comment in text) == (comment in edited)
    assert pinned(edited, version) == edited


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_can_be_pinned(path: Path) -> None:
    """And unpinned again."""
    text = path.read_text(encoding="utf-8")
    edited = pinned(text, 7)
    assert load(edited).spec.models.pinned_version == 7
    assert kept(text, edited)
    assert load(pinned(edited, 0)) == load(text)


def test_what_cannot_be_edited_is_left_to_a_person() -> None:
    """Mistakes are told as always, and a field that holds nothing is not guessed at."""
    with pytest.raises(InvalidSpec):
        pinned(WAYS["a block"].replace("Simulation", "Simulatoin"), 3)
    with pytest.raises((NotEditable, InvalidSpec)):
        pinned(WAYS["empty braces"].replace("models: {}", "models:"), 3)
