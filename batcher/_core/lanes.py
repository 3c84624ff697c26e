"""The lanes that hold something, by their keys: opened for the first record, forgotten after the last."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from batcher._core.admission import Admission
from batcher._core.breakers import Breakers
from batcher._core.memory import Memory
from batcher._core.model.entries import Lane
from batcher._core.model.steady import look_up
from batcher._core.scheduler import Scheduler
from batcher.policies import AutoBatchPolicy, LaneRules, Limits


class Lanes:
    """All lanes that hold a record, a call or a pause."""

    def __init__(
        self,
        auto_batch: AutoBatchPolicy,
        limits: Limits,
        rules_of: Callable[[Hashable], LaneRules],
        scheduler: Scheduler,
        admission: Admission,
        breakers: Breakers,
        memory: Memory,
    ) -> None:
        self.by_key: dict[Hashable, Lane] = {}
        self.pinned: Lane | None = None  # is about to get a record, and not to be forgotten
        self._auto_batch = auto_batch
        self._limits = limits
        self._rules_of = rules_of
        self._scheduler = scheduler
        self._admission = admission
        self._breakers = breakers
        self._memory = memory

    def open(self, key: Hashable, now: float) -> Lane:
        """Make the lane of *key*. Whatever this raises, all is as it was."""
        policy = self._auto_batch
        rules = self._rules_of(key)
        lane = Lane(key, rules, policy.max_records, policy.max_bytes, policy.window, self._limits.max_lane_in_flight)
        look_up(self.by_key, lane.name)
        self._breakers.attach(lane)
        self._memory.apply(lane, now)
        # First, for these may raise: no lane is found here that nobody meters, or that is nobody's.
        if self._scheduler.tenants is not None:
            self._scheduler.tenants.enrol(lane)
        if self._limits.quotas:
            self._meter(lane)
        self.by_key[lane.name] = lane
        self.limit_fast_path(lane)
        return lane

    def _meter(self, lane: Lane) -> None:
        try:
            self._scheduler.pacing.enrol(lane)
        except BaseException:
            if self._scheduler.tenants is not None:
                self._scheduler.tenants.leave(lane)
            raise

    def limit_fast_path(self, lane: Lane) -> None:
        """Have newcomers look closer when the lane is full, or at once if there may be more to see."""
        plain = lane.breaker is None and lane.tenant is None and self._breakers.closed
        lane.fast_until = self._limits.lane_records if plain else 0

    def forget_if_idle(self, lane: Lane, now: float) -> None:
        """Drop a lane that holds nothing, so that keys that are gone cost nothing."""
        if not lane.idle(now) or lane is self.pinned:
            return
        if self._admission.waiting(lane) or self.by_key.get(lane.name) is not lane:
            return
        del self.by_key[lane.name]
        self._scheduler.forget(lane)
        if lane.quota.meters:
            self._scheduler.pacing.leave(lane, now)
        if lane.tenant is not None and self._scheduler.tenants is not None:
            self._scheduler.tenants.leave(lane)
