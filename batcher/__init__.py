"""Writes single records to SaaS systems in full batches, and gives every caller the fate of its own.

General layout: ``_core`` decides and never waits; ``destinations`` take batches; ``_shell`` waits and never decides;
``batching`` and ``writer`` put them together. A module imports only from its own layer and those below;
``tests/test_layers.py`` holds the table.

Names are imported on first use, so that a module that only catches errors or makes writes loads neither the engine nor
anyio. Type checkers see the imports below.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from batcher._shell.event_log import EventLog
    from batcher._shell.receipts import Receipt
    from batcher._shell.statistics import Statistics
    from batcher.batching import Batcher
    from batcher.errors import (
        BatcherClosed,
        BatcherError,
        BatcherNotOpen,
        InvalidGroup,
        InvalidRecord,
        NestedSubmit,
        Overloaded,
        RecordError,
        RecordNotWritten,
        RecordRejected,
        RecordRolledBack,
        RecordUnknown,
    )
    from batcher.events import Event, EventKind, FlushReason
    from batcher.outcomes import (
        Accepted,
        ErrorDetail,
        NotWritten,
        Outcome,
        Refused,
        Rejected,
        Retry,
        RolledBack,
        Unknown,
        Written,
    )
    from batcher.policies import AutoBatchPolicy, BreakerPolicy, Fairness, Limits, Quota, RetryPolicy
    from batcher.timing import Timing
    from batcher.writer import Writer
    from batcher.writes import Association, Write, WriteType

__all__ = [
    "Accepted",
    "Association",
    "AutoBatchPolicy",
    "Batcher",
    "BatcherClosed",
    "BatcherError",
    "BatcherNotOpen",
    "BreakerPolicy",
    "ErrorDetail",
    "Event",
    "EventKind",
    "EventLog",
    "Fairness",
    "FlushReason",
    "InvalidGroup",
    "InvalidRecord",
    "Limits",
    "NestedSubmit",
    "NotWritten",
    "Outcome",
    "Overloaded",
    "Quota",
    "Receipt",
    "RecordError",
    "RecordNotWritten",
    "RecordRejected",
    "RecordRolledBack",
    "RecordUnknown",
    "Refused",
    "Rejected",
    "Retry",
    "RetryPolicy",
    "RolledBack",
    "Statistics",
    "Timing",
    "Unknown",
    "Write",
    "WriteType",
    "Writer",
    "Written",
]

# From the cheapest to load to the dearest; each imports most of those before it.
_HOMES = (
    "outcomes",
    "errors",
    "events",
    "policies",
    "writes",
    "_shell.event_log",
    "_shell.statistics",
    "_shell.receipts",
    "batching",
    "writer",
)


if not TYPE_CHECKING:  # for a type checker, a name that is not there is an error

    def __getattr__(name: str) -> object:
        if name in __all__:
            for home in _HOMES:
                found = vars(import_module(f"{__name__}.{home}"))
                if name in found:
                    globals()[name] = found[name]  # not asked for again
                    return found[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
