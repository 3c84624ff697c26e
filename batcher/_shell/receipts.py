"""Receipts: the future of one record's outcome."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextvars import copy_context
from functools import partial
from typing import Any, Final, Generic, Self, TypeVar, cast

from batcher._core.model.entries import NO_EXTRAS, NOT_ACCEPTED, Entry, Extras, LinkedEntry
from batcher._core.model.states import State
from batcher._core.timings import timing_of, was_accepted
from batcher._shell.hooks import call_guarded
from batcher._shell.runtime import Runtime
from batcher._shell.steps import IN_STEP
from batcher._shell.waiting import Note
from batcher.errors import BatcherClosed, error_for
from batcher.outcomes import Outcome
from batcher.timing import Timing

T_co = TypeVar("T_co", covariant=True)

_RAISED: Final = "a callback of a receipt raised; the record is not affected"


class Receipt(LinkedEntry, Generic[T_co]):
    """The future of one accepted record. Await it never, once, or from many tasks.

    ``await receipt`` returns what ``submit()`` returns, or raises a fresh
    :class:`~batcher.errors.RecordError`. A cancelled ``await`` only stops waiting.
    """

    __slots__ = ("_runtime",)

    handed_out = True

    def __init__(self, runtime: Runtime, record: Any, size: int = 0, extras: Extras = NO_EXTRAS) -> None:
        self.record = record
        self.size = size
        self.waiter = None
        self.extras = extras
        self._runtime = runtime

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
        attempt may have been applied. False: a call carries it, or it has its outcome already, or nobody can say:
        this is called by a finalizer, or by a signal handler, in the middle of a step of the batcher.

        :raises BatcherNotOpen: called outside of the batcher's own event loop
        """
        self._runtime.check_loop()
        return self._runtime.withdraw(self)

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call *callback* with this receipt once it has its outcome; soon, if it has.

        For outcomes that nobody awaits: a dead-letter queue, a count. It is called in the event loop, in the context
        variables of whoever added it, at the end of a turn, in the order in which records are settled, and before the
        batcher is left. It must not wait, and may submit again. What it raises is logged.

        :raises BatcherNotOpen: called outside of the batcher's own event loop
        """
        runtime = self._runtime
        runtime.check_loop()
        # As asyncio's futures do. In the context of the worker that ends the call, a task started by the callback
        # would count as part of the write function, and could not submit.
        call = partial(copy_context().run, call_guarded, callback, _RAISED, self)
        if runtime.open_in is IN_STEP:
            runtime.put_off(partial(self._call_back, call))
        else:
            self._call_back(call)

    def _call_back(self, call: Callable[[], object]) -> None:
        if not self._runtime.watch(self, Note(self._runtime.callbacks, call)):
            self._runtime.callbacks.call_soon(call)

    def __await__(self) -> Generator[Any, Any, T_co]:
        if self.state is not State.SETTLED:
            runtime = self._runtime
            runtime.check_may_wait("await receipt")
            if runtime.open_in is IN_STEP:
                yield from runtime.whole().__await__()
            waiter = runtime.new_waiter()
            if runtime.watch(self, waiter):
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
    if not issubclass(type(verdict), Outcome) or verdict.ok:
        return verdict
    if verdict is NOT_ACCEPTED:
        raise BatcherClosed("the batcher closed while the record waited for a place; it was not accepted")
    error = error_for(verdict, entry.submitted)
    if was_accepted(entry):
        error.timing = timing_of(entry)
    raise error
