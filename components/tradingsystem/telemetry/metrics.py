"""The metric objects of this process, in one registry of its own; hot loops count per batch, never per tick.

Use: ``telemetry.metrics.rows_refused.labels(source="polygon", reason="crossed").inc(count)``. Children with labels may be kept by the caller.
"""

from __future__ import annotations

import gc
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tradingsystem.telemetry import names
from tradingsystem.telemetry.names import LATENCY_BUCKETS, PREFIX, SIZE_BUCKETS, Name

REGISTRY = CollectorRegistry()


def _counter(name: Name) -> Counter:
    return Counter(PREFIX + name.name.removesuffix("_total"), name.help, name.labels, registry=REGISTRY)


def _gauge(name: Name) -> Gauge:
    return Gauge(PREFIX + name.name, name.help, name.labels, registry=REGISTRY)


def _seconds(name: Name) -> Histogram:
    return Histogram(PREFIX + name.name, name.help, name.labels, registry=REGISTRY, buckets=LATENCY_BUCKETS)


def _sizes(name: Name) -> Histogram:
    return Histogram(PREFIX + name.name, name.help, name.labels, registry=REGISTRY, buckets=SIZE_BUCKETS)


build_info = _gauge(names.BUILD_INFO)
phase = _gauge(names.PHASE)
loop_lag = _seconds(names.LOOP_LAG)
gc_pause = _seconds(names.GC_PAUSE)
applied_time = _gauge(names.APPLIED_TIME)
market_time = _gauge(names.MARKET_TIME)
log_lines = _counter(names.LOG_LINES)

bus_published = _counter(names.BUS_PUBLISHED)
bus_received = _counter(names.BUS_RECEIVED)
bus_dropped = _counter(names.BUS_DROPPED)
bus_malformed = _counter(names.BUS_MALFORMED)
bus_connected = _gauge(names.BUS_CONNECTED)
bus_rebuilds = _counter(names.BUS_REBUILDS)
bus_round_trip = _seconds(names.BUS_ROUND_TRIP)
journal_appended = _counter(names.JOURNAL_APPENDED)
journal_refused = _counter(names.JOURNAL_REFUSED)
journal_append_time = _seconds(names.JOURNAL_APPEND_TIME)
journal_seals = _counter(names.JOURNAL_SEALS)
journal_under_way = _gauge(names.JOURNAL_UNDER_WAY)
cache_reads = _counter(names.CACHE_READS)

frames_received = _counter(names.FRAMES_RECEIVED)
rows_accepted = _counter(names.ROWS_ACCEPTED)
rows_refused = _counter(names.ROWS_REFUSED)
rows_conflated = _counter(names.ROWS_CONFLATED)
batches_sealed = _counter(names.BATCHES_SEALED)
batch_rows = _sizes(names.BATCH_ROWS)
batch_gaps = _counter(names.BATCH_GAPS)
source_healthy = _gauge(names.SOURCE_HEALTHY)
source_reconnects = _counter(names.SOURCE_RECONNECTS)
source_age = _gauge(names.SOURCE_AGE)
subscribed_symbols = _gauge(names.SUBSCRIBED_SYMBOLS)
rest_requests = _counter(names.REST_REQUESTS)
rest_time = _seconds(names.REST_TIME)

cuts = _counter(names.CUTS)
cut_time = _seconds(names.CUT_TIME)
sweep_time = _seconds(names.SWEEP_TIME)
funnel = _counter(names.FUNNEL)
filter_bytes = _counter(names.FILTER_BYTES)
candidates = _gauge(names.CANDIDATES)
signals = _counter(names.SIGNALS)
regime = _gauge(names.REGIME)
warm = _gauge(names.WARM)

inference_time = _seconds(names.INFERENCE_TIME)
inference_rows = _sizes(names.INFERENCE_ROWS)
inference_outcomes = _counter(names.INFERENCE_OUTCOMES)
member_failures = _counter(names.MEMBER_FAILURES)
shadow_cuts = _counter(names.SHADOW_CUTS)
outcomes = _counter(names.OUTCOMES)
weights_update = _gauge(names.WEIGHTS_UPDATE)
models_expired = _gauge(names.MODELS_EXPIRED)
model_version = _gauge(names.MODEL_VERSION)
features_drifted = _gauge(names.FEATURES_DRIFTED)
models_refused = _counter(names.MODELS_REFUSED)

intents = _counter(names.INTENTS)
order_refusals = _counter(names.ORDER_REFUSALS)
broker_refusals = _counter(names.BROKER_REFUSALS)
orders = _counter(names.ORDERS)
fills = _counter(names.FILLS)
unknown_orders = _gauge(names.UNKNOWN_ORDERS)
open_positions = _gauge(names.OPEN_POSITIONS)
unprotected_shares = _gauge(names.UNPROTECTED_SHARES)
gross_exposure = _gauge(names.GROSS_EXPOSURE)
equity = _gauge(names.EQUITY)
day_profit = _gauge(names.DAY_PROFIT)
drawdown = _gauge(names.DRAWDOWN)
trading_state = _gauge(names.TRADING_STATE)
latches = _gauge(names.LATCHES)
reconciliation = _counter(names.RECONCILIATION)
decision_to_socket = _seconds(names.DECISION_TO_SOCKET)
fill_to_cover = _seconds(names.FILL_TO_COVER)
tick_to_order = _seconds(names.TICK_TO_ORDER)
certificate_left = _gauge(names.CERTIFICATE_LEFT)
broker_clock_skew = _gauge(names.BROKER_CLOCK_SKEW)
broker_connected = _gauge(names.BROKER_CONNECTED)

recorded_bytes = _counter(names.RECORDED_BYTES)
recorder_dropped = _counter(names.RECORDER_DROPPED)
beats_missing = _gauge(names.BEATS_MISSING)
problems = _gauge(names.PROBLEMS)
store_used = _gauge(names.STORE_USED)
alarms = _counter(names.ALARMS)
simulated_events = _counter(names.SIMULATED_EVENTS)
simulated_lag = _gauge(names.SIMULATED_LAG)


def choose(gauge: Gauge, label: str, values: tuple[str, ...], chosen: str) -> None:
    """Set a gauge of mutually exclusive states: 1 for ``chosen``, 0 for every other of ``values``."""
    for value in values:
        gauge.labels(**{label: value}).set(1.0 if value == chosen else 0.0)


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


class CollectionWatch:
    """Times garbage collections; an object so that a test can install and remove it."""

    def __init__(self) -> None:
        self._started_ns = 0

    def install(self) -> None:
        """Start watching. Idempotent."""
        if self._observe not in gc.callbacks:
            gc.callbacks.append(self._observe)

    def remove(self) -> None:
        """Stop watching."""
        gc.callbacks.remove(self._observe)

    def _observe(self, moment: str, info: dict[str, int]) -> None:
        if moment == "start":
            self._started_ns = time.perf_counter_ns()
        elif self._started_ns and info["generation"] > 0:
            gc_pause.observe((time.perf_counter_ns() - self._started_ns) / 1e9)
