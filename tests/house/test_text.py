"""House rules about every tracked text file: nothing of one machine, no registry hosts, no notes to self."""

from __future__ import annotations

import re

from tests.house.tree import require_none, texts

# In pieces, so that this file does not break its own rule.
MACHINE_PATHS = re.compile("|".join(["/" + "work/", "/" + "root/", "/" + "tmp/ts", r"/home/(?!user\b)[a-z]+/"]))
REGISTRY_HOSTS = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in [
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("npmjs", "org"),
            ("crates", "io"),
            ("proxy", "golang", "org"),
            ("maven", "org"),
            ("deb", "debian", "org"),
        ]
    )
)
NOTES_TO_SELF = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {found.group()}"
        for path, text in texts()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), start=1)
        if (found := pattern.search(line))
    ]


def test_no_path_of_one_machine() -> None:
    """A path of the machine a file was written on works nowhere else."""
    require_none(lines_with(MACHINE_PATHS), "Use a path from the repository's root, or make it an argument.")


def test_no_registry_hosts() -> None:
    """Locks and scripts name packages; where packages come from is each machine's own setting."""
    require_none(lines_with(REGISTRY_HOSTS), "Name the package and leave the host to the client's configuration.")


def test_no_notes_to_self() -> None:
    """What is missing stands in an issue or under 'Not there yet' in docs/architecture.md."""
    require_none(lines_with(NOTES_TO_SELF), "Do it, open an issue, or list it in docs/architecture.md.")


def test_no_conflict_markers_and_no_trailing_spaces() -> None:
    """A half-merged file or invisible characters reach nobody."""
    require_none(lines_with(re.compile(r"^(<{7}|>{7}) |[ \t]+$")), "Remove them.")
