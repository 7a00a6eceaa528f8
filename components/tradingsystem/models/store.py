"""A directory of bundles: one folder per version number. Which of them may serve is decided here, from what verifies; nothing is ever written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tradingsystem.bundles.bundle import Bundle, InvalidBundle, read_bundle
from tradingsystem.bundles.publishing import version_numbers
from tradingsystem.bundles.refusal import Refusal


class NoBundle(ValueError):
    """No version may serve; the text says why for each."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The bundle that serves, and the versions that were refused: the name of the refusal, a colon, the reason."""

    bundle: Bundle
    refused: dict[int, str]


def read(directory: Path, version: int, public_key: bytes, feature_schema: str, *, simulated_only: bool = False) -> Bundle:
    """Exactly that version, if it may serve. Raises ``InvalidBundle``. ``simulated_only``: see ``choose``."""
    bundle = read_bundle(directory / str(version), public_key)
    manifest = bundle.manifest
    if manifest.feature_schema != feature_schema:
        raise InvalidBundle("it was trained on another set of features", Refusal.WRONG_SCHEMA)
    if simulated_only and not manifest.simulated:
        raise InvalidBundle("the recipe's key signs bundles trained on simulated data only", Refusal.UNSIGNED)
    if manifest.version != version:
        raise InvalidBundle(f"its manifest says version {manifest.version}", Refusal.CORRUPT)
    return bundle


def choose(directory: Path, public_key: bytes, feature_schema: str, pinned: int | None, *, simulated_only: bool = False) -> Choice:
    """The pinned version, else the highest that verifies and fits the features. A pinned one that cannot serve is refused like any other, and the
    highest of the rest serves. ``simulated_only``: the key is known to everybody and vouches for nothing that may trade outside Simulation. Raises
    ``NoBundle``."""
    present = version_numbers(directory)
    order = sorted(present, reverse=True)
    if pinned is not None:
        order = [pinned, *(version for version in order if version != pinned)]
    refused: dict[int, str] = {}
    for version in order:
        try:
            return Choice(read(directory, version, public_key, feature_schema, simulated_only=simulated_only), refused)
        except InvalidBundle as error:
            refused[version] = f"{error.refusal.value}: {error}"
    why = "; ".join(f"{version}: {reason}" for version, reason in refused.items()) or f"{directory} holds no bundle"
    raise NoBundle(f"no model version may serve ({why})")
