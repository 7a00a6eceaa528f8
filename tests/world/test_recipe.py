"""Bundle 1 can be rebuilt, is small, and is the one that this build's features fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tradingsystem.bundles.bundle import read_bundle
from tradingsystem.domain.features import FEATURE_COUNT
from tradingsystem.ensemble.calibration import sigmoid
from tradingsystem.features.catalogue import schema_hash
from tradingsystem.learning.fit import Rows50
from tradingsystem.process.serving import SHIPPED_MODELS, choose_in
from tradingsystem.world.recipe import member_features, publish, recipe_key


def some_days(count: int) -> list[Rows50]:
    """Days of rows whose outcome depends on two features."""
    days = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        features = random.normal(size=(1_500, FEATURE_COUNT)).astype(np.float32)
        labels = (random.random(1_500) < sigmoid((features[:, 3] - features[:, 30]).astype(np.float64))).astype(np.float64)
        days.append(Rows50(features=features, labels=labels))
    return days


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    """Two runs of the recipe can be compared file by file."""
    publish(some_days(4), tmp_path / "first")
    publish(some_days(4), tmp_path / "second")
    names = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_the_shipped_bundle_serves_this_build() -> None:
    """It verifies under its key, fits the features, is simulated, and weighs less than a megabyte."""
    bundle = choose_in(None, 0).bundle
    assert bundle.manifest.feature_schema == schema_hash()
    assert bundle.manifest.simulated
    assert sum(path.stat().st_size for path in (SHIPPED_MODELS / "1").iterdir()) < 1_000_000
    assert read_bundle(SHIPPED_MODELS / "1", recipe_key().public_key().public_bytes_raw()).manifest == bundle.manifest


def test_quantisation_keeps_what_it_says() -> None:
    """The manifest's figures are those of a graph that still ranks alike."""
    figures = choose_in(None, 0).bundle.manifest.quantisation
    assert figures.rank_correlation > 0.999
    assert figures.sign_agreement > 0.999
    assert figures.rows > 10_000


def test_no_member_sees_what_is_the_same_for_the_whole_day() -> None:
    """The VIX, the time of day and the market's own move would let ten days be learned by heart."""
    from tradingsystem.features.catalogue import NAMES

    seen = {NAMES[at] for features in member_features() for at in features}
    assert seen.isdisjoint({"vix", "session_elapsed", "market_change_300s", "relative_day"})
