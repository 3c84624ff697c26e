"""Waking and timing on asyncio and on trio. The only module that knows the backend.

A *waiter* belongs to one awaiting task: a native future shared by many dies for all of them when one
is cancelled. One ``anyio.Event`` per record would cost three times as much.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable
from functools import partial
from math import inf
from threading import current_thread
from typing import Any, NamedTuple, Protocol

import anyio


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


class Waiting(Protocol):
    """A record with somebody who waits for it, or nobody."""

    @property
    def waiter(self) -> Waiter | None:
        """Who is to be told."""


def wake(settled: Iterable[Waiting]) -> None:
    """Tell the waiters of settled records."""
    for entry in settled:
        waiter = entry.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


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
    wake: Callable[[Iterable[Waiting]], None]
    """Tell the waiters of settled records."""
    cancellations: Callable[[], int]
    """Return how many native cancellations of the current task are under way; always 0 on trio."""


def current_backend() -> Backend:
    """Return the backend of the running task.

    :raises RuntimeError: no event loop is running here
    """
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        from batcher._shell.on_trio import TrioWaiter, trio_wake

        # A thread runs one trio loop at a time, and asking trio which costs five times as much. The clock
        # is asked directly for the same reason: both are read for every record.
        now = trio.lowlevel.current_clock().current_time
        return Backend("trio", current_thread(), current_thread, now, TrioWaiter, trio_wake, _no_cancellations)
    import asyncio  # here, because it takes as long to load as all of this library, and trio does without

    loop = asyncio.get_running_loop()
    # The stock loop's time() and create_future() are time.monotonic() and Future() behind a Python call each,
    # and both are called for every record.
    clock: Callable[[], float] = loop.time
    if getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time:
        clock = time.monotonic
    new_waiter: Callable[[], AwaitableWaiter] = loop.create_future
    if getattr(loop.create_future, "__func__", None) is asyncio.BaseEventLoop.create_future:
        new_waiter = partial(asyncio.Future, loop=loop)

    def cancellations() -> int:
        task = asyncio.current_task()
        return 0 if task is None else task.cancelling()

    return Backend("asyncio", loop, asyncio._get_running_loop, clock, new_waiter, wake, cancellations)


def _no_cancellations() -> int:
    return 0


def in_cancelled_scope() -> bool:
    """Return whether a cancel scope around the current task is cancelled."""
    return anyio.current_effective_deadline() == -inf
