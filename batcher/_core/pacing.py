"""Pacing: no more calls and records than the quotas allow, in any window of our clock.

Each quota is metered on its own for each group of lanes. A lane whose next call would break a quota is *held*: it waits
in the queue of one meter, keeps filling, and is looked at again in its turn when that meter has room. If another quota
has none by then, it waits there next, and keeps the turn that it got when it was held first: else luckier ones would be
before it for ever.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from math import inf

from batcher._core.model.attempts import begun, ended
from batcher._core.model.deadlines import Deadlines
from batcher._core.model.entries import Lane
from batcher._core.model.meters import UNMETERED, Meter, Metered
from batcher._core.model.steady import steady
from batcher.policies import Quota


class Pacing:
    """All meters, and the lanes that they hold."""

    def __init__(self, quotas: Sequence[Quota], deadlines: Deadlines[Hashable]) -> None:
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
        meters = tuple(self._meter(index, quota, lane.key) for index, quota in enumerate(self._quotas))
        lane.quota = Metered(meters)
        for meter in meters:
            self._meters[meter.name] = meter
            meter.lanes += 1
        lane.allow(min(quota.records for quota in self._quotas), inf)

    def _meter(self, index: int, quota: Quota, key: Hashable) -> Meter:
        name = index, steady(quota.name_of(key))
        return self._meters.get(name) or Meter(quota, name)

    def leave(self, lane: Lane, now: float) -> None:
        """Forget a lane, and with the last lane its meters, once their windows are empty."""
        self.unhold(lane, now)
        quota, lane.quota = lane.quota, UNMETERED
        for meter in quota.meters:
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
        quota, records, held_by, until = lane.quota, lane.next_records(now), None, now
        for meter in quota.meters:
            free_at = meter.free_at(records, now)
            someone_precedes = meter.waiting.next_at < quota.turn
            if free_at > until or (held_by is None and someone_precedes):
                held_by, until = meter, free_at
        if held_by is None:
            quota.turn = inf
            return None
        lane.blocked = lane.blocked._replace(quota=begun(lane.blocked.quota, now))
        if quota.turn == inf:
            self._turn += 1
            quota.turn = self._turn
        held_by.waiting.schedule(lane, quota.turn)
        quota.held_by = held_by
        if until > now:  # else others come first, and the meter is looked at for their sake
            self._deadlines.schedule(held_by, until)
        return until

    def unhold(self, lane: Lane, now: float) -> None:
        """Let go of a lane, if it is held."""
        if lane.quota.held_by is not None:
            lane.blocked = lane.blocked._replace(quota=ended(lane.blocked.quota, now))
            lane.quota.held_by.waiting.drop(lane)
            lane.quota.held_by = None

    def release(self, now: float, closes_at: float) -> Lane | None:
        """Let go of the lane whose turn it is, if its meter has room; or if that will not be before *closes_at*."""
        while self.awake:
            meter = next(iter(self.awake))
            if meter.waiting:
                lane: Lane = meter.waiting.first
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


def note_sent(lane: Lane, records: int, now: float) -> None:
    """Count a call of *lane* that leaves now."""
    for meter in lane.quota.meters:
        meter.note(records, now)
