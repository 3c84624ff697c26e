"""The house: which record is where, and the moves between the rooms.

Nothing is decided here about retries or closing; that is :mod:`settling` and :mod:`engine`. What
leaves the core leaves through the outbox, which :meth:`Engine.poll` empties.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import inf
from typing import Any

from batcher._core.admission import Admission
from batcher._core.breakers import Breakers
from batcher._core.identities import Identities
from batcher._core.lanes import Lane
from batcher._core.memory import Memory
from batcher._core.model.attempts import held
from batcher._core.model.budgets import RetryBudget
from batcher._core.model.concurrency import SharedAllowance
from batcher._core.model.deadlines import Deadlines
from batcher._core.model.entries import NO_EXTRAS, Backoff, Batch, Bundle, Entry, Group, Unit
from batcher._core.model.states import State, advance, check
from batcher._core.pacing import Pacing
from batcher._core.tenants import Ring, RoundRobin, Tenants, WeightedRing
from batcher.events import FlushReason
from batcher.outcomes import Outcome, Written
from batcher.policies import AutoBatchPolicy, LaneRules, Limits, RetryPolicy

SETTLED = State.SETTLED  # a lookup less for every record


# A record with a deadline leaves earlier than that by so many times of what its call usually takes, and by these
# seconds at least, for timers are late; but not before half of its time is over.
_MARGIN = 2.0
_SLACK = 0.01


class House:
    """All accepted records, by where they are."""

    def __init__(
        self,
        auto_batch: AutoBatchPolicy,
        retry: RetryPolicy,
        limits: Limits,
        rules_of: Callable[[Hashable], LaneRules],
    ) -> None:
        self._auto_batch = auto_batch
        self._limits = limits
        self._rules_of = rules_of
        self.lanes: dict[Hashable, Lane] = {}
        self.ring: Ring = RoundRobin()  # lanes that may have something to send, in turn
        self.tenants: Tenants | None = None
        if limits.fairness is not None:
            self.ring = WeightedRing()
            self.tenants = Tenants(limits.fairness, self.ring)
        self.filling: dict[Lane, None] = {}  # lanes that hold something and are not in the ring
        self.in_flight: dict[Batch, None] = {}
        self.backoffs: dict[Backoff, None] = {}
        self.admission = Admission(limits)
        self.identities = Identities()
        self.deadlines = Deadlines()
        self.pacing = Pacing(limits.quotas, self.deadlines)
        self.allowance = SharedAllowance(limits.max_in_flight)
        self.breakers = Breakers(retry.breaker, retry.patience)
        self.memory = Memory()
        self.budget = RetryBudget(retry.budget, retry.budget_floor)
        self.closing = False
        self.closes_at = inf
        self.under_pressure = False
        self.settled: list[Entry] = []  # outbox: whose waiters are to be woken
        self.admitted: list[Unit] = []  # outbox: who waited for a place and has it now
        self.outcomes: Counter[str] = Counter()  # of all settled records, by kind

    # Lanes

    def open_lane(self, key: Hashable, now: float) -> Lane:
        """Make the lane of *key*."""
        policy = self._auto_batch
        rules = self._rules_of(key)
        lane = Lane(key, rules, policy.max_records, policy.max_bytes, policy.window, self._limits.max_lane_in_flight)
        self.breakers.attach(lane)
        self.memory.apply(lane, now)
        self.keep(lane)
        self.be_careful(lane)
        return lane

    def be_careful(self, lane: Lane) -> None:
        """Have newcomers look closer when the lane is full, or at once if there may be more to see."""
        plain = lane.breaker is None and lane.tenant is None and self.breakers.closed
        lane.careful_from = self._limits.lane_records if plain else 0

    def keep(self, lane: Lane) -> None:
        """Have *lane* found under its key: a new one, or one that has just been forgotten and is needed again."""
        if lane.key not in self.lanes:
            # First, for these may raise: no lane is found here that nobody meters, or that is nobody's.
            if self.tenants is not None:
                self.tenants.enrol(lane)
            if self._limits.quotas:
                self._meter(lane)
            self.lanes[lane.key] = lane

    def _meter(self, lane: Lane) -> None:
        try:
            self.pacing.enrol(lane)
        except BaseException:
            if self.tenants is not None:
                self.tenants.leave(lane)
            raise

    def attend(self, lane: Lane, now: float) -> None:
        """Put *lane* in the ring if it has something due, else note when to look again."""
        if lane in self.ring or lane.held_by is not None:
            if lane.paused_until > now:
                self.deadlines.schedule(lane, lane.paused_until)  # perhaps to forget it then
            if lane.held_by is not None:
                self.pacing.look_at(lane.held_by, now)  # it may have less to send than before
            return
        at = lane.due_at()
        self.filling.pop(lane, None)
        if at is None:
            if lane.paused_until > now:
                self.deadlines.schedule(lane, lane.paused_until)  # to forget it then
            return
        if self.closing:
            at = -inf
        if at <= now:
            lane.due_since = min(lane.due_since, now if at == -inf else at)
        if now < lane.paused_until <= self.closes_at:
            at = max(at, lane.paused_until)
        if at <= now and lane.in_flight < lane.allowance.limit:
            self.ring.add(lane)
        elif at <= now:
            self.filling[lane] = None  # the end of a call brings it back
        else:
            self.filling[lane] = None
            self.deadlines.schedule(lane, at)

    def expect(self, lane: Lane, now: float) -> None:
        """Look at *lane* after it took a record in: now if its batch is full or forced, else in time.

        A batch that is due by its delay waits for the next poll even with a delay of 0, so that what is
        submitted in one turn of the loop shares a batch.
        """
        at = lane.due_at()
        if at is None or at == -inf or self.closing:
            self.attend(lane, now)
        elif lane not in self.ring and lane.held_by is None:
            self.filling[lane] = None
            self.deadlines.schedule(lane, max(at, lane.paused_until))

    def press(self, now: float) -> None:
        """Make every half-filled batch due, because others wait for the places that it holds."""
        for lane in [*self.filling, *self.ring, *self.pacing.held()]:
            lane.force(FlushReason.PRESSURE)
            self.attend(lane, now)

    def pause(self, lane: Lane, until: float, now: float) -> None:
        """Let nothing of *lane* leave before *until*."""
        lane.pauses = held(lane.pauses, now, until)
        lane.paused_until = max(lane.paused_until, until)
        self.deadlines.schedule(lane, until)

    def forget_if_idle(self, lane: Lane, now: float) -> None:
        """Drop a lane that holds nothing, so that keys that are gone cost nothing."""
        if not lane.idle(now) or self.admission.waiting(lane) or self.lanes.get(lane.key) is not lane:
            return
        del self.lanes[lane.key]
        self.ring.discard(lane)
        self.filling.pop(lane, None)
        self.deadlines.drop(lane)
        if lane.meters:
            self.pacing.leave(lane, now)
        if self.tenants is not None:
            self.tenants.leave(lane)

    # Arriving

    def accept(self, unit: Unit, now: float) -> None:
        """Let in a unit that has its place: into its lane, or behind others of the same identity."""
        for member in unit.members:
            member.accepted_at = now
        expires_at = self.watch_expiry(unit)
        if expires_at < inf:
            unit.lane.mortal = unit.lane.mortal or Deadlines()
            unit.lane.mortal.schedule(unit, expires_at)
            if isinstance(unit, Entry):
                _hurry(unit, expires_at, now)
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
                unit.lane.hasten(unit, at)
                self.expect(unit.lane, now)
            # Whoever stands further ahead is due no later: it was brought forward when this one came.
            if unit.due_at <= at:
                return
            unit.hasten(at)

    def enter(self, unit: Unit, now: float) -> None:
        """Buffer a unit that nobody stands in front of."""
        lane = unit.lane
        if unit.state is State.PARKED:
            lane.parked -= len(unit.members)
            for member in unit.members:
                member.extras.entered_at = now
        if isinstance(unit, Group):
            lane.append_bundle(Bundle(unit.members, now, group=unit))
            self.attend(lane, now)  # it waits for no company, so not for the next poll either
            return
        hurries = unit.state is State.PARKED or unit.extras.expires_at < inf
        if self.memory.suspects(unit, now):
            lane.append_bundle(Bundle((unit,), now))
            self.attend(lane, now)
            return
        lane.append(unit)
        if hurries:  # it may be due before the record that opened this batch
            lane.hasten(unit, unit.due_at)
        if unit.extras.force is not None:
            lane.force(unit.extras.force)
        elif self.under_pressure or self.admission.waiting(lane):
            lane.force(FlushReason.PRESSURE)
        self.expect(lane, now)

    def watch_expiry(self, unit: Unit) -> float:
        """Note when *unit* is no longer to be sent, and return it; ``inf`` if the caller did not say."""
        expires_at = unit.members[0].extras.expires_at
        if expires_at < inf:
            self.deadlines.schedule(unit, expires_at)
        return expires_at

    # Leaving

    def settle(self, unit: Unit, fates: Sequence[Any], now: float) -> None:
        """Give every member of *unit* its fate, and let in what waited for it."""
        self.settle_all(unit.lane, unit.members, fates, unit.size, now)

    def settle_all(self, lane: Lane, entries: Sequence[Entry], fates: Sequence[Any], size: int, now: float) -> None:
        """Settle entries of one lane, whole groups only, *size* bytes in all; let in what waited for them."""
        for unit in self.settle_here(lane, entries, fates, size, now):
            self.part(unit, now)

    def settle_here(
        self, lane: Lane, entries: Sequence[Entry], fates: Sequence[Any], size: int, now: float
    ) -> Iterable[Unit]:
        """Settle entries as :meth:`settle_all` does, but let nobody in yet: return who is to :meth:`part`.

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
        self.forget_if_idle(lane, now)
        return units

    def part(self, unit: Unit, now: float) -> None:
        """Take a settled unit out of its queues, and let in those who now head theirs."""
        self.deadlines.drop(unit)
        if unit.lane.mortal is not None:
            unit.lane.mortal.drop(unit)
        for freed in self.identities.leave(unit):
            self.enter(freed, now)

    def part_late(self, batch: Batch, now: float) -> None:
        """Part the units of a call that was given up on, once it has ended."""
        for unit in batch.parting:
            self.part(unit, now)
        batch.parting = ()

    def pending_units(self) -> Iterator[Unit]:
        """Yield every accepted and unsettled unit once, those in flight first."""
        seen: dict[Unit, None] = {}
        for batch in self.in_flight:
            seen.update(dict.fromkeys(map(unit_of, batch.entries)))
        for lane in self.lanes.values():
            seen.update(dict.fromkeys(map(unit_of, lane.entries())))
        for backoff in self.backoffs:
            seen.update(dict.fromkeys(unit for unit in backoff.units if unit.state is State.BACKING_OFF))
        seen.update(dict.fromkeys(unit for unit in self.identities.units() if unit.state is State.PARKED))
        return iter(seen)


def _hurry(entry: Entry, expires_at: float, now: float) -> None:
    """Have *entry* leave in time for its deadline: it must be sent by then, and had better be answered."""
    lane = entry.lane
    lead = max(_SLACK, _MARGIN * lane.service.expected(lane.count + 1))
    at = expires_at - min(lead, (expires_at - now) / 2)
    if at < entry.due_at:
        entry.hasten(at)


def _word(kind: type) -> str:
    """Return the word for a fate of this type; plain values mean written."""
    return kind.kind if issubclass(kind, Outcome) else Written.kind


def unit_of(entry: Entry) -> Unit:
    """Return the group of *entry*, or the entry itself."""
    return entry.extras.group or entry
