"""Statistics: what a batcher has done and holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from batcher._core.engine import Engine


@attrs.frozen(kw_only=True)
class Statistics:
    """What a batcher has done and holds, at one moment."""

    accepted: int
    """Records taken in so far: settled ones and pending ones."""
    settled: int
    """Records that have their outcome."""
    pending: int
    """Records accepted and without outcome: buffered, in flight, backing off, or behind another write."""
    pending_bytes: int
    """Their encoded size; 0 without sizes."""
    waiting: int
    """Submits that wait for a place; a group counts once. Not accepted yet."""
    in_flight: int
    """Calls out at this moment."""
    in_flight_limit: int
    """Calls that all lanes together may have out: ``Limits.max_in_flight``, or less while the destination struggles."""
    open_breakers: int
    """Circuit breakers, of lanes and of the destination, that are open or try a record."""
    calls: int
    """Calls made so far, retries and the search for culprits included."""
    lanes: int
    """Lanes that hold a record, a call or a pause."""
    outcomes: Mapping[str, int]
    """Settled records by outcome kind, for example ``{"written": 9990, "rejected": 10}``."""


def accepted(engine: Engine) -> int:
    """Return how many records were taken in so far."""
    return engine.accumulator.outcomes.total() + engine.pending


def statistics_of(engine: Engine, calls: int) -> Statistics:
    """Return the figures of this moment."""
    accumulator = engine.accumulator
    return Statistics(
        accepted=accepted(engine),
        settled=accumulator.outcomes.total(),
        pending=accumulator.admission.pending,
        pending_bytes=accumulator.admission.pending_bytes,
        waiting=len(accumulator.admission),
        in_flight=len(accumulator.in_flight),
        in_flight_limit=int(accumulator.allowance.limit),
        open_breakers=accumulator.breakers.open,
        calls=calls,
        lanes=len(accumulator.lanes.by_key),
        outcomes=dict(accumulator.outcomes),
    )
