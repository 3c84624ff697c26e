"""The backend on trio; imported only where trio runs."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from threading import current_thread
from typing import Any

import trio
from trio.lowlevel import Abort, Task, current_clock, current_task, reschedule, wait_task_rescheduled

from batcher._core.model.entries import Entry
from batcher._shell.backend.waiters import Backend


def trio_backend() -> Backend:
    """Return the backend of the running task."""
    # A thread runs one trio loop at a time, and asking trio which costs five times as much. The clock
    # is asked directly for the same reason: both are read for every record.
    now = current_clock().current_time
    return Backend("trio", current_thread(), current_thread, now, TrioWaiter, _wake, cancellations=lambda: 0)


class TrioWaiter:
    """Wakes one task. The counterpart of ``asyncio.Future`` on asyncio."""

    __slots__ = ("_done", "_task")

    def __init__(self) -> None:
        self._task: Task | None = None
        self._done = False

    def done(self) -> bool:
        """Return whether it was told already, or its task was cancelled."""
        return self._done

    def set_result(self, result: None, /) -> None:
        """Wake the task."""
        self._done = True
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def __await__(self) -> Generator[Any, Any, Any]:
        """Wait to be told; a checkpoint in any case."""
        if self._done:
            return trio.lowlevel.checkpoint().__await__()  # noqa: ASYNC105
        self._task = current_task()
        # Returned, not delegated to: a generator of our own would cost as much again.
        return wait_task_rescheduled(self._abort).__await__()  # noqa: ASYNC105

    def _abort(self, _: object) -> Abort:
        self._done = True
        self._task = None
        return Abort.SUCCEEDED


def _wake(settled: Iterable[Entry]) -> None:
    """Tell the waiters of settled records."""
    for entry in settled:
        waiter = entry.waiter
        if type(waiter) is TrioWaiter:
            # done() and set_result(), unrolled: this runs for every record.
            if not waiter._done:
                waiter._done = True
                task = waiter._task
                if task is not None:
                    waiter._task = None
                    reschedule(task)
        elif waiter is not None and not waiter.done():
            waiter.set_result(None)
