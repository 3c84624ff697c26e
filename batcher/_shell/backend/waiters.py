"""What a backend gives: waiters, a clock, what holds the tasks of a batcher, and how to tell its loop from others.

A *waiter* belongs to one awaiting task: a native future shared by many dies for all of them when one
is cancelled. One ``anyio.Event`` per record would cost three times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import anyio

from batcher._core.model.entries import Entry

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

Run: TypeAlias = "Callable[[TaskGroup], Coroutine[Any, Any, bool]]"
"""Returns whether it was told to."""


class Waiter(Protocol):
    """Something to tell that a record has its outcome. The result carries nothing."""

    def done(self) -> bool:
        """Return whether it was told already, or is not interested any more."""

    def set_result(self, result: None, /) -> None:
        """Tell it; at most once."""


class AwaitableWaiter(Waiter, Protocol):
    """A waiter that one task awaits."""

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait to be told."""


class Host(Protocol):
    """What holds the task group of one open batcher."""

    async def begin(self, run: Run, stop: Callable[[], None], died: Callable[[], None]) -> None:
        """Start *run* in a task, with the group that its own tasks go to. This waits for nothing.

        :param stop: has *run* return
        :param died: called if a task of the batcher ends unasked, before the body is interrupted
        """

    def leave(self) -> None:
        """Have no task interrupted from now on: the body is over, and whoever leaves looks by itself."""

    async def end(self, interruption: BaseException | None) -> bool:
        """End the tasks, and wait for that, whatever happens to the current task meanwhile.

        :param interruption: what ends the current task, if it does not simply leave
        :returns: whether a task of the batcher was cancelled by somebody else, and nobody but us interrupted the body
        :raises BaseException: what a task of the batcher has died of; or a cancellation that came meanwhile
        """


class Backend(NamedTuple):
    """The event loop that a batcher was entered in."""

    name: str
    loop: object
    """What identifies that loop."""
    running: Callable[[], object]
    """Return what identifies the running loop; None outside of this backend."""
    now: Callable[[], float]
    """The loop's own clock, in seconds."""
    new_waiter: Callable[[], AwaitableWaiter]
    wake: Callable[[Iterable[Entry]], None]
    """Tell the waiters of settled records."""
    cancellations: Callable[[], int]
    """Return how many native cancellations of the current task are under way; always 0 on trio."""
    new_host: Callable[[], Host]
    post: Callable[[Callable[[], object]], object]
    """Have something called in the loop soon, from any thread or a signal handler. It wakes a loop that sleeps."""


def raise_bare(errors: Sequence[BaseException]) -> None:
    """Raise the one error that there is, or all in a group; the context of one stays as it was."""
    if len(errors) > 1:
        raise BaseExceptionGroup("several tasks of the batcher died", errors)
    for only in errors:
        context = only.__context__
        try:
            raise only
        finally:
            only.__context__ = context


async def hold(tasks: TaskGroup, run: Run, die: Callable[[], None]) -> None:
    """Hold the task group of a batcher until *run* returns.

    If that, or another of its tasks, ends unasked, *die* is called at once: a write that ignores cancellation may hold
    up the end.
    """
    async with tasks:
        try:
            if not await run(tasks):
                die()
        except BaseException:
            die()
            raise
        tasks.cancel_scope.cancel()


def in_cancelled_scope() -> bool:
    """Return whether a cancel scope around the current task is cancelled."""
    return anyio.current_effective_deadline() == -inf


def wake(settled: Iterable[Entry]) -> None:
    """Tell the waiters of settled records."""
    for entry in settled:
        waiter = entry.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
