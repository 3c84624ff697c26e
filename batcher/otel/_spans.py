"""A span per batch, from the moment it leaves to its answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, StatusCode, Tracer, use_span

from batcher.events import Event


class Spans:
    """The spans of the batches that are out; no more of them than calls may be."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._open: dict[int, Span] = {}

    def begin(self, event: Event, attributes: Mapping[str, Any]) -> None:
        """Begin the span of a batch that leaves."""
        own: dict[str, Any] = {
            **attributes,
            "batcher.batch.records": event.records,
            "batcher.queue.duration": event.seconds,
        }
        if event.reason is not None:
            own["batcher.flush_reason"] = event.reason.value
        if event.size_bytes:
            own["batcher.batch.size"] = event.size_bytes
        # The current context is that of whoever happened to fill the batch: hence the empty one. CLIENT is what the
        # semantic conventions ask of a send whose messages have spans of their own, those where they were created.
        self._open[event.batch] = self._tracer.start_span(
            "batcher.batch", Context(), SpanKind.CLIENT, own, [Link(link) for link in event.links]
        )

    def current(self, batch: int) -> AbstractContextManager[Any]:
        """Return what makes the span of *batch* the current one. It neither ends it nor notes what the call raises."""
        span = self._open.get(batch, INVALID_SPAN)
        return use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def end(self, event: Event) -> None:
        """End the span of a batch that is answered."""
        span = self._open.pop(event.batch, None)
        if span is None:
            return
        for outcome, count in event.outcomes.items():
            span.set_attribute(f"batcher.outcome.{outcome}", count)
        if event.retried:
            span.set_attribute("batcher.retried", event.retried)
        if event.codes:
            span.set_attribute("batcher.codes", event.codes)
        if event.cause is not None:
            span.set_attribute("batcher.cause", event.cause)  # of a span only: its values have no bound
        if event.failure is not None:
            span.set_attribute("error.type", event.failure)
            span.set_status(StatusCode.ERROR)
        span.end()
