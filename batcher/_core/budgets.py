"""The retry budget: a destination in trouble is not given more calls than it gets in good times.

From Finagle's ``RetryBudget``: retries may add a share to the calls of the last ten seconds, and some a second on top,
so that few calls can be retried, too. Whoever finds it used up waits.
"""

from __future__ import annotations

from collections import deque
from math import inf

WINDOW = 10.0  # seconds, after which Finagle's credits expire
_WIDTH = 0.1  # of a slot of the window: calls within it count as one


class Recent:
    """How many calls there were within the window."""

    __slots__ = ("_slots", "count")

    def __init__(self) -> None:
        self.count = 0
        self._slots: deque[list[float]] = deque()  # began at, calls

    def note(self, now: float) -> None:
        """Count one."""
        self.count += 1
        if self._slots and now - self._slots[-1][0] < _WIDTH:
            self._slots[-1][1] += 1
        else:
            self._slots.append([now, 1])

    def expire(self, now: float) -> None:
        """Forget what is older than the window."""
        while self._slots and self._slots[0][0] + WINDOW <= now:
            self.count -= int(self._slots.popleft()[1])

    def fewer_at(self) -> float:
        """Return when there will be fewer; ``inf`` if there are none."""
        return self._slots[0][0] + WINDOW if self._slots else inf


class RetryBudget:
    """What all lanes of a destination share.

    :param share: retries for each other call
    :param floor: retries a second on top
    """

    __slots__ = ("_calls", "_floor", "_last", "_retries", "_share", "_spacing")

    def __init__(self, share: float, floor: float) -> None:
        self._share = share
        self._floor = floor * WINDOW
        # Less than one in a window: one in a while. Endless where there are more, or none.
        self._spacing = 1 / floor if 0 < self._floor < 1 else inf
        self._last = -inf  # retry
        self._calls = Recent()
        self._retries = Recent()

    def note_call(self, now: float) -> None:
        """Count a call that is no retry."""
        if self._share:
            self._calls.expire(now)
            self._calls.note(now)

    def left(self, now: float) -> float:
        """Return how many retries are allowed now."""
        self._calls.expire(now)
        self._retries.expire(now)
        return self._share * self._calls.count + self._floor - self._retries.count

    def spend(self, now: float) -> bool:
        """Take one retry, or none and return False."""
        if self.left(now) < 1 and (self._spacing == inf or now - self._last < self._spacing):
            return False
        self._retries.note(now)
        self._last = now
        return True

    def next_at(self, now: float) -> float:
        """Return when to ask again, after :meth:`spend` has refused."""
        return min(max(self._retries.fewer_at(), now), now + WINDOW)
