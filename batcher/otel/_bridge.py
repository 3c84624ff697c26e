"""The hook that measures and traces."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import metrics, trace

from batcher import __version__
from batcher.events import Event, EventKind, LaneLabel
from batcher.otel._instruments import Instruments, Labels
from batcher.otel._spans import Spans
from batcher.otel._watching import Watchable, watching_of


class OpenTelemetry:
    """A hook that hands what happens to OpenTelemetry: metrics, and a span per batch with links to its submitters.

    Use it as ``on_event=telemetry``, and ``telemetry.watch(batcher)`` for what the batcher holds. The README lists the
    metrics. Nothing of a record, of its key, or of what a provider says goes out, but for codes, in spans.

    A span, ``batcher.batch``, goes from the moment a batch leaves to its answer. It begins a trace of its own, for its
    records may come from many; its links lead to the sampled spans in which they were submitted, 128 at most.

    :param meter_provider: by default the global one
    :param tracer_provider: by default the global one
    :param lane_label: returns what the attribute ``batcher.lane`` is to be for the key of a lane. There is none without
        it: keys are not bounded. Of the values that it returns the first 100 count, further ones become ``"other"``.
    :param name: the attribute ``batcher.name`` of everything; tells batchers apart that have a bridge each
    """

    def __init__(
        self,
        meter_provider: metrics.MeterProvider | None = None,
        tracer_provider: trace.TracerProvider | None = None,
        lane_label: LaneLabel | None = None,
        name: str | None = None,
    ) -> None:
        for argument, provider, method in (
            ("meter_provider", meter_provider, "get_meter"),
            ("tracer_provider", tracer_provider, "get_tracer"),
        ):
            if provider is not None and not hasattr(provider, method):
                kind = type(provider).__name__
                raise TypeError(f"{argument} must be one of OpenTelemetry, not {kind}; a name is given as name='crm'")
        if lane_label is not None and not callable(lane_label):
            raise TypeError(f"lane_label must be a function of a lane's key, not {type(lane_label).__name__}")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, not {type(name).__name__}")
        meter = metrics.get_meter("batcher", __version__, meter_provider)
        self._instruments = Instruments(meter)
        self._spans = Spans(trace.get_tracer("batcher", __version__, tracer_provider))
        self._watching = watching_of(meter_provider, meter)
        self._lane_label = lane_label
        self._lanes = Labels(100, "other")
        self._own: dict[str, Any] = {} if name is None else {"batcher.name": name}

    def capture(self) -> trace.SpanContext | None:
        """Return the span in which a record is submitted, if it is sampled: a link to any other leads nowhere."""
        span = trace.get_current_span()
        if span is trace.INVALID_SPAN:  # the usual case where nobody traces, and this is asked for every record
            return None
        context = span.get_span_context()
        return context if context.trace_flags.sampled and context.is_valid else None

    def around(self, batch: int) -> AbstractContextManager[Any]:
        """Return what makes the span of *batch* the current one, so that spans of the call itself are its children."""
        return self._spans.current(batch)

    def watch(self, batcher: Watchable) -> None:
        """Show what a Batcher or a Writer holds and has done, whenever metrics are collected.

        Figures of several under one name add up. The batcher is not kept alive by being watched.
        """
        if not hasattr(batcher, "statistics"):
            raise TypeError(f"batcher must be a Batcher or a Writer, not {type(batcher).__name__}")
        self._watching.add(batcher, self._own)

    def __call__(self, event: Event) -> None:
        """Measure and trace *event*."""
        if event.kind is EventKind.ANSWERED:
            self._spans.end(event)  # first: lane_label may raise
        attributes = self._attributes(event)
        if event.kind is EventKind.DISPATCHED:
            self._spans.begin(event, attributes)
        self._instruments.measure(event, attributes)

    def _attributes(self, event: Event) -> dict[str, Any]:
        """Return the attributes that all of the event's measurements have."""
        if self._lane_label is None or event.scope == "destination":
            return self._own
        label = self._lane_label(event.key)
        if not isinstance(label, str):
            raise TypeError(f"lane_label must return a string, not {type(label).__name__}")
        return {**self._own, "batcher.lane": self._lanes.bounded(label)}
