"""Which version serves: the pinned one, else the highest that verifies; a refused one has its reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.bundles.test_bundle import manifest
from tests.bundles.test_graph import some_weights
from tradingsystem.bundles.bundle import Golden, write_bundle
from tradingsystem.bundles.graph import build
from tradingsystem.models.store import NoBundle, Trusted, choose

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
OWN = Trusted(own=(PUBLIC,))
SCHEMA = "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Versions 1 to 3, all good."""
    golden = Golden(features=np.zeros((0, 50), np.float32), members=np.zeros((0, 3), np.float32), blend=np.zeros(0, np.float32))
    graph = build(some_weights(), int8=True)
    for version in (1, 2, 3):
        write_bundle(tmp_path / str(version), msgspec.structs.replace(manifest(), version=version), graph, graph, golden, KEY)
    return tmp_path


def test_the_highest_serves_unless_one_is_pinned(store: Path) -> None:
    """A pin is the one-line rollback."""
    assert choose(store, OWN, SCHEMA, None).bundle.manifest.version == 3
    assert choose(store, OWN, SCHEMA, 1).bundle.manifest.version == 1


def test_a_damaged_version_is_refused_and_the_next_serves(store: Path) -> None:
    """Damage is named and does not stop serving."""
    (store / "3" / "golden.npz").write_bytes(b"garbage")
    choice = choose(store, OWN, SCHEMA, None)
    assert choice.bundle.manifest.version == 2
    assert "golden.npz" in choice.refused[3]


def test_a_pinned_version_that_is_gone_leaves_the_highest_serving(store: Path) -> None:
    """Collected or never there: the reason is said and something serves."""
    shutil.rmtree(store / "2")
    choice = choose(store, OWN, SCHEMA, 2)
    assert choice.bundle.manifest.version == 3
    assert set(choice.refused) == {2}


def test_a_copied_version_is_refused(store: Path) -> None:
    """A folder renamed to a newer number does not become a newer version."""
    shutil.copytree(store / "1", store / "9")
    choice = choose(store, OWN, SCHEMA, None)
    assert choice.bundle.manifest.version == 3
    assert "version 1" in choice.refused[9]


def test_other_features_are_refused(store: Path) -> None:
    """A model of another feature schema would read the wrong columns."""
    with pytest.raises(NoBundle, match="another set of features"):
        choose(store, OWN, "f" * 64, None)


def test_an_empty_store_says_where_it_looked(tmp_path: Path) -> None:
    """Nothing to serve is an error with the directory in it."""
    with pytest.raises(NoBundle, match=str(tmp_path)):
        choose(tmp_path, OWN, SCHEMA, None)


def test_a_key_that_everybody_knows_vouches_for_simulated_bundles_only(store: Path) -> None:
    """A bundle that claims live training data is refused when its signature proves nothing."""
    golden = Golden(features=np.zeros((0, 50), np.float32), members=np.zeros((0, 3), np.float32), blend=np.zeros(0, np.float32))
    graph = build(some_weights(), int8=True)
    claimed = msgspec.structs.replace(manifest(), version=4, training_data_kind="live")
    write_bundle(store / "4", claimed, graph, graph, golden, KEY)
    assert choose(store, OWN, SCHEMA, None).bundle.manifest.version == 4
    choice = choose(store, Trusted(simulated=(PUBLIC,)), SCHEMA, None)
    assert choice.bundle.manifest.version == 3
    assert "simulated data only" in choice.refused[4]


def test_two_keys_are_trusted_together_and_a_third_is_not(store: Path) -> None:
    """A store may hold what the release signed beside what the system's own key signed, before and after that was exchanged."""
    golden = Golden(features=np.zeros((0, 50), np.float32), members=np.zeros((0, 3), np.float32), blend=np.zeros(0, np.float32))
    graph = build(some_weights(), int8=True)
    new, stranger = (Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (1, 2))
    for version, key in ((4, new), (5, stranger)):
        live = msgspec.structs.replace(manifest(), version=version, training_data_kind="live")
        write_bundle(store / str(version), live, graph, graph, golden, key)
    trusted = Trusted(own=(new.public_key().public_bytes_raw(),), simulated=(PUBLIC,))
    choice = choose(store, trusted, SCHEMA, None)
    assert choice.bundle.manifest.version == 4
    assert "any of the 2 trusted keys" in choice.refused[5]
    assert choose(store, trusted, SCHEMA, 3).bundle.manifest.version == 3
