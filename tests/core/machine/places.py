"""What the model expects of places: who has room, and who comes first."""

from __future__ import annotations

from collections.abc import Hashable

from batcher._core.model.entries import Entry, Lane, Unit
from batcher._core.model.states import State
from batcher.policies import Limits


class Places:
    """The part of the model that knows the ceilings."""

    limits: Limits
    waiting: list[Unit]
    accepted: list[Entry]

    def _pending(self) -> list[Entry]:
        return [entry for entry in self.accepted if entry.state is not State.SETTLED]

    def _check_overtaken(self, lane: Lane) -> None:
        for waiter in self._first_waiters():
            assert waiter.lane is not lane, "overtook a waiter of its own lane"
            assert not self._lane_has_room(waiter), "overtook a waiter whose lane has room"

    def _first_waiters(self) -> list[Unit]:
        firsts: dict[Lane, Unit] = {}
        for unit in self.waiting:
            if unit.state is State.WAITING:
                firsts.setdefault(unit.lane, unit)
        return list(firsts.values())

    def _lane_has_room(self, unit: Unit) -> bool:
        mine = [entry for entry in self._pending() if entry.lane is unit.lane]
        if self.limits.fairness is not None:
            name = self._tenant(unit.lane.key)
            ours = sum(self._tenant(entry.lane.key) == name for entry in self._pending())
            if ours + len(unit.members) > self.limits.lane_records:
                return False
        return (
            len(mine) + len(unit.members) <= self.limits.lane_records
            and sum(entry.size for entry in mine) + unit.size <= self.limits.lane_bytes
        )

    def _tenant(self, key: Hashable) -> Hashable:
        assert self.limits.fairness is not None
        assert self.limits.fairness.by is not None
        return self.limits.fairness.by(key)

    def _share(self, unit: Unit) -> float:
        """What the tenant of *unit* holds for its weight: the one with the least has the next place that is free."""
        fairness = self.limits.fairness
        if fairness is None:
            return 0.0
        name = self._tenant(unit.lane.key)
        return sum(self._tenant(entry.lane.key) == name for entry in self._pending()) / fairness.weights.get(name, 1.0)

    def _has_room(self, unit: Unit) -> bool:
        pending = self._pending()
        return (
            len(pending) + len(unit.members) <= self.limits.max_pending_records
            and sum(entry.size for entry in pending) + unit.size <= self.limits.max_pending_bytes
        )
