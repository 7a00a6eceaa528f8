"""Dependencies: every extra has its lock, every lock has hashes, and what pyproject.toml asks for is in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.house.tree import ROOT, require_none

REQUIREMENTS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
EXTRAS_IN = {
    "dev.txt": ("dev", "operator"),
    "base.txt": (),
    "operator.txt": ("operator",),
    "triton.txt": ("triton",),
    "build.txt": (),
    "operator-image.txt": (),
}


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;]", requirement.strip(), maxsplit=1)[0]).lower()


def locked(lock: Path) -> set[str]:
    return {name_of(line) for line in lock.read_text().splitlines() if line and line[0].isalnum()}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_pin_is_exact_and_has_a_hash(lock: Path) -> None:
    """What is installed tomorrow is byte for byte what was tested today."""
    pins = re.split(r"\n(?=\S)", lock.read_text().strip())
    require_none((pin.split("\n")[0] for pin in pins if "==" not in pin or "--hash=sha256:" not in pin), "make lock")


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"]))
def test_every_extra_has_a_lock_that_holds_what_it_asks_for(extra: str) -> None:
    """A dependency added to pyproject.toml without `make lock` would be missing on the next machine."""
    lock = REQUIREMENTS / f"{extra}.txt"
    assert lock.exists(), f"requirements/{lock.name} is missing; add the extra to LOCK in the Makefile and run make lock"
    asked = {name_of(item) for item in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra]]}
    require_none(sorted(asked - locked(lock)), f"not in requirements/{lock.name}: make lock")


def test_locks_agree_on_what_the_tests_ran_with() -> None:
    """These go into images or build them: they hold the versions of dev.txt."""

    def pins_of(name: str) -> set[str]:  # without their conditions, which follow from who asks for the library
        lines = (REQUIREMENTS / name).read_text().splitlines()
        return {line.partition(" ;")[0].rstrip(" \\") for line in lines if line and line[0].isalnum()}

    tested = pins_of("dev.txt")
    for name in EXTRAS_IN:
        require_none(sorted(pins_of(name) - tested), f"requirements/{name} differs from dev.txt: make lock")


def test_the_services_image_can_speak_with_triton() -> None:
    """The client is an extra that is imported only where Triton serves: an image without it would fail there and nowhere before."""
    steps = (ROOT / "images/components/Dockerfile").read_text()
    assert "COPY requirements/triton.txt " in steps
    assert "tritonclient" in locked(REQUIREMENTS / "triton.txt")
