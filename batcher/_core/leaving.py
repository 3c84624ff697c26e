"""Leaving without a call: withdrawn, expired, closed, or given up with the whole batcher."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

from batcher._core.accumulator import Accumulator, unit_of
from batcher._core.batches import Batch
from batcher._core.model.entries import NOT_ACCEPTED, Lane, Unit
from batcher._core.model.states import State, advance
from batcher._core.retries import not_sent
from batcher._core.timings import end_attempt, leaves_uncalled
from batcher.outcomes import Unknown


class Leaving:
    """Settles what no answer of a destination settles."""

    def __init__(self, accumulator: Accumulator) -> None:
        self._accumulator = accumulator
        self._admission = accumulator.admission
        self._scheduler = accumulator.scheduler

    def withdraw(
        self, unit: Unit, now: float, cause: str = "withdrawn by its caller", *, name_last: bool = False
    ) -> bool:
        """Take back what no call carries; return False if one does, or if it is settled.

        :param name_last: say also why the last call asked to send it again
        """
        state, lane = unit.state, unit.lane
        if state is State.SETTLED or state is State.IN_FLIGHT:
            return False
        fates = [not_sent(member, cause, name_last=name_last) for member in unit.members]
        if state is State.WAITING:
            self._turn_away(unit, fates, now)
            return True
        if state is State.PARKED:
            lane.parked -= len(unit.members)
        for member in unit.members:
            if state is State.PARKED:
                member.extras.entered_at = now
            elif state is State.BACKING_OFF:
                end_attempt((member,), now)
            leaves_uncalled(member, lane, now)
        self._accumulator.settle(unit, fates, now)
        if state is State.BUFFERED:
            for member in unit.members:
                lane.withdraw(member)
            self._scheduler.reschedule(lane, now)  # the next one may have less patience than he who opened the batch
        return True

    def _turn_away(self, unit: Unit, fates: Iterable[Any], now: float) -> None:
        for member, fate in zip(unit.members, fates, strict=True):
            member.verdict = fate
        advance(unit.members, State.SETTLED)
        self._accumulator.settled.extend(unit.members)
        self._accumulator.failed = True
        self._admission.remove(unit)
        self._admission.under_pressure = self._admission.under_pressure and self._admission.is_full
        self._scheduler.deadlines.drop(unit)
        self._accumulator.lanes.forget_if_idle(unit.lane, now)

    def give_up(self, lane: Lane, now: float, why: str) -> None:
        """Settle what is buffered in *lane*."""
        for unit in dict.fromkeys(map(unit_of, lane.entries())):
            self.withdraw(unit, now, why)

    def expire_early(self, lane: Lane, until: float, why: str, now: float) -> None:
        """Settle those that cannot leave *lane* in time, because nothing does before *until*."""
        for unit in list(lane.expiring.pop_due(until)) if lane.expiring is not None else ():
            self.withdraw(unit, now, f"{why} beyond its deadline")

    def refuse(self, lanes: Iterable[Lane], why: str, now: float) -> None:
        """Settle what waits in *lanes*, for a call or for another try, because a breaker has opened."""
        refused = dict.fromkeys(lanes)  # in order: the same steps have the same end
        for backoff in [each for each in self._accumulator.backoffs if each.lane in refused]:
            for unit in backoff.units:
                if unit.state is State.BACKING_OFF:
                    self.withdraw(unit, now, why)
        for lane in refused:
            lane.allowance.begin_anew()
            self.give_up(lane, now, why)

    def close(self, now: float, until: float) -> None:
        """Close the gate and make everything due. What cannot be sent by *until* is settled now."""
        self._close_gate(now, until)
        self.hurry(now, until)

    def hurry(self, now: float, until: float) -> None:
        """Make everything due, also what is yet to come. What cannot be sent by *until* is settled now."""
        accumulator = self._accumulator
        self._scheduler.closing, self._scheduler.closes_at = True, min(until, self._scheduler.closes_at)
        for backoff in list(accumulator.backoffs):
            if backoff.at > until:
                for unit in backoff.units:
                    if unit.state is State.BACKING_OFF:
                        self.withdraw(unit, now, "the batcher closed before its next try")
        for lane in list(self._scheduler.pacing.held()):  # some may have to wait for longer than there is time now
            self._scheduler.pacing.unhold(lane, now)
        for lane in list(accumulator.lanes.by_key.values()):
            self._scheduler.reschedule(lane, now)

    def _close_gate(self, now: float, until: float) -> None:
        self._scheduler.closing, self._scheduler.closes_at = True, min(until, self._scheduler.closes_at)
        for unit in list(self._admission.waiters()):
            self._turn_away(unit, [NOT_ACCEPTED] * len(unit.members), now)

    def abort(self, now: float, cause: str, unsent: Iterable[Batch] = ()) -> None:
        """Settle everything at once and send nothing more. Calls out are unknown, but for those in *unsent*."""
        self._close_gate(now, -inf)
        accumulator = self._accumulator
        not_begun = set(unsent)
        for batch in list(accumulator.in_flight):
            batch.lane.in_flight = 0
            batch.attempt.ended_at = min(batch.attempt.ended_at, now)
            accumulator.free_given_up(batch, now)
            for unit in dict.fromkeys(map(unit_of, batch.entries)):
                began = batch not in not_begun
                fates = [Unknown(cause) if began else not_sent(member, cause) for member in unit.members]
                accumulator.settle(unit, fates, now)
            del accumulator.in_flight[batch]
            accumulator.lanes.forget_if_idle(batch.lane, now)
        while units := list(accumulator.pending_units()):  # settling one lets in what waited for it
            for unit in units:
                self.withdraw(unit, now, cause)
        self._scheduler.ready.clear()
