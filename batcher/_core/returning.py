"""Returning: what has waited for another try goes back into its lane, if the retry budget allows it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from math import inf

from batcher._core.house import House
from batcher._core.lanes import Lane
from batcher._core.leaving import Leaving
from batcher._core.model.attempts import come_back
from batcher._core.model.entries import Backoff, Budget, Bundle, Entry, Group, Unit
from batcher._core.model.states import State
from batcher._core.retries import may_ask, may_try_again
from batcher.policies import RetryPolicy


class Returning:
    """Ends backoffs."""

    def __init__(self, house: House, policy: RetryPolicy, leaving: Leaving) -> None:
        self._house = house
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
        if backoff in self._waiting and not _units_of(backoff):
            self._forget(backoff)

    def go_on(self, now: float) -> None:
        """Bring back those who wait for the retry budget, as far as it goes."""
        house = self._house
        while self._waiting:
            backoff = next(iter(self._waiting))
            units = _units_of(backoff)
            if units and not house.budget.spend(now):
                house.deadlines.schedule(house.budget, house.budget.next_at(now))
                return
            self._forget(backoff)
            self._put_back(backoff.lane, units, now)

    def _forget(self, backoff: Backoff) -> None:
        del self._waiting[backoff], self._house.backoffs[backoff]
        self._house.deadlines.drop(backoff)

    def _put_back(self, lane: Lane, units: Sequence[Unit], now: float) -> None:
        for unit in units:
            come_back(unit.members, now)
        singles = [unit for unit in units if isinstance(unit, Entry)]
        lane.put_back([entry for entry in singles if not entry.extras.asks and entry.extras.budget is None])
        for unit in reversed(units):
            if isinstance(unit, Group):
                bundle = Bundle(unit.members, unit.due_at, group=unit, asks=unit.members[0].extras.asks)
                lane.append_bundle(bundle, first=True)
        if in_doubt := [entry for entry in singles if entry.extras.asks]:
            lane.append_bundle(Bundle(in_doubt, now, asks=True), first=True)
        for budget, suspects in _by_budget(singles).items():
            lane.append_bundle(Bundle(suspects, now, budget=budget), first=True)
        self._house.attend(lane, now)

    def _wait(self, backoff: Backoff, now: float) -> None:
        """Have *backoff* keep its turn until its first deadline; but not units whose deadline is before any retry."""
        house, backoff.at = self._house, self._house.budget.next_at(now)
        last = inf
        for unit in _units_of(backoff):
            may = may_ask if unit.members[0].extras.asks else may_try_again
            if may(self._policy, unit, backoff.at, house.closes_at):
                last = min(last, unit.accepted_at + self._policy.deadline)
            else:
                self._leaving.withdraw(unit, now, "the retry budget is used up", name_last=True)
        house.deadlines.schedule(backoff, last)


def _units_of(backoff: Backoff) -> list[Unit]:
    """Return those that nobody has taken back."""
    return [unit for unit in backoff.units if unit.state is State.BACKING_OFF]


def _by_budget(entries: Iterable[Entry]) -> dict[Budget, list[Entry]]:
    """Return those among whom a culprit is looked for: they share no call with others."""
    suspects: dict[Budget, list[Entry]] = {}
    for entry in entries:
        if entry.extras.budget is not None and not entry.extras.asks:
            suspects.setdefault(entry.extras.budget, []).append(entry)
    return suspects
