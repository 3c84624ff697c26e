"""What the core moves about, and where it is: records with their fate, groups, and the lanes that hold them.

An entry knows its lane and a lane its entries, so they share this file. What is decided of them stands in others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from math import inf
from typing import Any, ClassVar, Final, TypeAlias

from batcher._core.model.attempts import NEVER_BLOCKED, Attempt
from batcher._core.model.breakers import Breaker
from batcher._core.model.budgets import SearchBudget
from batcher._core.model.concurrency import Allowance, ServiceTime
from batcher._core.model.deadlines import Deadlines
from batcher._core.model.meters import UNMETERED
from batcher._core.model.queues import Queue
from batcher._core.model.sealed import Sealed, SealedQueue
from batcher._core.model.states import State
from batcher._core.model.steady import steady
from batcher._core.model.tenants import Tenant
from batcher.events import FlushReason
from batcher.outcomes import Cause, Outcome, Written
from batcher.policies import LaneRules


class NotAccepted(Outcome):
    """What a record gets for which the gate closed while it waited for a place. Callers see an exception."""

    kind = "not_accepted"
    applied = "no"


NOT_ACCEPTED: Final = NotAccepted()


class Extras:
    """What most records do not have. Never changed while shared: see :meth:`Entry.own_extras`."""

    __slots__ = (
        "asks",
        "attempts",
        "budget",
        "delay",
        "entered_at",
        "expires_at",
        "force",
        "group",
        "identity",
        "last",
        "maybe",
        "past",
        "refusal",
        "retries",
        "sealed",
    )

    def __init__(self, identity: Hashable | None = None, delay: float | None = None, expires_at: float = inf) -> None:
        self.identity = None if identity is None else steady(identity)
        self.delay = delay  # of the batch that this record opens; None is the policy's
        self.expires_at = expires_at
        self.group: Group | None = None
        self.sealed = False  # buffered in a sealed batch, not in the queue of its lane
        self.budget: SearchBudget | None = None  # of the search for a culprit among whom it is
        self.force: FlushReason | None = None  # why it is due the moment it enters its lane
        self.entered_at = -inf  # its lane, if it was parked before
        self.past: Sequence[tuple[Attempt, float]] = ()  # attempts but for the last, and when it was to be sent again
        self.attempts = 0  # calls that carried it, the present one included
        self.retries = 0  # those of them that asked for another try
        self.last: Cause | None = None  # why the last of them did, while the record waits for another
        self.maybe = False  # an earlier attempt may have been applied
        self.asks = False  # the next call asks whether it was, and writes nothing
        self.refusal: Outcome | None = None  # of a later attempt; stands if the destination does not hold it


NO_EXTRAS: Final = Extras()


class Entry:
    """One record on its way.

    Whoever makes one sets ``record``, ``size``, ``waiter`` and ``extras``; the engine sets the rest. There is no
    ``__init__``, because one is made for every record and four assignments cost half as much.
    """

    __slots__ = ("accepted_at", "attempt", "extras", "lane", "record", "size", "state", "verdict", "waiter")

    record: Any
    size: int  # in bytes, encoded; 0 if nobody counts them
    waiter: Any  # told when it is settled; None if nobody waits
    extras: Extras
    lane: Lane
    state: State
    accepted_at: float
    attempt: Attempt  # the last
    verdict: Any  # once settled: a plain value v, which means Written(data=v), or an Outcome
    handed_out: ClassVar[bool] = False  # its caller holds it, and may never await it

    @property
    def submitted(self) -> Any:
        """What the caller submitted, which is not always what travels."""
        return self.record

    # A record is a unit of one: admission, identities and backoff treat it and a Group alike.

    @property
    def members(self) -> Sequence[Entry]:
        """The records that share this unit's fate."""
        return (self,)

    @property
    def identities(self) -> Sequence[Hashable]:
        """What this unit must head the queues of before it may enter its lane."""
        identity = self.extras.identity
        return () if identity is None else (identity,)

    @property
    def due_at(self) -> float:
        """When a batch that this record opens is due."""
        delay = self.extras.delay
        return self.accepted_at + (self.lane.max_delay if delay is None else delay)

    @property
    def expires_at(self) -> float:
        """When this unit is no longer to be sent; ``inf`` if the caller did not say."""
        return self.extras.expires_at

    @property
    def sealed(self) -> bool:
        """Whether it is buffered in a sealed batch, not in the queue of its lane."""
        return self.extras.sealed

    @sealed.setter
    def sealed(self, sealed: bool) -> None:
        self.own_extras().sealed = sealed

    def expedite(self, at: float) -> None:
        """Be due by *at*."""
        self.own_extras().delay = max(0.0, at - self.accepted_at)

    def own_extras(self) -> Extras:
        """Return extras that may be changed."""
        if self.extras is NO_EXTRAS:
            self.extras = Extras()
        return self.extras

    def fate(self) -> Outcome | None:
        """Return the outcome as a value; None while it is open, or if it was never accepted."""
        if self.state is not State.SETTLED or self.verdict is NOT_ACCEPTED:
            return None
        verdict = self.verdict
        return verdict if issubclass(type(verdict), Outcome) else Written(data=verdict)


class LinkedEntry(Entry):
    """A record that knows what the hook captured when it was submitted. Extras would take it off the short way in."""

    __slots__ = ("link",)

    link: Any


class Group:
    """Records declared all-or-none together: admitted, sent, retried and withdrawn whole."""

    __slots__ = ("identities", "lane", "members", "size", "waiter")

    lane: Lane

    def __init__(self, members: Sequence[Entry]) -> None:
        self.members = members
        self.size = sum(member.size for member in members)
        self.identities = tuple(member.extras.identity for member in members if member.extras.identity is not None)
        self.waiter: Any = None  # told when the group is admitted
        for member in members:
            member.own_extras().group = self

    @property
    def accepted_at(self) -> float:
        """When the members were accepted, all at once."""
        return self.members[0].accepted_at

    @property
    def due_at(self) -> float:
        """A group is complete from the start, so it never waits for company."""
        return self.accepted_at

    @property
    def state(self) -> State:
        """The members move together."""
        return self.members[0].state


Unit: TypeAlias = Entry | Group


# What most lanes never have. Shared, and never changed: a lane that needs one makes its own.
NO_SERVICE: Final = ServiceTime()
NONE_SEALED: Final[SealedQueue[Entry]] = SealedQueue()


class Lane:
    """The records of one key that are accepted and not settled."""

    __slots__ = (
        "allowance",
        "blocked",
        "breaker",
        "due_since",
        "expiring",
        "fast_until",
        "in_flight",
        "key",
        "max_delay",
        "most_bytes",
        "most_records",
        "name",
        "parked",
        "paused_until",
        "pending",
        "pending_bytes",
        "queue",
        "quota",
        "rules",
        "sealed",
        "service",
        "small_until",
        "tenant",
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
        self.name = steady(key)  # where it is found
        self.rules = rules
        self.max_delay = max_delay
        # What one call may carry, and so what one record or one group may have.
        self.most_records = min(max_records, rules.max_records)
        self.most_bytes = min(max_bytes, rules.max_bytes)
        self.small_until = inf  # its batches are filled to less, because a call was too large
        # What is accepted and not settled: parked, buffered, in flight, backing off.
        self.pending = 0
        self.pending_bytes = 0
        self.parked = 0  # records of it that wait outside, behind an identity
        self.fast_until = inf  # pending records: from then on a newcomer must look closer
        # What is buffered.
        self.queue: Queue[Entry] = Queue(self.most_records, self.most_bytes)
        self.sealed = NONE_SEALED
        self.expiring: Deadlines[Unit] | None = None  # accepted units that have a deadline, if there ever were any
        # Calls.
        self.in_flight = 0
        self.allowance = Allowance(min(max_in_flight, rules.max_in_flight))
        self.service = NO_SERVICE
        # What may keep it from sending.
        self.paused_until = -inf
        self.quota = UNMETERED
        self.breaker: Breaker | None = None  # if its last call has failed
        self.tenant: Tenant | None = None  # if lanes are shared out
        # For timing_of() only: since when the batch is due that waits now, and what kept the lane from sending.
        self.due_since = inf
        self.blocked = NEVER_BLOCKED

    def idle(self, now: float) -> bool:
        """Return whether the lane holds no record, no call and no pause."""
        return not self.pending and not self.in_flight and self.paused_until <= now

    # What a call may carry

    def fits(self, group: Group) -> str | None:
        """Return the rule that *group* breaks by its size, with figures; None if it fits one call."""
        if len(group.members) > self.most_records:
            return f"{len(group.members)} records exceed the {self.most_records} that one call may carry"
        if group.size > self.most_bytes:
            return f"{group.size} bytes exceed the {self.most_bytes} that one call may carry"
        return None

    def allow(self, max_records: float, max_bytes: float) -> None:
        """Have no batch filled, and no group taken, beyond this."""
        self.most_records = min(self.most_records, max_records)
        self.most_bytes = min(self.most_bytes, max_bytes)
        self.fill_to(max_records, max_bytes)

    def fill_to(self, max_records: float, max_bytes: float) -> None:
        """Have batches filled to this at most."""
        self.queue.max_records = min(self.queue.max_records, max_records)
        self.queue.max_bytes = min(self.queue.max_bytes, max_bytes)

    def fill_up(self) -> None:
        """Have batches filled to what one call may carry again."""
        self.queue.max_records, self.queue.max_bytes = self.most_records, self.most_bytes
        self.small_until = inf

    def note_call(self, records: int, seconds: float) -> bool:
        """Learn from a call that ended well how long one takes; return whether it was slow."""
        if self.service is NO_SERVICE:
            self.service = ServiceTime()
        return self.service.note(records, seconds)

    # What is buffered

    def filled_by(self, unit: Unit) -> bool:
        """Return whether *unit* would make a batch due, whatever the time."""
        if isinstance(unit, Group):
            return True
        queue = self.queue
        return queue.count + 1 >= queue.max_records or queue.size + unit.size >= queue.max_bytes

    def add_sealed(
        self,
        entries: Sequence[Entry],
        due_at: float,
        reason: FlushReason,
        budget: SearchBudget | None = None,
        sibling: Sealed[Entry] | None = None,
        *,
        first: bool = False,
    ) -> None:
        """Buffer entries that travel in a call of their own."""
        if self.sealed is NONE_SEALED:
            self.sealed = SealedQueue()
        self.sealed.add(Sealed(entries, due_at, reason, budget, sibling), first=first)

    def expedite(self, entry: Entry, at: float) -> None:
        """Make everything up to *entry* due at *at*, whichever record opened the batch."""
        if not entry.sealed:  # which is due anyway
            self.queue.expedite(entry, at)

    def withdraw(self, entry: Entry) -> None:
        """Account for a buffered record that has just been settled."""
        if not entry.sealed:
            self.queue.withdraw(entry)

    def due_at(self) -> float | None:
        """Return when the next batch is due: ``-inf`` whatever the time, None if nothing is buffered."""
        at = self.queue.due_at()
        if self.sealed:
            self.sealed.trim()
            if self.sealed:
                return min(at, self.sealed.first.due_at)
        return at if self.queue.entries else None

    def sealed_is_next(self, now: float) -> bool:
        """Return whether a sealed batch leaves next: it is always due. If the queue is due as well, they take turns."""
        return bool(self.sealed) and not (self.sealed.was_last and self.queue.entries and self.queue.due_at() <= now)

    def next_records(self, now: float) -> int:
        """Return how many records the next call carries; at most, where the limit is on bytes."""
        if self.sealed_is_next(now):
            return len(self.sealed.first.entries)
        return int(min(self.queue.count, self.queue.max_records))

    def entries(self) -> Iterator[Entry]:
        """Yield what is buffered, sealed batches first."""
        yield from self.sealed.living()
        yield from self.queue.living()
