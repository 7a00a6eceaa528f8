"""Names of metrics, spans and log events, each written once, so that code, dashboards and alerts cannot drift apart.

Base units, ``_total`` on counters, labels with few values; never a symbol, an order id or a free text as a label. What is measured stands in
``metrics.py``; a name that no object there uses is refused by a test.
"""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "tradingsystem_"

LATENCY_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds: from a hop in one process to a venue that hangs."""

SIZE_BUCKETS = (1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 2048.0, 12288.0)
"""Rows: from one tick to the whole universe."""


@dataclass(frozen=True, slots=True)
class Name:
    """One metric: its name without the prefix, what it says, its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


# System: the process itself.
BUILD_INFO = Name("build_info", "What runs here; the value is always 1", ("service", "build", "schema", "boot_hash"))
PHASE = Name("phase", "1 for the phase the service is in, 0 for the others", ("phase",))
LOOP_LAG = Name("loop_lag_seconds", "How late the event loop answered a timer")
GC_PAUSE = Name("gc_pause_seconds", "Length of one garbage collection")
APPLIED_TIME = Name("applied_timestamp_seconds", "Market time up to which input has been applied")
MARKET_TIME = Name("market_timestamp_seconds", "Market time as this process's clock shows it")
LOG_LINES = Name("log_lines_total", "Log lines written", ("level",))

# Bus and journal: queues between processes.
BUS_PUBLISHED = Name("bus_published_total", "Messages handed to the bus", ("kind",))
BUS_RECEIVED = Name("bus_received_total", "Messages received from the bus", ("kind",))
BUS_DROPPED = Name("bus_dropped_total", "Messages lost on purpose", ("kind", "reason"))
BUS_MALFORMED = Name("bus_malformed_total", "Messages that are not what their subject promises", ("kind",))
BUS_CONNECTED = Name("bus_connected", "1 while the connection hears its own heartbeat", ("connection",))
BUS_REBUILDS = Name("bus_rebuilds_total", "Times a connection was built anew", ("connection", "reason"))
BUS_ROUND_TRIP = Name("bus_round_trip_seconds", "Heartbeat through the server and back")
JOURNAL_APPENDED = Name("journal_appended_total", "Entries that are durable", ("kind",))
JOURNAL_REFUSED = Name("journal_refused_total", "Entries the journal refused", ("reason",))
JOURNAL_APPEND_TIME = Name("journal_append_seconds", "From handing over an awaited entry to its being durable")
JOURNAL_SEALS = Name("journal_seals_total", "Seals over the journal's entries", ("outcome",))
JOURNAL_UNDER_WAY = Name("journal_under_way", "Entries handed over and not yet durable")
CACHE_READS = Name("cache_reads_total", "Reads from the cache", ("outcome",))

# Data: ingestion and the tape.
FRAMES_RECEIVED = Name("frames_received_total", "Frames received from a source", ("source",))
ROWS_ACCEPTED = Name("rows_accepted_total", "Rows that went onto the tape", ("source", "kind"))
ROWS_REFUSED = Name("rows_refused_total", "Rows refused by validation", ("source", "reason"))
ROWS_CONFLATED = Name("rows_conflated_total", "Quotes replaced by a newer one before the seal")
BATCHES_SEALED = Name("batches_sealed_total", "Batches put onto the tape", ("reason",))
BATCH_ROWS = Name("batch_rows", "Rows of one batch")
BATCH_GAPS = Name("batch_gaps_total", "Batches missing on the tape, as the reader saw it")
SOURCE_HEALTHY = Name("source_healthy", "1 while a source delivers", ("source",))
SOURCE_RECONNECTS = Name("source_reconnects_total", "Connections to a source that were lost", ("source", "reason"))
SOURCE_AGE = Name("source_last_event_timestamp_seconds", "Market time of a source's newest event", ("source",))
SUBSCRIBED_SYMBOLS = Name("subscribed_symbols", "Symbols confirmed by a source, by tier", ("source", "tier"))
REST_REQUESTS = Name("rest_requests_total", "REST requests to venues", ("venue", "outcome"))
REST_TIME = Name("rest_seconds", "Duration of one REST request", ("venue",))

# Filter: from tape to signals.
CUTS = Name("cuts_total", "Cuts", ("outcome",))
CUT_TIME = Name("cut_seconds", "From the first queued batch to the cut's last word")
SWEEP_TIME = Name("sweep_seconds", "One full sweep over the universe")
FUNNEL = Name("funnel_rows_total", "Rows stopped at each stage of the filter", ("stage",))
FILTER_BYTES = Name("filter_bytes_total", "Bytes of rows read where the message lay, and bytes written anew", ("how",))
CANDIDATES = Name("candidates", "Symbols that pass the rules now")
SIGNALS = Name("signals_total", "Signals", ("kind",))
REGIME = Name("regime", "1 for the regime the market is in, 0 for the others", ("regime",))
WARM = Name("warm", "1 once the filter's windows are filled and entries are possible")

# Models.
INFERENCE_TIME = Name("inference_seconds", "One call of the model", ("runtime",))
INFERENCE_ROWS = Name("inference_rows", "Rows of one call", ("runtime",))
INFERENCE_OUTCOMES = Name("inference_total", "Calls of the model", ("runtime", "outcome"))
MEMBER_FAILURES = Name("member_failures_total", "Calls of an own member of the ensemble that gave no vote", ("member",))
SHADOW_CUTS = Name("shadow_cuts_total", "Cuts offered to the shadow version", ("outcome",))
OUTCOMES = Name("outcomes_total", "Predictions that were followed to their end", ("role", "label"))
WEIGHTS_UPDATE = Name("weights_update", "The newest update of the members' weights that was learned live or taken back")
MODELS_EXPIRED = Name("models_expired", "Versions with a role past their valid_until: they open nothing")
MODEL_VERSION = Name(
    "model_version",
    "Version of the bundle that serves, was served before, is pinned, on trial, heard in part or unheard; 0: none",
    ("role",),
)
FEATURES_DRIFTED = Name("features_drifted", "Features whose live rows are not what the serving version was judged on")
MODELS_REFUSED = Name("models_refused_total", "Versions that were refused or taken back", ("refusal",))

# Trading.
INTENTS = Name("intents_total", "Intents that are durable", ("purpose",))
ORDER_REFUSALS = Name("order_refusals_total", "Orders our own gate refused", ("code",))
BROKER_REFUSALS = Name("broker_refusals_total", "Orders the broker refused", ("code",))
ORDERS = Name("orders_total", "Orders that reached a state", ("state",))
FILLS = Name("fills_total", "Executions", ("side",))
UNKNOWN_ORDERS = Name("unknown_orders", "Orders whose outcome nobody knows yet")
OPEN_POSITIONS = Name("open_positions", "Symbols held")
UNPROTECTED_SHARES = Name("unprotected_shares", "Filled shares without a protective order at the broker")
GROSS_EXPOSURE = Name("gross_exposure_dollars", "Cost of what is held and what may fill, as the gate counts it")
EQUITY = Name("equity_dollars", "Equity that sizing uses")
DAY_PROFIT = Name("day_profit_dollars", "Result of the day after fees", ("kind",))
DRAWDOWN = Name("drawdown_percent", "Fall from the highest equity")
TRADING_STATE = Name("trading_state", "1 for the trading state in force, 0 for the others", ("state",))
LATCHES = Name("latches", "Latches that are set", ("kind",))
RECONCILIATION = Name("reconciliation_total", "Comparisons of our positions with the broker's", ("outcome",))
DECISION_TO_SOCKET = Name("decision_to_socket_seconds", "From the gate's word to the order's bytes on the socket")
FILL_TO_COVER = Name("fill_to_cover_seconds", "From a share's fill to the stop that covers it (market time)")
TICK_TO_ORDER = Name("tick_to_order_seconds", "From a batch's seal to the order that it caused (machine time)")
CERTIFICATE_LEFT = Name("certificate_left_seconds", "For how long a venue's TLS certificate still holds", ("place",))
BROKER_CLOCK_SKEW = Name(
    "broker_clock_skew_seconds", "Our clock less the broker's, the least that its answers prove; 0 while they may agree"
)
BROKER_CONNECTED = Name("broker_connected", "1 while the broker's update stream is heard")

# Recorder, monitor, simulator.
RECORDED_BYTES = Name("recorded_bytes_total", "Bytes written to recordings", ("stream",))
RECORDER_DROPPED = Name("recorder_dropped_total", "Items the recorder could not keep", ("stream",))
BEATS_MISSING = Name("beats_missing", "1 while a service's heartbeat is overdue", ("service",))
PROBLEMS = Name("problems", "Things that are wrong now, as the monitor sees them")
STORE_USED = Name("store_used_ratio", "How full is what must not become full", ("store",))
ALARMS = Name("alarms_total", "Alarms raised", ("alarm",))
SIMULATED_EVENTS = Name("simulated_events_total", "Market events the simulator played")
SIMULATED_LAG = Name("simulated_lag_seconds", "Market time by which the slowest consumer is behind")


class Span:
    """Names of spans; only what leads to an intent is kept in full."""

    DECISION = "decide"
    INTENT = "append intent"
    SUBMIT = "submit order"
    REQUEST = "request"
