"""The backend on asyncio; imported only where asyncio runs, because it takes as long to load as all of this library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from batcher._shell.backend.waiters import AwaitableWaiter, Backend, Run, hold, in_cancelled_scope, raise_bare, wake


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
    post = loop.call_soon_threadsafe
    return Backend("asyncio", loop, asyncio._get_running_loop, clock, new_waiter, wake, _cancellations, OwnTask, post)


class OwnTask:
    """A task of the batcher's own holds the task group, and is told to end by word.

    A task group in the host's task would end by cancelling a scope of it, and that cancellation gets out where a native
    ``asyncio.TaskGroup`` or timeout is between (anyio#1214). It would also have to end in the task in which it began,
    which fixtures, notebooks and exit stacks do not grant.
    """

    def __init__(self) -> None:
        self._told = False
        self._dead = False
        self._body = asyncio.current_task()
        self._cancellations_before = _cancellations()
        self._interrupted: asyncio.Task[Any] | None = None  # by us, because a task of ours has died

    async def begin(self, run: Run, stop: Callable[[], None], died: Callable[[], None]) -> None:
        self._stop, self._died = stop, died
        tasks = anyio.create_task_group()  # made here, for the first one loads what takes longer than a batch waits
        # Not loop.create_task(), which may have an eager factory: nothing runs in the middle of the host's step.
        self._task = asyncio.Task(hold(tasks, run, self._die), loop=asyncio.get_running_loop(), name="batcher")
        self._task.add_done_callback(self._die)  # it may be cancelled before it runs

    def _die(self, _: object = None) -> None:
        if self._told:
            return
        self._dead = True
        try:
            self._died()
        finally:
            body, self._body = self._body, None
            if body is not None and body.cancel():
                self._interrupted = body

    def leave(self) -> None:
        self._body = None

    async def end(self, interruption: BaseException | None) -> bool:
        self._told = True
        self._stop()
        if isinstance(interruption, GeneratorExit):
            return False  # whoever closes a coroutine does not let it wait
        late = await _see_the_end(self._task)
        body = self._interrupted
        if body is not None and body.cancelling() > self._cancellations_before:
            body.uncancel()
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise_bare(error.exceptions if isinstance(error, BaseExceptionGroup) else (error,))
        if late is not None:
            raise late
        if interruption is None:
            return self._dead
        if body is not asyncio.current_task() or _cancellations() > self._cancellations_before:
            return False
        if in_cancelled_scope():
            await checkpoint()  # which raises the cancellation that the scope knows as its own
        return isinstance(interruption, asyncio.CancelledError)


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
