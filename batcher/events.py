"""Events: what the ``on_event`` hook is told. Codes and counts, never payloads."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from typing import Any, Literal, TypeAlias

import attrs


class FlushReason(str, Enum):
    """Why a batch left."""

    RECORDS = "records"
    """It held ``max_records``."""
    BYTES = "bytes"
    """The next record would have exceeded ``max_bytes``."""
    DELAY = "delay"
    """Its delay had passed since its first record."""
    FLUSH = "flush"
    """``flush()`` was called."""
    SUBMIT_ALL = "submit_all"
    """All records of a ``submit_all()`` were in."""
    GROUP = "group"
    """An all-or-none group travels in a call of its own."""
    IDENTITY = "identity"
    """A later write of one of its records was due."""
    DEADLINE = "deadline"
    """The deadline of one of its records came near."""
    PRESSURE = "pressure"
    """Submits were waiting for a place that this batch held."""
    RETRY = "retry"
    """It carries records that were asked to come again."""
    ISOLATION = "isolation"
    """It is part of a refused batch whose culprit is looked for, or carries a record that was one in the last hour."""
    VERIFY = "verify"
    """It asks what became of records whose answer was lost."""
    CLOSING = "closing"
    """The batcher is closing."""


BreakerScope: TypeAlias = Literal["lane", "destination"]
BreakerState: TypeAlias = Literal["open", "half_open", "closed"]


class EventKind(str, Enum):
    """What happened."""

    DISPATCHED = "dispatched"
    """A batch was handed to a worker: ``batch``, ``key``, ``reason``, ``records``, ``size_bytes``, ``seconds``
    waited, ``links``."""
    ANSWERED = "answered"
    """The call ended, or was given up on; once for each batch dispatched: ``batch``, ``key``, ``records``,
    ``size_bytes``, ``seconds`` it took, ``outcomes`` of those settled by it, ``retried``, ``codes``, ``failure``,
    ``cause``."""
    DETACHED = "detached"
    """A cancelled caller's record, in flight at the time, met its outcome: ``key``, ``outcomes``, ``codes``."""
    BREAKER = "breaker"
    """A circuit breaker has moved: ``scope``, ``key`` of its lane, ``state``, ``cause``."""


@attrs.frozen(kw_only=True)
class Event:
    """One thing that happened. Fields that do not belong to ``kind`` keep their defaults."""

    kind: EventKind
    key: Hashable = None
    """The key of the lane, as submitted; for a Writer the lane that the destination named."""
    batch: int = 0
    """The number of the batch, the same when it is dispatched and when it is answered. No two batches of a process
    share one; a record that is sent again travels in a new batch."""
    reason: FlushReason | None = None
    """Why the batch left."""
    records: int = 0
    """Records in the batch, or detached records."""
    size_bytes: int = 0
    """Their encoded size; 0 without sizes."""
    seconds: float = 0.0
    """Dispatched: since the first record was accepted. Answered: since the call began."""
    outcomes: Mapping[str, int] = attrs.field(factory=dict)
    """Outcome kind to count, for example ``{"written": 98, "rejected": 2}``."""
    retried: int = 0
    """Records that will be sent again."""
    codes: tuple[str, ...] = ()
    """Distinct error codes among the outcomes, sorted, at most ten."""
    failure: str | None = None
    """If the call failed as a whole, the name of the exception that it ended with; ``"Retry"`` or ``"Refused"`` where
    it had only words, ``"UnusableAnswer"`` if its answer did not fit the records, ``"BatcherClosed"`` if it was out
    when the batcher ended."""
    cause: str | None = None
    """Why, in the words of a :class:`Retry`, of that of the first record if they differ; the codes of a
    :class:`Refused`; what was wrong with an answer that did not fit. Of any other exception only the name is told, as
    ``failure``. Of a breaker that opens: why its last call failed, where that is known. The words are not bounded: for
    logs and spans, and no label of a metric."""
    links: tuple[Any, ...] = attrs.field(default=(), repr=False)
    """What the hook's own ``capture()`` returned when the records of the batch were submitted: each object once, None
    left out, at most 128."""
    scope: BreakerScope | None = None
    """What the breaker guards."""
    state: BreakerState | None = None
    """What the breaker is now."""


LaneLabel: TypeAlias = Callable[[Any], str]
"""Returns what may be shown of the key of a lane, in logs and metrics."""

Hook: TypeAlias = Callable[[Event], object]
"""Called in the event loop with one :class:`Event`. What it raises is logged and harms nobody.

It may have a method ``capture()``, which is called with nothing at each submit, in the caller's context variables; what
it returns, unless None, comes back in :attr:`Event.links`. And a method ``around(batch)``: the context manager that it
returns is open while the call of that batch is out, in the context variables of the call.
"""
