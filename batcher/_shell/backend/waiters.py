"""What a backend gives: waiters, a clock, and how to tell its loop from others.

A *waiter* belongs to one awaiting task: a native future shared by many dies for all of them when one
is cancelled. One ``anyio.Event`` per record would cost three times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple, Protocol

from batcher._core.model.entries import Entry


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


def wake(settled: Iterable[Entry]) -> None:
    """Tell the waiters of settled records."""
    for entry in settled:
        waiter = entry.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
