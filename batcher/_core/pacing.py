"""Pacing: no more calls and records than the quotas allow, in any window of our clock.

Each quota is metered on its own for each group of lanes. A lane whose next call would break a quota is *held*: it waits
in the queue of one meter, keeps filling, and is looked at again in its turn when that meter has room. If another quota
has none by then, it waits there next, and keeps the turn that it got when it was held first: else luckier ones would be
before it for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from math import inf
from typing import cast

from batcher._core.lanes import Lane
from batcher._core.model.attempts import freed, held
from batcher._core.model.deadlines import Deadlines
from batcher.policies import Quota

# A meter remembers this many slots of its window at most. A slot counts as used at its end, so that joining calls
# errs on the side of the quota.
_SLOTS = 1000


class Turns:
    """Held lanes, those that were held first in front."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns = Deadlines()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def __iter__(self) -> Iterator[Lane]:
        return cast(Iterator[Lane], iter(self._turns))

    @property
    def first(self) -> Lane:
        """Whose turn it is; there must be one."""
        return cast(Lane, self._turns.first)

    def add(self, lane: Lane) -> None:
        """Have a lane wait, according to its turn."""
        self._turns.schedule(lane, lane.turn)

    def remove(self, lane: Lane) -> None:
        """Have it wait no longer."""
        self._turns.drop(lane)

    def someone_precedes(self, lane: Lane) -> bool:
        """Return whether a lane waits whose turn comes before that of *lane*."""
        return self._turns.next_at < lane.turn


class Meter:
    """What one quota has seen within its window."""

    __slots__ = (
        "_calls",
        "_max_calls",
        "_max_records",
        "_records",
        "_slots",
        "_width",
        "lanes",
        "name",
        "per",
        "waiting",
    )

    def __init__(self, quota: Quota, name: Hashable) -> None:
        self.name = name
        self.per = quota.per
        self.lanes = 0  # that are metered by it; forgotten with the last of them
        self.waiting = Turns()
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


class Pacing:
    """All meters, and the lanes that they hold."""

    def __init__(self, quotas: Sequence[Quota], deadlines: Deadlines) -> None:
        self._quotas = quotas
        self._deadlines = deadlines
        self._meters: dict[Hashable, Meter] = {}
        self._turn = 0
        self.awake: dict[Meter, None] = {}  # those that may have room for a lane that they hold

    def __len__(self) -> int:
        """Return how many meters there are."""
        return len(self._meters)

    def enrol(self, lane: Lane) -> None:
        """Have the calls of a new lane metered, and no call carry more records than can ever keep the quotas.

        Whatever ``Quota.by`` raises leaves all as it was.
        """
        lane.meters = tuple(self._meter(index, quota, lane.key) for index, quota in enumerate(self._quotas))
        for meter in lane.meters:
            self._meters[meter.name] = meter
            meter.lanes += 1
        lane.allow(min(quota.records for quota in self._quotas), inf)

    def _meter(self, index: int, quota: Quota, key: Hashable) -> Meter:
        name = index, quota.name_of(key)
        return self._meters.get(name) or Meter(quota, name)

    def leave(self, lane: Lane, now: float) -> None:
        """Forget a lane, and with the last lane its meters, once their windows are empty."""
        self.unhold(lane, now)
        lane.turn = inf
        meters, lane.meters = lane.meters, ()
        for meter in meters:
            meter.lanes -= 1
            self.look_at(meter, now)

    def look_at(self, meter: Meter, now: float) -> None:
        """See what has become possible: to let a held lane go, or to forget the meter."""
        if meter.waiting:
            self.awake[meter] = None
        elif not meter.lanes:
            if meter.empty_at() > now:  # a new lane of its group would have to keep what is left of the quota
                self._deadlines.schedule(meter, meter.empty_at())
            elif self._meters.get(meter.name) is meter:  # it may have a successor, which is in use
                del self._meters[meter.name]

    def hold(self, lane: Lane, now: float) -> float | None:
        """Hold *lane* if its next call would break a quota; return when it may go then, or None if it may go now."""
        records, held_by, until = lane.next_records(now), None, now
        for meter in lane.meters:
            free_at = meter.free_at(records, now)
            if free_at > until or (held_by is None and meter.waiting.someone_precedes(lane)):
                held_by, until = meter, free_at
        if held_by is None:
            lane.turn = inf
            return None
        lane.holds = held(lane.holds, now)
        if lane.turn == inf:
            self._turn += 1
            lane.turn = self._turn
        held_by.waiting.add(lane)
        lane.held_by = held_by
        if until > now:  # else others come first, and the meter is looked at for their sake
            self._deadlines.schedule(held_by, until)
        return until

    def unhold(self, lane: Lane, now: float) -> None:
        """Let go of a lane, if it is held."""
        if lane.held_by is not None:
            lane.holds = freed(lane.holds, now)
            lane.held_by.waiting.remove(lane)
            lane.held_by = None

    def release(self, now: float, closes_at: float) -> Lane | None:
        """Let go of the lane whose turn it is, if its meter has room; or if that will not be before *closes_at*."""
        while self.awake:
            meter = next(iter(self.awake))
            if meter.waiting:
                lane = meter.waiting.first
                free_at = meter.free_at(lane.next_records(now), now)
                if free_at <= now or free_at > closes_at:
                    self.unhold(lane, now)
                    return lane
                self._deadlines.schedule(meter, free_at)
            del self.awake[meter]
        return None

    def held(self) -> Iterator[Lane]:
        """Yield all lanes that are held."""
        for meter in self._meters.values():
            yield from meter.waiting


def note(lane: Lane, records: int, now: float) -> None:
    """Count a call of *lane* that leaves now."""
    for meter in lane.meters:
        meter.note(records, now)
