"""Names and objects of the operator's own metrics, in a registry of its own: what a service measures would stand at zero there and look like a fact.

Rate, errors and duration of reconciling; how long keys wait; how old what the watches say is. No label is the name of a system.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tradingsystem.telemetry.names import PREFIX, Name

REGISTRY = CollectorRegistry()

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

RECONCILES = Name("operator_reconciles_total", "Systems that were worked on, by how it ended", ("outcome",))
RECONCILE_ERRORS = Name("operator_reconcile_errors_total", "Rounds that could not be finished, by kind of error", ("error",))
RECONCILE_TIME = Name("operator_reconcile_seconds", "Duration of one round for one system")
QUEUE_DEPTH = Name("operator_queue_depth", "Systems that wait to be looked at")
QUEUE_AGE = Name("operator_queue_age_seconds", "How long the oldest of them has waited")
WRITES = Name("operator_writes_total", "Requests that write to the API server", ("verb", "kind"))
REQUEST_TIME = Name("operator_request_seconds", "Duration of requests to the API server", ("verb",))
WATCH_EVENTS = Name("operator_watch_events_total", "Changes heard, by kind of object", ("kind",))
WATCH_RESTARTS = Name("operator_watch_restarts_total", "Watches that were opened anew", ("kind", "reason"))
WATCH_STALENESS = Name("operator_watch_staleness_seconds", "How long a watch has said nothing, not even a bookmark", ("kind",))
DEAF = Name("operator_deaf", "1 while a change that the API server shows has not arrived by the watch")
LEADER = Name("operator_leader", "1 while this process holds the Lease")
SYSTEMS = Name("operator_systems", "Systems by what is said of them", ("condition", "status"))
CHANNELS = Name("operator_control_channels", "Control channels by whether their message server answers", ("connected",))
DRIFT = Name("operator_drift_repaired_total", "Objects that others had changed or deleted and that were put right", ("kind",))

ALL = (
    *(RECONCILES, RECONCILE_ERRORS, RECONCILE_TIME, QUEUE_DEPTH, QUEUE_AGE, WRITES, REQUEST_TIME),
    *(WATCH_EVENTS, WATCH_RESTARTS, WATCH_STALENESS, DEAF, LEADER, SYSTEMS, CHANNELS, DRIFT),
)


def _counter(name: Name) -> Counter:
    return Counter(PREFIX + name.name.removesuffix("_total"), name.help, name.labels, registry=REGISTRY)


def _gauge(name: Name) -> Gauge:
    return Gauge(PREFIX + name.name, name.help, name.labels, registry=REGISTRY)


def _seconds(name: Name) -> Histogram:
    return Histogram(PREFIX + name.name, name.help, name.labels, registry=REGISTRY, buckets=DURATION_BUCKETS)


reconciles = _counter(RECONCILES)
reconcile_errors = _counter(RECONCILE_ERRORS)
reconcile_time = _seconds(RECONCILE_TIME)
queue_depth = _gauge(QUEUE_DEPTH)
queue_age = _gauge(QUEUE_AGE)
writes = _counter(WRITES)
request_time = _seconds(REQUEST_TIME)
watch_events = _counter(WATCH_EVENTS)
watch_restarts = _counter(WATCH_RESTARTS)
watch_staleness = _gauge(WATCH_STALENESS)
deaf = _gauge(DEAF)
leader = _gauge(LEADER)
systems = _gauge(SYSTEMS)
channels = _gauge(CHANNELS)
drift = _counter(DRIFT)


def exposition() -> bytes:
    """All of them in Prometheus' text format."""
    return generate_latest(REGISTRY)
