"""What the filter's tests share: a small universe whose symbols can be made candidates, batches of it, and a model whose answer is a formula."""

from __future__ import annotations

import datetime

import msgspec
import numpy as np

from tests.market.histories import facts, opened, row, trade
from tradingsystem.bundles.manifest import Calibration, Manifest, Metrics, Quantisation
from tradingsystem.domain.control import SymbolTable, TapeNote
from tradingsystem.domain.errors import TryAgain
from tradingsystem.domain.rows import F32, RowKind, Rows, concatenate, empty
from tradingsystem.domain.time import NS_PER_SECOND
from tradingsystem.features.catalogue import schema_hash
from tradingsystem.filter.deciding import Serving
from tradingsystem.interfaces import Scores
from tradingsystem.messages.batch import Batch
from tradingsystem.spec import slice_of
from tradingsystem.spec.resource import TradingSystem
from tradingsystem.spec.slices import FilterSlice

OPEN_NS = opened().session.open_ns
EPOCH = 1_000


def spec_of(*, symbols_max: int = 16, probe: bool = False, speed: int = 60) -> FilterSlice:
    """The slice of a small simulated system."""
    document = {
        "apiVersion": "tradingsystem.dev/v1alpha1",
        "kind": "TradingSystem",
        "metadata": {"name": "momentum"},
        "spec": {
            "mode": "Simulation",
            "universe": {"symbolsMax": symbols_max},
            "simulation": {"signals": "Probe" if probe else "Model", "speed": speed},
        },
    }
    system = msgspec.convert(document, TradingSystem)
    found = slice_of("filter", system)
    assert isinstance(found, FilterSlice)
    return found


def manifest(version: int = 1) -> Manifest:
    """A bundle's word on itself; its reference says that agreements lie between -3 and 3."""
    quantisation = Quantisation(rank_correlation=1.0, sign_agreement=1.0, probability_error_max=0.0, decisions_changed=0, rows=1)
    calibration = Calibration(slope=1.0, intercept=0.0, variance_slope=1e-6, variance_intercept=1e-6, covariance=0.0, rows=1000, brier=0.2)
    metrics = Metrics(
        rows=1,
        base_rate=0.5,
        log_loss=0.6,
        log_loss_base=0.7,
        area_under_curve=0.6,
        top_decile_hit_rate=0.6,
        member_log_loss=(0.6, 0.6, 0.6),
    )
    return Manifest(
        version=version,
        created="2026-01-01",
        feature_schema=schema_hash(),
        members=("momentum_linear", "mean_reversion", "volatility_tree"),
        weights=(1 / 3, 1 / 3, 1 / 3),
        training_data_kind="simulated",
        training_data_sha256="0" * 64,
        code_version="test",
        target_basis_points=50,
        stop_basis_points=50,
        horizon_seconds=1800,
        confidence_reference=tuple(np.linspace(-3, 3, 101).tolist()),
        calibration=calibration,
        metrics=metrics,
        quantisation=quantisation,
        valid_until="",
        files={},
    )


class Formula:
    """A model: all members say the same, more the higher a symbol stands against its previous close. ``late`` makes its next answers too late, ``slope``
    says how much more, ``error`` is raised instead of an answer."""

    runtime = "formula"

    def __init__(self, version: int = 1, late: int = 0, slope: float = 10.0, error: Exception | None = None) -> None:
        self.version = version
        self.late = late
        self.slope = slope
        self.error = error
        self.asked = 0

    async def infer(self, features: F32) -> Scores:
        return self.score(features)

    def score(self, features: F32) -> Scores:
        self.asked += 1
        if self.late:
            self.late -= 1
            raise TryAgain("the deadline has passed")
        if self.error is not None:
            raise self.error
        chance = np.clip(0.5 + self.slope * features[:, 8], 0.01, 0.95).astype(np.float32)
        return Scores(members=np.repeat(chance[:, None], 3, axis=1), blend=chance)


def serving(version: int = 1, late: int = 0) -> Serving:
    """The formula as a loaded bundle."""
    return Serving(Formula(version, late), manifest(version))


def first_notes(count: int) -> tuple[TapeNote, ...]:
    """What an epoch begins with."""
    return (SymbolTable(facts=facts(count)), opened())


class TapeMaker:
    """Writes a tape: each call is one batch, ``seconds`` after the one before."""

    def __init__(self, count: int, start_ns: int = OPEN_NS, epoch: int = EPOCH) -> None:
        self.count = count
        self.now_ns = start_ns
        self.epoch = epoch
        self.seq = 0

    @property
    def session_day(self) -> datetime.date:
        """The date of its session."""
        return opened().session.day

    def batch(self, *parts: Rows, seconds: float = 0.25, gap: bool = False, notes: tuple[TapeNote, ...] = ()) -> Batch:
        self.now_ns += int(seconds * NS_PER_SECOND)
        self.seq += 1
        if self.seq == 1:
            notes = (*first_notes(self.count), *notes)
        rows = concatenate(list(parts)) if parts else empty()
        return Batch(self.epoch, self.seq, self.now_ns, gap, notes, rows)

    def vix(self, value: float = 15.0) -> Rows:
        return row(RowKind.INDEX, -1, self.now_ns, value)

    def lift(self, symbol: int, price: float, shares: float = 50_000.0) -> Rows:
        """Rows that make a symbol a candidate: heavy trading at that price, quoted a cent wide."""
        return concatenate([self.trade(symbol, price, shares), self.quote(symbol, price)])

    def trade(self, symbol: int, price: float, shares: float) -> Rows:
        return trade(symbol, self.now_ns, price, shares)

    def quote(self, symbol: int, price: float, spread: float = 0.02) -> Rows:
        return row(RowKind.QUOTE, symbol, self.now_ns, price - spread / 2, price + spread / 2, 500.0, 300.0)

    def day(self, seconds: int, lifted: dict[int, float], seed: int = 1) -> list[Batch]:
        """That many seconds in batches of uneven length; the lifted symbols trade heavily around their price."""
        random = np.random.default_rng(seed)
        found = []
        end_ns = self.now_ns + seconds * NS_PER_SECOND
        while self.now_ns < end_ns:
            parts = [self.vix()] if random.random() < 0.2 else []
            for symbol, price in lifted.items():
                if random.random() < 0.5:
                    parts.append(self.lift(symbol, round(price + 0.01 * int(random.integers(-3, 4)), 2), 2_000.0))
            found.append(self.batch(*parts, seconds=float(random.choice([0.05, 0.2, 0.7]))))
        return found
