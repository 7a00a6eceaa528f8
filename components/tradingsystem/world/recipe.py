"""Bundle 1, made from seeds alone: generated days, the filter's own features, labels, fit, both graphs, signed. No torch, no download, no clock.

    python -m tradingsystem.world.recipe [--days 20] [--symbols 900] [--out FOLDER]

Days for fitting, for weighing and calibrating, and for judging are disjoint and in that order. The key that signs is derived from this recipe and is no
secret: it vouches for a rebuild, not for a model, and a bundle trained on simulated data opens nothing outside Simulation whoever signed it.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import hashlib
import itertools
import multiprocessing
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.progress import track

import tradingsystem
from tradingsystem.bundles.bundle import Golden, write_bundle
from tradingsystem.bundles.graph import build
from tradingsystem.bundles.manifest import Manifest, Metrics, Quantisation
from tradingsystem.domain.features import FEATURE_COUNT, MEMBER_NAMES
from tradingsystem.domain.rows import F32, F64
from tradingsystem.ensemble.confidence import agreement
from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.ensemble.ranking import rank_correlation
from tradingsystem.ensemble.weights import log_loss
from tradingsystem.features.catalogue import NAMES, schema_hash
from tradingsystem.filter import step as filter_step
from tradingsystem.interfaces import Scores
from tradingsystem.learning.dataset import DayCollector, join
from tradingsystem.learning.fit import Rows50, fit
from tradingsystem.learning.measures import area_under_curve, top_decile
from tradingsystem.market import columns as c
from tradingsystem.messages.batch import Batch
from tradingsystem.process.generated_day import generate
from tradingsystem.process.serving import score_graph
from tradingsystem.spec import from_document
from tradingsystem.spec.slices import FilterSlice, slice_of

VERSION = 1
CREATED = datetime.date(2026, 11, 21)
DATE = datetime.date(2026, 3, 2)
FIRST_SEED = 100_001  # far from the seeds that people try, so that a demo is not judged on the days it was trained on
SHIPPED = Path(tradingsystem.__file__).parent / "bundles" / "shipped"
GOLDEN_ROWS = 256
PROCESSES = 2
RULE = LabelRule()

# What is the same for all symbols of a day, or drifts over it, says more about the few days of training than about the next one.
_OF_THE_DAY = (
    *("vix", "market_change_300s", "session_elapsed", "change_day", "change_open", "gap", "relative_day", "luld_room", "rank_change"),
    *("range_position_day", "vwap_distance", "range_day", "flow_intensity", "liquidity", "breakout_30m", "change_30m", "change_900s"),
)
_REVERSION = (
    *("range_position_15m", "imbalance_slow", "imbalance", "microprice_offset", "volatility_slow", "volatility_fast", "volatility_ratio"),
    *(
        "range_day_ratio",
        "scaled_change_300s",
        "relative_300s",
        "relative_60s",
        "spread",
        "spread_ratio",
        "rank_momentum",
        "trade_sign_slow",
    ),
)
_VOLATILITY = ("volatility_fast", "volatility_slow")


def member_features() -> tuple[list[int], list[int], list[int]]:
    """Which features momentum, reversion and the tree may see."""
    momentum = [at for at, name in enumerate(NAMES) if name not in _OF_THE_DAY]
    return momentum, [NAMES.index(name) for name in _REVERSION], [NAMES.index(name) for name in _VOLATILITY]


def filter_slice(symbols: int) -> FilterSlice:
    """The filter as a simulation with the founding rules runs it."""
    document = {
        "apiVersion": "tradingsystem.dev/v1alpha1",
        "kind": "TradingSystem",
        "metadata": {"name": "recipe"},
        "spec": {"mode": "Simulation", "universe": {"symbolsMax": symbols + 1}},
    }
    piece = slice_of("filter", from_document(document))
    assert isinstance(piece, FilterSlice)
    return piece


def collect(seed: int, symbols: int, edge: float) -> Rows50:
    """Labelled rows of one generated day."""
    day = generate(seed, DATE, symbols, edge)
    session = day.market.session
    count = len(day.market.symbols)
    state = filter_step.create(filter_slice(max(symbols, count)))
    collector = DayCollector.start(count, session.open_ns, session.close_ns)
    for seq, (at_ns, rows) in enumerate(day.seconds(), start=1):
        batch = Batch(epoch=1, seq=seq, sealed_at_ns=at_ns, gap=False, notes=day.notes if seq == 1 else (), rows=rows)
        swept = filter_step.step(state, [batch])
        now = state.market.columns.now
        collector.quotes(at_ns, now[c.BID, :count], now[c.ASK, :count])
        if swept.entries:
            collector.candidates(at_ns, swept.features.rows, swept.features.values)
    return collector.finish(RULE)


def make(days: int, symbols: int, edge: float, out: Path) -> Manifest:
    """Collect the days and publish version 1 into ``out``; an older version 1 there is replaced."""
    seeds = range(FIRST_SEED, FIRST_SEED + days)
    with concurrent.futures.ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        collected = pool.map(collect, seeds, itertools.repeat(symbols), itertools.repeat(edge))
        rows = list(track(collected, total=days, description=f"{days} generated days of {symbols} symbols"))
    return publish(rows, out)


def publish(rows: list[Rows50], out: Path) -> Manifest:
    """Fit, build, judge and write version 1 from the labelled rows of each day, in the order of their seeds."""
    training, later, judged = (join(part) for part in _split(rows))
    fitted = fit(training, later, *member_features())
    int8_graph, float_graph = build(fitted.weights, int8=True), build(fitted.weights, int8=False)
    scores, exact = score_graph(int8_graph, judged.features), score_graph(float_graph, judged.features)
    manifest = Manifest(
        version=VERSION,
        created=CREATED.isoformat(),
        feature_schema=schema_hash(),
        members=MEMBER_NAMES,
        weights=tuple(round(float(weight), 6) for weight in fitted.weights.blend),
        training_data_kind="simulated",
        training_data_sha256=_digest(rows),
        code_version=tradingsystem_version(),
        target_basis_points=int(RULE.target_basis_points),
        stop_basis_points=int(RULE.stop_basis_points),
        horizon_seconds=RULE.horizon_seconds,
        confidence_reference=tuple(float(v) for v in np.percentile(agreement(score_graph(int8_graph, later.features).members), range(101))),
        calibration=fitted.calibration,
        metrics=_metrics(scores, judged.labels),
        quantisation=_quantisation(scores.blend, exact.blend),
        valid_until="",
        files={},
    )
    golden_features = _golden_rows(judged.features)
    golden = score_graph(int8_graph, golden_features)
    shutil.rmtree(out / str(VERSION), ignore_errors=True)
    key = recipe_key()
    write_bundle(out / str(VERSION), manifest, int8_graph, float_graph, Golden(golden_features, golden.members, golden.blend), key)
    (out / "public_key.hex").write_text(key.public_key().public_bytes_raw().hex() + "\n", encoding="ascii")
    return manifest


def recipe_key() -> Ed25519PrivateKey:
    """The recipe's own key: derived from its name, so that anybody can rebuild bundle 1 byte by byte."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"tradingsystem bundle recipe, simulated data only").digest())


def tradingsystem_version() -> str:
    """The version of the code that made it, as the package says."""
    from importlib.metadata import version

    return version("tradingsystem")


def _split(days: list[Rows50]) -> tuple[list[Rows50], list[Rows50], list[Rows50]]:
    """Half of the days to fit, a quarter to weigh and calibrate, a quarter to judge."""
    half, quarter = len(days) // 2, max(1, len(days) // 4)
    return days[:half], days[half : half + quarter], days[half + quarter :]


def _digest(days: Iterable[Rows50]) -> str:
    digest = hashlib.sha256()
    for day in days:
        digest.update(day.features.tobytes())
        digest.update(day.labels.tobytes())
    return digest.hexdigest()


def _golden_rows(features: F32) -> F32:
    """Rows spread over the judged days, and one of zeros."""
    places = np.linspace(0, len(features) - 1, min(GOLDEN_ROWS, len(features))).astype(np.intp)
    return np.concatenate([features[places], np.zeros((1, FEATURE_COUNT), np.float32)])


def _metrics(scores: Scores, labels: F64) -> Metrics:
    p = scores.blend.astype(np.float64)
    base = float(labels.mean())
    return Metrics(
        rows=len(labels),
        base_rate=base,
        log_loss=log_loss(p, labels),
        log_loss_base=log_loss(np.full(len(labels), base), labels),
        area_under_curve=area_under_curve(p, labels),
        top_decile_hit_rate=top_decile(p, labels),
        member_log_loss=tuple(log_loss(scores.members[:, at].astype(np.float64), labels) for at in range(scores.members.shape[1])),
    )


def _quantisation(int8: F32, exact: F32) -> Quantisation:
    return Quantisation(
        rank_correlation=rank_correlation(int8.astype(np.float64), exact.astype(np.float64)),
        sign_agreement=float(np.mean((int8 > 0.5) == (exact > 0.5))),
        probability_error_max=float(np.abs(int8 - exact).max()),
        decisions_changed=int(np.sum((int8 > 0.5) != (exact > 0.5))),
        rows=len(int8),
    )


def main() -> None:
    """Make bundle 1 and print what is known of it."""
    parser = argparse.ArgumentParser(description="Make model bundle 1 from generated days.")
    parser.add_argument("--days", type=int, default=20, help="generated days: half to fit, a quarter to calibrate, a quarter to judge")
    parser.add_argument("--symbols", type=int, default=900, help="symbols of each day")
    parser.add_argument("--edge", type=float, default=1.0, help="strength of the planted edge, 0 to 1")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder of bundles")
    given = parser.parse_args()
    manifest = make(given.days, given.symbols, given.edge, given.out)
    sys.stdout.buffer.write(
        msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(manifest, confidence_reference=())), indent=2) + b"\n"
    )


if __name__ == "__main__":
    main()
