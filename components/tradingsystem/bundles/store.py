"""A store's versions as files, and making room for more: which ones may go is a pure choice, and a version that goes is gone whole before a byte of it is
deleted."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

from tradingsystem.bundles.archive import VERSION
from tradingsystem.bundles.bundle import FILE_BYTES_MAX
from tradingsystem.bundles.publishing import STAGING, alone, version_numbers
from tradingsystem.bundles.refusal import ModelRefused, Refusal


def collectable(versions: Iterable[int], kept: int, protected: AbstractSet[int]) -> tuple[int, ...]:
    """The versions that may be removed so that the ``kept`` newest stay, oldest first; never a ``protected`` one, and never the newest.

    The newest stays whatever ``kept`` says: its number is how the next one is found, and a number that was given once is never given again.
    """
    ordered = sorted(set(versions))
    newest = ordered[-max(kept, 1) :]
    return tuple(version for version in ordered if version not in newest and version not in protected)


def remove(folder: Path, versions: Iterable[int]) -> tuple[int, ...]:
    """Remove those versions from the store ``folder``; returns the ones that were there. No publisher works meanwhile.

    Each is renamed away first, so that a reader finds it whole or not at all; what a crash leaves of it lies where the next publisher sweeps. Raises
    ``OSError``.
    """
    with alone(folder):
        there = [version for version in versions if version in version_numbers(folder)]
        away = folder / STAGING
        for version in there:
            away.mkdir(exist_ok=True)
            (folder / str(version)).rename(away / f"removed-{version}")
        if there:
            shutil.rmtree(away)
    return tuple(there)


def contents(folder: Path, version: int) -> dict[str, bytes]:
    """The files of one version by name, as they lie there. Raises ``ModelRefused`` with ``VERSION_NOT_FOUND``, ``TOO_LARGE`` or ``CORRUPT``."""
    place = folder / str(version)
    if not place.is_dir():
        raise ModelRefused(version, Refusal.VERSION_NOT_FOUND, f"{place}: no such folder")
    found: dict[str, bytes] = {}
    try:
        for path in sorted(place.iterdir()):
            if path.name not in VERSION.names:
                raise ModelRefused(version, Refusal.CORRUPT, f"{path}: no version has such a file")
            if path.stat().st_size > FILE_BYTES_MAX:
                raise ModelRefused(version, Refusal.TOO_LARGE, f"{path}: larger than {FILE_BYTES_MAX} bytes")
            found[path.name] = path.read_bytes()
    except OSError as error:
        raise ModelRefused(version, Refusal.CORRUPT, f"{error.filename or place}: {error.strerror}") from error
    return found
