"""The backend on trio; imported only where trio runs."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from threading import current_thread
from typing import Any

import anyio
import trio
from trio.lowlevel import Abort, Task, current_clock, current_task, reschedule, wait_task_rescheduled

from batcher._core.model.entries import Entry
from batcher._shell.backend.waiters import Backend, Run, crashed, raise_bare


def trio_backend() -> Backend:
    """Return the backend of the running task."""
    # A thread runs one trio loop at a time, and asking trio which costs five times as much. The clock
    # is asked directly for the same reason: both are read for every record.
    now = current_clock().current_time
    return Backend("trio", current_thread(), current_thread, now, TrioWaiter, _wake, lambda: 0, Nursery)


class Nursery:
    """A nursery in the task of the body. A system task would turn an interrupt into a TrioInternalError."""

    def __init__(self) -> None:
        self._tasks = anyio.create_task_group()

    async def begin(self, run: Run) -> None:
        await self._tasks.__aenter__()
        self._tasks.start_soon(run, self._tasks, name="batcher")

    def follow(self) -> None:
        """Do nothing: trio has no other task end this."""

    async def end(self, interruption: BaseException | None) -> None:
        died = self._tasks.cancel_scope.cancel_called  # by one of our own tasks that ended, unasked
        self._tasks.cancel_scope.cancel()
        kind = None if interruption is None else type(interruption)
        trace = None if interruption is None else interruption.__traceback__
        try:
            swallowed = await self._tasks.__aexit__(kind, interruption, trace)
        except BaseExceptionGroup as group:
            # Our tasks turn errors into outcomes, so there is one at most: an interrupt or a bug, or the body's own,
            # wrapped on its way. It comes with the cancellations of our tasks, if the host is cancelled as well.
            others = [each for each in group.exceptions if not isinstance(each, trio.Cancelled)]
            raise_bare(others or group.exceptions)
        else:
            if died and swallowed:
                raise crashed()


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
