"""The file that halts: a person's way that needs no server, no network and no working command, only a text editor.

It refuses to be clever: a file that is there halts, whatever stands in it and whether or not it can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAME = "HALT"
REASON_MAX = 300


@dataclass(frozen=True, slots=True)
class HaltFile:
    """One system's file."""

    path: Path

    def reason(self) -> str | None:
        """Its text on one line; None while there is no such file."""
        try:
            with self.path.open("rb") as file:
                text = file.read(4 * REASON_MAX).decode("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return f"the file {self.path} cannot be read ({error.strerror})"
        words = " ".join("".join(character if character.isprintable() else " " for character in text).split())
        return words[:REASON_MAX] or "no reason given"
