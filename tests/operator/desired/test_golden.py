"""What is rendered is what was looked at: every object of four systems, as files."""

from __future__ import annotations

import pytest

from tests.operator.golden.generate_golden import FOLDER, texts

TEXTS = texts()


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_rendering_is_the_committed_one(name: str) -> None:
    """A template that changes changes a file: `make generate`, then read the difference, since every running system would be told of an update."""
    assert (FOLDER / name).read_text(encoding="utf-8") == TEXTS[name]


def test_no_snapshot_is_left_over() -> None:
    """A kind that is no longer rendered has no file that says it is."""
    assert {path.name for path in FOLDER.glob("*.yaml")} == set(TEXTS)
