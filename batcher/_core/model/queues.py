"""The queue of a lane: who leaves next, and when that is due.

Withdrawn entries stay in the queue as tombstones (a state other than BUFFERED) until they reach its front or outnumber
the living, so that withdrawing costs the same in a queue of any length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf
from operator import attrgetter
from typing import Any, Final, Generic, Protocol, TypeVar

from batcher._core.model.deadlines import Deadlines
from batcher._core.model.states import State, advance
from batcher.events import FlushReason

BUFFERED = State.BUFFERED  # a lookup less for every record

_size_of = attrgetter("size")

# What most queues never have. Shared, and never changed: a queue that needs one makes its own.
NONE_EXPEDITED: Final[Deadlines[Any]] = Deadlines()


class Queued(Protocol):
    """What a queue needs of its entries."""

    state: State
    size: int

    @property
    def due_at(self) -> float:
        """When a batch that this entry opens is due."""

    @property
    def expires_at(self) -> float:
        """When it is no longer to be sent; ``inf`` if the caller did not say."""


E = TypeVar("E", bound=Queued)


class Queue(Generic[E]):
    """Entries that wait for company, in order, until there are enough of them for a batch or the time has come."""

    __slots__ = (
        "_expedited",
        "_forced",
        "_forced_by",
        "dead",
        "entries",
        "leaving",
        "max_bytes",
        "max_records",
        "size",
    )

    def __init__(self, max_records: float, max_bytes: float) -> None:
        self.max_records = max_records  # what a batch is filled to
        self.max_bytes = max_bytes
        self.entries: deque[E] = deque()  # tombstones among them
        self.leaving: Sequence[E] = ()  # taken out, and not yet anywhere else
        self.dead = 0  # tombstones
        self.size = 0  # bytes of the living
        self._forced = 0  # leading entries, tombstones included, that are due whatever the time
        self._forced_by = FlushReason.FLUSH
        self._expedited: Deadlines[E] = NONE_EXPEDITED  # entries that are due before the one that opened their batch

    @property
    def count(self) -> int:
        """Living entries."""
        return len(self.entries) - self.dead

    @property
    def is_forced(self) -> bool:
        """Whether some of it is due whatever the time."""
        return self._forced > 0

    # Filling

    def append(self, entry: E) -> None:
        """Buffer one entry behind the others."""
        advance((entry,), BUFFERED)
        self.entries.append(entry)
        self.size += entry.size

    def put_back(self, entries: Sequence[E]) -> None:
        """Buffer entries that were asked to come again: in front, in their order, and due."""
        advance(entries, BUFFERED)
        self.entries.extendleft(reversed(entries))
        self.size += sum(entry.size for entry in entries)
        if not self._forced:
            self._forced_by = FlushReason.RETRY
        self._forced += len(entries)

    def force(self, reason: FlushReason) -> None:
        """Make all that is buffered now due."""
        if len(self.entries) > self._forced:
            if not self._forced:
                self._forced_by = reason
            self._forced = len(self.entries)

    def expedite(self, entry: E, at: float) -> None:
        """Make everything up to *entry* due at *at*, whichever entry opened the batch."""
        if self._expedited is NONE_EXPEDITED:
            self._expedited = Deadlines()
        self._expedited.schedule(entry, at)

    def withdraw(self, entry: E) -> None:
        """Account for an entry that has just been settled."""
        self.dead += 1
        self.size -= entry.size
        self._expedited.drop(entry)
        if self.dead == len(self.entries) or self.dead > self.count + 16:
            self._compact()

    def _compact(self) -> None:
        forced = sum(entry.state is BUFFERED for _, entry in zip(range(self._forced), self.entries, strict=False))
        self.entries, self.dead, self._forced = deque(self.living()), 0, forced

    # Leaving

    def due_at(self) -> float:
        """Return when the next batch is due: ``-inf`` whatever the time, ``inf`` if nothing is buffered."""
        if self.dead:
            self._trim()
        if self._forced or len(self.entries) - self.dead >= self.max_records or self.size >= self.max_bytes:
            return -inf
        at = self.entries[0].due_at if self.entries else inf
        return at if self._expedited is NONE_EXPEDITED else min(at, self._expedited.next_at)

    def _trim(self) -> None:
        entries = self.entries
        while entries and entries[0].state is not BUFFERED:
            entries.popleft()
            self.dead -= 1
            self._forced -= self._forced > 0

    def reason(self, now: float, *, closing: bool) -> FlushReason:
        """Return why the next batch leaves. Something must be buffered, and :meth:`due_at` asked since it changed."""
        if self.count >= self.max_records:
            return FlushReason.RECORDS
        if self.size >= self.max_bytes:
            return FlushReason.BYTES
        if self._forced:
            return self._forced_by
        if self.entries[0].due_at <= now and self.entries[0].expires_at == inf:
            return FlushReason.DELAY
        if self._expedited.next_at <= now:
            return FlushReason.IDENTITY if self._expedited.first.expires_at == inf else FlushReason.DEADLINE
        return FlushReason.CLOSING if closing else FlushReason.DELAY

    def take(self, most: float) -> tuple[list[E], int]:
        """Take out what the next batch carries, *most* entries at the most; return it with its bytes."""
        most = min(most, self.max_records)
        if not self.dead and len(self.entries) <= most and self.size <= self.max_bytes:
            entries, size = list(self.entries), self.size
            self.leaving = entries
            self.entries.clear()
            self._forced = 0
        else:
            entries, size = self._take_some(most)
        self.size -= size
        if self._expedited:
            for entry in entries:
                self._expedited.drop(entry)
        return entries, size

    def _take_some(self, most: float) -> tuple[list[E], int]:
        queue, size, gone = self.entries, 0, 0
        taken: list[E] = []
        if not self.dead:  # the usual case: as many as there may be, if their bytes fit
            taken = list(islice(queue, int(min(most, len(queue)))))
            size = sum(map(_size_of, taken)) if self.size else 0
            if size <= self.max_bytes:
                self.leaving = taken
                for _ in taken:
                    queue.popleft()
                self._forced = max(0, self._forced - len(taken))
                return taken, size
            taken, size = [], 0
        for entry in queue:
            if len(taken) >= most:
                break
            if entry.state is BUFFERED:
                if taken and size + entry.size > self.max_bytes:
                    break
                taken.append(entry)
                size += entry.size
            gone += 1
        self.leaving = taken
        for _ in range(gone):
            queue.popleft()
        self.dead -= gone - len(taken)
        self._forced = max(0, self._forced - gone)
        return taken, size

    def living(self) -> Iterator[E]:
        """Yield what is buffered, in order."""
        return (entry for entry in self.entries if entry.state is BUFFERED)
