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
        self._woken = False  # since it got ready
        self._alarms: dict[Callable[[], object], float] = {}  # what is to be done at a time

    def wake(self) -> None:
        """Wake the task, because something is earlier than it knows, or there is something else for it to do."""
        self._woken = True
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def call_at(self, at: float, action: Callable[[], object]) -> None:
        """Have *action* called then, unless it is called off."""
        self._alarms[action] = at
        if at < self.armed_at:
            self.wake()

    def call_off(self, action: Callable[[], object]) -> None:
        """Do not call *action*, if it was not called yet."""
        self._alarms.pop(action, None)

    def call_due(self, now: float) -> None:
        """Call the actions whose time has come."""
        for action in [action for action, at in self._alarms.items() if at <= now]:
            del self._alarms[action]
            action()

    def get_ready(self) -> None:
        """Begin to look for what there is to do, and when. A :meth:`wake` from now on counts for the next sleep."""
        self._woken = False

    async def sleep_until(self, at: float) -> None:
        """Sleep until then, or until :meth:`wake`."""
        # No await before the last line, nor in the caller since it found out *at*: a submit sees either the wakeup
        # or the earlier time. One from a finalizer, that comes in the middle of this, has left its mark.
        from anyio.lowlevel import checkpoint  # here, where a loop has loaded what it needs

        self._wakeup = wakeup = self._new_waiter()
        self.armed_at = at = min(at, *self._alarms.values()) if self._alarms else at
        if self._woken:
            await checkpoint()  # or a host that is kept busy would get no turn
        else:
            with anyio.CancelScope(deadline=at):
                await wakeup
