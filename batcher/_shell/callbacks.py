"""Callbacks: code of users that is to run when the state is whole, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Callbacks:
    """What is to be called at the end of a turn.

    One that submits again may make others necessary at once, and so on for ever: those belong to the next turn, or the
    host would get none.

    :param go_on_soon: has another turn made
    """

    def __init__(self, go_on_soon: Callable[[], None]) -> None:
        self._queue: deque[Callable[[], object]] = deque()
        self._go_on_soon = go_on_soon
        self._calling = False
        self._finished = False  # there will be no turn any more

    def __bool__(self) -> bool:
        return bool(self._queue)

    def append(self, callback: Callable[[], object]) -> None:
        """Have *callback* called at the end of this turn."""
        self._queue.append(callback)

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Have *callback* called at the end of the next turn; now, if there will be none."""
        self.append(callback)
        if self._finished:
            self.call()
        else:
            self._go_on_soon()

    def call(self) -> None:
        """Call those that are there."""
        # One that comes back in leaves its own to this loop, or to the next: nested, a thousand of them would exhaust
        # the stack.
        if self._calling:
            return
        self._calling = True
        try:
            for _ in range(len(self._queue)):
                self._queue.popleft()()
            while self._finished and self._queue:
                self._queue.popleft()()
        finally:
            self._calling = False
            if self._queue:
                self._go_on_soon()

    def finish(self) -> None:
        """Call all that are left. Nobody makes a turn any more."""
        self._finished = True
        self.call()
