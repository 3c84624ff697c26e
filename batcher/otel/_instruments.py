"""What is measured when something happens, with attributes whose values are bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.metrics import Counter, Histogram, Meter

from batcher.events import Event, EventKind

_RECORDS = (1, 2, 5, 10, 20, 50, 75, 99, 100, 200, 500, 1000, 10_000)
_BYTES = (1_000, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000)
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Labels:
    """So many distinct values of an attribute; those that come later share one.

    Each distinct one costs memory here, and money in whatever collects them.

    :param most: how many
    :param rest: what the later ones become
    """

    def __init__(self, most: int, rest: str) -> None:
        self._most = most
        self._rest = rest
        self._known: set[str] = set()

    def bounded(self, value: str) -> str:
        """Return *value*, or what stands for it and all others that came too late."""
        if value not in self._known:
            if len(self._known) >= self._most:
                return self._rest
            self._known.add(value)
        return value


class Instruments:
    """Counters and histograms. Every attribute is one of a few words, or bounded."""

    def __init__(self, meter: Meter) -> None:
        def histogram(name: str, unit: str, description: str, bounds: Sequence[float]) -> Histogram:
            return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

        self._records = histogram("batcher.batch.records", "{record}", "Records of a batch that leaves.", _RECORDS)
        what = "Encoded size of a batch that leaves, where sizes are known."
        self._size = histogram("batcher.batch.size", "By", what, _BYTES)
        what = "From the moment the first record of a batch was accepted until the batch left."
        self._waited = histogram("batcher.queue.duration", "s", what, _SECONDS)
        what = "From the beginning of a call to its answer."
        self._took = histogram("batcher.call.duration", "s", what, _SECONDS)
        self._calls = meter.create_counter("batcher.calls", "{call}", "Batches that left.")
        self._outcomes = meter.create_counter("batcher.records", "{record}", "Records settled by the end of a call.")
        self._retries = meter.create_counter("batcher.retries", "{record}", "Records that a call sent back to wait.")
        self._detached = meter.create_counter(
            "batcher.detached", "{record}", "Records settled by a call after their callers had been cancelled."
        )
        self._breakers = meter.create_counter(
            "batcher.breaker.transitions", "{transition}", "Moves of circuit breakers."
        )
        self._failures = Labels(20, "_OTHER")  # as the semantic conventions call it

    def measure(self, event: Event, attributes: Mapping[str, Any]) -> None:
        """Measure *event*.

        :param attributes: that all of its measurements have
        """
        match event.kind:
            case EventKind.DISPATCHED:
                self._dispatched(event, attributes)
            case EventKind.ANSWERED:
                self._answered(event, attributes)
            case EventKind.DETACHED:
                _count_outcomes(self._detached, event, attributes)
            case EventKind.BREAKER:
                moved = {"batcher.breaker.scope": str(event.scope), "batcher.breaker.state": str(event.state)}
                self._breakers.add(1, {**attributes, **moved})

    def _dispatched(self, event: Event, attributes: Mapping[str, Any]) -> None:
        if event.reason is not None:
            attributes = {**attributes, "batcher.flush_reason": event.reason.value}
        self._calls.add(1, attributes)
        self._records.record(event.records, attributes)
        self._waited.record(event.seconds, attributes)
        if event.size_bytes:
            self._size.record(event.size_bytes, attributes)

    def _answered(self, event: Event, attributes: Mapping[str, Any]) -> None:
        _count_outcomes(self._outcomes, event, attributes)
        if event.retried:
            self._retries.add(event.retried, attributes)
        if event.failure is not None:
            attributes = {**attributes, "error.type": self._failures.bounded(event.failure)}
        self._took.record(event.seconds, attributes)


def _count_outcomes(counter: Counter, event: Event, attributes: Mapping[str, Any]) -> None:
    for outcome, count in event.outcomes.items():
        counter.add(count, {**attributes, "batcher.outcome": outcome})
