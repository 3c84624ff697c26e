"""Circuit breakers: after calls that did nobody any good, tell callers at once instead of letting them wait.

One of each lane, for a revoked credential or an unknown object, and one of the destination. Open, it has records told
that they are not written. After a while, *half-open*, one small batch is let through: if it does well, the breaker is
closed. M. Nygard, "Release It!", 2007.

What looks like a broken destination may be two broken lanes of a quiet house. So a lane that has not failed itself may
try *early*, before the cooldown is over: after a false alarm one call of a healthy lane tells. But where a house has a
lane per customer, lanes that have not failed come by all the time, and of a destination that is down each would cost a
call. So they try one at a time, and each one that fails makes it more likely that the alarm is true: the next may try
after a second, then after two, four, and so on. The first calls for which everybody waits come after the cooldown, and
only those change it: else the lanes that happen to come by would lock the house.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from math import inf
from typing import NamedTuple

from batcher._core.lanes import Lane
from batcher._core.model.attempts import freed, held
from batcher.events import BreakerState
from batcher.outcomes import Cause, describe_cause
from batcher.policies import BreakerPolicy

# Lanes whose last call failed that are remembered at most; beyond that the one that failed first is forgiven.
_MOST_LANES = 10_000
# Seconds after an early try that has failed before the next; doubled with each.
_EARLY = 1.0


class Sign(NamedTuple):
    """What a call says of the destination, whatever it says of the records."""

    congested: bool = False
    """It met a throttle, a lock or a timeout."""
    failure: Cause | None = None
    """Why no record was looked at; None if one was."""
    for_good: bool = False
    """Another try would end the same way."""


GOOD = Sign()


class Breaker:
    """The failures in a row of one lane, or of all."""

    __slots__ = ("_cooldown", "_last", "_policy", "_since", "failures", "open_until", "state")

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self.state: BreakerState = "closed"
        self.failures = 0
        self.open_until = -inf
        self._since = inf  # when the first of the failures was seen
        self._cooldown = policy.cooldown
        self._last = ""

    def note_failure(self, cause: Cause, now: float, patience: float) -> bool:
        """Count a call that failed; return whether the breaker opens, or opens again."""
        self.failures += 1
        self._since = min(self._since, now)
        self._last = describe_cause(cause)  # an exception would keep its traceback, and the records of its call
        if self.state == "closed":
            if self.failures < self._policy.failures or now - self._since < patience:
                return False
        elif self.state == "open":
            return True  # it was out when it opened, which is no news
        else:
            self._cooldown = min(2 * self._cooldown, self._policy.cooldown_cap)
        self.open_until = now + self._cooldown
        return True

    def why(self, whose: str) -> str:
        """Return what callers are told."""
        row = f"{self.failures} calls in a row have failed, the last: {self._last}"
        return f"the circuit breaker of {whose} is open: {row}"


class BreakerOfAll(Breaker):
    """That of the destination, with the early tries of lanes that have not failed."""

    __slots__ = ("_early", "_early_at", "_pause")

    def __init__(self, policy: BreakerPolicy) -> None:
        super().__init__(policy)
        self._early = False  # the probe that is out left before the cooldown was over
        self._early_at = -inf  # when the next may
        self._pause = _EARLY

    def admits_early(self, now: float) -> bool:
        """Return whether a lane that has not failed may try now; if one does already, wait for what comes of that."""
        return now >= self._early_at

    def begin(self, now: float) -> None:
        """Note that a probe leaves. No other call is out then, for all lanes together have one."""
        self._early = now < self.open_until

    def note_failure(self, cause: Cause, now: float, patience: float) -> bool:
        """As for any breaker; but an early try changes nothing, except when the next may be."""
        if self.state != "half_open" or not self._early:
            return super().note_failure(cause, now, patience)
        self.failures += 1
        self._last = describe_cause(cause)
        self._early_at = now + self._pause
        self._pause *= 2
        return True


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
        self._of_all: BreakerOfAll | None = None if policy is None else BreakerOfAll(policy)
        self._failed: set[Hashable] = set()  # lanes, or tenants, since any call did well; two are enough to know
        self.open = 0  # of all, those that are not closed
        self.changes: list[Change] = []  # outbox

    @property
    def closed(self) -> bool:
        """Whether that of the destination is."""
        return self._of_all is None or self._of_all.state == "closed"

    def attach(self, lane: Lane) -> None:
        """Give a new lane the breaker that it had before."""
        lane.breaker = self._of_lanes.get(lane.key)
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

    def note(self, lane: Lane, sign: Sign, now: float) -> Refused | None:
        """Learn from the end of a call.

        :returns: who is told now that nothing is sent, if a breaker has opened
        """
        if self._policy is None or self._of_all is None:
            return None
        if sign.failure is None:
            if lane.breaker is not None or self._failed:
                self._close(lane, now)
            return None
        if lane.breaker is None or self._of_lanes.get(lane.key) is not lane.breaker:  # which may have been forgiven
            lane.breaker = self._of_lanes[lane.key] = Breaker(self._policy)
            if len(self._of_lanes) > _MOST_LANES:
                _, forgiven = self._of_lanes.popitem(last=False)
                self.open -= forgiven.state != "closed"
                forgiven.state, forgiven.open_until = "closed", -inf
        if len(self._failed) < 2:
            self._failed.add(lane.key if lane.tenant is None else lane.tenant.name)
        # One lane that fails is one lane, or one tenant; the destination is more than that.
        patience = inf if len(self._failed) < 2 else self._patience
        of_lane = lane.breaker.note_failure(sign.failure, now, 0.0 if sign.for_good else self._patience)
        of_all = self._of_all.note_failure(sign.failure, now, patience)
        if of_lane:
            self._become(lane.breaker, "open", lane, now)
        if of_all:
            self._become(self._of_all, "open", lane, now)
            return Refused(self._of_all.why("the destination"), everybody=True)
        return Refused(lane.breaker.why("its lane"), everybody=False) if of_lane else None

    def _close(self, lane: Lane, now: float) -> None:
        if lane.breaker is not None:
            self._become(lane.breaker, "closed", lane, now)
            self._of_lanes.pop(lane.key, None)
            lane.breaker = None
        if self._failed:
            assert self._policy is not None and self._of_all is not None
            self._failed.clear()
            self._become(self._of_all, "closed", lane, now)
            self._of_all = BreakerOfAll(self._policy)

    def _become(self, breaker: Breaker, state: BreakerState, lane: Lane, now: float) -> None:
        if breaker.state != state:
            if state == "half_open":
                lane.probes = held(lane.probes, now)
            else:
                lane.probes = freed(lane.probes, now)
            self.open += (breaker.state == "closed") - (state == "closed")
            breaker.state = state
            self.changes.append(Change(lane.key, breaker is self._of_all, state))
