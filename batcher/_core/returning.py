"""Returning: what has waited for another try goes back into its lane, if the retry budget allows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batcher._core.attempts import come_back
from batcher._core.entries import Backoff, Budget, Bundle, Entry, Group, Unit
from batcher._core.house import House
from batcher._core.leaving import Leaving
from batcher._core.retries import may_ask, may_try_again
from batcher._core.states import State
from batcher.policies import RetryPolicy


class Returning:
    """Ends backoffs."""

    def __init__(self, house: House, policy: RetryPolicy, leaving: Leaving) -> None:
        self._house = house
        self._policy = policy
        self._leaving = leaving

    def bring_back(self, backoff: Backoff, now: float) -> None:
        house = self._house
        units = [unit for unit in backoff.units if unit.state is State.BACKING_OFF]
        if units and not house.budget.spend(now):
            self._postpone(backoff, units, now)
            return
        del house.backoffs[backoff]
        for unit in units:
            come_back(unit.members, now)
        singles = [unit for unit in units if isinstance(unit, Entry)]
        backoff.lane.put_back([entry for entry in singles if not entry.extras.asks and entry.extras.budget is None])
        for unit in reversed(units):
            if isinstance(unit, Group):
                bundle = Bundle(unit.members, unit.due_at, group=unit, asks=unit.members[0].extras.asks)
                backoff.lane.append_bundle(bundle, first=True)
        if in_doubt := [entry for entry in singles if entry.extras.asks]:
            backoff.lane.append_bundle(Bundle(in_doubt, now, asks=True), first=True)
        for budget, suspects in _by_budget(singles).items():
            backoff.lane.append_bundle(Bundle(suspects, now, budget=budget), first=True)
        house.attend(backoff.lane, now)

    def _postpone(self, backoff: Backoff, units: Sequence[Unit], now: float) -> None:
        """Have *units* wait for the retry budget, or give up on those that cannot."""
        house, at = self._house, self._house.budget.next_at(now)
        for unit in units:
            may = may_ask if unit.members[0].extras.asks else may_try_again
            if not may(self._policy, unit, at, house.closes_at):
                self._leaving.withdraw(unit, now, "the retry budget is used up", name_last=True)
        backoff.at = at
        house.deadlines.schedule(backoff, at)


def _by_budget(entries: Iterable[Entry]) -> dict[Budget, list[Entry]]:
    """Return those among whom a culprit is looked for: they share no call with others."""
    suspects: dict[Budget, list[Entry]] = {}
    for entry in entries:
        if entry.extras.budget is not None and not entry.extras.asks:
            suspects.setdefault(entry.extras.budget, []).append(entry)
    return suspects
