"""All circuit breakers of one batcher: one of each lane, for a revoked credential or an unknown object, and one of the
destination.

What looks like a broken destination may be two broken lanes of a quiet batcher. So a lane that has not failed itself
may try *early*, before the cooldown is over: after a false alarm one call of a healthy lane tells. But where there is a
lane per customer, lanes that have not failed come by all the time, and of a destination that is down each would cost a
call. So they try one at a time, and each one that fails makes it more likely that the alarm is true: the next may try
after a second, then after two, four, and so on. The first calls for which everybody waits come after the cooldown, and
only those change it: else the lanes that happen to come by would keep everybody out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import inf
from typing import NamedTuple

from batcher._core.model.attempts import begun, ended
from batcher._core.model.breakers import Breaker, DestinationBreaker, Signal
from batcher._core.model.entries import Lane
from batcher._core.model.steady import steady
from batcher.events import BreakerState
from batcher.policies import BreakerPolicy

# Lanes whose last call failed that are remembered at most; beyond that the one that failed first is forgiven.
_MOST_LANES = 10_000


class Change(NamedTuple):
    """A breaker that has changed."""

    key: Hashable
    """Of the lane."""
    of_all: bool
    """Whether it is the breaker of the destination, and not of that lane."""
    state: BreakerState


class Refused(NamedTuple):
    """What to tell, and whom."""

    why: str
    everybody: bool
    """Or only who waits in the lane of the call."""


class Breakers:
    """All breakers of one batcher.

    :param policy: None never opens any
    :param patience: seconds without any success before calls that might do better next time open a breaker
    """

    def __init__(self, policy: BreakerPolicy | None, patience: float) -> None:
        self._policy = policy
        self._patience = patience
        self._of_lanes: OrderedDict[Hashable, Breaker] = OrderedDict()  # those whose last call failed
        self._of_all: DestinationBreaker | None = None if policy is None else DestinationBreaker(policy)
        self._failed: set[Hashable] = set()  # lanes, or tenants, since any call did well; two are enough to know
        self.open = 0  # of all, those that are not closed
        self.changes: list[Change] = []  # outbox

    @property
    def closed(self) -> bool:
        """Whether that of the destination is."""
        return self._of_all is None or self._of_all.state == "closed"

    def attach(self, lane: Lane) -> None:
        """Give a new lane the breaker that it had before."""
        lane.breaker = self._of_lanes.get(lane.name)
        if lane.breaker is not None and not (self.closed and lane.breaker.state == "closed"):
            lane.allowance.begin_anew()

    def refuses(self, lane: Lane, now: float) -> str | None:
        """Return why nothing of *lane* is sent; None if it is. If no breaker is open, it is.

        While the breaker of the destination is open, a lane that has not failed itself may try now and then.
        """
        breaker, of_all = lane.breaker, self._of_all
        if breaker is not None and now < breaker.open_until:
            return breaker.why("its lane")
        if of_all is None or now >= of_all.open_until or (breaker is None and of_all.admits_early(now)):
            return None
        return of_all.why("the destination")

    def open_until(self, change: Change) -> float:
        """Return until when nothing is sent because of *change*; ``-inf`` if that is over."""
        breaker = self._of_all if change.of_all else self._of_lanes.get(steady(change.key))
        return -inf if breaker is None else breaker.open_until

    def begin(self, lane: Lane, now: float) -> bool:
        """Note that a call of *lane* leaves; return whether it is a probe."""
        probes = False
        if self._of_all is not None:
            self._of_all.begin(now)
        for breaker in (lane.breaker, self._of_all):
            if breaker is not None and breaker.state != "closed":
                self._become(breaker, "half_open", lane, now)
                probes = True
        return probes

    def note(self, lane: Lane, signal: Signal, now: float) -> Refused | None:
        """Learn from the end of a call.

        :returns: who is told now that nothing is sent, if a breaker has opened
        """
        if self._policy is None or self._of_all is None:
            return None
        if signal.failure is None:
            if lane.breaker is not None or self._failed:
                self._close(lane, now)
            return None
        if lane.breaker is None or self._of_lanes.get(lane.name) is not lane.breaker:  # which may have been forgiven
            lane.breaker = self._of_lanes[lane.name] = Breaker(self._policy)
            if len(self._of_lanes) > _MOST_LANES:
                _, forgiven = self._of_lanes.popitem(last=False)
                self.open -= forgiven.state != "closed"
                forgiven.state, forgiven.open_until = "closed", -inf
        if len(self._failed) < 2:
            self._failed.add(lane.name if lane.tenant is None else lane.tenant.name)
        # One lane that fails is one lane, or one tenant; the destination is more than that.
        patience = inf if len(self._failed) < 2 else self._patience
        of_lane = lane.breaker.note_failure(signal.failure, now, 0.0 if signal.for_good else self._patience)
        of_all = self._of_all.note_failure(signal.failure, now, patience)
        if of_lane:
            self._become(lane.breaker, "open", lane, now)
        if of_all:
            self._become(self._of_all, "open", lane, now)
            return Refused(self._of_all.why("the destination"), everybody=True)
        return Refused(lane.breaker.why("its lane"), everybody=False) if of_lane else None

    def _close(self, lane: Lane, now: float) -> None:
        if lane.breaker is not None:
            self._become(lane.breaker, "closed", lane, now)
            self._of_lanes.pop(lane.name, None)
            lane.breaker = None
        if self._failed:
            assert self._policy is not None and self._of_all is not None
            self._failed.clear()
            self._become(self._of_all, "closed", lane, now)
            self._of_all = DestinationBreaker(self._policy)

    def _become(self, breaker: Breaker, state: BreakerState, lane: Lane, now: float) -> None:
        if breaker.state != state:
            if state == "half_open":
                lane.blocked = lane.blocked._replace(breaker=begun(lane.blocked.breaker, now))
            else:
                lane.blocked = lane.blocked._replace(breaker=ended(lane.blocked.breaker, now))
            self.open += (breaker.state == "closed") - (state == "closed")
            breaker.state = state
            self.changes.append(Change(lane.key, breaker is self._of_all, state))
