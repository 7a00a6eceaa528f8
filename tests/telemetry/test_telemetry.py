"""Every name once, every name used; secrets never in a log line; tracing costs nothing until it is asked for."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from tradingsystem.telemetry import logs, metrics, names, tracing

ALL = {name: value for name, value in vars(names).items() if isinstance(value, names.Name)}


def test_names_are_unique_and_well_formed() -> None:
    """Dashboards and alerts hang on them: base units, _total on counters, lower case."""
    listed = [value.name for value in ALL.values()]
    assert len(set(listed)) == len(listed)
    assert all(name == name.lower() and "__" not in name for name in listed)
    assert not [name for name in listed if name.endswith(("_ms", "_us", "_ns", "_milliseconds"))]


def test_every_name_has_an_object() -> None:
    """A name nobody counts under is a panel that is always empty."""
    exposed = metrics.exposition().decode()
    missing = [value.name for value in ALL.values() if f"{names.PREFIX}{value.name.removesuffix('_total')}" not in exposed]
    assert missing == []


def test_labels_are_few_and_bounded() -> None:
    """A symbol or an order id as a label is a series per value."""
    for value in ALL.values():
        assert len(value.labels) <= 4, value
        assert not {"symbol", "order", "client_order_id", "id"} & set(value.labels), value


def test_the_exposition_is_read_by_prometheus() -> None:
    """Text that its own parser refuses would be no metrics at all."""
    metrics.rows_refused.labels(source="polygon", reason="crossed").inc(3)
    families = {family.name for family in text_string_to_metric_families(metrics.exposition().decode())}
    assert "tradingsystem_rows_refused" in families
    assert (metrics.REGISTRY.get_sample_value("tradingsystem_rows_refused_total", {"source": "polygon", "reason": "crossed"}) or 0) >= 3


def test_exclusive_states_are_exclusive() -> None:
    """Exactly one phase is 1."""
    metrics.choose(metrics.phase, "phase", ("starting", "ready"), "ready")
    assert metrics.REGISTRY.get_sample_value("tradingsystem_phase", {"phase": "ready"}) == 1
    assert metrics.REGISTRY.get_sample_value("tradingsystem_phase", {"phase": "starting"}) == 0


def test_collections_are_timed() -> None:
    """A pause of the collector is a pause of trading: it is measured."""
    watch = metrics.CollectionWatch()
    watch.install()
    watch.install()
    before = metrics.REGISTRY.get_sample_value("tradingsystem_gc_pause_seconds_count") or 0.0
    gc.collect()
    watch.remove()
    assert metrics.REGISTRY.get_sample_value("tradingsystem_gc_pause_seconds_count") == before + 1


def test_log_lines_are_json_without_secrets(tmp_path: Path) -> None:
    """One object per line with its keys; what is a secret by its key is not written."""
    path = tmp_path / "x.log"
    logs.configure(service="filter", system="testing", path=path)
    try:
        structlog.get_logger().warning("source_lost", source="polygon", api_key="canary", password="canary", seconds=1.5)
        try:
            raise ValueError("a cause")
        except ValueError as error:
            structlog.get_logger().error("failed", exc_info=error)
    finally:
        logs.close()
    text = path.read_text()
    first, second = (json.loads(line) for line in text.splitlines())
    assert "canary" not in text
    assert first["event"] == "source_lost"
    assert (first["service"], first["system"], first["seconds"], first["level"]) == ("filter", "testing", 1.5, "warning")
    assert "ValueError: a cause" in second["exception"]


def test_tracing_is_off_until_asked_for() -> None:
    """Without an endpoint a span does nothing and OpenTelemetry is not loaded."""
    code = "import sys; from tradingsystem.telemetry import tracing\nwith tracing.span('x', a=1): pass\nassert 'opentelemetry' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_spans_reach_the_exporter() -> None:
    """With an endpoint each sampled decision is told, with its attributes."""
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    tracing.configure(service="execution", system="testing", endpoint="http://127.0.0.1:1", sample_ratio=1.0, exporter=exporter)
    try:
        with tracing.span(names.Span.DECISION, order="x"):
            pass
    finally:
        tracing.close()
        tracing.configure(service="execution", system="testing", endpoint="")
    assert [(span.name, dict(span.attributes or {})) for span in exporter.get_finished_spans()] == [("decide", {"order": "x"})]


def test_an_endpoint_without_an_exporter_is_told() -> None:
    """Somebody who asked for traces must not silently get none."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401
    except ImportError:
        with pytest.raises(tracing.TracingUnavailable, match="install"):
            tracing.configure(service="filter", system="testing", endpoint="http://127.0.0.1:1")
        tracing.configure(service="filter", system="testing", endpoint="")
