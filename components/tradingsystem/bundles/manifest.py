"""What a bundle says of itself. Every file is named with its sha256, so that the signed manifest vouches for all of it."""

from __future__ import annotations

import msgspec

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
INT8_NAME = "fused.int8.onnx"
FLOAT_NAME = "fused.float.onnx"
GOLDEN_NAME = "golden.npz"
EVIDENCE_NAME = "evidence.json"


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Platt's sigmoid over the blended logit, with what is not known about it.

    p = sigmoid(slope * logit + intercept); the covariance of (slope, intercept) gives the lower bound of p by the delta method.
    """

    slope: float
    intercept: float
    variance_slope: float
    variance_intercept: float
    covariance: float
    rows: int
    brier: float


class BatchLatency(msgspec.Struct, frozen=True, kw_only=True):
    """Median time of one inference of so many rows on the machine that made the bundle, in process, one thread."""

    rows: int
    int8_us: float
    float_us: float


class Quantisation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """INT8 against FP32 on the held-out rows. ``decisions_changed`` counts rows on either side of p = 1/2."""

    rank_correlation: float
    sign_agreement: float
    probability_error_max: float
    decisions_changed: int
    rows: int
    latency: tuple[BatchLatency, ...] = ()
    calibration_rows: dict[str, int] = {}  # how many rows of each regime the comparison is made on
    calibration_sha256: str = ""  # of those rows
    entries_changed: int = 0  # positions that one of the two would have opened and the other not


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Quality on data later than the training data."""

    rows: int
    base_rate: float
    log_loss: float
    log_loss_base: float
    area_under_curve: float
    top_decile_hit_rate: float
    member_log_loss: tuple[float, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The whole of a bundle but its bytes."""

    version: int
    created: str  # date of the recipe, not of the run: rebuilding gives the same bytes
    feature_schema: str
    members: tuple[str, ...]
    weights: tuple[float, ...]
    training_data_kind: str  # simulated | recorded | live
    training_data_sha256: str
    code_version: str
    target_basis_points: int
    stop_basis_points: int
    horizon_seconds: int
    confidence_reference: tuple[float, ...]  # quantiles 0..100 of the agreement on held-out rows: the window's first content
    calibration: Calibration
    metrics: Metrics
    quantisation: Quantisation
    valid_until: str  # date after which it opens nothing; empty for simulated bundles, which never open outside simulation
    files: dict[str, str]  # name -> sha256
    identity: str = ""  # the job that made it: recipe and window. The same job run twice publishes one version

    @property
    def simulated(self) -> bool:
        """Whether it was trained on simulated data: such a bundle opens nothing in Paper or Live."""
        return self.training_data_kind == "simulated"
