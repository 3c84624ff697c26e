"""Batches: what leaves a lane in one call, and what waits for another one."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from batcher._core.model.attempts import Attempt
from batcher._core.model.entries import Entry, Group, Lane, Unit
from batcher._core.model.sealed import Sealed
from batcher._core.model.states import State, check
from batcher.events import FlushReason

IN_FLIGHT, BUFFERED = State.IN_FLIGHT, State.BUFFERED  # a lookup less for every record


class Batch:
    """What one call carries. ``records`` are in the order in which the verdicts must come."""

    __slots__ = (
        "attempt",
        "begun",
        "changes",
        "dispatched_at",
        "entries",
        "given_up",
        "lane",
        "reason",
        "sealed",
        "sent",
        "size",
    )

    def __init__(
        self, lane: Lane, entries: Sequence[Entry], size: int, reason: FlushReason, sealed: Sealed[Entry] | None
    ) -> None:
        self.lane = lane
        self.sent = entries
        self.entries = entries  # those that its answer will settle; empty once it has been given up on
        self.given_up: Sequence[Unit] = ()  # settled before it ended, and holding their identities till then
        self.size = size
        self.reason = reason
        self.sealed = sealed
        self.attempt: Attempt  # once it has left
        self.begun = False  # a worker has taken it
        self.dispatched_at = 0.0
        self.changes = (0, 0)  # of the allowances of its lane and of all, before it left

    @property
    def asks(self) -> bool:
        """Whether it asks what became of these records, and writes nothing."""
        return self.reason is FlushReason.VERIFY

    @property
    def group(self) -> Group | None:
        """The group that this batch carries, if it is one."""
        alone = self.reason in (FlushReason.GROUP, FlushReason.VERIFY)
        return self.sent[0].extras.group if alone else None

    @property
    def records(self) -> list[Any]:
        """What the write function gets."""
        return [entry.record for entry in self.entries]

    def __repr__(self) -> str:
        return f"<Batch {self.reason.value}: {len(self.entries)} records, {self.size} bytes>"


class Backoff:
    """Units of one lane that will be sent again at the same time. One timer for all of them."""

    __slots__ = ("at", "lane", "units")

    def __init__(self, lane: Lane, at: float, units: Sequence[Unit]) -> None:
        self.lane = lane
        self.at = at
        self.units = units

    def waiting(self) -> list[Unit]:
        """Return those that nobody has taken back."""
        return [unit for unit in self.units if unit.state is State.BACKING_OFF]


def cut(lane: Lane, now: float, *, closing: bool = False, most: float = inf, number: int = 0) -> Batch:
    """Take the next batch out of *lane*. Call it only right after :meth:`Lane.due_at`, and if something is buffered.

    :param most: records that it may carry, below what the lane allows anyway; a sealed batch is taken as it is
    :param number: of the batch
    """
    if lane.sealed_is_next(now):
        lane.sealed.was_last = True
        sealed = lane.sealed.take()
        entries: list[Entry] = sealed.living()
        batch = Batch(lane, entries, sum(entry.size for entry in entries), sealed.reason, sealed)
    else:
        if lane.sealed.was_last:
            lane.sealed.was_last = False
        reason = lane.queue.reason(now, closing=closing)
        batch = Batch(lane, *lane.queue.take(most), reason, None)
    _let_go(batch, number, now)
    return batch


def _let_go(batch: Batch, number: int, now: float) -> None:
    """Have a batch leave. With advance(), unrolled: one pass over its records."""
    lane = batch.lane
    batch.dispatched_at = now
    batch.attempt = attempt = Attempt(number, batch.reason, min(_due_at(batch, now), lane.due_since), lane.blocked, now)
    for entry in batch.entries:
        if entry.state is not BUFFERED:
            check(batch.entries, IN_FLIGHT)  # which raises
        entry.attempt = attempt
        entry.state = IN_FLIGHT
    if not lane.queue.is_forced:  # else those that are left have been due for as long
        lane.due_since = inf


def _due_at(batch: Batch, now: float) -> float:
    """Return since when a batch that leaves now has waited for nothing but its turn."""
    if batch.sealed is not None:
        return -inf  # it waited for no company
    if batch.reason in (FlushReason.RECORDS, FlushReason.BYTES):
        return batch.entries[-1].accepted_at  # it was full then
    return batch.entries[0].due_at if batch.reason is FlushReason.DELAY else now
