"""Putting a new version into a store that others are reading.

The number is given here: one above the highest that is or was there, as far as the folders say. A version appears under its number whole or not at all:
it is written outside the numbered folders, each file is flushed to the disk and read back against the signed manifest, and then the folder is renamed.
A crash, or a disk that is full, leaves the store as it was; what a crashed job had staged is swept by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradingsystem.bundles.bundle import Golden, InvalidBundle, contents_of, read_bundle
from tradingsystem.bundles.evidence import Evidence, InvalidEvidence, check_evidence
from tradingsystem.bundles.manifest import Manifest
from tradingsystem.domain.errors import TradingSystemError

STAGING = ".staging"
LOCK = ".publish.lock"


class NotPublished(TradingSystemError):
    """The store is as it was; the text says what was in the way."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A version without its number: ``manifest.version`` is 0 and ``manifest.files`` empty. ``identity`` names the job, recipe and window, so that the
    same job run twice gives one version; empty for one that is never repeated."""

    manifest: Manifest
    int8_graph: bytes
    float_graph: bytes
    golden: Golden
    evidence: Evidence | None
    identity: str


@dataclass(frozen=True, slots=True)
class Published:
    """The version's number; ``existed``: that job had published it already, nothing was written."""

    version: int
    existed: bool


def version_numbers(folder: Path) -> list[int]:
    """The version numbers present in a store, lowest first."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal()) if folder.is_dir() else []


def publish(folder: Path, draft: Draft, key: Ed25519PrivateKey, *, above: int = 0) -> Published:
    """Sign and publish a draft into the store ``folder``, with a number above all that are there and above ``above``, the highest that is known to have been
    given elsewhere. One publisher at a time; readers never see half a version. Raises ``NotPublished``."""
    if draft.manifest.version != 0:
        raise NotPublished(f"a draft has version 0, not {draft.manifest.version}: publishing gives the number")
    if draft.evidence is not None:
        try:
            check_evidence(draft.evidence)
        except InvalidEvidence as error:
            raise NotPublished(f"evidence: {error}") from error
    public_key = key.public_key().public_bytes_raw()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            existing = _published(folder, draft.identity, public_key) if draft.identity else None
            if existing is not None:
                return Published(existing, existed=True)
            version = max(above, *version_numbers(folder), 0) + 1
            _write(folder, version, draft, key)
            return Published(version, existed=False)
    except OSError as error:
        raise NotPublished(f"{folder}: {error.strerror}; the store is as it was") from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else changes the store meanwhile; what a crashed one staged is removed. The lock goes with the process that holds it."""
    with (folder / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(folder / STAGING, ignore_errors=True)
        yield


def _published(folder: Path, identity: str, public_key: bytes) -> int | None:
    """The whole and verified version that this job published before, None when there is none. A damaged one is none: the job may repeat it."""
    for version in reversed(version_numbers(folder)):
        try:
            manifest = read_bundle(folder / str(version), public_key).manifest
        except InvalidBundle:
            continue
        if manifest.identity == identity and manifest.version == version:
            return version
    return None


def install(folder: Path, version: int, contents: Mapping[str, bytes]) -> None:
    """Put a version that was published elsewhere into the store ``folder`` under its own number, whole or not at all, and as it is: who reads it verifies
    it. One that is there is left. Raises ``NotPublished``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            if version not in version_numbers(folder):
                place(folder, str(version), contents)
    except OSError as error:
        raise NotPublished(f"{folder}: {error.strerror}; the store is as it was") from error


def _write(folder: Path, version: int, draft: Draft, key: Ed25519PrivateKey) -> None:
    manifest = msgspec.structs.replace(draft.manifest, version=version, identity=draft.identity)
    contents = contents_of(manifest, draft.int8_graph, draft.float_graph, draft.golden, draft.evidence, key)
    public_key = key.public_key().public_bytes_raw()
    try:
        place(folder, str(version), contents, lambda staged: read_bundle(staged, public_key))
    except InvalidBundle as error:
        raise NotPublished(f"what was written does not read back: {error}; the store is as it was") from error


def place(folder: Path, name: str, contents: Mapping[str, bytes], check: Callable[[Path], object] | None = None) -> None:
    """``name`` in ``folder`` with these files, whole or not at all: written outside the named folders, flushed, checked, renamed; while ``alone`` is held.

    Raises ``OSError`` and what ``check`` raises."""
    staged = folder / STAGING / name
    try:
        staged.mkdir(parents=True)
        for file_name, payload in contents.items():
            write_flushed(staged / file_name, payload)
        flush_folder(staged)
        if check is not None:
            check(staged)
        staged.rename(folder / name)
        flush_folder(folder)
    finally:
        shutil.rmtree(folder / STAGING, ignore_errors=True)


def write_flushed(path: Path, payload: bytes) -> None:
    """A new file that is on the disk when this returns. Raises ``OSError``."""
    with path.open("xb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """What was renamed in ``folder`` is on the disk when this returns. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
