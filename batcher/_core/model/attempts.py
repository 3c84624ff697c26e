"""Attempts: what each call says of the time of the records that it carried, and what kept their lane from sending.

Who waited in a lane while something held it waited for that, however far behind.
"""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple, TypeAlias

from batcher.events import FlushReason

# Intervals of a lane that are known one by one, of each kind; those before them are evened out.
_MOST = 16


class Interval(NamedTuple):
    """A time for which something held a lane."""

    since: float
    until: float
    share: float = 1.0
    """Of that time; less than 1 if it is several intervals, and what was between them."""

    @property
    def seconds(self) -> float:
        return self.share * (self.until - self.since)


Intervals: TypeAlias = tuple[Interval, ...]
"""In order, and apart. Never changed, so that an attempt can keep them as they were."""


class Blocked(NamedTuple):
    """What has kept a lane from sending, in the order in which it counts if it was more than one thing."""

    quota: Intervals = ()
    pause: Intervals = ()
    breaker: Intervals = ()


NEVER_BLOCKED: Final = Blocked()


def begun(intervals: Intervals, since: float, until: float = inf) -> Intervals:
    """Note that something holds a lane, until *until* or until that has :func:`ended`."""
    if intervals and intervals[-1].until >= since:
        last = intervals[-1]
        return (*intervals[:-1], Interval(last.since, max(last.until, until)))
    if len(intervals) >= _MOST:
        one, two, *rest = intervals
        joined = (one.seconds + two.seconds) / (two.until - one.since)
        intervals = (Interval(one.since, two.until, joined), *rest)
    return (*intervals, Interval(since, until))


def ended(intervals: Intervals, now: float) -> Intervals:
    """Note that it holds it no longer."""
    if not intervals or intervals[-1].until <= now:
        return intervals
    return (*intervals[:-1], Interval(intervals[-1].since, now))


def overlap(intervals: Intervals, start: float, end: float) -> float:
    """Return for how many of the seconds from *start* to *end* it was held."""
    return sum(each.share * max(0.0, min(each.until, end) - max(each.since, start)) for each in intervals)


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
