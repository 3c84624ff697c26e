"""Returning: what has waited for another try goes back into its lane, if the retry budget allows it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from math import inf

from batcher._core.accumulator import Accumulator
from batcher._core.batches import Backoff
from batcher._core.leaving import Leaving
from batcher._core.model.budgets import SearchBudget
from batcher._core.model.entries import Entry, Group, Lane, Unit
from batcher._core.retries import may_ask, may_try_again
from batcher._core.timings import end_attempt
from batcher.events import FlushReason
from batcher.policies import RetryPolicy


class Returning:
    """Ends backoffs."""

    def __init__(self, accumulator: Accumulator, policy: RetryPolicy, leaving: Leaving) -> None:
        self._accumulator = accumulator
        self._scheduler = accumulator.scheduler
        self._policy = policy
        self._leaving = leaving
        # Whose time has come, and who has to wait for the retry budget: in turn, so that nobody looks but the first.
        self._waiting: OrderedDict[Backoff, None] = OrderedDict()

    def bring_back(self, backoff: Backoff, now: float) -> None:
        """Have the units of *backoff* come back, or wait for the retry budget; or give up on those that cannot."""
        self._waiting[backoff] = None
        self.go_on(now)
        if backoff in self._waiting:
            self._wait(backoff, now)
        if backoff in self._waiting and not backoff.waiting():
            self._forget(backoff)

    def go_on(self, now: float) -> None:
        """Bring back those who wait for the retry budget, as far as it goes."""
        budget = self._accumulator.budget
        while self._waiting:
            backoff = next(iter(self._waiting))
            units = backoff.waiting()
            if units and not budget.spend(now):
                self._scheduler.deadlines.schedule(budget, budget.next_at(now))
                return
            self._put_back(backoff.lane, units, now)
            self._forget(backoff)

    def _forget(self, backoff: Backoff) -> None:
        del self._waiting[backoff], self._accumulator.backoffs[backoff]
        self._scheduler.deadlines.drop(backoff)

    def _put_back(self, lane: Lane, units: Sequence[Unit], now: float) -> None:
        for unit in units:
            end_attempt(unit.members, now)
        singles = [unit for unit in units if isinstance(unit, Entry)]
        lane.queue.put_back([entry for entry in singles if not entry.extras.asks and entry.extras.budget is None])
        for unit in reversed(units):
            if isinstance(unit, Group):
                reason = FlushReason.VERIFY if unit.members[0].extras.asks else FlushReason.GROUP
                lane.add_sealed(unit.members, unit.due_at, reason, first=True)
        if in_doubt := [entry for entry in singles if entry.extras.asks]:
            lane.add_sealed(in_doubt, now, FlushReason.VERIFY, first=True)
        for budget, suspects in _by_budget(singles).items():
            lane.add_sealed(suspects, now, FlushReason.ISOLATION, budget, first=True)
        self._scheduler.reschedule(lane, now)

    def _wait(self, backoff: Backoff, now: float) -> None:
        """Have *backoff* keep its turn until its first deadline; but not units whose deadline is before any retry."""
        backoff.at, last = self._accumulator.budget.next_at(now), inf
        for unit in backoff.waiting():
            may = may_ask if unit.members[0].extras.asks else may_try_again
            if may(self._policy, unit, backoff.at, self._scheduler.closes_at):
                last = min(last, unit.accepted_at + self._policy.deadline)
            else:
                self._leaving.withdraw(unit, now, "the retry budget is used up", name_last=True)
        self._scheduler.deadlines.schedule(backoff, last)


def _by_budget(entries: Iterable[Entry]) -> dict[SearchBudget, list[Entry]]:
    """Return those among whom a culprit is looked for: they share no call with others."""
    suspects: dict[SearchBudget, list[Entry]] = {}
    for entry in entries:
        if entry.extras.budget is not None and not entry.extras.asks:
            suspects.setdefault(entry.extras.budget, []).append(entry)
    return suspects
