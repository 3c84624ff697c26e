"""The accumulator: which record is where, and the moves between the places.

Nothing is decided here about retries or closing; that is :mod:`settling` and :mod:`leaving`. What
is settled or let in stands in the outbox until :meth:`Engine.poll` hands it out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import inf
from typing import Any

from batcher._core.admission import Admission
from batcher._core.batches import Backoff, Batch
from batcher._core.breakers import Breakers
from batcher._core.identities import Identities
from batcher._core.lanes import Lanes
from batcher._core.memory import Memory
from batcher._core.model.budgets import RetryBudget
from batcher._core.model.concurrency import SharedAllowance
from batcher._core.model.deadlines import Deadlines
from batcher._core.model.entries import NO_EXTRAS, Entry, Group, Lane, Unit
from batcher._core.model.states import State, advance, check
from batcher._core.scheduler import Scheduler
from batcher._core.verbs import NO_PLAN
from batcher.events import FlushReason
from batcher.outcomes import Outcome, Written
from batcher.policies import AutoBatchPolicy, LaneRules, Limits, RetryPolicy

SETTLED = State.SETTLED  # a lookup less for every record


# A record with a deadline leaves earlier than that by so many times of what its call usually takes, and by these
# seconds at least, for timers are late; but not before half of its time is over.
_MARGIN = 2.0
_SLACK = 0.01


class Accumulator:
    """All accepted records, by where they are."""

    def __init__(
        self, auto_batch: AutoBatchPolicy, retry: RetryPolicy, limits: Limits, rules_of: Callable[[Hashable], LaneRules]
    ) -> None:
        self.scheduler = Scheduler(limits)
        self.admission = Admission(limits)
        self.breakers = Breakers(retry.breaker, retry.patience)
        self.memory = Memory()
        self.lanes = Lanes(auto_batch, limits, rules_of, self.scheduler, self.admission, self.breakers, self.memory)
        self.identities = Identities()
        self.in_flight: dict[Batch, None] = {}
        self.allowance = SharedAllowance(limits.max_in_flight)
        self.backoffs: dict[Backoff, None] = {}
        self.budget = RetryBudget(retry.budget, retry.budget_floor)
        self.settled: list[Entry] = []  # outbox: whose waiters are to be woken
        self.admitted: list[Unit] = []  # outbox: who waited for a place and has it now
        self.outcomes: Counter[str] = Counter()  # of all settled records, by kind
        self.failed = False  # something in the outbox may not be written
        # What is nowhere else for a moment: a step may be cut off there.
        self.plan = NO_PLAN  # until everybody is woken
        self.answered: Batch | None = None
        self.in_hand: Sequence[Entry] = ()

    # Arriving

    def accept(self, unit: Unit, now: float) -> None:
        """Let in a unit that has its place: into its lane, or behind others of the same identity."""
        for member in unit.members:
            member.accepted_at = now
        expires_at = self.watch_expiry(unit)
        if expires_at < inf:
            unit.lane.expiring = unit.lane.expiring or Deadlines()
            unit.lane.expiring.schedule(unit, expires_at)
            if isinstance(unit, Entry):
                _leave_in_time(unit, expires_at, now)
        if not unit.identities or self.identities.join(unit):
            self.enter(unit, now)
            return
        advance(unit.members, State.PARKED)
        unit.lane.parked += len(unit.members)
        for ahead in self.identities.ahead_of(unit):
            self._bring_forward(ahead, unit.due_at, now)

    def _bring_forward(self, ahead: Iterator[Unit], at: float, now: float) -> None:
        for unit in ahead:
            if isinstance(unit, Group):
                return
            if unit.state is State.BUFFERED:  # its own delay counts only if it opened its batch
                unit.lane.expedite(unit, at)
                self.scheduler.note_arrival(unit.lane, now)
            # Whoever stands further ahead is due no later: it was brought forward when this one came.
            if unit.due_at <= at:
                return
            unit.expedite(at)

    def enter(self, unit: Unit, now: float) -> None:
        """Buffer a unit that nobody stands in front of."""
        lane = unit.lane
        if unit.state is State.PARKED:
            lane.parked -= len(unit.members)
            for member in unit.members:
                member.extras.entered_at = now
        if isinstance(unit, Group):
            lane.add_sealed(unit.members, now, FlushReason.GROUP)
            self.scheduler.reschedule(lane, now)  # it waits for no company, so not for the next poll either
            return
        hurries = unit.state is State.PARKED or unit.extras.expires_at < inf
        if self.memory.suspects(unit, now):
            lane.add_sealed((unit,), now, FlushReason.ISOLATION)
            self.scheduler.reschedule(lane, now)
            return
        lane.queue.append(unit)
        if hurries:  # it may be due before the record that opened this batch
            lane.expedite(unit, unit.due_at)
        if unit.extras.force is not None:
            lane.queue.force(unit.extras.force)
        elif self.admission.under_pressure or self.admission.waiting(lane):
            lane.queue.force(FlushReason.PRESSURE)
        self.scheduler.note_arrival(lane, now)

    def watch_expiry(self, unit: Unit) -> float:
        """Note when *unit* is no longer to be sent, and return it; ``inf`` if the caller did not say."""
        expires_at = unit.members[0].extras.expires_at
        if expires_at < inf:
            self.scheduler.deadlines.schedule(unit, expires_at)
        return expires_at

    # Leaving

    def settle(self, unit: Unit, fates: Sequence[Any], now: float) -> None:
        """Give every member of *unit* its fate, and let in what waited for it."""
        self.failed = True
        self.settle_all(unit.lane, unit.members, fates, unit.size, now)

    def settle_all(self, lane: Lane, entries: Sequence[Entry], fates: Sequence[Any], size: int, now: float) -> None:
        """Settle entries of one lane, whole groups only, *size* bytes in all; let in what waited for them."""
        for unit in self.settle_only(lane, entries, fates, size, now):
            self.free_identities(unit, now)

    def settle_only(
        self, lane: Lane, entries: Sequence[Entry], fates: Sequence[Any], size: int, now: float
    ) -> Iterable[Unit]:
        """Settle entries as :meth:`settle_all` does, but let nobody in yet: return whose identities are to be freed.

        The hot path: one pass, and no call per plain record.
        """
        check(entries[:1], SETTLED)  # they have moved together until now
        units: dict[Unit, None] = {}
        for entry, fate in zip(entries, fates, strict=True):
            entry.verdict = fate
            entry.state = SETTLED
            if entry.extras is not NO_EXTRAS:
                units[unit_of(entry)] = None
        self.admission.release(lane, len(entries), size)
        kinds = set(map(type, fates))
        if len(kinds) > 1:
            for kind, count in Counter(map(type, fates)).items():
                self.outcomes[_word(kind)] += count
        else:  # the usual case, without counting
            self.outcomes[_word(kinds.pop())] += len(entries)
        self.settled.extend(entries)
        self.lanes.forget_if_idle(lane, now)
        return units

    def free_identities(self, unit: Unit, now: float) -> None:
        """Take a settled unit out of its queues, and let in those who now head theirs."""
        self.scheduler.deadlines.drop(unit)
        if unit.lane.expiring is not None:
            unit.lane.expiring.drop(unit)
        for freed in self.identities.leave(unit):
            self.enter(freed, now)

    def free_given_up(self, batch: Batch, now: float) -> None:
        """Free the identities of a call that was given up on, once it has ended."""
        for unit in batch.given_up:
            self.free_identities(unit, now)
        batch.given_up = ()

    def pending_units(self) -> Iterator[Unit]:
        """Yield every accepted and unsettled unit once, those in flight first."""
        seen: dict[Unit, None] = {}
        for batch in self.in_flight:
            seen.update(dict.fromkeys(map(unit_of, batch.entries)))
        for lane in self.lanes.by_key.values():
            seen.update(dict.fromkeys(map(unit_of, lane.entries())))
        for backoff in self.backoffs:
            seen.update(dict.fromkeys(backoff.waiting()))
        seen.update(dict.fromkeys(unit for unit in self.identities.units() if unit.state is State.PARKED))
        return iter(seen)


def _leave_in_time(entry: Entry, expires_at: float, now: float) -> None:
    """Have *entry* leave in time for its deadline: it must be sent by then, and had better be answered."""
    lane = entry.lane
    lead = max(_SLACK, _MARGIN * lane.service.expected(lane.queue.count + 1))
    at = expires_at - min(lead, (expires_at - now) / 2)
    if at < entry.due_at:
        entry.expedite(at)


def _word(kind: type) -> str:
    """Return the word for a fate of this type; plain values mean written."""
    return kind.kind if issubclass(kind, Outcome) else Written.kind


def unit_of(entry: Entry) -> Unit:
    """Return the group of *entry*, or the entry itself."""
    return entry.extras.group or entry
