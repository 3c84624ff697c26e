"""The engine: submit / settle / poll(now) -> Plan / withdraw / flush / close / abort.

Every step changes the state at once and leaves its consequences to :meth:`Engine.poll`: which batches to send, whose
fate is known, who has a place now, and when to ask again. The state itself, ``accumulator``, is there to be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from itertools import count
from math import inf
from typing import Any

from batcher._core.accumulator import Accumulator, unit_of
from batcher._core.arriving import Arriving
from batcher._core.batches import Batch, cut
from batcher._core.breakers import Change
from batcher._core.leaving import Leaving
from batcher._core.model.breakers import GOOD, Signal
from batcher._core.model.entries import Entry, Lane
from batcher._core.model.states import State
from batcher._core.pacing import note_sent
from batcher._core.retries import asks
from batcher._core.returning import Returning
from batcher._core.salvage import salvage
from batcher._core.settling import Settling
from batcher._core.verbs import NO_PLAN, Plan
from batcher.events import FlushReason
from batcher.outcomes import Unknown
from batcher.policies import AutoBatchPolicy, LaneRules, Limits, RetryPolicy

PROBE = 1  # records of a batch that finds out whether a breaker may be closed
_A_BUG = Signal(congested=True, failure="an error in the batcher")
_AGAIN = frozenset({FlushReason.RETRY, FlushReason.VERIFY, FlushReason.ISOLATION})


class Engine:
    """Every decision about records, without a clock. Times are seconds of one clock that never goes back."""

    def __init__(
        self,
        auto_batch: AutoBatchPolicy,
        retry: RetryPolicy,
        limits: Limits,
        rules_of: Callable[[Hashable], LaneRules],
        *,
        atomic: bool = False,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._next_number = (numbers or count(1)).__next__
        self.accumulator = accumulator = Accumulator(auto_batch, retry, limits, rules_of)
        self._scheduler = accumulator.scheduler
        self._retry = retry
        self._settling = Settling(accumulator, retry, atomic)
        self._leaving = Leaving(accumulator)
        returning = Returning(accumulator, retry, self._leaving)
        self._arriving = arriving = Arriving(accumulator, limits, self._leaving, returning)
        # As they are: a call less for every record.
        self.submit = arriving.submit
        self.submit_many = arriving.submit_many
        self.submit_group = arriving.submit_group
        leaving = self._leaving
        self.withdraw, self.hurry = leaving.withdraw, leaving.hurry
        self.close, self.abort = leaving.close, leaving.abort

    # Out

    @property
    def next_at(self) -> float:
        """When to poll at the latest, if nothing else happens."""
        return self._scheduler.deadlines.next_at

    @property
    def breaker_changes(self) -> list[Change]:
        """The breakers that have moved, oldest first; whoever has told of one takes it out."""
        return self.accumulator.breakers.changes

    @property
    def pending(self) -> int:
        """Records accepted and not settled."""
        return self.accumulator.admission.pending

    def outcomes(self) -> Counter[str]:
        """Return how many records are settled, by outcome kind."""
        return Counter(self.accumulator.outcomes)

    @property
    def in_flight(self) -> int:
        """Calls out."""
        return len(self.accumulator.in_flight)

    def why_no_place(self, entry: Entry) -> str:
        """Return the ceiling that keeps *entry* waiting, with figures."""
        admission = self.accumulator.admission
        why = admission.in_the_way(entry.lane, 1, entry.size)
        return f"{why}; {admission.pending} records are pending in all and {len(admission)} submits wait"

    def poll(self, now: float) -> Plan:
        """Return all that is to be done now."""
        accumulator, scheduler = self.accumulator, self._scheduler
        if scheduler.deadlines.next_at <= now or accumulator.admission.queues:
            self._arriving.bring_in(now)
        batches: list[Batch] = []
        breakers = accumulator.breakers
        while len(accumulator.in_flight) < accumulator.allowance.limit and (lane := scheduler.take(now)) is not None:
            if (lane.breaker is not None or breakers.open) and (why := breakers.refuses(lane, now)):
                self._leaving.give_up(lane, now, why)
                self._arriving.bring_in(now)  # who waited for a place, or for one of these
            elif scheduler.closing and lane.paused_until > scheduler.closes_at:
                self._leaving.give_up(lane, now, "its lane is paused beyond the shutdown timeout")
            elif lane.in_flight >= lane.allowance.limit:
                scheduler.filling[lane] = None  # the end of a call brings it back
            elif self._may_send(lane, now) and self._keeps_quotas(lane, now):
                batches.append(self._cut(lane, now))
                scheduler.reschedule(lane, now)
        plan = Plan(batches, accumulator.settled, accumulator.admitted, scheduler.deadlines.next_at)
        accumulator.plan = plan
        accumulator.settled, accumulator.admitted = [], []
        return plan

    def done(self) -> None:
        """Note that all is done that the last plan says."""
        self.accumulator.plan = NO_PLAN

    def salvage(self, now: float, cause: str, *, maybe: bool = False) -> list[Entry]:
        """Settle everything, because a step was cut off in the middle; return all whose waiters are to be woken.

        :param maybe: nothing is known of any of them
        """
        return salvage(self.accumulator, now, cause, maybe=maybe)

    def _may_send(self, lane: Lane, now: float) -> bool:
        at = lane.due_at()
        if at is None or lane.paused_until > now or (at > now and not self._scheduler.closing):
            if lane.paused_until <= now:
                lane.due_since = inf
            self._scheduler.reschedule(lane, now)  # what made it due has been withdrawn, or it was paused since
            return False
        return True

    def _keeps_quotas(self, lane: Lane, now: float) -> bool:
        if not lane.quota.meters:
            return True
        held_until = self._scheduler.pacing.hold(lane, now)
        if held_until is not None:
            self._leaving.expire_early(lane, held_until, "its quota is used up", now)
            self._arriving.bring_in(now)  # who waited for a place, or for one of these
        if held_until is not None and self._scheduler.closing and held_until > self._scheduler.closes_at:
            self._scheduler.pacing.unhold(lane, now)
            self._leaving.give_up(lane, now, "its quota is used up beyond the shutdown timeout")
        return held_until is None

    def _cut(self, lane: Lane, now: float) -> Batch:
        accumulator = self.accumulator
        most = PROBE if accumulator.breakers.begin(lane, now) else inf
        if lane.sealed:
            accumulator.in_hand = lane.sealed.first.entries
        batch = cut(lane, now, closing=self._scheduler.closing, most=most, number=self._next_number())
        note_sent(lane, len(batch.entries), now)
        self._scheduler.ready.note_sent(lane, len(batch.entries))
        if batch.reason not in _AGAIN and not batch.entries[-1].extras.retries:  # what comes again stands in front
            accumulator.budget.note_call(now)
        accumulator.in_flight[batch] = None
        lane.queue.leaving = accumulator.in_hand = ()
        lane.in_flight += 1
        batch.changes = lane.allowance.note_sent(lane.in_flight), accumulator.allowance.note_sent(self.in_flight)
        return batch

    # Back

    def settle(self, batch: Batch, answer: Any, now: float, jitter: float) -> Signal | None:
        """Apply what a call returned, or the exception that it raised; return what it says of the destination.

        :param answer: one verdict per record in a sequence, or an exception; anything else is Unknown
        :param jitter: drawn evenly from 0 to 1
        """
        accumulator = self.accumulator
        if batch not in accumulator.in_flight:
            return None  # aborted meanwhile; its records have their outcome
        accumulator.answered = batch
        del accumulator.in_flight[batch]
        batch.attempt.ended_at = min(batch.attempt.ended_at, now)
        batch.lane.in_flight -= 1
        if batch.given_up:
            accumulator.free_given_up(batch, now)
        signal = _A_BUG
        try:
            signal = self._settling.settle(batch, answer, now, jitter)
        except Exception as error:
            # A bug, ours or of a verdict. Whatever it was, nobody is left without an outcome.
            for unit in dict.fromkeys(map(unit_of, batch.entries)):
                if unit.state is State.IN_FLIGHT:
                    accumulator.settle(unit, [Unknown(error)] * len(unit.members), now)
            raise
        finally:
            self._learn(batch, signal, now)
        if batch.lane.expiring is not None:
            self._arriving.expire_early(batch.lane, now)
        self._scheduler.reschedule(batch.lane, now)
        accumulator.lanes.forget_if_idle(batch.lane, now)
        accumulator.answered, accumulator.in_hand = None, ()
        return signal

    def _learn(self, batch: Batch, signal: Signal, now: float) -> None:
        """Take from a call what it says of the destination."""
        accumulator, lane = self.accumulator, batch.lane
        of_lane, of_all = batch.changes
        slow = signal is GOOD and not batch.asks and lane.note_call(len(batch.sent), now - batch.dispatched_at)
        lane.allowance.note_answer(of_lane, congested=signal.congested, slow=slow)
        accumulator.allowance.note_answer(lane, of_all, congested=signal.congested)
        if lane.small_until <= now:
            lane.fill_up()
        if batch.asks and signal.failure is None:
            return  # an answer to a question says nothing of how writes fare
        breaker, closed = lane.breaker, accumulator.breakers.closed
        refused = accumulator.breakers.note(lane, signal, now)
        if lane.breaker is not breaker:
            accumulator.lanes.limit_fast_path(lane)
        if accumulator.breakers.closed != closed:
            for each in accumulator.lanes.by_key.values():
                accumulator.lanes.limit_fast_path(each)
        if refused is not None:
            lanes = list(accumulator.lanes.by_key.values()) if refused.everybody else [lane]
            self._leaving.refuse(lanes, refused.why, now)
            if refused.everybody:
                accumulator.allowance.probe()
        else:
            accumulator.allowance.resume()

    def give_up_on(self, batch: Batch, error: BaseException, now: float) -> bool:
        """Settle the records of a call that takes too long, and return whether that is allowed.

        Until it has ended the call keeps its slot and its identities: one that ignores its cancellation is
        still out. Records that will be sent again wait for that, too, or they would be out twice.
        """
        again = self._retry.sends_again(idempotent=batch.lane.rules.idempotent) or asks(self._retry, batch.lane)
        if batch not in self.accumulator.in_flight or not batch.entries or again:
            return False
        fates = [Unknown(error)] * len(batch.entries)
        batch.attempt.ended_at = now
        batch.given_up = list(self.accumulator.settle_only(batch.lane, batch.entries, fates, batch.size, now))
        batch.entries = ()
        self.accumulator.failed = True
        return True

    # All at once

    def pending_entries(self) -> Iterator[Entry]:
        """Yield every accepted and unsettled record."""
        for unit in self.accumulator.pending_units():
            yield from unit.members

    def flush(self, now: float) -> None:
        """Make everything accepted so far due. Overrides no pause and no backoff."""
        for unit in self.accumulator.pending_units():
            if unit.state is State.PARKED and isinstance(unit, Entry):
                unit.own_extras().force = FlushReason.FLUSH
        for lane in self.accumulator.lanes.by_key.values():
            lane.queue.force(FlushReason.FLUSH)
            self._scheduler.reschedule(lane, now)

    def complete(self, last: Entry, now: float) -> None:
        """Make due what a ``submit_all`` has put in; *last* is its last record."""
        if last.state in (State.WAITING, State.PARKED):
            last.own_extras().force = FlushReason.SUBMIT_ALL
        last.lane.queue.force(FlushReason.SUBMIT_ALL)
        self._scheduler.reschedule(last.lane, now)
