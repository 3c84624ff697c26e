"""Fairness: which lane sends next, and what tenants share.

Calls go round by start-time fair queueing: each tenant has a clock that advances by records sent over weight, and the
one whose clock is behind goes next; who comes back from idling does not catch up (P. Goyal, H. Vin, H. Cheng, 1996).
Places go to the tenant that holds the fewest for its weight: see :mod:`admission`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from heapq import heapify, heappop, heappush

from batcher._core.model.entries import Lane
from batcher._core.model.steady import steady
from batcher._core.model.tenants import Tenant
from batcher.policies import Fairness


class RoundRobin(OrderedDict[Lane, None]):
    """Lanes that may have something to send, one after the other."""

    def add(self, lane: Lane) -> None:
        """Have *lane* take its turn; it stays where it is if it waits for it already."""
        self[lane] = None

    def take(self) -> Lane:
        """Take out the lane whose turn it is; there must be one."""
        return self.popitem(last=False)[0]

    def discard(self, lane: Lane) -> None:
        """Have *lane* take no turn, if it was to."""
        self.pop(lane, None)

    def note_sent(self, lane: Lane, records: int) -> None:
        """Note what *lane* made of its turn: nothing, for a turn is a turn."""


class Flow:
    """The lanes of one tenant that may have something to send, in turn."""

    __slots__ = ("clock", "lanes", "listed", "weight")

    def __init__(self, weight: float, clock: float) -> None:
        self.weight = weight
        self.clock = clock
        self.lanes: OrderedDict[Lane, None] = OrderedDict()
        self.listed = False  # in the heap


class FairQueue:
    """The same, with the same verbs: one tenant after the other, by weight; and one of its lanes after the other."""

    def __init__(self) -> None:
        self._flows: dict[Tenant, Flow] = {}
        self._heap: list[tuple[float, int, Flow]] = []  # clock when it was put there; stale pairs are mended
        self._sequence = 0
        self._count = 0
        self.clock = 0.0  # of the tenant that had the last turn

    def add(self, lane: Lane) -> None:
        flow = self._flow_of(lane)
        if lane in flow.lanes:
            return
        if not flow.lanes:
            flow.clock = max(flow.clock, self.clock)
        flow.lanes[lane] = None
        self._push(flow)
        self._count += 1

    def _flow_of(self, lane: Lane) -> Flow:
        tenant = _tenant_of(lane)
        flow = self._flows.get(tenant)
        if flow is None:
            flow = self._flows[tenant] = Flow(tenant.weight, self.clock)
        return flow

    def _push(self, flow: Flow) -> None:
        if flow.lanes and not flow.listed:
            flow.listed = True
            self._sequence += 1
            if len(self._heap) > 2 * self._count + 64:
                self._forget_idle()
            heappush(self._heap, (flow.clock, self._sequence, flow))

    def _forget_idle(self) -> None:
        """Drop those who have nothing due any more; most of them are gone."""
        for *_, flow in self._heap:
            flow.listed = bool(flow.lanes)
        self._heap = [pair for pair in self._heap if pair[2].lanes]
        heapify(self._heap)

    def take(self) -> Lane:
        while True:
            clock, _, flow = heappop(self._heap)
            flow.listed = False
            if flow.lanes and clock == flow.clock:
                break
            self._push(flow)
        self.clock = clock
        lane, _ = flow.lanes.popitem(last=False)
        self._count -= 1
        self._push(flow)
        return lane

    def discard(self, lane: Lane) -> None:
        if lane in self:
            del self._flow_of(lane).lanes[lane]
            self._count -= 1

    def note_sent(self, lane: Lane, records: int) -> None:
        flow = self._flow_of(lane)
        flow.clock += records / flow.weight

    def forget(self, tenant: Tenant) -> None:
        """Drop what is known of a tenant that has no lane any more."""
        self._flows.pop(tenant, None)

    def clear(self) -> None:
        for lane in list(self):
            self.discard(lane)

    def __contains__(self, lane: object) -> bool:
        if not isinstance(lane, Lane) or lane.tenant is None:
            return False
        flow = self._flows.get(lane.tenant)
        return flow is not None and lane in flow.lanes

    def __iter__(self) -> Iterator[Lane]:
        for *_, flow in self._heap:
            yield from flow.lanes

    def __len__(self) -> int:
        return self._count


class Tenants:
    """All tenants that have lanes."""

    def __init__(self, fairness: Fairness, ready: FairQueue) -> None:
        self._fairness = fairness
        self._ready = ready
        self._tenants: dict[Hashable, Tenant] = {}

    def __len__(self) -> int:
        return len(self._tenants)

    def enrol(self, lane: Lane) -> None:
        """Give a new lane its tenant. Whatever ``Fairness.by`` raises leaves all as it was."""
        fairness = self._fairness
        called = fairness.name_of(lane.key)
        name = steady(called)
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = Tenant(name, fairness.weights.get(called, 1.0))
        tenant.lanes += 1
        lane.tenant = tenant

    def leave(self, lane: Lane) -> None:
        """Forget a lane, and with its last lane the tenant."""
        tenant, lane.tenant = _tenant_of(lane), None
        tenant.lanes -= 1
        if not tenant.lanes:
            self._ready.forget(tenant)
            del self._tenants[tenant.name]


def _tenant_of(lane: Lane) -> Tenant:
    assert lane.tenant is not None, "a lane is enrolled before anything else"
    return lane.tenant
