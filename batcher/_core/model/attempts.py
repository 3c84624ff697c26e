"""Attempts: what each call says of the time of the records that it carried."""

from __future__ import annotations

from math import inf

from batcher._core.model.intervals import Blocked
from batcher.events import FlushReason


class Attempt:
    """A call, as seen by the records that it carried. It does not know them, so no cycle keeps them alive."""

    __slots__ = ("blocked", "dispatched_at", "due_at", "ended_at", "number", "reason")

    def __init__(self, number: int, reason: FlushReason | None, due_at: float, blocked: Blocked, now: float) -> None:
        self.number = number  # 0: it never left
        self.reason = reason
        self.due_at = due_at
        self.dispatched_at = now
        self.ended_at = inf
        self.blocked = blocked  # what had kept its lane from sending by then
