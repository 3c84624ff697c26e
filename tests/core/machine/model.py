"""A model of what callers, calls and clocks may expect of the engine, and the laws it is held to.

It drives the engine as the shell does: obeys the verb of each submit, polls after every other step, and
keeps one timer. It counts for itself and looks into the engine only to compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from math import inf
from typing import Any

import attrs

from batcher._core.accumulator import unit_of
from batcher._core.batches import Batch
from batcher._core.engine import Engine
from batcher._core.model.budgets import BURST, LATEST
from batcher._core.model.entries import NOT_ACCEPTED, Entry, Lane, Unit
from batcher._core.model.states import State
from batcher._core.timings import timing_of
from batcher._core.verbs import Plan, Verb
from batcher.errors import InvalidRecord
from batcher.outcomes import RolledBack, Unknown
from batcher.policies import Limits, Quota, RetryPolicy
from tests.core.machine.answers import Answers
from tests.core.machine.limits import KEYS, POLICY, max_bytes, max_records, rules_of
from tests.core.machine.places import Places

UNHURRIED = 10_000.0


class Model(Answers, Places):
    """One engine, one clock, and what has been promised so far."""

    def __init__(self, retry: RetryPolicy, limits: Limits, atomic: bool) -> None:
        self.limits = limits
        self.retry = retry
        self.atomic = atomic
        self.engine = Engine(POLICY, retry, limits, rules_of, atomic=atomic)
        self.now = 0.0
        self.armed_at = inf  # when the one timer fires
        self.closes_at = inf
        self.aborted = False
        self.accepted: list[Entry] = []  # in order
        self.waiting: list[Unit] = []  # in order of arrival
        self._arrival: dict[Unit, int] = {}
        self.delays: dict[Entry, float | None] = {}
        self.fates: dict[Entry, Any] = {}
        self.withdrawn: set[Entry] = set()
        self.flushed: set[Entry] = set()  # made due by hand
        self.parked: set[Entry] = set()  # once
        self.retries: Counter[Entry] = Counter()
        self.expected: dict[Entry, float] = {}  # when it comes back if its call has failed
        self.not_before: dict[Entry, float] = {}
        self.wave: dict[Entry, tuple[int, float]] = {}  # with whom it comes back: of the same call, at the same time
        self.returned: set[tuple[int, float]] = set()
        self.paused_until: dict[Hashable, float] = {}
        self.doubted: set[Entry] = set()  # the destination is to be asked about them before anything else
        self.in_flight: list[Batch] = []
        self.carried: dict[Batch, list[Entry]] = {}  # also after a call was given up on
        self.answered: list[Batch] = []
        self.sent: list[tuple[float, Hashable, int]] = []  # when, which lane, how many records

    # Steps

    def submit(self, entry: Entry, key: Hashable) -> bool:
        """Submit one record, and return whether it was taken; refused at once if, and only if, it fits no batch."""
        self.delays[entry] = entry.extras.delay  # which is the engine's from now on
        try:
            verb = self.engine.submit(entry, key, self.now)
        except InvalidRecord:
            assert entry.size > max_bytes(key)
            return False
        assert entry.size <= max_bytes(key)
        self.arrived(entry, verb)
        return True

    def arrived(self, unit: Unit, verb: Verb) -> None:
        """Obey the engine's verb, as the shell does."""
        assert (verb is Verb.WAIT) == (unit.state is State.WAITING)
        if verb is Verb.WAIT:
            self.waiting.append(unit)
            self._arrival[unit] = len(self._arrival)
        else:
            self._enter(unit)
            self._check_overtaken(unit.lane)
        if verb in (Verb.WAIT, Verb.DISPATCH):
            self.turn()
        elif verb is Verb.CLOCK:
            self.armed_at = min(self.armed_at, self.engine.next_at)

    def submit_many(self, entries: Sequence[Entry], key: Hashable) -> None:
        """Submit records together, as the shell does: what needs a closer look one by one, and the last completes."""
        taken = self.engine.submit_many(entries, key, self.now)
        for entry in entries[:taken]:
            self.delays[entry] = None
            self._enter(entry)
            assert entry.size <= max_bytes(key)
            self._check_overtaken(entry.lane)
        accepted = [*entries[:taken], *(entry for entry in entries[taken:] if self.submit(entry, key))]
        if accepted:
            self.complete(accepted[-1])

    def _enter(self, unit: Unit) -> None:
        self.accepted.extend(unit.members)
        for member in unit.members:
            assert member.accepted_at == self.now
            if member.state is State.PARKED:
                self.parked.add(member)

    def turn(self) -> None:
        """Poll, hold the plan to the laws, and poll again: nothing is left to do at the same time."""
        plan = self.engine.poll(self.now)
        self._check(plan)
        self.armed_at = min(self.armed_at, plan.ask_again_at)
        # What has just been admitted with a delay of 0 leaves at the next turn of the loop.
        if plan.ask_again_at <= self.now:
            assert plan.admitted
            return
        again = self.engine.poll(self.now)
        assert not (again.batches or again.settled or again.admitted)
        assert again.ask_again_at == plan.ask_again_at

    def wait_until(self, at: float) -> None:
        """Let time pass, with a timer that is punctual."""
        turns = 0
        while self.armed_at <= min(at, self.closes_at):
            self.now, turns = max(self.now, self.armed_at), turns + 1
            assert turns < 1000, "the timer fires for ever"
            self.armed_at = inf
            self.turn()
            self.armed_at = self.engine.next_at
        if at >= self.closes_at and not self.aborted:
            self.now = max(self.now, self.closes_at)
            self.abort()
        self.now = max(self.now, at)

    def answer(self, batch: Batch, answer: Any, jitter: float) -> None:
        """End a call."""
        self.in_flight.remove(batch)
        self.answered.append(batch)
        self._expect_retries(batch, answer, jitter)
        doubts = self._doubts(batch, answer)
        self.engine.settle(batch, answer, self.now, jitter)
        self.doubted.difference_update(batch.entries)
        others = self._suspects_behind(batch, jitter)
        self.doubted.update(entry for entry in [*doubts, *others] if entry.state is State.BACKING_OFF)
        for entry in [*batch.entries, *others]:
            if entry.state is State.BACKING_OFF:
                self.not_before[entry] = self.expected[entry]
                self.wave[entry] = len(self.answered), self.expected[entry]
        self._check_answered(batch, answer)
        self.turn()

    def give_up_on(self, batch: Batch) -> None:
        """A call takes too long: its records are unknown, unless they may go again once it has ended."""
        entries = batch.entries
        allowed = self.engine.give_up_on(batch, TimeoutError(), self.now)
        sends_again = self.retry.sends_again(idempotent=rules_of(batch.lane.key).idempotent)
        assert allowed != (sends_again or self._asks(batch.lane.key))
        self.turn()
        for entry in entries if allowed else ():
            assert isinstance(self.fates[entry], Unknown)
        assert batch in self.engine.accumulator.in_flight, "it keeps its slot until it has ended"

    def withdraw(self, unit: Unit) -> None:
        """Take a unit back: possible exactly if no call carries it and it is not settled."""
        carried = {entry for batch in self.in_flight for entry in batch.entries}
        possible = unit.members[0] not in carried and unit.state is not State.SETTLED
        assert self.engine.withdraw(unit, self.now) == possible
        if possible:
            self.withdrawn.update(unit.members)
        self.turn()
        assert not possible or all(member in self.fates for member in unit.members), "withdrawn whole, and at once"

    def flush(self) -> None:
        self.flushed.update(entry for entry in self.accepted if entry.state in (State.PARKED, State.BUFFERED))
        self.engine.flush(self.now)
        assert Counter(self.engine.pending_entries()) == Counter(self._pending())
        self.turn()

    def complete(self, last: Entry) -> None:
        self.flushed.add(last)
        self.engine.complete(last, self.now)
        self.turn()

    def close(self, until: float) -> None:
        self.closes_at = until
        self.engine.close(self.now, until)
        self.turn()
        assert all(self.fates[member] is NOT_ACCEPTED for unit in self.waiting for member in unit.members)
        self.waiting.clear()

    def abort(self) -> None:
        self.aborted, self.closes_at = True, self.now
        self.engine.abort(self.now, "the host was cancelled")
        self.in_flight, out = [], self.in_flight
        self.turn()
        assert not self._pending()
        for batch in out:  # a call that ends too late changes nothing
            self.engine.settle(batch, [0] * len(batch.entries), self.now, 0.0)
        self.turn()

    # Laws of a plan

    def _check(self, plan: Plan) -> None:
        for entry in plan.settled:
            assert entry.state is State.SETTLED
            assert entry not in self.fates, "one fate each"
            self.fates[entry] = entry.verdict
            if entry in self.accepted:
                self._check_timing(entry)
            assert not isinstance(entry.verdict, RolledBack) or entry.extras.group is not None
        for unit in plan.admitted:
            self.waiting.remove(unit)
            self._enter(unit)
        self.waiting = [unit for unit in self.waiting if unit.state is State.WAITING]
        self._check_admission(plan.admitted)
        for batch in plan.batches:
            self._check_batch(batch)
            self.sent.append((self.now, batch.lane.key, len(batch.entries)))
            self.in_flight.append(batch)
            self.carried[batch] = list(batch.entries)
        self._check_limits()
        self._check_budget()

    def _check_timing(self, entry: Entry) -> None:
        timing = timing_of(entry)
        parts = attrs.asdict(timing, filter=lambda field, _: field.name not in ("batches", "reason"))
        assert min(parts.values()) > -1e-9, parts
        assert abs(timing.total - (self.now - entry.accepted_at)) < 1e-6, (parts, self.now - entry.accepted_at)
        assert len(timing.batches) == sum(entry in carried for carried in self.carried.values())

    def _check_admission(self, admitted: Sequence[Unit]) -> None:
        with_room = [unit for unit in self._first_waiters() if self._lane_has_room(unit)]
        first = min(with_room, key=lambda unit: (self._share(unit), self._arrival[unit]), default=None)
        assert first is None or not self._has_room(first), "somebody waits in front of an open door"
        for unit in admitted if self.limits.fairness is None else ():
            for waiter in with_room:
                assert self._arrival[unit] < self._arrival[waiter], "overtook a waiter whose lane has room"

    def _check_batch(self, batch: Batch) -> None:
        key, entries = batch.lane.key, batch.entries
        assert not self.aborted
        assert 1 <= len(entries) <= max_records(key)
        assert sum(entry.size for entry in entries) == batch.size <= max_bytes(key)
        assert self.paused_until.get(key, -inf) <= self.now, "its lane is paused"
        names = [entry.extras.identity for entry in entries if entry.extras.identity is not None]
        carried = [entry for other in self.in_flight for entry in self.carried[other]]
        names += [entry.extras.identity for entry in carried if entry.extras.identity is not None]
        assert len(set(names)) == len(names), "an identity is in flight twice"
        self.returned.update(self.wave[entry] for entry in entries if entry in self.wave)
        for entry in entries:
            self.wave.pop(entry, None)
            assert entry.state is State.IN_FLIGHT
            assert entry in self.accepted
            assert entry not in self.fates
            assert entry not in self.withdrawn
            assert entry.extras.expires_at > self.now
            assert self.not_before.get(entry, -inf) <= self.now, "its backoff is not over"
            assert (entry in self.doubted) == batch.asks, "sent again, or asked about, without a reason"
            for earlier in self._before(entry):
                assert earlier.state is State.SETTLED, "out of order"
        if batch.group is not None or any(entry.extras.group for entry in entries):
            assert batch.group is not None
            assert list(entries) == list(batch.group.members), "a group is alone, and whole"

    def _check_limits(self) -> None:
        assert len(self.in_flight) <= self.limits.max_in_flight
        lanes = Counter(batch.lane.key for batch in self.in_flight)
        for key, calls in lanes.items():
            assert calls <= self._max_calls(key)
        for key in KEYS:
            for quota in self.limits.quotas:
                calls, records = self._used(quota, key)
                assert calls <= quota.calls
                assert records <= quota.records

    def _used(self, quota: Quota, key: Hashable) -> tuple[int, int]:
        """What the lanes that share *quota* with *key* have sent within its window."""
        by = quota.by or (lambda _: None)
        carried = [records for at, sender, records in self.sent if at > self.now - quota.per and by(sender) == by(key)]
        return len(carried), sum(carried)

    def _is_held(self, lane: Lane) -> bool:
        """Whether a quota has no room for the next call of *lane*, or of one whose turn comes before it."""
        if lane.quota.held_by is not None and lane.quota.held_by.waiting.first is not lane:
            assert lane.quota.held_by.waiting.first.quota.turn < lane.quota.turn
            return self._is_held(lane.quota.held_by.waiting.first)
        for quota in self.limits.quotas:
            calls, records = self._used(quota, lane.key)
            if calls == quota.calls or records + lane.next_records(self.now) > quota.records:
                return True
        return False

    def _max_calls(self, key: Hashable) -> float:
        return min(self.limits.max_lane_in_flight, rules_of(key).max_in_flight)

    # Laws of every moment

    def check(self) -> None:
        """Conservation, ceilings, and nobody waits without a reason."""
        engine, pending = self.engine, self._pending()
        assert engine.pending == len(pending)
        assert engine.accumulator.outcomes.total() + engine.pending == len(self.accepted)
        assert engine.accumulator.admission.pending_bytes == sum(entry.size for entry in pending)
        assert len(engine.accumulator.admission) == sum(unit.state is State.WAITING for unit in self.waiting)
        assert engine.pending <= self.limits.max_pending_records
        assert engine.accumulator.admission.pending_bytes <= self.limits.max_pending_bytes
        assert engine.in_flight == len(self.in_flight)
        for entry, fate in self.fates.items():
            assert entry.state is State.SETTLED
            assert entry.verdict is fate, "a fate is final"
        for unit in [*self.waiting, *map(unit_of, pending)]:
            if unit.state is not State.SETTLED:
                assert engine.accumulator.lanes.by_key[unit.lane.key] is unit.lane, "nobody finds this lane again"
        for lane in engine.accumulator.lanes.by_key.values():
            mine = [entry for entry in pending if entry.lane is lane]
            assert lane.parked == sum(entry.state is State.PARKED for entry in mine)
            assert lane.pending == len(mine) <= self.limits.lane_records
            assert lane.pending_bytes == sum(entry.size for entry in mine) <= self.limits.lane_bytes
        if self.armed_at > self.now:  # else the timer is late
            for entry in pending:
                if entry.state is State.BACKING_OFF:
                    # What the retry budget has no room for looks again when it may have.
                    assert self.now < max(self.not_before[entry], self.armed_at)
                    assert self.armed_at <= max(self.not_before[entry], self.now + self._longest_look)
                if entry.state is not State.IN_FLIGHT:
                    assert self.now < entry.extras.expires_at >= self.armed_at
            for lane in engine.accumulator.lanes.by_key.values():
                self._check_due(lane)

    @property
    def _longest_look(self) -> float:
        """Seconds within which somebody who waits for the retry budget looks again: there may be something then."""
        return min(1 / self.retry.budget_floor, LATEST)

    def _check_budget(self) -> None:
        """No more has come back than the budget allows: at first, in all the time, and for all the calls."""
        floor = self.retry.budget_floor
        most = max(1, floor * BURST) + floor * self.now + self.retry.budget * len(self.sent)
        assert len(self.returned) <= most + 1e-6, "more retries than tokens"

    def _check_due(self, lane: Lane) -> None:
        calls = Counter(batch.lane.key for batch in self.in_flight)
        if len(self.in_flight) >= self.engine.accumulator.allowance.limit or calls[lane.key] >= lane.allowance.limit:
            return
        siblings = {entry for half in lane.sealed._siblings for entry in half.entries}
        buffered = [entry for entry in lane.entries() if entry not in siblings]
        waits = buffered or calls[lane.key] or lane.quota.held_by is not None
        assert not siblings or waits, "nobody comes back for the other half"
        if self.paused_until.get(lane.key, -inf) > self.now:
            assert not buffered or self.armed_at <= self.paused_until[lane.key]
            return
        if buffered and self._is_held(lane):
            # No delay is longer than 60 seconds either.
            longest = max(60, *(quota.per for quota in self.limits.quotas))
            assert self.armed_at <= self.now + longest, "nobody looks when the quota has room again"
            return
        assert not buffered or self.closes_at == inf, "nothing lingers in a closing batcher"
        assert len(buffered) < max_records(lane.key)
        assert sum(entry.size for entry in buffered) < max_bytes(lane.key)
        assert not buffered or all(unit.lane is not lane for unit in self.waiting), "it holds the places of others"
        assert not buffered or not any(map(self._lane_has_room, self._first_waiters())), "all places are taken"
        for position, entry in enumerate(buffered):
            assert entry.extras.group is None, "a group waits for nobody"
            assert entry not in self.flushed
            assert not self.retries[entry]
            if position == 0 or entry in self.parked:
                assert self.now < self._due_at(entry) >= self.armed_at
            for later in self.accepted:
                if later.state is State.PARKED and entry in self._before(later):
                    assert self.now < self._due_at(later) >= self.armed_at, "its predecessor was not brought forward"

    def drain(self) -> None:
        """Close, answer every call at once, and find nothing left."""
        if self.closes_at == inf:
            self.close(self.now + 50)
        while self.engine.pending:
            for batch in list(self.in_flight):
                self.answer(batch, [object() for _ in batch.entries], 0.0)
            self.check()
            if self.engine.pending and not self.in_flight:
                assert self.armed_at <= self.closes_at, "somebody is forgotten"
                self.wait_until(self.armed_at)
        for batch in list(self.in_flight):
            self.answer(batch, [], 0.0)
        self.now = max(self.now, self.closes_at) + UNHURRIED
        self.turn()
        self.check()
        held, scheduler = self.engine.accumulator, self.engine.accumulator.scheduler
        assert set(self.accepted) <= set(self.fates)
        assert not (scheduler.ready or held.in_flight or held.backoffs or held.lanes.by_key)
        assert not (len(held.identities) or len(scheduler.deadlines) or len(held.admission))
        assert (held.admission.pending, held.admission.pending_bytes) == (0, 0)
        assert not len(scheduler.pacing)
        assert not scheduler.tenants

    # Seen from outside

    def live_units(self) -> list[Unit]:
        """Whoever may still be withdrawn, and some who may not."""
        units = [*self.waiting, *map(unit_of, self._pending()), *map(unit_of, self.accepted[-2:])]
        return list(dict.fromkeys(units))

    def _before(self, entry: Entry) -> Iterable[Entry]:
        names = set(unit_of(entry).identities)
        for earlier in self.accepted:
            if unit_of(earlier) is unit_of(entry):
                return
            if earlier.extras.identity in names:
                yield earlier

    def _due_at(self, entry: Entry) -> float:
        delay = 0.0 if entry.extras.group else self.delays[entry]
        return entry.accepted_at + (POLICY.max_delay if delay is None else delay)
