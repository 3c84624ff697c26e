"""The backend on asyncio; imported only where asyncio runs, because it takes as long to load as all of this library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import anyio

from batcher._shell.backend.waiters import AwaitableWaiter, Backend, Run, crashed, raise_bare, wake


def asyncio_backend() -> Backend:
    """Return the backend of the running loop.

    :raises RuntimeError: none is running here
    """
    loop = asyncio.get_running_loop()
    # The stock loop's time() and create_future() are time.monotonic() and Future() behind a Python call each,
    # and both are called for every record.
    clock: Callable[[], float] = loop.time
    if getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time:
        clock = time.monotonic
    new_waiter: Callable[[], AwaitableWaiter] = loop.create_future
    if getattr(loop.create_future, "__func__", None) is asyncio.BaseEventLoop.create_future:
        new_waiter = partial(asyncio.Future, loop=loop)
    return Backend("asyncio", loop, asyncio._get_running_loop, clock, new_waiter, wake, _cancellations, OwnTask)


class OwnTask:
    """A task of the batcher's own holds the task group, and is told to end by word.

    A task group in the host's task would end by cancelling a scope of it, and that cancellation gets out where a native
    ``asyncio.TaskGroup`` or timeout is between (anyio#1214). It would also have to end in the task in which it began,
    which fixtures, notebooks and exit stacks do not grant.
    """

    def __init__(self) -> None:
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._caller = asyncio.current_task()
        self._interrupted: asyncio.Task[object] | None = None  # by us, because a task of ours has died
        self._left = False

    async def begin(self, run: Run) -> None:
        # Not loop.create_task(), which may have an eager factory: nothing runs in the middle of the host's step.
        self._task = asyncio.Task(self._hold(run), loop=self._stop.get_loop(), name="batcher")
        self._task.add_done_callback(self._interrupt)

    async def _hold(self, run: Run) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, tasks, name="batcher: timer")
            await self._stop
            tasks.cancel_scope.cancel()

    def _interrupt(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # it is raised by end(); nobody needs to hear of it otherwise
        if not self._left and self._caller is not None and self._caller.cancel():
            self._interrupted = self._caller

    def follow(self) -> None:
        self._caller = asyncio.current_task()

    async def end(self, interruption: BaseException | None) -> None:
        died = self._task.done()
        if not died:
            self._stop.set_result(None)
        self._left = True
        late = await _see_the_end(self._task)
        ours = self._interrupted is not None and self._interrupted is asyncio.current_task()
        if ours and self._interrupted is not None:
            self._interrupted.uncancel()
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise_bare(error.exceptions if isinstance(error, BaseExceptionGroup) else (error,))
        cancelled = late or interruption
        if isinstance(cancelled, asyncio.CancelledError) and ours and not _cancellations():
            raise crashed()  # nobody but us has cancelled the host
        if late is not None:
            raise late


async def _see_the_end(task: asyncio.Task[None]) -> asyncio.CancelledError | None:
    """Wait until *task* has ended; return the last cancellation that came meanwhile."""
    late = None
    with anyio.CancelScope(shield=True):  # a cancelled scope of the host would cancel this in each turn of the loop
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                late = error
    return late


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
