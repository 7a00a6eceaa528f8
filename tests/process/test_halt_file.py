"""The file that halts: there is nothing a person can write into it that would not halt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradingsystem.process.halt_file import REASON_MAX, HaltFile
from tradingsystem.process.state import StateFolder


def test_no_file_is_no_halt(tmp_path: Path) -> None:
    """Neither a missing file nor a missing folder."""
    assert HaltFile(tmp_path / "HALT").reason() is None
    assert HaltFile(tmp_path / "nowhere" / "HALT").reason() is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no reason given"),
        (b"\n\n", "no reason given"),
        (b"fire\nin the hall\n", "fire in the hall"),
        (b"\xff\x00\x1b[2J", "\N{REPLACEMENT CHARACTER} [2J"),
        (b"x" * 100_000, "x" * REASON_MAX),
    ],
)
def test_whatever_stands_in_it_halts(tmp_path: Path, text: bytes, reason: str) -> None:
    """Its text is the reason on one printable line of bounded length."""
    path = StateFolder(tmp_path).halt_file
    path.write_bytes(text)
    assert HaltFile(path).reason() == reason


def test_what_cannot_be_read_halts(tmp_path: Path) -> None:
    """A folder of that name, or a link in a circle, was meant as a halt by somebody."""
    folder = tmp_path / "HALT"
    folder.mkdir()
    assert "cannot be read" in (HaltFile(folder).reason() or "")
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert "cannot be read" in (HaltFile(circle).reason() or "")
