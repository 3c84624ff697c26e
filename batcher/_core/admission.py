"""Admission control: who may enter when all places are taken, and in which order.

Waiters go in by order of arrival among those whose lane has room; where places are shared out, those of the tenant that
holds the fewest for its weight go first. A full lane holds up nobody else: its waiters are set aside until it has room
again, so no step walks over them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush

from batcher._core.model.entries import Lane, Unit
from batcher._core.model.tenants import Tenant
from batcher.policies import Limits


class TenantWaiters:
    """The lanes of one tenant that somebody waits for. Stale pairs are skipped."""

    __slots__ = ("_shown", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[int, Lane]] = []  # arrival of the first waiter, lane
        self._shown: dict[Lane, int] = {}  # which pair of a lane is among these

    def show(self, arrival: int, lane: Lane) -> None:
        """Have the first waiter of *lane* looked at, if it is not among these already."""
        if self._shown.get(lane) != arrival:
            self._shown[lane] = arrival
            heappush(self.heap, (arrival, lane))

    def drop_first(self) -> None:
        """Take out the first pair."""
        arrival, lane = heappop(self.heap)
        if self._shown.get(lane) == arrival:
            del self._shown[lane]


class Admission:
    """The ceilings, what is held against them, and the units that wait for a place."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.pending = 0
        self.pending_bytes = 0
        # Below this many pending records a newcomer need not look closer; 0 as long as anybody waits.
        self.fast_until = limits.max_pending_records
        self.under_pressure = False  # everything has been made due for somebody who waits although his lane has room
        self._sequence = 0
        self._waiting = 0
        self.in_hand: Unit | None = None  # has just been taken out
        self.queues: dict[Lane, OrderedDict[Unit, int]] = {}  # who waits -> order of arrival
        # Share of its tenant, arrival, lane: of the first waiter of each lane that is not known to be full; or stale.
        self._heads: list[tuple[float, int, Lane]] = []
        self._of_tenants: dict[Tenant, TenantWaiters] = {}

    def __len__(self) -> int:
        return self._waiting

    def waiting(self, lane: Lane) -> bool:
        """Return whether somebody waits for a place in *lane*."""
        return lane in self.queues

    def lane_has_room(self, lane: Lane, count: int, size: int) -> bool:
        """Return whether *lane* may hold that much more."""
        limits = self._limits
        if lane.tenant is not None and lane.tenant.pending + count > limits.lane_records:
            return False
        return lane.pending + count <= limits.lane_records and lane.pending_bytes + size <= limits.lane_bytes

    def has_room(self, count: int, size: int) -> bool:
        """Return whether all lanes together may hold that much more."""
        limits = self._limits
        return (
            self.pending + count <= limits.max_pending_records and self.pending_bytes + size <= limits.max_pending_bytes
        )

    def must_wait(self, lane: Lane, count: int, size: int) -> bool:
        """Return whether a newcomer has to wait: for room, or behind those who came first."""
        if lane in self.queues or not self.lane_has_room(lane, count, size):
            return True
        return self._first() is not None or not self.has_room(count, size)

    def impossible(self, count: int, size: int) -> str | None:
        """Return the ceiling that so much can never fit under, with figures; None if it can."""
        limits = self._limits
        max_records = min(limits.max_pending_records, limits.lane_records)
        max_bytes = min(limits.max_pending_bytes, limits.lane_bytes)
        if count > max_records:
            return f"{count} records exceed the {max_records} that may be pending in one lane"
        if size > max_bytes:
            return f"{size} bytes exceed the {max_bytes} that may be pending in one lane"
        return None

    def in_the_way(self, lane: Lane, count: int, size: int) -> str:
        """Return the ceiling that a newcomer would exceed now, with figures; or that others came first."""
        limits, tenant = self._limits, lane.tenant
        for whose, name, held, more, most in (
            ("its lane", "max_lane_records", lane.pending, count, limits.lane_records),
            ("its lane", "max_lane_bytes", lane.pending_bytes, size, limits.lane_bytes),
            ("its tenant", "max_lane_records", 0 if tenant is None else tenant.pending, count, limits.lane_records),
            ("the batcher", "max_pending_records", self.pending, count, limits.max_pending_records),
            ("the batcher", "max_pending_bytes", self.pending_bytes, size, limits.max_pending_bytes),
        ):
            if held + more > most:
                whole = name.replace("lane", "pending")
                half = (
                    f" (by default half of {whole}={getattr(limits, whole)})" if getattr(limits, name) is None else ""
                )
                this = f", and this record has {size} bytes" if name.endswith("bytes") else ""
                return f"{whose} holds {held} of {name}={most}{half}{this}"
        return "others who wait for one came first"

    def hold(self, lane: Lane, count: int, size: int) -> None:
        """Count records that have just been accepted."""
        self.pending += count
        self.pending_bytes += size
        lane.pending += count
        lane.pending_bytes += size
        if lane.tenant is not None:
            lane.tenant.pending += count

    def release(self, lane: Lane, count: int, size: int) -> None:
        """Count records that have just been settled."""
        self.hold(lane, -count, -size)
        self._show(lane)

    def _show(self, lane: Lane) -> None:
        """Have the first waiter of *lane* looked at, if there is one; or the first of its tenant."""
        queue, tenant = self.queues.get(lane), lane.tenant
        if tenant is None:
            if queue:
                heappush(self._heads, (0.0, next(iter(queue.values())), lane))
            return
        if queue:
            arrival = next(iter(queue.values()))
            self._of_tenants.setdefault(tenant, TenantWaiters()).show(arrival, lane)
        self._show_first_of(tenant)

    def _show_first_of(self, tenant: Tenant) -> None:
        """Have the first waiter of *tenant* looked at whose lane has room."""
        waiters = self._of_tenants.get(tenant)
        if waiters is None:
            return
        too_many: list[tuple[int, Lane]] = []  # for the tenant: groups
        while waiters.heap and tenant.pending < self._limits.lane_records:
            arrival, lane = waiters.heap[0]
            queue = self.queues.get(lane)
            unit = next(iter(queue)) if queue else None
            if unit is not None and queue is not None and queue[unit] == arrival:
                if self.lane_has_room(lane, len(unit.members), unit.size):
                    heappush(self._heads, (tenant.share, arrival, lane))
                    break
                if tenant.pending + len(unit.members) > self._limits.lane_records:
                    too_many.append(heappop(waiters.heap))
                    continue
            waiters.drop_first()  # gone, or its lane is full: release() brings it back
        for each in too_many:
            heappush(waiters.heap, each)
        if not waiters.heap:
            del self._of_tenants[tenant]

    def enqueue(self, unit: Unit) -> None:
        """Make *unit* wait for its lane."""
        self._sequence += 1
        self._waiting += 1
        queue = self.queues.setdefault(unit.lane, OrderedDict())
        queue[unit] = self._sequence
        self.fast_until = 0
        if len(queue) == 1:
            self._show(unit.lane)

    def remove(self, unit: Unit) -> None:
        """Forget a waiter. Nothing of it remains."""
        queue = self.queues[unit.lane]
        was_head = next(iter(queue)) is unit
        del queue[unit]
        self._waiting -= 1
        if not queue:
            del self.queues[unit.lane]
            if not self.queues:
                self.fast_until = self._limits.max_pending_records
        if was_head:
            self._show(unit.lane)

    def next_admitted(self) -> Unit | None:
        """Take out and count the next unit that may enter, and keep it :attr:`in_hand`; None if nobody may."""
        self.in_hand = None
        unit = self._first()
        if unit is None or not self.has_room(len(unit.members), unit.size):
            return None
        self.in_hand = unit
        self.remove(unit)
        self.hold(unit.lane, len(unit.members), unit.size)
        return unit

    def waiters(self) -> Iterator[Unit]:
        """Yield those who wait, lane by lane."""
        for queue in self.queues.values():
            yield from queue

    @property
    def is_full(self) -> bool:
        """Whether somebody waits although his lane has room."""
        return self._first() is not None

    def _first(self) -> Unit | None:
        """Return the first to arrive among those whose lane has room."""
        while self._heads:
            share, arrival, lane = self._heads[0]
            queue = self.queues.get(lane)
            grown = lane.tenant is not None and lane.tenant.share > share
            if queue and not grown:
                unit = next(iter(queue))
                if queue[unit] == arrival and self.lane_has_room(lane, len(unit.members), unit.size):
                    return unit
            heappop(self._heads)  # gone, no longer first, or its lane is full: release() brings it back
            if lane.tenant is not None:
                self._show_first_of(lane.tenant)  # which may have got more since
        return None
