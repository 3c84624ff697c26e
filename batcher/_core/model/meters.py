"""Meters: what a quota has seen within its window."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from math import inf
from typing import Any, Final

from batcher._core.model.deadlines import Deadlines
from batcher.policies import Quota

# A meter remembers this many slots of its window at most. A slot counts as used at its end, so that joining calls
# errs on the side of the quota.
_SLOTS = 1000


class Meter:
    """The sliding window of one quota, for one group of lanes."""

    def __init__(self, quota: Quota, name: Hashable) -> None:
        self.name = name
        self.per = quota.per
        self.lanes = 0  # that are metered by it; forgotten with the last of them
        self.waiting: Deadlines[Any] = Deadlines()  # the lanes that it holds, by their turn instead of a time
        self._max_calls = quota.calls
        self._max_records = quota.records
        self._width = quota.per / _SLOTS
        self._slots: deque[list[float]] = deque()  # began at, ended at, calls, records
        self._calls = 0.0
        self._records = 0.0

    def free_at(self, records: int, now: float) -> float:
        """Return the first time at which a call with that many records keeps the quota; *now* if it does."""
        self._expire(now)
        calls_left, records_left = self._max_calls - self._calls, self._max_records - self._records
        free_at = now
        slots = iter(self._slots)  # an empty window has room, for no call carries more than the quota allows
        while calls_left < 1 or records_left < records:
            _, ended_at, calls, carried = next(slots)
            calls_left += calls
            records_left += carried
            free_at = ended_at + self.per
        return free_at

    def note(self, records: int, now: float) -> None:
        """Count a call that leaves now."""
        self._calls += 1
        self._records += records
        if self._slots and now - self._slots[-1][0] < self._width:
            slot = self._slots[-1]
            slot[1] = now
            slot[2] += 1
            slot[3] += records
        else:
            self._slots.append([now, now, 1, records])

    def empty_at(self) -> float:
        """Return when the window will be empty; ``-inf`` if it is."""
        return self._slots[-1][1] + self.per if self._slots else -inf

    def _expire(self, now: float) -> None:
        while self._slots and self._slots[0][1] + self.per <= now:
            _, _, calls, records = self._slots.popleft()
            self._calls -= calls
            self._records -= records


class Metered:
    """What quotas make of one lane."""

    __slots__ = ("held_by", "meters", "turn")

    def __init__(self, meters: tuple[Meter, ...] = ()) -> None:
        self.meters = meters
        self.held_by: Meter | None = None  # whose quota keeps the next batch from leaving
        self.turn = inf  # among the held, from when it was held first until it has sent something


UNMETERED: Final = Metered()
"""Shared, and never changed."""
