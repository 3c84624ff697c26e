"""What waits for a record besides a task: several waiters, a list of records, or somebody who wants it noted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher._shell.backend.waiters import Waiter


def attach(entry: Entry, waiter: Waiter) -> None:
    """Have *waiter* told when *entry* settles, next to those who wait already."""
    present = entry.waiter
    if present is None or present.done():
        entry.waiter = waiter
    elif isinstance(present, Several):
        present.add(waiter)
    else:
        entry.waiter = Several(present, waiter)


def has_reader(entry: Entry) -> bool:
    """Return whether somebody waits for the outcome of *entry*, or has a callback called with it.

    That :class:`AllSettled` watches it says nothing: a flush, or the end of the batcher, looks at no outcome.
    """
    waiter = entry.waiter
    return any(map(_reads, waiter.all())) if isinstance(waiter, Several) else _reads(waiter)


def _reads(waiter: Waiter | None) -> bool:
    return waiter is not None and not isinstance(waiter, (AllSettled, _Forsaken)) and not waiter.done()


class Listener:
    """A waiter that nobody can cancel."""

    __slots__ = ()

    def done(self) -> bool:
        """Return False: it wants to be told."""
        return False


class Several(Listener):
    """A few waiters of the same, each woken on its own: one that is cancelled takes nobody along."""

    __slots__ = ("_waiters",)

    def __init__(self, *waiters: Waiter) -> None:
        self._waiters = list(waiters)

    def add(self, waiter: Waiter) -> None:
        """Take one more in, and drop those who gave up."""
        self._waiters = [each for each in self._waiters if not each.done()]
        self._waiters.append(waiter)

    def all(self) -> list[Waiter]:
        """Return them."""
        return self._waiters

    def set_result(self, result: None, /) -> None:
        """Tell them all."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class AllSettled(Listener):
    """Wakes those who wait for some records, when all of these have their outcomes.

    It watches one of them at a time, the first that is still open: records settle by the batch, so it is told once a
    batch and not once a record.
    """

    __slots__ = ("_over", "_rest", "_waiters")

    def __init__(self, entries: Iterable[Entry]) -> None:
        # An iterator lets go of its list at the end, and so of the records, one of which knows this object.
        self._rest = iter(list(entries))
        self._waiters = Several()
        self._over = False  # all of them have their outcomes
        self.set_result(None)

    def add(self, waiter: Waiter) -> bool:
        """Have *waiter* told, and return True; return False if all of them have their outcomes already."""
        if not self._over:
            self._waiters.add(waiter)
        return not self._over

    def set_result(self, result: None, /) -> None:
        """The one that it watches has its outcome: go on to the next that has none."""
        for entry in self._rest:
            if entry.state is not State.SETTLED:
                attach(entry, self)
                return
        self._over = True
        self._waiters.set_result(None)


class _Forsaken(Listener):
    """Nobody, in the place of a caller who was cancelled."""

    __slots__ = ()

    def set_result(self, result: None, /) -> None:
        """Do nothing."""


_FORSAKEN: Final = _Forsaken()


def forsake(entry: Entry) -> None:
    """Note that the caller of *entry* was cancelled: nobody sees its outcome."""
    attach(entry, _FORSAKEN)


def is_forsaken(entry: Entry) -> bool:
    """Return whether :func:`forsake` was called for *entry*."""
    waiter = entry.waiter
    return waiter is _FORSAKEN or (isinstance(waiter, Several) and _FORSAKEN in waiter.all())


class Queue(Protocol):
    """Where something is put."""

    def append(self, item: Any, /) -> None:
        """Put it there."""


class Note(Listener):
    """Puts something into a queue when a record settles: what is to be done at the end of the turn."""

    __slots__ = ("_item", "_queue", "_told")

    def __init__(self, queue: Queue, item: Any) -> None:
        self._queue = queue
        self._item = item
        self._told = False

    def done(self) -> bool:
        """Return whether it is there already: after a step that was cut off, everybody is told."""
        return self._told

    def set_result(self, result: None, /) -> None:
        """Put it there."""
        self._told = True
        self._queue.append(self._item)
