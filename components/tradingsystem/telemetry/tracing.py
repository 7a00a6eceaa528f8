"""Traces of decisions, off unless an OTLP endpoint is given. Ticks are never traced; what leads to an intent always is.

When off, ``span`` costs one comparison and OpenTelemetry is not even imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_tracer: Any = None
_provider: TracerProvider | None = None


class TracingUnavailable(RuntimeError):
    """An endpoint is configured and the exporter is not installed."""


def configure(*, service: str, system: str, endpoint: str, sample_ratio: float = 0.01, exporter: SpanExporter | None = None) -> None:
    """Send spans to ``endpoint`` (OTLP over HTTP); an empty one turns tracing off. ``exporter`` replaces the OTLP one. Raises ``TracingUnavailable``."""
    global _tracer, _provider
    _tracer = _provider = None
    if not endpoint:
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    _provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.namespace": system}),
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
    )
    _provider.add_span_processor(BatchSpanProcessor(exporter or _exporter(endpoint)))
    _tracer = _provider.get_tracer("tradingsystem")


def _exporter(endpoint: str) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise TracingUnavailable(
            "telemetry.otlpEndpoint is set but the exporter is missing: install opentelemetry-exporter-otlp-proto-http, or leave the endpoint empty"
        ) from error
    exporter: SpanExporter = OTLPSpanExporter(endpoint=endpoint)
    return exporter


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """A span around a piece of work; free when tracing is off."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, attributes=attributes):
        yield


def close() -> None:
    """Send what is still held and stop."""
    if _provider is not None:
        _provider.shutdown()
