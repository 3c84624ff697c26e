"""Virtual time for both backends: when every task waits, jump to the next timer.

For tests that stay inside the loop. A socket about to become readable and a worker thread about to
finish look idle: the clock would jump over the very answer that the test waits for.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # No timer is set. Only another thread could still wake this loop.
            ready = super().select(5)
            if not ready:
                raise RuntimeError("every task waits for something that cannot happen")
            return ready
        self.now += max(0.0, timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that never waits: its clock jumps to the next timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # A timer that is due within the clock's resolution fires at once; a power of two keeps whole and
        # half seconds exact.
        self._clock_resolution = 2.0**-20

    def time(self) -> float:
        return self._jumping.now


def options(backend: str) -> dict[str, Any]:
    """Build anew for each test: a clock belongs to one run."""
    if backend == "asyncio":
        return {"loop_factory": VirtualTimeLoop}
    from trio.testing import MockClock

    return {"clock": MockClock(autojump_threshold=0)}
