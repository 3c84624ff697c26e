"""What the core moves about: records with their fate, groups, and batches."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from batcher._core.model.states import State
from batcher.events import FlushReason
from batcher.outcomes import Cause, ErrorDetail, Outcome, Written

if TYPE_CHECKING:
    from batcher._core.lanes import Lane
    from batcher._core.model.attempts import Attempt


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
        "bundled",
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
    )

    def __init__(self, identity: Hashable | None = None, delay: float | None = None, expires_at: float = inf) -> None:
        self.identity = identity
        self.delay = delay  # of the batch that this record opens; None is the policy's
        self.expires_at = expires_at
        self.group: Group | None = None
        self.bundled = False  # buffered in a bundle, not in the queue of its lane
        self.budget: Budget | None = None  # of the search for a culprit among whom it is
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

    def hasten(self, at: float) -> None:
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
        return verdict if isinstance(verdict, Outcome) else Written(data=verdict)


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


class Budget:
    """Calls left to the search for the culprits of one refused batch, shared by all its parts."""

    __slots__ = ("calls", "errors")

    def __init__(self, calls: int, errors: Sequence[ErrorDetail]) -> None:
        self.calls = calls
        self.errors = errors  # why the batch was refused, for those of whom nobody knows more in the end

    def spend(self, calls: int) -> bool:
        """Take that many calls, or none and return False."""
        if calls > self.calls:
            return False
        self.calls -= calls
        return True


class Bundle:
    """Entries that travel in a call of their own: a group, what is left of a refused batch, or what is asked about."""

    __slots__ = ("asks", "budget", "due_at", "entries", "group", "sibling")

    def __init__(
        self,
        entries: Sequence[Entry],
        due_at: float,
        group: Group | None = None,
        budget: Budget | None = None,
        sibling: Bundle | None = None,
        *,
        asks: bool = False,
    ) -> None:
        self.entries = entries
        self.due_at = due_at
        self.group = group
        self.budget = budget
        self.sibling = sibling  # the other half of a refused batch: it waits for what becomes of this one
        self.asks = asks


class Backoff:
    """Units of one lane that will be sent again at the same time. One timer for all of them."""

    __slots__ = ("at", "lane", "units")

    def __init__(self, lane: Lane, at: float, units: Sequence[Unit]) -> None:
        self.lane = lane
        self.at = at
        self.units = units


class Batch:
    """What one call carries. ``records`` are in the order in which the verdicts must come."""

    __slots__ = (
        "asks",
        "attempt",
        "bundle",
        "changes",
        "dispatched_at",
        "entries",
        "lane",
        "parting",
        "reason",
        "sent",
        "size",
    )

    def __init__(
        self, lane: Lane, entries: Sequence[Entry], size: int, reason: FlushReason, bundle: Bundle | None
    ) -> None:
        self.lane = lane
        self.sent = entries
        self.entries = entries  # those that its answer will settle; empty once it has been given up on
        self.parting: Sequence[Unit] = ()  # settled before it ended, and holding their identities till then
        self.size = size
        self.reason = reason
        self.bundle = bundle
        self.asks = bundle is not None and bundle.asks  # what became of these records; it writes nothing
        self.attempt: Attempt  # once it has left
        self.dispatched_at = 0.0
        self.changes = (0, 0)  # of the allowances of its lane and of all, before it left

    @property
    def group(self) -> Group | None:
        """The group that this batch carries, if it is one."""
        return None if self.bundle is None else self.bundle.group

    @property
    def records(self) -> list[Any]:
        """What the write function gets."""
        return [entry.record for entry in self.entries]

    def __repr__(self) -> str:
        return f"<Batch {self.reason.value}: {len(self.entries)} records, {self.size} bytes>"
