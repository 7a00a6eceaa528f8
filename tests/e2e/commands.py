"""The ``tradingsystem`` command as a person starts it, and what always holds when it refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.e2e.running import PROGRAM

EXIT_INPUT = 2


def environment(state: Path, **more: str) -> dict[str, str]:
    """A person's environment without any key of a venue; ``state`` is where systems keep theirs."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_API_SECRET"))}
    return kept | {"TRADINGSYSTEM_STATE": str(state), "XDG_CONFIG_HOME": str(state / "config"), "COLUMNS": "200"} | more


def command(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    """What it said and how it ended; never a traceback."""
    answer = subprocess.run(
        [str(PROGRAM), *arguments],
        capture_output=True,
        text=True,
        env=environment(state),
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=90,
    )
    assert_no_traceback(answer.stdout + answer.stderr)
    return answer


def refused(*arguments: str, state: Path) -> str:
    """What it says when it refuses: status 2."""
    answer = command(*arguments, state=state)
    assert answer.returncode == EXIT_INPUT, answer.stdout + answer.stderr
    return answer.stderr


def assert_no_traceback(said: str) -> None:
    """A person is told what is wrong, not where the program was."""
    assert "Traceback" not in said, said


def left_of(folder: Path) -> list[str]:
    """Processes that were started with anything in this folder."""
    output = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in output.splitlines() if str(folder) in line]
