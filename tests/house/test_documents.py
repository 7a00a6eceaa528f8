"""Documentation that rots is worse than none: links, paths, targets and commands it names exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import typer

from tests.house.tree import ROOT, files, packages, require_none

PAGES = [path for path in files() if path.suffix == ".md"]
ROOTS = ("components/", "operator/", "tests/", "docs/", "manifests/", "requirements/", "triton_models/", "charts/", "images/")


def prose(path: Path) -> str:
    return (ROOT / path).read_text()


def test_links_lead_somewhere() -> None:
    """A link inside the repository points at a file that exists."""
    broken = [
        f"{page}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(page))
        if "://" not in target and not target.startswith("mailto:") and not (ROOT / page.parent / target).exists()
    ]
    require_none(broken, "Mend the link.")


def test_paths_in_backticks_exist() -> None:
    """`components/...` in a page is a file or folder of this repository; what is planned is named without its path."""
    missing = [
        f"{page}: {name}"
        for page in PAGES
        for name in re.findall(r"`([\w./-]+)`", prose(page))
        if name.startswith(ROOTS) and not (ROOT / name).exists()
    ]
    require_none(missing, "Name what is there.")


def test_make_targets_named_in_pages_exist() -> None:
    """`make something` in a page can be typed."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {(str(page), name) for page in PAGES for name in re.findall(r"(?:`|^ *)make ([a-z0-9-]+)", prose(page), re.MULTILINE)}
    require_none(sorted(f"{page}: make {name}" for page, name in named if name not in targets), "Mend the page or add the target.")


def test_every_decision_is_listed() -> None:
    """docs/decisions/README.md leads to every page beside it."""
    index = prose(Path("docs/decisions/README.md"))
    pages = [path.name for path in PAGES if path.parent == Path("docs/decisions") and path.name != "README.md"]
    require_none((name for name in pages if f"({name})" not in index), "Add a line to docs/decisions/README.md.")


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from commands(child, (*words, name))
    else:
        yield " ".join(words)


def test_every_command_is_documented() -> None:
    """Whoever reads the README or docs/ meets every command of `tradingsystem`."""
    if "cli" not in packages():
        return
    from tradingsystem.cli import main

    pages = "\n".join(prose(page) for page in PAGES)
    known = commands(typer.main.get_command(main.app))
    require_none((name for name in known if f"tradingsystem {name}" not in pages), "Describe it in docs/commands.md.")
