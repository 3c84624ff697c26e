"""The timer: sleeps until the engine is to be asked again, or until somebody wakes it earlier."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import anyio

from batcher._shell.backend.waiters import AwaitableWaiter


class Timer:
    """Of one task that sleeps over and over. One for all lanes and records: most change nothing about when to wake."""

    def __init__(self, new_waiter: Callable[[], AwaitableWaiter]) -> None:
        self.armed_at = -inf  # when it wakes by itself
        self._new_waiter = new_waiter
        self._wakeup: AwaitableWaiter | None = None

    def wake(self) -> None:
        """Wake the task, because something is earlier than it knows, or there is something else for it to do."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def sleep_until(self, at: float) -> None:
        """Sleep until then, or until :meth:`wake`."""
        # No await before the last line, nor in the caller since it found out *at*: a submit sees either the wakeup
        # or the earlier time.
        self._wakeup = wakeup = self._new_waiter()
        self.armed_at = at
        with anyio.CancelScope(deadline=at):
            await wakeup
