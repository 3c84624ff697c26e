"""Circuit breakers: after calls that did nobody any good, tell callers at once instead of letting them wait.

Open, it has records told that they are not written. After a while, *half-open*, one small batch is let through: if it
does well, the breaker is closed. M. Nygard, "Release It!", 2007.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from batcher.events import BreakerState
from batcher.outcomes import Cause, describe_cause
from batcher.policies import BreakerPolicy

# Seconds after an early try that has failed before the next; doubled with each.
_EARLY = 1.0


class Signal(NamedTuple):
    """What a call says of the destination, whatever it says of the records."""

    congested: bool = False
    """It met a throttle, a lock or a timeout."""
    failure: Cause | None = None
    """Why no record was looked at; None if one was."""
    for_good: bool = False
    """Another try would end the same way."""


GOOD = Signal()


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


class DestinationBreaker(Breaker):
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
        """Note that a call leaves: if this is not closed, a probe, and no other call is out, for all lanes have one."""
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
