"""Lanes filled by hand, of no batcher."""

from __future__ import annotations

from math import inf

from batcher._core import batches
from batcher._core.model.budgets import SearchBudget
from batcher._core.model.entries import Entry, Group, Lane
from batcher._core.model.states import State
from batcher.events import FlushReason


def fill(lane: Lane, *entries: Entry, accepted_at: float = 0.0) -> tuple[Entry, ...]:
    for entry in entries:
        entry.lane, entry.accepted_at, entry.state = lane, accepted_at, State.WAITING
        lane.queue.append(entry)
    return entries


def add_sealed(lane: Lane, *entries: Entry, due_at: float = 0.0, first: bool = False, group: bool = False) -> None:
    for entry in entries:
        entry.lane, entry.accepted_at, entry.state = lane, due_at, State.WAITING
    if group:
        Group(entries)
        lane.add_sealed(entries, due_at, FlushReason.GROUP, first=first)
    else:
        lane.add_sealed(entries, due_at, FlushReason.ISOLATION, SearchBudget(1, ()), first=first)


def withdraw(lane: Lane, *entries: Entry) -> None:
    for entry in entries:
        entry.state = State.SETTLED
        lane.withdraw(entry)


def cut(lane: Lane, now: float = 0.0, closing: bool = False) -> tuple[list[object], FlushReason]:
    lane.due_at()
    batch = batches.cut(lane, now, closing=closing)
    assert all(entry.state is State.IN_FLIGHT for entry in batch.entries)
    assert batch.size == sum(entry.size for entry in batch.entries)
    return batch.records, batch.reason


def forced(lane: Lane) -> bool:
    return lane.due_at() == -inf
