"""Attempts: what each call says of the time of the records that it carried."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from batcher.events import FlushReason
from batcher.timing import Timing

if TYPE_CHECKING:
    from batcher._core.lanes import Lane
    from batcher._core.model.entries import Batch, Entry

# Spells of a lane that are known one by one, of each kind; those before them are evened out.
_MOST = 16


class Spell(NamedTuple):
    """A time for which something held a lane: who waited in it then waited for that, however far behind."""

    since: float
    until: float
    share: float = 1.0
    """Of that time; less than 1 if it is several spells, and what was between them."""

    @property
    def seconds(self) -> float:
        return self.share * (self.until - self.since)


Spells: TypeAlias = tuple[Spell, ...]
"""In order, and apart. Never changed, so that an attempt can keep them as they were."""


def held(spells: Spells, since: float, until: float = inf) -> Spells:
    """Note that something holds a lane, until *until* or until it is :func:`freed`."""
    if spells and spells[-1].until >= since:
        last = spells[-1]
        return (*spells[:-1], Spell(last.since, max(last.until, until)))
    if len(spells) >= _MOST:
        one, two, *rest = spells
        joined = (one.seconds + two.seconds) / (two.until - one.since)
        spells = (Spell(one.since, two.until, joined), *rest)
    return (*spells, Spell(since, until))


def freed(spells: Spells, now: float) -> Spells:
    """Note that it holds it no longer."""
    if not spells or spells[-1].until <= now:
        return spells
    return (*spells[:-1], Spell(spells[-1].since, now))


def overlap(spells: Spells, start: float, end: float) -> float:
    """Return for how many of the seconds from *start* to *end* it was held."""
    return sum(spell.share * max(0.0, min(spell.until, end) - max(spell.since, start)) for spell in spells)


class Attempt:
    """A call, as seen by the records that it carried. It does not know them, so no cycle keeps them alive."""

    __slots__ = ("dispatched_at", "due_at", "ended_at", "number", "reason", "spells")

    def __init__(self, number: int, reason: FlushReason | None, due_at: float, lane: Lane, now: float) -> None:
        self.number = number  # 0: it never left
        self.reason = reason
        self.due_at = due_at
        self.dispatched_at = now
        self.ended_at = inf
        # What held the lane, in the order in which it counts if it was more than one thing.
        self.spells = lane.holds, lane.pauses, lane.probes


def attempt_of(batch: Batch, number: int, now: float) -> Attempt:
    """Return the attempt of a batch that has just been cut."""
    lane, due_at = batch.lane, now
    if batch.bundle is not None:
        due_at = -inf  # it waited for no company
    elif batch.reason in (FlushReason.RECORDS, FlushReason.BYTES):
        due_at = batch.entries[-1].accepted_at  # it was full then
    elif batch.reason is FlushReason.DELAY:
        due_at = batch.entries[0].due_at
    return Attempt(number, batch.reason, min(due_at, lane.due_since), lane, now)


def stay(entry: Entry, lane: Lane, now: float) -> None:
    """Note that *entry* leaves *lane* without a call: what held it until now."""
    entry.attempt = Attempt(0, None, min(lane.due_since, now), lane, now)
    entry.attempt.ended_at = now


def come_back(entries: Iterable[Entry], now: float) -> None:
    """Note that *entries* are to be sent again from now on."""
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
    for name, spells in zip(("quota", "pause", "breaker"), attempt.spells, strict=True):
        seconds = min(left, overlap(spells, due_at, attempt.dispatched_at))
        spent[name] += seconds
        left -= seconds
    spent["slot"] += left
    spent["service"] += attempt.ended_at - attempt.dispatched_at
