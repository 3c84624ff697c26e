"""Tenants: who shares calls and places with whom, and in what proportion, when there is not enough for all.

Calls go round by start-time fair queueing: each tenant has a clock that advances by records sent over weight, and the
one whose clock is behind goes next; who comes back from idling does not catch up (P. Goyal, H. Vin, H. Cheng, 1996).
Places go to the tenant that holds the fewest for its weight.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Protocol

from batcher._core.lanes import Lane
from batcher.policies import Fairness


class Tenant:
    """Some lanes with a weight."""

    __slots__ = ("clock", "due", "lanes", "listed", "name", "pending", "shown", "waiting", "weight")

    def __init__(self, name: Hashable, weight: float, clock: float) -> None:
        self.name = name
        self.weight = weight
        self.clock = clock
        self.lanes = 0
        self.pending = 0  # records
        self.listed = False  # in the heap of the ring
        self.due: OrderedDict[Lane, None] = OrderedDict()  # lanes that may have something to send, in turn
        # Lanes that somebody waits for: arrival of the first waiter, lane. Stale pairs are skipped.
        self.waiting: list[tuple[int, Lane]] = []
        self.shown: dict[Lane, int] = {}  # which pair of a lane is among these

    @property
    def share(self) -> float:
        """What it holds of the places, for its weight."""
        return self.pending / self.weight


class Ring(Protocol):
    """Lanes that may have something to send."""

    def add(self, lane: Lane) -> None:
        """Have *lane* take its turn; it stays where it is if it waits for it already."""

    def take(self) -> Lane:
        """Take out the lane whose turn it is; there must be one."""

    def discard(self, lane: Lane) -> None:
        """Have *lane* take no turn, if it was to."""

    def note_sent(self, lane: Lane, records: int) -> None:
        """Note what *lane* made of its turn."""

    def clear(self) -> None:
        """Have nobody take a turn."""

    def __contains__(self, lane: object) -> bool:
        """Return whether *lane* waits for its turn."""

    def __iter__(self) -> Iterator[Lane]: ...

    def __len__(self) -> int: ...


class RoundRobin(OrderedDict[Lane, None]):
    """One lane after the other."""

    def add(self, lane: Lane) -> None:
        self[lane] = None

    def take(self) -> Lane:
        return self.popitem(last=False)[0]

    def discard(self, lane: Lane) -> None:
        self.pop(lane, None)

    def note_sent(self, lane: Lane, records: int) -> None:
        """Do nothing: a turn is a turn."""


class WeightedRing:
    """One tenant after the other, by weight; and one of its lanes after the other."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Tenant]] = []  # clock when it was put there; stale pairs are mended
        self._sequence = 0
        self._count = 0
        self.clock = 0.0  # of the tenant that had the last turn

    def add(self, lane: Lane) -> None:
        tenant = _of(lane)
        if lane in tenant.due:
            return
        if not tenant.due:
            tenant.clock = max(tenant.clock, self.clock)
        tenant.due[lane] = None
        self._push(tenant)
        self._count += 1

    def _push(self, tenant: Tenant) -> None:
        if tenant.due and not tenant.listed:
            tenant.listed = True
            self._sequence += 1
            if len(self._heap) > 2 * self._count + 64:
                self._forget_idle()
            heappush(self._heap, (tenant.clock, self._sequence, tenant))

    def _forget_idle(self) -> None:
        """Drop those who have nothing due any more; most of them are gone."""
        for *_, tenant in self._heap:
            tenant.listed = bool(tenant.due)
        self._heap = [pair for pair in self._heap if pair[2].due]
        heapify(self._heap)

    def take(self) -> Lane:
        while True:
            clock, _, tenant = heappop(self._heap)
            tenant.listed = False
            if tenant.due and clock == tenant.clock:
                break
            self._push(tenant)
        self.clock = clock
        lane, _ = tenant.due.popitem(last=False)
        self._count -= 1
        self._push(tenant)
        return lane

    def discard(self, lane: Lane) -> None:
        tenant = lane.tenant
        if tenant is not None and lane in tenant.due:
            del tenant.due[lane]
            self._count -= 1

    def note_sent(self, lane: Lane, records: int) -> None:
        tenant = _of(lane)
        tenant.clock += records / tenant.weight

    def clear(self) -> None:
        for lane in list(self):
            self.discard(lane)

    def __contains__(self, lane: object) -> bool:
        return isinstance(lane, Lane) and lane.tenant is not None and lane in lane.tenant.due

    def __iter__(self) -> Iterator[Lane]:
        for *_, tenant in self._heap:
            yield from tenant.due

    def __len__(self) -> int:
        return self._count


class Tenants:
    """All tenants that have lanes."""

    def __init__(self, fairness: Fairness, ring: WeightedRing) -> None:
        self._fairness = fairness
        self._ring = ring
        self._tenants: dict[Hashable, Tenant] = {}

    def __len__(self) -> int:
        return len(self._tenants)

    def enrol(self, lane: Lane) -> None:
        """Give a new lane its tenant. Whatever ``Fairness.by`` raises leaves all as it was."""
        fairness = self._fairness
        name = fairness.name_of(lane.key)
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = Tenant(name, fairness.weights.get(name, 1.0), self._ring.clock)
        tenant.lanes += 1
        lane.tenant = tenant

    def leave(self, lane: Lane) -> None:
        """Forget a lane, and with its last lane the tenant."""
        tenant, lane.tenant = _of(lane), None
        tenant.lanes -= 1
        if not tenant.lanes:
            del self._tenants[tenant.name]


def _of(lane: Lane) -> Tenant:
    assert lane.tenant is not None, "a lane is enrolled before anything else"
    return lane.tenant
