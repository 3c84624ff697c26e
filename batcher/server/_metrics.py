"""The metrics, in the text format of Prometheus. No label names an object, a customer or a record."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from batcher.events import Event, EventKind
from batcher.server._service import Service

_RECORDS = (1, 2, 5, 10, 20, 50, 75, 99, 100, 200)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counts requests and calls."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("batcher_requests", "Requests answered.", ("endpoint", "status"), registry=registry)
        self._request_seconds = Histogram(
            "batcher_request_seconds", "Time to answer.", ("endpoint",), buckets=_SECONDS, registry=registry
        )
        self._flushes = Counter("batcher_flushes", "Batches sent, by reason.", ("reason",), registry=registry)
        self._call_records = Histogram(
            "batcher_call_records", "Records of one call.", buckets=_RECORDS, registry=registry
        )
        self._call_seconds = Histogram("batcher_call_seconds", "Time of one call.", buckets=_SECONDS, registry=registry)
        self._retried = Counter("batcher_retried_records", "Records to be sent again.", registry=registry)

    def observe_request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._requests.labels(endpoint, str(status)).inc()
        self._request_seconds.labels(endpoint).observe(seconds)

    def observe(self, event: Event) -> None:
        """Count what the Writer tells."""
        if event.kind is EventKind.DISPATCHED:
            self._flushes.labels(event.reason.value if event.reason else "none").inc()
            self._call_records.observe(event.records)
        elif event.kind is EventKind.ANSWERED:
            self._call_seconds.observe(event.seconds)
            self._retried.inc(event.retried)

    def watch(self, service: Service) -> None:
        """Show what *service* holds, whenever somebody looks."""
        self.registry.register(_Holdings(service))

    def text(self) -> bytes:
        """Return all of them."""
        return generate_latest(self.registry)


class _Holdings(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service, statistics = self._service, self._service.writer.statistics()
        operations = service.operations
        records = CounterMetricFamily("batcher_records", "Records with their outcome.", labels=["outcome"])
        for outcome, count in statistics.outcomes.items():
            records.add_metric([outcome], count)
        yield records
        yield CounterMetricFamily("batcher_calls", "Calls made.", statistics.calls)
        for name, text, value in (
            ("pending_records", "Records accepted and without outcome.", statistics.pending),
            ("pending_bytes", "Their encoded size.", statistics.pending_bytes),
            ("waiting_submits", "Submits that wait for a place.", statistics.waiting),
            ("calls_in_flight", "Calls out.", statistics.in_flight),
            ("lanes", "Lanes that hold a record, a call or a pause.", statistics.lanes),
            ("open_windows", "Windows of auto-batched writes.", len(service.windows)),
            ("operations_in_progress", "Operations under way.", operations.in_progress),
            ("operations_kept", "Ended operations that can be read.", operations.ended),
        ):
            yield GaugeMetricFamily(f"batcher_{name}", text, value)
