"""Receipts: the future of one record's outcome, and those who wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from batcher._core.attempts import timing_of, was_accepted
from batcher._core.entries import NO_EXTRAS, NOT_ACCEPTED, Entry, Extras
from batcher._core.states import State
from batcher._shell.backend.waiters import AwaitableWaiter, Waiter
from batcher._shell.reporting import logger, stops_programs
from batcher.errors import BatcherClosed, error_for
from batcher.outcomes import Outcome
from batcher.timing import Timing

if TYPE_CHECKING:
    from batcher._shell.crew import Crew

T_co = TypeVar("T_co", covariant=True)


class Receipt(Entry, Generic[T_co]):
    """The future of one accepted record. Await it never, once, or from many tasks.

    ``await receipt`` returns what ``submit()`` returns, or raises a fresh
    :class:`~batcher.errors.RecordError`. A cancelled ``await`` only stops waiting.
    """

    __slots__ = ("_crew", "link")

    link: Any  # see LinkedEntry; not set if the hook captures nothing

    def __init__(self, crew: Crew, record: Any, size: int = 0, extras: Extras = NO_EXTRAS) -> None:
        self.record = record
        self.size = size
        self.waiter = None
        self.extras = extras
        self._crew = crew

    @property
    def done(self) -> bool:
        """Whether the record has its outcome."""
        return self.state is State.SETTLED

    @property
    def outcome(self) -> Outcome | None:
        """The fate of the record, or None as long as it is open."""
        return self.fate()

    @property
    def timing(self) -> Timing | None:
        """Where the time of the record went, in seconds; None as long as it is open, or if it got no place."""
        return None if self.fate() is None or not was_accepted(self) else timing_of(self)

    def withdraw(self) -> bool:
        """Take the record back, and return whether that was possible.

        True: no further attempt will be made; whoever awaits the receipt gets
        :class:`~batcher.errors.RecordNotWritten`, or :class:`~batcher.errors.RecordUnknown` if an earlier
        attempt may have been applied. False: a call carries it, or it has its outcome already.

        :raises BatcherNotOpen: called outside of the batcher's own event loop
        """
        self._crew.check_loop()
        return self._crew.withdraw(self)

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call *callback* with this receipt once it has its outcome; now, if it has.

        For outcomes that nobody awaits: a dead-letter queue, a count. It is called in the event loop, in the context
        variables of whoever added it, must not wait, and may submit again. What it raises is logged.

        :raises BatcherNotOpen: called outside of the batcher's own event loop
        """
        self._crew.check_loop()
        if self.state is State.SETTLED:
            run_callback(self, callback)
        else:
            attach(self, Callback(self._crew.callbacks, self, callback))

    def __await__(self) -> Generator[Any, Any, T_co]:
        if self.state is not State.SETTLED:
            crew = self._crew
            crew.check_may_wait("await receipt")
            waiter = crew.new_waiter()
            attach(self, waiter)
            yield from waiter.__await__()
            self.waiter = None  # settled, so nobody is told any more; a receipt may be kept for long
        return cast(T_co, result_of(self))

    def __repr__(self) -> str:
        fate = self.fate()
        return f"<Receipt: {self.state.name.lower() if fate is None else fate.kind}>"


def result_of(entry: Entry) -> Any:
    """Return what the caller of a settled record gets, or raise it.

    :raises RecordError: the outcome is not a success
    :raises BatcherClosed: it was never accepted, because the batcher closed
    """
    verdict = entry.verdict
    if not isinstance(verdict, Outcome) or verdict.ok:
        return verdict
    if verdict is NOT_ACCEPTED:
        raise BatcherClosed("the batcher closed while the record waited for a place; it was not accepted")
    error = error_for(verdict, entry.submitted)
    if was_accepted(entry):
        error.timing = timing_of(entry)
    raise error


def attach(entry: Entry, waiter: Waiter) -> None:
    """Have *waiter* told when *entry* settles, next to those who wait already."""
    present = entry.waiter
    if present is None or present.done():
        entry.waiter = waiter
    elif isinstance(present, Several):
        present.add(waiter)
    else:
        entry.waiter = Several(present, waiter)


class Several:
    """A few waiters of one record, each woken on its own: one that is cancelled takes nobody along."""

    __slots__ = ("_waiters",)

    def __init__(self, *waiters: Waiter) -> None:
        self._waiters = list(waiters)

    def add(self, waiter: Waiter) -> None:
        """Take one more in, and drop those who gave up."""
        self._waiters = [each for each in self._waiters if not each.done()]
        self._waiters.append(waiter)

    def done(self) -> bool:
        """Return False: there may be more to tell."""
        return False

    def set_result(self, result: None, /) -> None:
        """Tell them all."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class AllSettled:
    """Wakes those who wait for some records, when all of these have their outcomes.

    It watches one of them at a time, the first that is still open: records settle by the batch, so it is told once a
    batch and not once a record.
    """

    __slots__ = ("_rest", "_waiters", "over")

    def __init__(self, entries: Iterable[Entry]) -> None:
        # An iterator lets go of its list at the end, and so of the records, one of which knows this object.
        self._rest = iter(list(entries))
        self._waiters: list[AwaitableWaiter] = []
        self.over = False  # all of them have their outcomes
        self._watch_next()

    def add(self, waiter: AwaitableWaiter) -> None:
        """Take one more in, and drop those who gave up."""
        self._waiters = [each for each in self._waiters if not each.done()]
        self._waiters.append(waiter)

    def done(self) -> bool:
        """Return False: there may be more to tell."""
        return False

    def set_result(self, result: None, /) -> None:
        """The one that it watches has its outcome: go on to the next that has none."""
        self._watch_next()

    def _watch_next(self) -> None:
        for entry in self._rest:
            if entry.state is not State.SETTLED:
                attach(entry, self)
                return
        self.over = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class Detached:
    """Stands in for a cancelled caller, so that somebody observes the outcome."""

    __slots__ = ("_entry", "_unseen")

    def __init__(self, unseen: deque[Entry], entry: Entry) -> None:
        self._unseen = unseen
        self._entry = entry

    def done(self) -> bool:
        """Return False: it wants to know."""
        return False

    def set_result(self, result: None, /) -> None:
        """Have the outcome reported."""
        self._unseen.append(self._entry)


class Callback:
    """Has a function called with a receipt, once the state is whole and everybody is woken."""

    __slots__ = ("_callback", "_context", "_due", "_receipt")

    def __init__(
        self, due: deque[tuple[Any, Callable[[Any], object]]], receipt: Any, callback: Callable[[Any], object]
    ) -> None:
        self._due = due
        self._receipt = receipt
        self._callback = callback
        # As asyncio's futures do. In the context of the worker that ends the call, a task started by the callback would
        # count as part of the write function, and could not submit.
        self._context = copy_context()

    def _run(self, receipt: Any) -> None:
        self._context.run(self._callback, receipt)

    def done(self) -> bool:
        """Return False: it wants to know."""
        return False

    def set_result(self, result: None, /) -> None:
        """Have the function called at the end of this turn."""
        self._due.append((self._receipt, self._run))


def run_callback(receipt: Any, callback: Callable[[Any], object]) -> None:
    """Call *callback*; what it raises is its own affair."""
    try:
        callback(receipt)
    except BaseException as error:
        if stops_programs(error):
            raise
        logger.exception("a callback of a receipt raised; the record is not affected")
