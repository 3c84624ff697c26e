"""Where the time of a record went, from the attempts that carried it."""

from __future__ import annotations

from collections.abc import Iterable

from batcher._core.model.attempts import Attempt, overlap
from batcher._core.model.entries import Entry, Lane
from batcher.timing import Timing


def leaves_uncalled(entry: Entry, lane: Lane, now: float) -> None:
    """Note that *entry* leaves *lane* without a call: what held it until now."""
    entry.attempt = Attempt(0, None, min(lane.due_since, now), lane.blocked, now)
    entry.attempt.ended_at = now


def end_attempt(entries: Iterable[Entry], now: float) -> None:
    """Note that the last attempt of *entries* is over: from now on they wait for another, or leave without one."""
    for entry in entries:
        extras = entry.own_extras()
        extras.past = [*extras.past, (entry.attempt, now)]
        extras.last = None  # an exception keeps its traceback, and the records of its call


def was_accepted(entry: Entry) -> bool:
    """Return whether a settled record had a place: else it has no times."""
    return hasattr(entry, "attempt")


def timing_of(entry: Entry) -> Timing:
    """Return where the time of a settled record went."""
    start, extras = entry.accepted_at, entry.extras
    spent = dict.fromkeys(("identity", "window", "quota", "pause", "breaker", "slot", "retry", "service"), 0.0)
    if extras.entered_at > start:
        spent["identity"] = extras.entered_at - start
        start = extras.entered_at
    for attempt, came_back_at in extras.past:
        _spend(attempt, start, spent)
        spent["retry"] += came_back_at - attempt.ended_at
        start = came_back_at
    _spend(entry.attempt, start, spent)
    attempts = [*(attempt for attempt, _ in extras.past), entry.attempt]
    numbers = tuple(attempt.number for attempt in attempts if attempt.number)
    return Timing(batches=numbers, reason=entry.attempt.reason, **spent)


def _spend(attempt: Attempt, start: float, spent: dict[str, float]) -> None:
    due_at = min(max(attempt.due_at, start), attempt.dispatched_at)
    spent["window"] += due_at - start
    left = attempt.dispatched_at - due_at
    for name, intervals in attempt.blocked._asdict().items():
        seconds = min(left, overlap(intervals, due_at, attempt.dispatched_at))
        spent[name] += seconds
        left -= seconds
    spent["slot"] += left
    spent["service"] += attempt.ended_at - attempt.dispatched_at
