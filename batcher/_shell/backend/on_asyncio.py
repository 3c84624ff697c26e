"""The backend on asyncio; imported only where asyncio runs, because it takes as long to load as all of this library."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from batcher._shell.backend.waiters import AwaitableWaiter, Backend, wake


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
    return Backend("asyncio", loop, asyncio._get_running_loop, clock, new_waiter, wake, _cancellations)


def _cancellations() -> int:
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
