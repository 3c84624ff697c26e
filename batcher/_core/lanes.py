"""Lanes: the buffer of one key, and when a batch of it is due.

A lane holds a queue of single records and a queue of *bundles*, which travel in calls of their own.
Withdrawn records stay in the queue as tombstones (a state other than BUFFERED) until they reach its
front or outnumber the living, so that withdrawing costs the same in a queue of any length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final, cast

from batcher._core.model.attempts import Spells, attempt_of
from batcher._core.model.concurrency import Allowance, ServiceTime
from batcher._core.model.deadlines import Deadlines
from batcher._core.model.entries import Batch, Bundle, Entry, Group, Unit
from batcher._core.model.states import State, advance, check
from batcher.events import FlushReason
from batcher.policies import LaneRules

BUFFERED, IN_FLIGHT = State.BUFFERED, State.IN_FLIGHT  # a lookup less for every record

_size_of = attrgetter("size")

if TYPE_CHECKING:
    from batcher._core.breakers import Breaker
    from batcher._core.pacing import Meter
    from batcher._core.tenants import Tenant


# What most lanes never have. Shared, and never changed: a lane that needs one makes its own.
NO_SERVICE: Final = ServiceTime()
NO_BUNDLES: Final[deque[Bundle]] = deque()
NONE_SHELVED: Final[dict[Bundle, None]] = {}
NONE_HASTENED: Final = Deadlines()


class Lane:
    """The records of one key that are accepted and not settled."""

    __slots__ = (
        "_bundle_was_last",
        "_bundles",
        "_forced",
        "_forced_by",
        "_hastened",
        "all_or_none",
        "allowance",
        "breaker",
        "careful_from",
        "dead",
        "due_since",
        "hard_max_bytes",
        "hard_max_records",
        "held_by",
        "holds",
        "idempotent",
        "in_flight",
        "key",
        "max_bytes",
        "max_delay",
        "max_records",
        "meters",
        "mortal",
        "parked",
        "paused_until",
        "pauses",
        "pending",
        "pending_bytes",
        "probes",
        "queue",
        "service",
        "shelved",
        "size",
        "small_until",
        "tenant",
        "turn",
        "verifiable",
    )

    def __init__(
        self,
        key: Hashable,
        rules: LaneRules,
        max_records: int,
        max_bytes: int,
        max_delay: float,
        max_in_flight: float = inf,
    ) -> None:
        self.key = key
        self.all_or_none = rules.all_or_none
        self.idempotent = rules.idempotent
        self.verifiable = rules.verifiable
        self.hard_max_records = min(max_records, rules.max_records)  # what one record or one group may have
        self.hard_max_bytes = min(max_bytes, rules.max_bytes)
        self.max_records = self.hard_max_records  # what a batch is filled to: less, if a call was too large
        self.max_bytes = self.hard_max_bytes
        self.small_until = inf
        self.max_delay = max_delay
        self.allowance = Allowance(min(max_in_flight, rules.max_in_flight))
        self.service = NO_SERVICE
        self.breaker: Breaker | None = None  # if its last call has failed
        self.tenant: Tenant | None = None  # if lanes are shared out
        self.careful_from = inf  # pending records: a newcomer must look closer then
        self.pending = 0  # accepted and not settled: parked, buffered, in flight, backing off
        self.pending_bytes = 0
        self.parked = 0  # records of it that wait outside, behind an identity
        self.in_flight = 0  # calls
        self.paused_until = -inf
        # For timing_of() only: since when the batch is due that waits now, and what kept the lane from sending.
        self.due_since = inf
        self.holds: Spells = ()  # by quotas
        self.pauses: Spells = ()
        self.probes: Spells = ()
        self.mortal: Deadlines | None = None  # accepted units that have a deadline of their own, if there ever were any
        self.meters: tuple[Meter, ...] = ()
        self.held_by: Meter | None = None  # whose quota keeps the next batch from leaving
        self.turn: float = inf  # among the held, from when it was held first until it has sent something
        self.queue: deque[Entry] = deque()  # single records, tombstones among them
        self.dead = 0  # tombstones
        self.size = 0  # bytes of the living
        self._bundles = NO_BUNDLES
        self.shelved = NONE_SHELVED  # those that wait for what becomes of their sibling
        self._bundle_was_last = False
        self._forced = 0  # leading entries of the queue, tombstones included, that are due whatever the time
        self._forced_by = FlushReason.FLUSH
        self._hastened = NONE_HASTENED  # records that are due before the one that opened their batch

    def idle(self, now: float) -> bool:
        """Return whether the lane holds no record, no call and no pause."""
        return not self.pending and not self.in_flight and self.paused_until <= now

    # Filling

    @property
    def count(self) -> int:
        """Living single records."""
        return len(self.queue) - self.dead

    def filled_by(self, unit: Unit) -> bool:
        """Return whether *unit* would make a batch due, whatever the time."""
        if isinstance(unit, Group):
            return True
        return self.count + 1 >= self.max_records or self.size + unit.size >= self.max_bytes

    def append(self, entry: Entry) -> None:
        """Buffer one record behind the others."""
        advance((entry,), State.BUFFERED)
        self.queue.append(entry)
        self.size += entry.size

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Buffer records that were asked to come again: in front, in their order, and due."""
        advance(entries, State.BUFFERED)
        self.queue.extendleft(reversed(entries))
        self.size += sum(entry.size for entry in entries)
        if not self._forced:
            self._forced_by = FlushReason.RETRY
        self._forced += len(entries)

    def allow(self, max_records: float, max_bytes: float) -> None:
        """Have no batch filled, and no group taken, beyond this."""
        self.hard_max_records = min(self.hard_max_records, max_records)
        self.hard_max_bytes = min(self.hard_max_bytes, max_bytes)
        self.fill_to(max_records, max_bytes)

    def fill_to(self, max_records: float, max_bytes: float) -> None:
        """Have batches filled to this at most."""
        self.max_records = min(self.max_records, max_records)
        self.max_bytes = min(self.max_bytes, max_bytes)

    def fill_up(self) -> None:
        """Have batches filled to what one call may carry again."""
        self.max_records, self.max_bytes = self.hard_max_records, self.hard_max_bytes
        self.small_until = inf

    def append_bundle(self, bundle: Bundle, *, first: bool = False) -> None:
        """Buffer entries that travel in a call of their own; those of its sibling wait for what becomes of them."""
        for each in (bundle, bundle.sibling):
            if each is not None:
                # Those that waited for their sibling are buffered already.
                advance([entry for entry in each.entries if entry.state is not State.BUFFERED], State.BUFFERED)
                for entry in each.entries:
                    entry.own_extras().bundled = True
        if self._bundles is NO_BUNDLES:
            self._bundles = deque()
        if bundle.sibling is not None:
            self.shelved = self.shelved or {}
            self.shelved[bundle.sibling] = None
        if first:
            self._bundles.appendleft(bundle)
        else:
            self._bundles.append(bundle)

    def unshelve(self, bundle: Bundle) -> list[Entry]:
        """Take out what is left of a bundle that waited for its sibling."""
        del self.shelved[bundle]
        return [entry for entry in bundle.entries if entry.state is State.BUFFERED]

    def force(self, reason: FlushReason) -> None:
        """Make all that is buffered now due."""
        if len(self.queue) > self._forced:
            if not self._forced:
                self._forced_by = reason
            self._forced = len(self.queue)

    def hasten(self, entry: Entry, at: float) -> None:
        """Make everything up to *entry* due at *at*, whichever record opened the batch."""
        if not entry.extras.bundled:  # a bundle is due anyway
            if self._hastened is NONE_HASTENED:
                self._hastened = Deadlines()
            self._hastened.schedule(entry, at)

    def withdraw(self, entry: Entry) -> None:
        """Account for a buffered single record that has just been settled."""
        if entry.extras.bundled:
            return
        self.dead += 1
        self.size -= entry.size
        self._hastened.drop(entry)
        if self.dead == len(self.queue) or self.dead > self.count + 16:
            self._compact()

    def _compact(self) -> None:
        living = deque(entry for entry in self.queue if entry.state is State.BUFFERED)
        forced = sum(entry.state is State.BUFFERED for _, entry in zip(range(self._forced), self.queue, strict=False))
        self.queue, self.dead, self._forced = living, 0, forced

    # Leaving

    def note_answer(self, batch: Batch, now: float) -> bool:
        """Learn from a call that ended well how long one takes; return whether it was slow."""
        if self.service is NO_SERVICE:
            self.service = ServiceTime()
        return self.service.note(len(batch.sent), now - batch.dispatched_at)

    def due_at(self) -> float | None:
        """Return when the next batch is due: ``-inf`` whatever the time, None if nothing is buffered."""
        if self.dead or self._bundles:
            self._trim()
        if self._bundles:
            return min(self._queue_due_at(), self._bundles[0].due_at)
        return self._queue_due_at() if self.queue else None

    def _queue_due_at(self) -> float:
        if self._forced or len(self.queue) - self.dead >= self.max_records or self.size >= self.max_bytes:
            return -inf
        at = self.queue[0].due_at if self.queue else inf
        return at if self._hastened is NONE_HASTENED else min(at, self._hastened.next_at)

    def _trim(self) -> None:
        queue = self.queue
        while queue and queue[0].state is not State.BUFFERED:
            queue.popleft()
            self.dead -= 1
            self._forced -= self._forced > 0
        while self._bundles and not any(entry.state is State.BUFFERED for entry in self._bundles[0].entries):
            sibling = self._bundles.popleft().sibling
            if sibling is not None:  # nobody is left whose fate it waits for
                del self.shelved[sibling]
                self._bundles.append(sibling)

    def cut(self, now: float, closing: bool, most: float = inf, number: int = 0) -> Batch:
        """Take the next batch out. Call it only right after :meth:`due_at`, and if something is buffered.

        :param most: single records that it may carry, below what the lane allows anyway
        :param number: of the batch
        """
        if self._bundle_is_next(now):
            self._bundle_was_last = True
            return self._cut_bundle(number, now)
        self._bundle_was_last = False
        reason = self._reason(now, closing)
        most = min(most, self.max_records)
        if not self.dead and len(self.queue) <= most and self.size <= self.max_bytes:
            entries, size = list(self.queue), self.size
            self.queue.clear()
            self._forced = 0
        else:
            entries, size = self._take(most)
        self.size -= size
        if self._hastened:
            for entry in entries:
                self._hastened.drop(entry)
        return self._let_go(Batch(self, entries, size, reason, None), number, now)

    def _let_go(self, batch: Batch, number: int, now: float) -> Batch:
        """Have a batch leave. With advance(), unrolled: one pass over its records."""
        batch.dispatched_at = now
        batch.attempt = attempt = attempt_of(batch, number, now)
        for entry in batch.entries:
            if entry.state is not BUFFERED:
                check(batch.entries, IN_FLIGHT)  # which raises
            entry.attempt = attempt
            entry.state = IN_FLIGHT
        if not self._forced:  # else those that are left have been due for as long
            self.due_since = inf
        return batch

    def _bundle_is_next(self, now: float) -> bool:
        # A bundle is always due. If the queue is due as well, they take turns.
        return bool(self._bundles) and not (self._bundle_was_last and self.queue and self._queue_due_at() <= now)

    def next_records(self, now: float) -> int:
        """Return how many records the next call carries; at most, where the limit is on bytes."""
        if self._bundles and self._bundle_is_next(now):
            return len(self._bundles[0].entries)
        return int(min(self.count, self.max_records))

    def _take(self, most: float) -> tuple[list[Entry], int]:
        queue, size, gone = self.queue, 0, 0
        entries: list[Entry] = []
        if not self.dead:  # the usual case: as many as there may be, if their bytes fit
            entries = [queue.popleft() for _ in range(int(min(most, len(queue))))]
            size = sum(map(_size_of, entries)) if self.size else 0
            if size <= self.max_bytes:
                self._forced = max(0, self._forced - len(entries))
                return entries, size
            queue.extendleft(reversed(entries))
            entries, size = [], 0
        for entry in queue:
            if len(entries) >= most:
                break
            if entry.state is BUFFERED:
                if entries and size + entry.size > self.max_bytes:
                    break
                entries.append(entry)
                size += entry.size
            gone += 1
        for _ in range(gone):
            queue.popleft()
        self.dead -= gone - len(entries)
        self._forced = max(0, self._forced - gone)
        return entries, size

    def _cut_bundle(self, number: int, now: float) -> Batch:
        bundle = self._bundles.popleft()
        entries = [entry for entry in bundle.entries if entry.state is State.BUFFERED]
        for entry in entries:
            entry.extras.bundled = False
        reason = FlushReason.GROUP if bundle.group else FlushReason.ISOLATION
        if bundle.asks:
            reason = FlushReason.VERIFY
        batch = Batch(self, entries, sum(entry.size for entry in entries), reason, bundle)
        return self._let_go(batch, number, now)

    def _reason(self, now: float, closing: bool) -> FlushReason:
        if self.count >= self.max_records:
            return FlushReason.RECORDS
        if self.size >= self.max_bytes:
            return FlushReason.BYTES
        if self._forced:
            return self._forced_by
        if self.queue[0].due_at <= now and self.queue[0].extras.expires_at == inf:
            return FlushReason.DELAY
        if self._hastened.next_at <= now:
            entry = cast("Entry", self._hastened.first)
            return FlushReason.IDENTITY if entry.extras.expires_at == inf else FlushReason.DEADLINE
        return FlushReason.CLOSING if closing else FlushReason.DELAY

    def entries(self) -> Iterator[Entry]:
        """Yield what is buffered, bundles first."""
        for bundle in (*self._bundles, *self.shelved):
            yield from (entry for entry in bundle.entries if entry.state is State.BUFFERED)
        yield from (entry for entry in self.queue if entry.state is State.BUFFERED)


def fits(lane: Lane, group: Group) -> str | None:
    """Return the rule that *group* breaks by its size, with figures; None if it fits one call."""
    if len(group.members) > lane.hard_max_records:
        return f"{len(group.members)} records exceed the {lane.hard_max_records} that one call may carry"
    if group.size > lane.hard_max_bytes:
        return f"{group.size} bytes exceed the {lane.hard_max_bytes} that one call may carry"
    return None
