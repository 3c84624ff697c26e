"""Lanes filled by hand, outside of any house."""

from __future__ import annotations

from math import inf

from batcher._core.lanes import Lane
from batcher._core.model.entries import Budget, Bundle, Entry, Group
from batcher._core.model.states import State
from batcher.events import FlushReason


def fill(lane: Lane, *entries: Entry, accepted_at: float = 0.0) -> tuple[Entry, ...]:
    for entry in entries:
        entry.lane, entry.accepted_at, entry.state = lane, accepted_at, State.WAITING
        lane.append(entry)
    return entries


def add_bundle(lane: Lane, *entries: Entry, due_at: float = 0.0, first: bool = False, group: bool = False) -> Bundle:
    for entry in entries:
        entry.lane, entry.accepted_at, entry.state = lane, due_at, State.WAITING
    bundle = Bundle(entries, due_at, group=Group(entries) if group else None, budget=None if group else Budget(1, ()))
    lane.append_bundle(bundle, first=first)
    return bundle


def withdraw(lane: Lane, *entries: Entry) -> None:
    for entry in entries:
        entry.state = State.SETTLED
        lane.withdraw(entry)


def cut(lane: Lane, now: float = 0.0, closing: bool = False) -> tuple[list[object], FlushReason]:
    lane.due_at()
    batch = lane.cut(now, closing)
    assert all(entry.state is State.IN_FLIGHT for entry in batch.entries)
    assert batch.size == sum(entry.size for entry in batch.entries)
    return batch.records, batch.reason


def forced(lane: Lane) -> bool:
    return lane.due_at() == -inf
