"""One learning job from recorded days to a signed candidate, or to the name of what was in the way. It publishes; it promotes nothing.

What fits, what weighs and calibrates and what judges are three stretches of time in that order, purged and embargoed. Everything the candidate shows for
itself comes from the last one, on which the version that serves is judged beside it. The trial enters the ledger before the candidate is published, so
that no crash makes one disappear. The same job for the same hour gives one candidate, however often it runs and whenever it was killed.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradingsystem.bundles.bundle import Bundle, Golden
from tradingsystem.bundles.evidence import Evidence
from tradingsystem.bundles.gate import judge
from tradingsystem.bundles.graph import build
from tradingsystem.bundles.manifest import BatchLatency, Manifest, Metrics, Quantisation
from tradingsystem.bundles.publishing import Draft, NotPublished, publish
from tradingsystem.domain.features import MEMBER_NAMES
from tradingsystem.domain.rows import F32, F64
from tradingsystem.ensemble.confidence import agreement
from tradingsystem.ensemble.labels import LabelRule
from tradingsystem.ensemble.weights import log_loss
from tradingsystem.features.catalogue import schema_hash
from tradingsystem.interfaces import Scores
from tradingsystem.learning import leakage, quantised
from tradingsystem.learning.backtest import BLOCK_SECONDS, Result, Rules, blocks, entries, result
from tradingsystem.learning.deflated import deflated_sharpe, sharpe
from tradingsystem.learning.fit import NUMPY, Arithmetic, Fitted, NotEnoughData, fit
from tradingsystem.learning.ledger import FILE_NAME, Ledger, Trial, ratios_of, tried_on
from tradingsystem.learning.measures import area_under_curve, top_decile
from tradingsystem.learning.reservoir import reservoir
from tradingsystem.learning.rows import LearningRows, join, net
from tradingsystem.learning.walk_forward import EMBARGO_SECONDS, Gap, in_parts, walk_forward
from tradingsystem.process.serving import score_graph, scorer
from tradingsystem.world.learning_days import Days, LearningDay
from tradingsystem.world.recipe import GOLDEN_ROWS, member_features, tradingsystem_version

SHARES = (0.5, 0.2, 0.3)
FOLDS = 4
VALID_DAYS = 14  # two missed weekly trainings, then it opens nothing more
STRESS = (1.0, 2.0)
_LATENCY_ROWS = (1, 64, 512)
_LATENCY_TIMES = 200
RULE = LabelRule()


class Outcome(enum.Enum):
    """How a job ended."""

    PUBLISHED = "Published"
    ALREADY_PUBLISHED = "AlreadyPublished"  # this job of this hour has published before
    EMPTY_WINDOW = "EmptyWindow"  # no session, or none with a closed row
    ONE_CLASS = "OneClass"  # every row ended alike
    NOT_ENOUGH_DATA = "NotEnoughData"
    CONSTANT_FEATURES = "ConstantFeatures"  # nothing that a member may see ever changes
    LEAKED_LABELS = "LeakedLabels"
    TOO_COARSE = "TooCoarse"  # INT8 loses too much against FP32
    NO_KEY = "NoKey"
    NOT_PUBLISHED = "NotPublished"  # the disk, or the store


FINAL = frozenset(Outcome) - {Outcome.NO_KEY, Outcome.NOT_PUBLISHED}
"""Outcomes that another try with the same data would not change."""


@dataclass(frozen=True, slots=True)
class Job:
    """``name`` is incremental or retrain, ``identity`` names system, job and the hour it was meant for; ``window`` sessions are learned from whole, of older
    ones a sample per regime is kept (0: all are in the window)."""

    name: str
    identity: str
    store: Path
    key: Ed25519PrivateKey | None
    champion: Bundle
    window: int = 0
    rules: Rules = field(default_factory=Rules)
    created: datetime.date = datetime.date(1970, 1, 1)
    better_probability_min_percent: int = 80
    seed: int = 0
    arithmetic: Arithmetic = NUMPY
    above: int = 0  # the highest number that is known to have been given


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What a session brought."""

    name: str
    kind: str
    rows: int
    reached: int


class FoldResult(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the walk forward: a model fitted on what lies before, judged on what comes after."""

    begins_ns: int
    training_rows: int
    rows: int
    log_loss: float
    log_loss_base: float
    area_under_curve: float
    trades: int
    mean_basis_points: float


class Traded(msgspec.Struct, frozen=True, kw_only=True):
    """One model's trades on the judged rows, net of costs taken so many times."""

    times: float
    champion: Result
    challenger: Result


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What a job found, for its report; what it did not get to is empty."""

    job: str
    identity: str
    outcome: Outcome
    why: tuple[str, ...] = ()
    version: int = 0
    champion: int = 0
    kind: str = ""
    sessions: tuple[Counted, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    fitted_with: str = NUMPY.name
    parts: tuple[int, ...] = ()  # rows that fit, calibrate, judge
    kept_rows: int = 0
    regimes: dict[str, int] = {}
    episodes: tuple[int, int] = (0, 0)  # a symbol's half hours in which the target was reached, and in which not
    constant: tuple[str, ...] = ()
    metrics: Metrics | None = None
    quantisation: Quantisation | None = None
    folds: tuple[FoldResult, ...] = ()
    traded: tuple[Traded, ...] = ()
    evidence: Evidence | None = None
    gate: str = ""  # what the gate says of the evidence when it is asked beforehand
    reliability: tuple[tuple[float, float, int], ...] = ()  # mean p, share reached, rows, by tenth of p

    @property
    def findings(self) -> tuple[str, ...]:
        """What must be said of it in words, whether it pleases or not."""
        said = list(self.why)
        if self.fitted_with != NUMPY.name:
            said.append(f"the linear members were fitted by {self.fitted_with}")
        if 0 < min(self.episodes) < leakage.EPISODES_MIN:
            said.append(
                f"rows overlap: the target was reached in {self.episodes[0]} half hours of a symbol and missed in {self.episodes[1]};"
                f" with fewer than {leakage.EPISODES_MIN} of either nothing here is more than an anecdote"
            )
        if self.metrics is not None:
            gain = self.metrics.log_loss_base - self.metrics.log_loss
            if gain <= 0.0:
                said.append(
                    f"not better than the base rate: log loss {self.metrics.log_loss:.4f}, the base rate's {self.metrics.log_loss_base:.4f}"
                )
            else:
                said.append(f"log loss {self.metrics.log_loss:.4f}, {gain:.4f} below the base rate's, on {self.metrics.rows:,} later rows")
        for latency in self.quantisation.latency if self.quantisation is not None else ():
            if latency.int8_us > latency.float_us:
                said.append(f"INT8 loses here: {latency.int8_us:.1f} µs for {latency.rows} rows, FP32 {latency.float_us:.1f} µs")
        for one in self.traded:
            mine, theirs = one.challenger, one.champion
            said.append(f"costs x {one.times:g}: candidate {_told(mine)}, version {self.champion} {_told(theirs)}")
        if self.evidence is not None:
            share = self.evidence.deflated_sharpe
            said.append(
                f"trial {self.evidence.trials} on these sessions: {share:.2f} is the chance that its gain is more than luck shows among them"
            )
        if self.gate:
            said.append(f"the gate, asked beforehand: {self.gate}")
        return tuple(said)


def _told(traded: Result) -> str:
    if not traded.trades:
        return "would have traded nothing"
    return f"{traded.trades} trades, {traded.hit_rate:.0%} reached the target, {traded.mean_basis_points:+.1f} basis points each"


class _Stop(Exception):
    def __init__(self, outcome: Outcome, *why: str) -> None:
        super().__init__(*why)
        self.outcome, self.why = outcome, why


def learn(job: Job, data: Days, step: Callable[[str], None] = lambda _: None) -> Learned:
    """Run the job over the given days. Every end is an outcome; only what nobody foresaw is raised. ``step`` hears what is being done."""
    learned = Learned(
        job=job.name,
        identity=job.identity,
        outcome=Outcome.PUBLISHED,
        champion=job.champion.manifest.version,
        fitted_with=job.arithmetic.name,
        sessions=tuple(Counted(name=day.name, kind=day.kind, rows=len(day.rows), reached=int(day.rows.labels.sum())) for day in data.days),
        left_out=tuple((one.run, one.why) for one in data.left_out),
        kind=kind_of_all(data.days),
    )
    work = _Work(job, data, learned, step)
    try:
        work.run()
    except _Stop as stop:
        work.learned = msgspec.structs.replace(work.learned, outcome=stop.outcome, why=tuple(stop.why))
    except NotEnoughData as error:
        work.learned = msgspec.structs.replace(work.learned, outcome=Outcome.NOT_ENOUGH_DATA, why=(str(error),))
    except (NotPublished, OSError) as error:
        work.learned = msgspec.structs.replace(work.learned, outcome=Outcome.NOT_PUBLISHED, why=(str(error),))
    try:
        work.enter()
    except OSError as error:  # the ledger's disk: a trial that is not counted is not published either
        why = f"{error.filename or job.store}: {error.strerror or error}; nothing was published"
        work.learned = msgspec.structs.replace(work.learned, outcome=Outcome.NOT_PUBLISHED, why=(why,))
    return work.learned


def kind_of_all(days: tuple[LearningDay, ...]) -> str:
    """The least real kind among the days: one simulated day makes all that is learned from it simulated."""
    kinds = {day.kind for day in days}
    return next((kind for kind in ("simulated", "recorded", "live") if kind in kinds), "")


class _Work:
    """The steps of one job and what it knows so far."""

    def __init__(self, job: Job, data: Days, learned: Learned, step: Callable[[str], None]) -> None:
        self.job, self.data, self.learned, self.step = job, data, learned, step
        self.gap = Gap(RULE.horizon_seconds, EMBARGO_SECONDS)
        self.ledger = Ledger(job.store / FILE_NAME)
        self.judged_sessions: tuple[str, ...] = ()
        self.ratio: float | None = None
        self.entered = False

    def know(self, **more: object) -> None:
        self.learned = msgspec.structs.replace(self.learned, **more)

    def run(self) -> None:
        """All of it. Raises ``_Stop``, ``NotEnoughData``, ``NotPublished``."""
        if self.job.key is None:
            raise _Stop(Outcome.NO_KEY, "there is no key to sign a candidate with")
        window, kept = self._rows()
        fitting, later, judged = (window.take(part) for part in in_parts(window.at_ns, self.gap, SHARES))
        training = join([kept, fitting])
        self.know(parts=(len(fitting), len(later), len(judged)), kept_rows=len(kept))
        self._refuse_rows(join([training, later, judged]))
        self.judged_sessions = tuple(day.name for day in self.data.days if len(judged) and day.session.close_ns > judged.at_ns[0])
        self.step("fit")
        fitted = fit(training.fitting(), later.fitting(), *member_features(), self.job.arithmetic)
        int8, exact = build(fitted.weights, int8=True), build(fitted.weights, int8=False)
        self.step("judge")
        scores = score_graph(int8, judged.features)
        manifest = self._manifest(fitted, int8, scores, training, later, judged)
        if leaks := leakage.leak_of_model(scores.blend.astype(np.float64), judged):
            raise _Stop(Outcome.LEAKED_LABELS, *leaks)
        self.step("hold INT8 against FP32")
        manifest = self._quantised(manifest, int8, exact, join([later, judged]))
        self.step("trade on later rows")
        evidence = self._evidence(manifest, judged, scores)
        self.step("walk forward")
        self._walk(join([kept, window]))
        self.enter()
        self.step("publish")
        features = _golden_features(judged.features)
        golden = score_graph(int8, features)
        draft = Draft(manifest, int8, exact, Golden(features, golden.members, golden.blend), evidence, self.job.identity)
        published = publish(self.job.store, draft, self.job.key, above=self.job.above)
        self.know(version=published.version, outcome=Outcome.ALREADY_PUBLISHED if published.existed else Outcome.PUBLISHED)

    def enter(self) -> None:
        """The trial into the ledger, once. It is there before the candidate is."""
        if self.entered or not self.judged_sessions:
            return
        self.entered = True
        count = len(self.learned.evidence.blocks) if self.learned.evidence else 0
        self.ledger.append([self._trial(count)])

    def _trial(self, count: int) -> Trial:
        return Trial(
            identity=self.job.identity,
            job=self.job.name,
            data_kind=self.learned.kind,
            sessions=self.judged_sessions,
            outcome=self.learned.outcome.value,
            blocks=count,
            sharpe=self.ratio,
        )

    def _rows(self) -> tuple[LearningRows, LearningRows]:
        """The window's rows, and the sample that is kept of what is older."""
        days = [day.rows for day in self.data.days if len(day.rows)]
        if not days:
            why = "no recorded session" if not self.data.days else f"{len(self.data.days)} sessions, none with a closed row of a candidate"
            raise _Stop(Outcome.EMPTY_WINDOW, why)
        cut = max(0, len(days) - self.job.window) if self.job.window else 0
        return join(days[cut:]), reservoir(days[:cut], self.job.seed)

    def _refuse_rows(self, rows: LearningRows) -> None:
        self.know(constant=leakage.constant_features(rows.features), regimes=quantised.regime_counts(rows), episodes=leakage.episodes(rows))
        reached = int(rows.labels.sum())
        if not 0 < reached < len(rows):
            raise _Stop(
                Outcome.ONE_CLASS,
                f"{reached} of {len(rows)} rows reached the target: with one outcome alone there is nothing to tell apart",
            )
        seen = sorted(set().union(*member_features()))
        if bool((rows.features[:, seen] == rows.features[0, seen]).all()):
            raise _Stop(Outcome.CONSTANT_FEATURES, f"none of the {len(seen)} features that members see ever changes in {len(rows)} rows")
        if leaks := leakage.leaks_of_features(rows):
            raise _Stop(Outcome.LEAKED_LABELS, *leaks)

    def _manifest(
        self, fitted: Fitted, int8: bytes, scores: Scores, training: LearningRows, later: LearningRows, judged: LearningRows
    ) -> Manifest:
        metrics = metrics_of(scores, judged.labels)
        self.know(metrics=metrics, reliability=reliability_of(scores.blend.astype(np.float64), judged.labels))
        expires = self.job.created + datetime.timedelta(days=VALID_DAYS)
        return Manifest(
            version=0,
            created=self.job.created.isoformat(),
            feature_schema=schema_hash(),
            members=MEMBER_NAMES,
            weights=tuple(round(float(weight), 6) for weight in fitted.weights.blend),
            training_data_kind=self.learned.kind,
            training_data_sha256=join([training, later]).digest(),
            code_version=tradingsystem_version(),
            target_basis_points=int(RULE.target_basis_points),
            stop_basis_points=int(RULE.stop_basis_points),
            horizon_seconds=RULE.horizon_seconds,
            confidence_reference=tuple(float(v) for v in np.percentile(agreement(score_graph(int8, later.features).members), range(101))),
            calibration=fitted.calibration,
            metrics=metrics,
            quantisation=Quantisation(rank_correlation=0.0, sign_agreement=0.0, probability_error_max=0.0, decisions_changed=0, rows=0),
            valid_until="" if self.learned.kind == "simulated" else expires.isoformat(),
            files={},
        )

    def _quantised(self, manifest: Manifest, int8: bytes, exact: bytes, rows: LearningRows) -> Manifest:
        chosen = rows.take(quantised.calibration_places(rows, self.job.seed))
        first, second = score_graph(int8, chosen.features), score_graph(exact, chosen.features)
        mine, theirs = (entries(chosen, one.members, one.blend, manifest, self.job.rules) for one in (first, second))
        found = quantised.compare(chosen, first.blend, second.blend, int(np.sum(mine != theirs)), _latencies(int8, exact, chosen.features))
        self.know(quantisation=found)
        if wrong := quantised.too_coarse(found, int(theirs.sum())):
            raise _Stop(Outcome.TOO_COARSE, *wrong)
        return msgspec.structs.replace(manifest, quantisation=found)

    def _evidence(self, manifest: Manifest, judged: LearningRows, scores: Scores) -> Evidence:
        champion, rules = self.job.champion, self.job.rules
        theirs = score_graph(champion.int8_graph, judged.features)
        bought = (
            entries(judged, theirs.members, theirs.blend, champion.manifest, rules),
            entries(judged, scores.members, scores.blend, manifest, rules),
        )
        sessions = [day.session for day in self.data.days if day.name in self.judged_sessions]
        made = blocks(sessions, judged, net(judged, RULE.fee_basis_points), *bought)
        gains = np.array([block.challenger_return_basis_points - block.champion_return_basis_points for block in made])
        self.ratio = sharpe(gains)
        tried = tried_on(self.ledger.trials(), self.judged_sessions)
        others = [trial for trial in tried if trial.identity != self.job.identity]
        evidence = Evidence(
            champion=champion.manifest.version,
            data_kind=self.learned.kind,
            block_seconds=BLOCK_SECONDS,
            blocks=made,
            trials=len(others) + 1,
            deflated_sharpe=deflated_sharpe(gains, len(others) + 1, np.append(ratios_of(others), self.ratio)),
        )
        traded = []
        for times in STRESS:
            returns = net(judged, RULE.fee_basis_points, times)
            traded.append(Traded(times=times, champion=result(judged, returns, bought[0]), challenger=result(judged, returns, bought[1])))
        asked = judge(
            evidence,
            champion=evidence.champion,
            better_probability_min_percent=self.job.better_probability_min_percent,
            digest=hashlib.sha256(self.job.identity.encode()).digest(),
        )
        answer = f"{asked.refusal.value}: {asked.detail}" if asked.refusal is not None else f"it may go on to its trial: {asked.detail}"
        self.know(evidence=evidence, traded=tuple(traded), gate=answer)
        return evidence

    def _walk(self, rows: LearningRows) -> None:
        """How the recipe, fitted anew at each step, does on what comes next. A step that cannot be fitted is left out."""
        found = []
        for fold in walk_forward(rows.at_ns, self.gap, FOLDS):
            before, after = rows.take(fold.training), rows.take(fold.test)
            fitting, later = (before.take(part) for part in in_parts(before.at_ns, self.gap, (0.75, 0.25)))
            try:
                fitted = fit(fitting.fitting(), later.fitting(), *member_features(), self.job.arithmetic)
            except NotEnoughData:
                continue
            graph = build(fitted.weights, int8=False)
            scores = score_graph(graph, after.features)
            reference = tuple(float(v) for v in np.percentile(agreement(score_graph(graph, later.features).members), range(101)))
            manifest = msgspec.structs.replace(self.job.champion.manifest, calibration=fitted.calibration, confidence_reference=reference)
            traded = result(
                after, net(after, RULE.fee_basis_points), entries(after, scores.members, scores.blend, manifest, self.job.rules)
            )
            metrics = metrics_of(scores, after.labels)
            found.append(
                FoldResult(
                    begins_ns=fold.test_from_ns,
                    training_rows=len(before),
                    rows=len(after),
                    log_loss=metrics.log_loss,
                    log_loss_base=metrics.log_loss_base,
                    area_under_curve=metrics.area_under_curve,
                    trades=traded.trades,
                    mean_basis_points=traded.mean_basis_points,
                )
            )
        self.know(folds=tuple(found))


def metrics_of(scores: Scores, labels: F64) -> Metrics:
    """How good the probabilities are on later rows."""
    p = scores.blend.astype(np.float64)
    base = float(labels.mean()) if len(labels) else math.nan
    return Metrics(
        rows=len(labels),
        base_rate=base,
        log_loss=log_loss(p, labels),
        log_loss_base=log_loss(np.full(len(labels), base), labels),
        area_under_curve=area_under_curve(p, labels),
        top_decile_hit_rate=top_decile(p, labels),
        member_log_loss=tuple(log_loss(scores.members[:, at].astype(np.float64), labels) for at in range(scores.members.shape[1])),
    )


def reliability_of(p: F64, labels: F64) -> tuple[tuple[float, float, int], ...]:
    """Mean p, share that reached the target, and rows, by tenth of p."""
    found = []
    for part in np.array_split(np.argsort(p, kind="stable"), 10):
        if len(part):
            found.append((float(p[part].mean()), float(labels[part].mean()), len(part)))
    return tuple(found)


def _golden_features(features: F32) -> F32:
    places = np.linspace(0, len(features) - 1, min(GOLDEN_ROWS, len(features))).astype(np.intp)
    return np.concatenate([features[places], np.zeros((1, features.shape[1]), np.float32)])


def _latencies(int8: bytes, exact: bytes, features: F32) -> list[BatchLatency]:
    found = []
    for rows in _LATENCY_ROWS:
        given = np.ascontiguousarray(np.resize(features, (rows, features.shape[1])))
        times = [_median_us(graph, given) for graph in (int8, exact)]
        found.append(BatchLatency(rows=rows, int8_us=round(times[0], 1), float_us=round(times[1], 1)))
    return found


def _median_us(graph: bytes, features: F32) -> float:
    score = scorer(graph)
    taken = []
    for _ in range(_LATENCY_TIMES):
        begun = time.perf_counter_ns()
        score(features)
        taken.append(time.perf_counter_ns() - begun)
    return float(np.median(taken)) / 1e3
