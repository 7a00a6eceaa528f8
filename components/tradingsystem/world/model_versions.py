"""The versions of a store as a person looks at them: what each says of itself, what is wrong with it, and how two of them differ.

Nothing here is written. What may serve is decided by the same reading that the services use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tradingsystem.bundles.bundle import Bundle, InvalidBundle
from tradingsystem.bundles.graph import ForbiddenGraph, lint
from tradingsystem.bundles.manifest import FLOAT_NAME, GOLDEN_NAME, INT8_NAME, MANIFEST_NAME, Manifest
from tradingsystem.bundles.refusal import Refusal
from tradingsystem.domain.errors import InvalidInput
from tradingsystem.ensemble.ranking import rank_correlation
from tradingsystem.process.serving import PUBLIC_KEY_FILE, bundle_in, check_answers, score_graph, scorer, versions_in
from tradingsystem.world.learning_store import version_of

DECIDES_AT = 0.5  # probability at which a decision is said to have changed


@dataclass(frozen=True, slots=True)
class Listed:
    """One version: ``manifest`` None when nothing in it can be trusted; ``reason`` why it may not serve, empty when it may."""

    version: int
    size_bytes: int
    manifest: Manifest | None
    reason: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a version: the file it is in, and why."""

    file: Path
    refusal: Refusal
    reason: str


@dataclass(frozen=True, slots=True)
class Answers:
    """Two versions on the same golden rows: Spearman's correlation of their probabilities (NaN when one of them is constant), the share of rows on
    another side of ``DECIDES_AT``, and the largest difference of the two."""

    rows: int
    rank_correlation: float
    decisions_changed: float
    difference_max: float


@dataclass(frozen=True, slots=True)
class Compared:
    """``fields``: what their manifests say differently, by dotted name, each value as text. ``answers`` None: they read other features, or the first has
    no golden rows."""

    fields: tuple[tuple[str, str, str], ...]
    answers: Answers | None


def check_store(store: Path) -> None:
    """Raises ``InvalidInput`` when ``store`` holds no version."""
    if not store.is_dir():
        raise InvalidInput(f"{store}: no such folder; expected a store of model versions, as `tradingsystem learn --store` makes it")
    if not versions_in(store):
        raise InvalidInput(f"{store}: holds no version; expected folders named by number, beside {PUBLIC_KEY_FILE}")


def listed(store: Path) -> Iterator[Listed]:
    """Every version, lowest first. Signature, digests and features are checked, no graph is run. Raises ``InvalidInput`` for keys that are none."""
    for version in versions_in(store):
        manifest: Manifest | None = None
        reason = ""
        try:
            manifest = bundle_in(store, version).manifest
        except InvalidBundle as error:
            reason = str(error)
            manifest = _told_anyway(store, version)
        yield Listed(version, _size_bytes(store / str(version)), manifest, reason)


def faults(store: Path, version: int) -> list[Fault]:
    """All that keeps a version from serving, none when nothing does: digests, signature, feature schema, the graphs' operators and their answers to the
    golden rows. Raises ``InvalidInput`` for keys that are none."""
    folder = store / str(version)
    try:
        bundle = bundle_in(store, version)
    except InvalidBundle as error:
        first = Fault(_file_of(folder, str(error)), error.refusal, str(error).removeprefix(f"{_file_of(folder, str(error))}: "))
        return [first, *(fault for fault in _torn(folder) if fault.file != first.file)]
    found = [*_unfit(folder / INT8_NAME, bundle.int8_graph), *_unfit(folder / FLOAT_NAME, bundle.float_graph)]
    if not found:
        try:
            check_answers(bundle)
        except InvalidBundle as error:
            found.append(Fault(folder / GOLDEN_NAME, error.refusal, str(error)))
    return found


def compared(store: Path, first: int, second: int) -> Compared:
    """How ``second`` differs from ``first``, on ``first``'s golden rows as well. Raises ``InvalidInput`` when one cannot be read."""
    one, other = version_of(store, first, None), version_of(store, second, None)
    before, after = dict(_leaves(one.manifest)), dict(_leaves(other.manifest))
    names = [*before, *(name for name in after if name not in before)]
    fields = tuple(
        (name, _text(before.get(name)), _text(after.get(name)))
        for name in names
        if name != "version" and before.get(name) != after.get(name)
    )
    return Compared(fields, _answers(one, other))


def _answers(one: Bundle, other: Bundle) -> Answers | None:
    features = one.golden.features
    if not len(features) or one.manifest.feature_schema != other.manifest.feature_schema:
        return None
    try:
        first, second = (score_graph(bundle.int8_graph, features).blend.astype(np.float64) for bundle in (one, other))
    except InvalidBundle as error:
        raise InvalidInput(f"{error}; see: tradingsystem models verify") from error
    return Answers(
        rows=len(features),
        rank_correlation=rank_correlation(first, second),
        decisions_changed=float(np.mean((first >= DECIDES_AT) != (second >= DECIDES_AT))),
        difference_max=float(np.abs(first - second).max()),
    )


def _told_anyway(store: Path, version: int) -> Manifest | None:
    """The manifest of a version that may not serve here and is whole all the same: signed by the package, or trained on other features."""
    try:
        return version_of(store, version, None).manifest
    except InvalidInput:
        return None


def _torn(folder: Path) -> list[Fault]:
    """Every file that is not what the manifest's digests say; none when the manifest itself cannot be read."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST_NAME).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return []
    found = []
    for name, wanted in sorted(manifest.files.items()):
        file = folder / name
        if Path(name).name != name:  # a path that leads elsewhere: not signed by anybody who is trusted
            continue
        try:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            found.append(Fault(file, Refusal.CORRUPT, error.strerror or str(error)))
            continue
        if digest != wanted:
            found.append(Fault(file, Refusal.CORRUPT, f"sha256 is {digest}, the manifest says {wanted}"))
    return found


def _unfit(file: Path, graph: bytes) -> Iterator[Fault]:
    try:
        scorer(graph)
        lint(graph)
    except InvalidBundle as error:
        yield Fault(file, error.refusal, str(error))
    except ForbiddenGraph as error:
        yield Fault(file, Refusal.NOT_LOADED, str(error))


def _file_of(folder: Path, reason: str) -> Path:
    """The file that a refusal names, else the manifest, which says what the version is."""
    named = Path(reason.partition(": ")[0])
    return named if named.parent == folder or named == folder else folder / MANIFEST_NAME


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Dotted names and values of a manifest; a list is one value, but those that stand for members have a name for each."""
    plain = msgspec.to_builtins(value)
    members = plain["members"]
    plain["weights"] = dict(zip(members, plain["weights"], strict=False))
    plain["metrics"]["member_log_loss"] = dict(zip(members, plain["metrics"]["member_log_loss"], strict=False))
    yield from _flat(plain, "")


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} values"
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value)
    text = str(value)
    return text[:12] if len(text) == 64 else text  # a sha256
