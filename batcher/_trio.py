"""The waiter on trio; imported only where trio runs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled


class TrioWaiter:
    """Wakes one task. The counterpart of ``asyncio.Future`` on asyncio."""

    # No __init__ and no __slots__: defaults in the class are the cheapest to make, and one is made per record.
    _task: Task | None = None
    _done = False

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
            return trio.lowlevel.checkpoint().__await__()
        self._task = current_task()
        # Returned, not delegated to: a generator of our own would cost as much again.
        return wait_task_rescheduled(self._abort).__await__()

    def _abort(self, _: object) -> Abort:
        self._done = True
        self._task = None
        return Abort.SUCCEEDED
