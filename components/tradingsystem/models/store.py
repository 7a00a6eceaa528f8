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


@dataclass(frozen=True, slots=True)
class Trusted:
    """Raw public keys that vouch for versions: the system's own for any, the release's, which everybody can derive, for those trained on simulated data
    alone, which open nothing outside Simulation."""

    own: tuple[bytes, ...] = ()
    simulated: tuple[bytes, ...] = ()

    def of(self, *, simulated: bool) -> tuple[bytes, ...]:
        """Who vouches for what was made from that kind of data."""
        return (*self.own, *self.simulated) if simulated else self.own


def read(directory: Path, version: int, trusted: Trusted, feature_schema: str) -> Bundle:
    """Exactly that version, if it may serve. Raises ``InvalidBundle``."""
    bundle = read_bundle(directory / str(version), *trusted.simulated, *trusted.own)
    manifest = bundle.manifest
    if manifest.feature_schema != feature_schema:
        raise InvalidBundle("it was trained on another set of features", Refusal.WRONG_SCHEMA)
    if bundle.signed_by in trusted.simulated and not manifest.simulated:
        raise InvalidBundle("the recipe's key signs bundles trained on simulated data only", Refusal.UNSIGNED)
    if manifest.version != version:
        raise InvalidBundle(f"its manifest says version {manifest.version}", Refusal.CORRUPT)
    return bundle


def choose(directory: Path, trusted: Trusted, feature_schema: str, pinned: int | None) -> Choice:
    """The pinned version, else the highest that verifies and fits the features. A pinned one that cannot serve is refused like any other, and the
    highest of the rest serves. Raises ``NoBundle``."""
    present = version_numbers(directory)
    order = sorted(present, reverse=True)
    if pinned is not None:
        order = [pinned, *(version for version in order if version != pinned)]
    refused: dict[int, str] = {}
    for version in order:
        try:
            return Choice(read(directory, version, trusted, feature_schema), refused)
        except InvalidBundle as error:
            refused[version] = f"{error.refusal.value}: {error}"
    why = "; ".join(f"{version}: {reason}" for version, reason in refused.items()) or f"{directory} holds no bundle"
    raise NoBundle(f"no model version may serve ({why})")
