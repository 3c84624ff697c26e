"""Budgets: how many calls are spent on trying again, and on the search for a culprit.

The retry budget: a destination in trouble is not given more calls than it gets in good times.
Two kinds of tokens, as in Finagle's ``RetryBudget``. Each call that is no retry leaves a share of one, which expires
after ten seconds; and some a second come on top, so that few calls can be retried, too. Finagle lets ten seconds of the
latter be spent at once, and then none for ten seconds; here they come one by one, and no more are kept than a second
brings, so that calls that failed together come again one after the other. Whoever finds no token waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf

from batcher.outcomes import ErrorDetail

WINDOW = 10.0  # seconds, after which Finagle's credits expire
BURST = 1.0  # seconds whose tokens of the floor are kept
# When to look again: not more often than a timer is worth, and, as calls may bring tokens, not much later.
SOONEST, LATEST = 0.01, 1.0
_WIDTH = 0.1  # of a slot of the window: calls within it count as one
_ENOUGH = 1 - 1e-6  # of a token, for rounding must cost nobody a turn


class Credits:
    """Calls within the window whose share has not been spent; parts of calls, too."""

    def __init__(self) -> None:
        self.count = 0.0
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
            self._drop()

    def take(self, calls: float) -> None:
        """Spend so many, the oldest first; there must be as many, but for rounding."""
        while self._slots and self._slots[0][1] <= calls:
            calls -= self._slots[0][1]
            self._drop()
        if self._slots:
            self._slots[0][1] -= calls
            self.count -= calls

    def _drop(self) -> None:
        self.count -= self._slots.popleft()[1]
        if not self._slots:
            self.count = 0.0  # whatever rounding has left


class RetryBudget:
    """What all lanes of a destination share.

    :param share: retries for each other call
    :param floor: retries a second on top
    """

    def __init__(self, share: float, floor: float) -> None:
        self._share = share
        self._floor = floor
        self._burst = max(1.0, floor * BURST) if floor else 0.0
        self._tokens = self._burst  # of the floor
        self._refilled_at = -inf
        self._calls = Credits()

    def note_call(self, now: float) -> None:
        """Count a call that is no retry."""
        if self._share:
            self._calls.expire(now)
            self._calls.note(now)

    def left(self, now: float) -> float:
        """Return how many retries are allowed now."""
        self._calls.expire(now)
        if now > self._refilled_at and self._floor:
            self._tokens = min(self._burst, self._tokens + self._floor * (now - self._refilled_at))
        self._refilled_at = now
        return self._tokens + self._of_calls

    @property
    def _of_calls(self) -> float:
        return self._share * self._calls.count if self._calls.count else 0.0

    def spend(self, now: float) -> bool:
        """Take one retry, or none and return False."""
        if self.left(now) < _ENOUGH:
            return False
        of_calls = min(1.0, self._of_calls)  # first, for they expire
        if of_calls:
            self._calls.take(of_calls / self._share)
        self._tokens = max(0.0, self._tokens - (1 - of_calls))
        return True

    def next_at(self, now: float) -> float:
        """Return when to ask again, after :meth:`spend` has refused; ``inf`` if that will never do."""
        wait = max((1 - self.left(now)) / self._floor, SOONEST) if self._floor else inf
        return now + (min(wait, LATEST) if self._share else wait)


class SearchBudget:
    """Calls left to the search for the culprits of one refused batch, shared by all its parts."""

    __slots__ = ("calls", "errors")

    def __init__(self, calls: int, errors: Sequence[ErrorDetail]) -> None:
        self.calls = calls
        self.errors = errors  # why the batch was refused, for those of whom nobody knows more in the end

    def spend(self, calls: int) -> bool:
        """Take that many calls, or none and return False."""
        if calls > self.calls:
            return False
        self.calls -= calls
        return True
