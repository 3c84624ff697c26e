"""Arriving: who is let in at once, who waits for a place, and who comes in when a time has come."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from operator import attrgetter

from batcher._core.accumulator import Accumulator
from batcher._core.batches import Backoff
from batcher._core.leaving import Leaving
from batcher._core.model.entries import NO_EXTRAS, Entry, Group, Lane, Unit
from batcher._core.model.meters import Meter
from batcher._core.model.states import State
from batcher._core.returning import Returning
from batcher._core.verbs import Verb
from batcher.errors import InvalidGroup, InvalidRecord
from batcher.events import FlushReason
from batcher.policies import Limits

BUFFERED, NOTHING = State.BUFFERED, Verb.NOTHING  # a lookup less for every record
_size_of, _extras_of = attrgetter("size"), attrgetter("extras")


class Arriving:
    """Lets records in: new ones, those that waited for a place, and those whose time has come."""

    def __init__(self, accumulator: Accumulator, limits: Limits, leaving: Leaving, returning: Returning) -> None:
        self._accumulator = accumulator
        self._max_bytes, self._max_lane_bytes = limits.max_pending_bytes, limits.lane_bytes
        self._leaving = leaving
        self._returning = returning
        self._scheduler = accumulator.scheduler
        self._lanes = accumulator.lanes.by_key
        self._admission = accumulator.admission

    def submit(self, entry: Entry, key: Hashable, now: float) -> Verb:
        """Take a new *entry* in, or make it wait for a place (then its state is WAITING).

        :raises InvalidRecord: it fits no batch of its lane
        """
        try:
            lane = self._lanes[key]
        except KeyError:
            lane = self._accumulator.lanes.open(key, now)
        entry.lane = lane
        admission, size = self._admission, entry.size
        if (
            admission.pending >= admission.fast_until
            or lane.pending >= lane.fast_until
            or entry.extras is not NO_EXTRAS
            or (
                size
                and (
                    size > lane.most_bytes
                    or lane.pending_bytes + size > self._max_lane_bytes
                    or admission.pending_bytes + size > self._max_bytes
                )
            )
        ):
            return self._submit_with_care(entry, lane, now)
        # Accumulator.accept() and Queue.append() for a fresh record without extras, unrolled.
        entry.accepted_at = now
        entry.state = BUFFERED
        admission.pending += 1
        lane.pending += 1
        queue = lane.queue
        entries = queue.entries
        entries.append(entry)
        count = len(entries)
        if size:
            admission.pending_bytes += size
            lane.pending_bytes += size
            queue.size += size
            if queue.size >= queue.max_bytes:
                return self._filled(lane, now)
        if count >= queue.max_records and count - queue.dead >= queue.max_records:
            return self._filled(lane, now)
        if count == 1:  # tombstones do not stand alone in a queue
            self._scheduler.note_arrival(lane, now)
            return Verb.DISPATCH if self._scheduler.closing else Verb.CLOCK
        return NOTHING

    def _filled(self, lane: Lane, now: float) -> Verb:
        """Have the batch leave that a record has filled, if nothing holds it."""
        held = lane.in_flight >= lane.allowance.limit or lane.quota.held_by is not None
        if held or lane in self._scheduler.ready:
            return NOTHING  # the end of a call will send it, or the end of a window
        self.collect(now)  # what is due already is served before new input
        self._scheduler.reschedule(lane, now)
        return Verb.DISPATCH if self._has_work() else Verb.CLOCK

    def submit_many(self, entries: Sequence[Entry], key: Hashable, now: float) -> int:
        """Take in the first of some new *entries*, as many as need no closer look.

        :returns: how many were taken in; :meth:`submit` the others, and then :meth:`Engine.complete` the last
        """
        # Whoever has a lane is being accepted: until then nothing has changed, if the key makes trouble.
        lane = self._lanes.get(key) or self._accumulator.lanes.open(key, now)
        for first in entries[:1]:
            first.lane = lane
        self._accumulator.lanes.pinned = lane  # what expires now may be its last
        self.collect(now)  # what is due already is served before new input
        self._accumulator.lanes.pinned = None
        admission = self._admission
        room = min(admission.fast_until - admission.pending, lane.fast_until - lane.pending)
        taken = entries if len(entries) <= room else entries[: max(0, int(room))]
        size = sum(map(_size_of, taken))
        if not taken or not self._are_plain(taken, size, lane):
            self._accumulator.lanes.forget_if_idle(lane, now)
            return 0
        for entry in taken:
            entry.lane = lane
            entry.accepted_at = now
            entry.state = BUFFERED
        admission.hold(lane, len(taken), size)
        lane.queue.entries.extend(taken)
        lane.queue.size += size
        self._scheduler.note_arrival(lane, now)
        return len(taken)

    def _are_plain(self, entries: Sequence[Entry], size: int, lane: Lane) -> bool:
        """Return whether nothing is to be looked at for each of them, *size* bytes in all."""
        if any(extras is not NO_EXTRAS for extras in set(map(_extras_of, entries))):
            return False
        return not size or (
            max(map(_size_of, entries)) <= lane.most_bytes
            and lane.pending_bytes + size <= self._max_lane_bytes
            and self._admission.pending_bytes + size <= self._max_bytes
        )

    def _submit_with_care(self, entry: Entry, lane: Lane, now: float) -> Verb:
        if entry.size > lane.most_bytes:
            self._accumulator.lanes.forget_if_idle(lane, now)
            raise InvalidRecord(
                f"the record is too large: {entry.size} bytes exceed the {lane.most_bytes} that one call may carry"
            )
        admission = self._admission
        if lane in admission.queues and entry.extras is NO_EXTRAS and admission.impossible(1, entry.size) is None:
            # Behind others of its lane, for whom everything has been made due already: a long list is full of such.
            entry.state = State.WAITING
            admission.enqueue(entry)
            return Verb.WAIT
        return self._admit(entry, now)

    def submit_group(self, members: Sequence[Entry], key: Hashable, now: float) -> tuple[Group, Verb]:
        """Take an all-or-none group in whole, or make it wait whole.

        :raises InvalidGroup: it breaks a rule; nothing of it was accepted
        """
        lane = members[0].lane = self._lanes.get(key) or self._accumulator.lanes.open(key, now)
        group = Group(members)
        group.lane = lane
        if problem := self._group_problem(group):
            self._accumulator.lanes.forget_if_idle(lane, now)
            raise InvalidGroup(problem)
        for member in members:
            member.lane = lane
        return group, self._admit(group, now)

    def _group_problem(self, group: Group) -> str | None:
        if not group.lane.rules.all_or_none:
            return "this destination cannot apply these writes all or none: submit them without all_or_none"
        if len(set(group.identities)) < len(group.identities):
            return "two writes of the group touch the same record: merge them into one"
        problem = group.lane.fits(group) or self._admission.impossible(len(group.members), group.size)
        return problem and f"the group is too large: {problem}; a group is never split"

    def _admit(self, unit: Unit, now: float) -> Verb:
        admission, count = self._admission, len(unit.members)
        try:
            self._accumulator.identities.check(unit)
        except Exception:
            self._accumulator.lanes.forget_if_idle(unit.lane, now)
            for member in unit.members:
                del member.lane  # none of them is being accepted any more
            raise
        for member in unit.members:
            member.state = State.WAITING
        if problem := admission.impossible(count, unit.size):
            self._accumulator.lanes.forget_if_idle(unit.lane, now)
            raise InvalidRecord(f"the record is too large: {problem}")
        if unit.lane.filled_by(unit):
            self._accumulator.lanes.pinned = unit.lane  # what expires now may be its last
            self.collect(now)  # what is due already is served before new input
            self._accumulator.lanes.pinned = None
        if admission.must_wait(unit.lane, count, unit.size):
            admission.enqueue(unit)
            self._accumulator.watch_expiry(unit)
            self._press(unit.lane, now)
            return Verb.WAIT
        admission.hold(unit.lane, count, unit.size)
        self._accept(unit, now)
        return Verb.DISPATCH if self._has_work() else Verb.CLOCK

    def _accept(self, unit: Unit, now: float) -> None:
        self._accumulator.accept(unit, now)
        self.expire_early(unit.lane, now)
        breakers = self._accumulator.breakers
        if (unit.lane.breaker is not None or breakers.open) and (why := breakers.refuses(unit.lane, now)):
            self._leaving.withdraw(unit, now, why)
            self.collect(now)  # who waited for it

    def expire_early(self, lane: Lane, now: float) -> None:
        """Settle those whose deadline comes before the end of a pause of their lane."""
        if lane.expiring is not None and lane.paused_until > now:
            self._leaving.expire_early(lane, lane.paused_until, "its lane is paused", now)

    def _has_work(self) -> bool:
        """Return whether a poll has something to do now. While no call may leave, the end of one will ask."""
        accumulator = self._accumulator
        if accumulator.settled or accumulator.admitted:
            return True
        return self._scheduler.has_ready and len(accumulator.in_flight) < accumulator.allowance.limit

    def _press(self, lane: Lane, now: float) -> None:
        """Make half-filled batches due when they hold the places that others wait for."""
        lane.queue.force(FlushReason.PRESSURE)
        self._scheduler.reschedule(lane, now)
        if lane.parked:  # what holds these places waits for a batch of another lane
            self._scheduler.force_all(FlushReason.PRESSURE, now)
        self._press_all(now)

    def _press_all(self, now: float) -> None:
        """Notice whether the batcher has become full for somebody whose lane has room, or no longer is."""
        full = self._admission.is_full
        if full and not self._admission.under_pressure:
            self._scheduler.force_all(FlushReason.PRESSURE, now)
        self._admission.under_pressure = full

    def bring_in(self, now: float) -> None:
        """Bring in everything whose time has come, and everybody for whom there is a place."""
        self.collect(now)
        if self._admission.queues:
            self._let_in(now)

    def collect(self, now: float) -> None:
        """Bring in everything whose time has come."""
        scheduler = self._scheduler
        if scheduler.deadlines.next_at > now:
            return
        for item in scheduler.deadlines.pop_due(now):
            if isinstance(item, Lane):
                scheduler.reschedule(item, now)
                self._accumulator.lanes.forget_if_idle(item, now)
            elif isinstance(item, Backoff):
                self._returning.bring_back(item, now)
            elif item is self._accumulator.budget:
                self._returning.go_on(now)
            elif isinstance(item, Meter):
                scheduler.pacing.look_at(item, now)
            else:
                assert isinstance(item, (Entry, Group))
                self._leaving.withdraw(item, now, "its deadline passed")

    def _let_in(self, now: float) -> None:
        admission = self._admission
        while (unit := admission.next_admitted()) is not None:
            admission.under_pressure = admission.under_pressure and admission.is_full
            self._accept(unit, now)
            self._accumulator.admitted.append(unit)
        self._press_all(now)
