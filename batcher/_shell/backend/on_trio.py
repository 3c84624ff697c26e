"""The backend on trio; imported only where trio runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from threading import current_thread
from typing import Any

import anyio
import trio
from trio.lowlevel import Abort, Task, current_clock, current_task, reschedule, wait_task_rescheduled

from batcher._core.model.entries import Entry
from batcher._shell.backend.waiters import Backend, Run, hold, raise_bare
from batcher.errors import BatcherError


def trio_backend() -> Backend:
    """Return the backend of the running task."""
    # A thread runs one trio loop at a time, and asking trio which costs five times as much. The clock
    # is asked directly for the same reason: both are read for every record.
    now = current_clock().current_time
    post = trio.lowlevel.current_trio_token().run_sync_soon
    return Backend("trio", current_thread(), current_thread, now, TrioWaiter, _wake, lambda: 0, Nursery, post)


class Nursery:
    """A nursery in the task of the body, with one task in it that holds the batcher's own and is told to end by word.

    A system task would turn an interrupt into a TrioInternalError. The one task is shielded: what is cancelled is the
    body, which may still submit on its way out; then it leaves, and that ends what is left.
    """

    def __init__(self) -> None:
        self._host = current_task()
        self._nursery = anyio.create_task_group()
        self._held = trio.Event()

    async def begin(self, run: Run, stop: Callable[[], None], died: Callable[[], None]) -> None:
        self._stop, self._died = stop, died
        await self._nursery.__aenter__()
        self._nursery.start_soon(self._hold, run, name="batcher")

    async def _hold(self, run: Run) -> None:
        try:
            with trio.CancelScope(shield=True):
                await hold(anyio.create_task_group(), run, self._die)
        except BaseExceptionGroup as group:
            raise_bare(group.exceptions)
        finally:
            self._held.set()

    def _die(self) -> None:
        try:
            self._died()
        finally:
            self._nursery.cancel_scope.cancel()

    def leave(self) -> None:
        """Do nothing: the scope that is cancelled is the body's, and is over with it."""

    async def end(self, interruption: BaseException | None) -> bool:
        try:
            self._stop()
        except BaseException as late:  # an interrupt: the nursery is to be left all the same
            interruption = late
            self._nursery.cancel_scope.cancel()
        if current_task() is not self._host:
            with trio.CancelScope(shield=True):
                await self._held.wait()
            raise BatcherError(
                f"on trio a batcher must be left in the task that it was entered in, {self._host.name!r}, and not in "
                f"{current_task().name!r}; all that it held is settled. Have one task of yours do both: start it by "
                "'await nursery.start(...)', and end it by an event"
            )
        kind = None if interruption is None else type(interruption)
        trace = None if interruption is None else interruption.__traceback__
        swallowed: bool | None = None
        try:
            swallowed = await self._nursery.__aexit__(kind, interruption, trace)
        except BaseExceptionGroup as group:
            # Our tasks turn errors into outcomes, so there is one at most: an interrupt or a bug, or the body's own,
            # wrapped on its way. It comes with the cancellations of our tasks, if the host is cancelled as well.
            others = [each for each in group.exceptions if not isinstance(each, trio.Cancelled)]
            raise_bare(others or group.exceptions)
        return interruption is not None and bool(swallowed)


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
        if self._task is not None:
            self._resume(_running())

    def __await__(self) -> Generator[Any, Any, Any]:
        """Wait to be told; a checkpoint in any case."""
        try:
            self._task = current_task()
            if self._done:  # after that: a finalizer may have told it in between
                self._task = None
                wait = trio.lowlevel.checkpoint().__await__()  # noqa: ASYNC105
            else:
                wait = wait_task_rescheduled(self._abort).__await__()  # noqa: ASYNC105
        except BaseException:  # an interrupt: a task that does not wait must not be woken
            self._task = None
            raise
        return wait  # not delegated to: a generator of our own would cost as much again

    def _resume(self, running: Task | None) -> None:
        task = self._task
        if task is None:
            return
        if task is running:  # a finalizer tells it while it is about to wait: it is resumed once it does
            trio.lowlevel.current_trio_token().run_sync_soon(self._resume, None)
        else:
            self._task = None
            reschedule(task)

    def _abort(self, _: object) -> Abort:
        self._done = True
        self._task = None
        return Abort.SUCCEEDED


def _running() -> Task | None:
    try:
        return current_task()
    except RuntimeError:
        return None


def _wake(settled: Iterable[Entry]) -> None:
    """Tell the waiters of settled records."""
    running = _running()
    for entry in settled:
        waiter = entry.waiter
        if type(waiter) is TrioWaiter:
            # done() and set_result(), unrolled: this runs for every record.
            if not waiter._done:
                waiter._done = True
                task = waiter._task
                if task is running:
                    waiter._resume(running)
                elif task is not None:
                    waiter._task = None
                    reschedule(task)
        elif waiter is not None and not waiter.done():
            waiter.set_result(None)
