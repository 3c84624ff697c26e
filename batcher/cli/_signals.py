"""SIGINT and SIGTERM as calls of a function, for as long as a task runs."""

from __future__ import annotations

import signal
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus


async def watch_signals(on_signal: Callable[[], None], *, task_status: TaskStatus[None]) -> None:
    """Call *on_signal* for each SIGINT and SIGTERM. Start it with ``await task_group.start(...)``.

    Where the event loop has no signal handlers (Windows), Ctrl-C cancels the main task instead.
    """
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
            task_status.started()
            async for _ in received:
                on_signal()
    except NotImplementedError:
        task_status.started()
