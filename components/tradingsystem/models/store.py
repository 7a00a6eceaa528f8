"""A directory of bundles: one folder per version number. Which of them may serve is decided here, from what verifies; nothing is ever written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tradingsystem.bundles.bundle import Bundle, InvalidBundle, read_bundle
from tradingsystem.bundles.publishing import version_numbers


class NoBundle(ValueError):
    """No version may serve; the text says why for each."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The bundle that serves, and the versions that were refused with their reasons."""

    bundle: Bundle
    refused: dict[int, str]


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
            bundle = read_bundle(directory / str(version), public_key)
        except InvalidBundle as error:
            refused[version] = str(error)
            continue
        if bundle.manifest.feature_schema != feature_schema:
            refused[version] = "it was trained on another set of features"
        elif simulated_only and not bundle.manifest.simulated:
            refused[version] = "the recipe's key signs bundles trained on simulated data only"
        elif bundle.manifest.version != version:
            refused[version] = f"its manifest says version {bundle.manifest.version}"
        else:
            return Choice(bundle, refused)
    why = "; ".join(f"{version}: {reason}" for version, reason in refused.items()) or f"{directory} holds no bundle"
    raise NoBundle(f"no model version may serve ({why})")
