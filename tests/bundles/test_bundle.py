"""A bundle is loaded only as it was signed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.bundles.test_graph import some_weights
from tradingsystem.adapters.onnxruntime import OnnxRuntimeInference
from tradingsystem.bundles.bundle import Bundle, Golden, InvalidBundle, read_bundle, write_bundle
from tradingsystem.bundles.graph import build
from tradingsystem.bundles.manifest import FLOAT_NAME, GOLDEN_NAME, INT8_NAME, MANIFEST_NAME, Calibration, Manifest, Metrics, Quantisation
from tradingsystem.domain.features import FEATURE_COUNT, MEMBER_NAMES


def manifest() -> Manifest:
    """A manifest with made-up numbers."""
    return Manifest(
        version=3,
        created="2026-03-02",
        feature_schema="0" * 64,
        members=MEMBER_NAMES,
        weights=(0.4, 0.3, 0.3),
        training_data_kind="simulated",
        training_data_sha256="1" * 64,
        code_version="0.1.0",
        target_basis_points=50,
        stop_basis_points=50,
        horizon_seconds=1800,
        confidence_reference=(-1.0, 0.0, 1.0),
        calibration=Calibration(slope=1.0, intercept=0.0, variance_slope=0.01, variance_intercept=0.01, covariance=0.0, rows=10, brier=0.2),
        metrics=Metrics(
            rows=10,
            base_rate=0.5,
            log_loss=0.69,
            log_loss_base=0.69,
            area_under_curve=0.5,
            top_decile_hit_rate=0.5,
            member_log_loss=(0.7, 0.7, 0.7),
        ),
        quantisation=Quantisation(rank_correlation=1.0, sign_agreement=1.0, probability_error_max=0.0, decisions_changed=0, rows=10),
        valid_until="",
        files={},
    )


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, bytes]:
    """A bundle on disk and the key it may be trusted by."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    weights = some_weights()
    int8_graph = build(weights, int8=True)
    features = np.random.default_rng(1).normal(size=(16, FEATURE_COUNT)).astype(np.float32)
    empty = Golden(features=features[:0], members=np.zeros((0, 3), np.float32), blend=np.zeros(0, np.float32))
    scores = OnnxRuntimeInference(Bundle(manifest(), int8_graph, b"", empty)).score(features)
    golden = Golden(features=features, members=scores.members, blend=scores.blend)
    write_bundle(tmp_path / "3", manifest(), int8_graph, build(weights, int8=False), golden, key)
    return tmp_path / "3", key.public_key().public_bytes_raw()


def test_a_bundle_reads_back_as_written(written: tuple[Path, bytes]) -> None:
    """Everything signed is there, and the graph runs."""
    directory, key = written
    bundle = read_bundle(directory, key)
    assert bundle.manifest.version == 3
    assert set(bundle.manifest.files) == {INT8_NAME, FLOAT_NAME, GOLDEN_NAME}
    assert OnnxRuntimeInference(bundle).score(bundle.golden.features).blend.shape == (16,)


@pytest.mark.parametrize("name", [INT8_NAME, FLOAT_NAME, GOLDEN_NAME, MANIFEST_NAME])
def test_one_flipped_bit_is_found(written: tuple[Path, bytes], name: str) -> None:
    """Whatever file it is in, a changed bit keeps the bundle from loading."""
    directory, key = written
    payload = bytearray((directory / name).read_bytes())
    payload[len(payload) // 2] ^= 1
    (directory / name).write_bytes(payload)
    with pytest.raises(InvalidBundle, match=name):
        read_bundle(directory, key)


def test_a_foreign_key_is_not_trusted(written: tuple[Path, bytes]) -> None:
    """A bundle signed by somebody else is refused although it is whole."""
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    with pytest.raises(InvalidBundle, match="signature"):
        read_bundle(written[0], stranger)


def test_a_missing_file_is_named(written: tuple[Path, bytes]) -> None:
    """Half a bundle is none."""
    (written[0] / FLOAT_NAME).unlink()
    with pytest.raises(InvalidBundle, match=FLOAT_NAME):
        read_bundle(*written)


def test_a_version_is_immutable(written: tuple[Path, bytes]) -> None:
    """Writing over an existing version is refused."""
    golden = read_bundle(*written).golden
    with pytest.raises(FileExistsError):
        write_bundle(written[0], manifest(), b"", b"", golden, Ed25519PrivateKey.generate())


def test_wrong_golden_vectors_keep_a_graph_from_serving(written: tuple[Path, bytes]) -> None:
    """A graph that answers something else than what was signed is not served."""
    bundle = read_bundle(*written)
    wrong = Golden(features=bundle.golden.features, members=bundle.golden.members, blend=bundle.golden.blend + np.float32(0.01))
    with pytest.raises(InvalidBundle, match="golden"):
        OnnxRuntimeInference(Bundle(bundle.manifest, bundle.int8_graph, bundle.float_graph, wrong))


def test_garbage_is_not_a_graph(written: tuple[Path, bytes]) -> None:
    """Bytes that are no graph are a refusal, not a foreign exception."""
    bundle = read_bundle(*written)
    with pytest.raises(InvalidBundle, match="refuses"):
        OnnxRuntimeInference(Bundle(bundle.manifest, b"garbage", bundle.float_graph, bundle.golden))
