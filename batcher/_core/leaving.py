"""Leaving without a call: withdrawn, expired, closed, or given up with the whole batcher."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, cast

from batcher._core.house import House, unit_of
from batcher._core.lanes import Lane
from batcher._core.model.attempts import come_back, stay
from batcher._core.model.entries import NOT_ACCEPTED, Batch, Unit
from batcher._core.model.states import State, advance
from batcher._core.retries import not_sent
from batcher.outcomes import Unknown


class Leaving:
    """Settles what no answer of a destination settles."""

    def __init__(self, house: House) -> None:
        self._house = house

    def withdraw(self, unit: Unit, now: float, cause: str, *, name_last: bool = False) -> bool:
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
                come_back((member,), now)
            stay(member, lane, now)
        self._house.settle(unit, fates, now)
        if state is State.BUFFERED:
            for member in unit.members:
                lane.withdraw(member)
            self._house.attend(lane, now)  # the next one may have less patience than the one that opened the batch
        return True

    def _turn_away(self, unit: Unit, fates: Iterable[Any], now: float) -> None:
        self._house.admission.remove(unit)
        self._house.under_pressure = self._house.under_pressure and self._house.admission.house_is_full
        self._house.deadlines.drop(unit)
        for member, fate in zip(unit.members, fates, strict=True):
            member.verdict = fate
        advance(unit.members, State.SETTLED)
        self._house.settled.extend(unit.members)
        self._house.forget_if_idle(unit.lane, now)

    def give_up(self, lane: Lane, now: float, why: str) -> None:
        """Settle what is buffered in *lane*."""
        for unit in dict.fromkeys(map(unit_of, lane.entries())):
            self.withdraw(unit, now, why)

    def tell_early(self, lane: Lane, until: float, why: str, now: float) -> None:
        """Settle those that cannot leave *lane* in time, because nothing does before *until*."""
        for unit in list(lane.mortal.pop_due(until)) if lane.mortal is not None else ():
            self.withdraw(cast(Unit, unit), now, f"{why} beyond its deadline")

    def refuse(self, lanes: Iterable[Lane], why: str, now: float) -> None:
        """Settle what waits in *lanes*, for a call or for another try, because a breaker has opened."""
        refused = dict.fromkeys(lanes)  # in order: the same steps have the same end
        for backoff in [each for each in self._house.backoffs if each.lane in refused]:
            for unit in backoff.units:
                if unit.state is State.BACKING_OFF:
                    self.withdraw(unit, now, why)
        for lane in refused:
            lane.allowance.begin_anew()
            self.give_up(lane, now, why)

    def close(self, now: float, until: float) -> None:
        """Close the gate and make everything due. What cannot be sent by *until* is settled now."""
        house = self._house
        self._close_gate(now, until)
        for backoff in list(house.backoffs):
            if backoff.at > until:
                for unit in backoff.units:
                    if unit.state is State.BACKING_OFF:
                        self.withdraw(unit, now, "the batcher closed before its next try")
        for lane in list(house.pacing.held()):  # some may have to wait for longer than there is time now
            house.pacing.unhold(lane, now)
        for lane in list(house.lanes.values()):
            house.attend(lane, now)

    def _close_gate(self, now: float, until: float) -> None:
        self._house.closing, self._house.closes_at = True, until
        for unit in list(self._house.admission.waiters()):
            self._turn_away(unit, [NOT_ACCEPTED] * len(unit.members), now)

    def abort(self, now: float, cause: str, unsent: Iterable[Batch] = ()) -> None:
        """Settle everything at once and send nothing more. Calls out are unknown, but for those in *unsent*."""
        self._close_gate(now, -inf)
        house = self._house
        not_begun = set(unsent)
        batches = list(house.in_flight)
        house.in_flight.clear()
        for batch in batches:
            batch.lane.in_flight = 0
            batch.attempt.ended_at = min(batch.attempt.ended_at, now)
            house.part_late(batch, now)
            for unit in dict.fromkeys(map(unit_of, batch.entries)):
                began = batch not in not_begun
                fates = [Unknown(cause) if began else not_sent(member, cause) for member in unit.members]
                house.settle(unit, fates, now)
            house.forget_if_idle(batch.lane, now)
        while units := list(house.pending_units()):  # settling one lets in what waited for it
            for unit in units:
                self.withdraw(unit, now, cause)
        house.ring.clear()
