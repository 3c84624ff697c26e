"""What people write by hand: a fixed window, and the whole batch again after any failure. To compare with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup

from batcher import AutoBatchPolicy, Limits, Retry, RetryPolicy
from batcher.destinations import Destination
from tests.simulation.journals import Submission


class Failed(Exception):
    """The batch of this record has failed until its deadline."""


class _Window:
    """One batch in the making."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.results: list[Any] = []
        self.error: Exception | None = None
        self.full = anyio.Event()
        self.done = anyio.Event()


class FixedWindow:
    """Collects for ``max_delay`` or up to ``max_records``, sends, and gives results by position.

    It has the same figures as ours: window, size, calls out, timeout of a call, deadline and backoff.
    """

    def __init__(
        self,
        destination: Destination,
        tasks: TaskGroup,
        auto_batch: AutoBatchPolicy,
        retry: RetryPolicy,
        limits: Limits,
        jitter: Callable[[], float],
    ) -> None:
        self._destination = destination
        self._tasks = tasks
        self._policy = auto_batch
        self._retry = retry
        self._limits = limits
        self._jitter = jitter
        self._windows: dict[Any, _Window] = {}
        self._places = anyio.CapacityLimiter(limits.max_in_flight)
        self._lane_places: defaultdict[Any, anyio.CapacityLimiter] = defaultdict(
            lambda: anyio.CapacityLimiter(limits.max_lane_in_flight)
        )

    async def submit(self, submission: Submission) -> Any:
        """Return the result at this record's position, or raise what the batch ended with."""
        window = self._windows.get(submission.lane)
        if window is None:
            window = self._windows[submission.lane] = _Window()
            self._tasks.start_soon(self._collect, window, submission.lane)
        position = len(window.submissions)
        window.submissions.append(submission)
        if len(window.submissions) >= self._policy.max_records:
            del self._windows[submission.lane]
            window.full.set()
        await window.done.wait()
        if window.error is not None:
            raise Failed from window.error
        return window.results[position] if position < len(window.results) else None

    async def _collect(self, window: _Window, lane: Any) -> None:
        with anyio.move_on_after(self._policy.max_delay):
            await window.full.wait()
        if self._windows.get(lane) is window:
            del self._windows[lane]
        gives_up_at = anyio.current_time() + self._retry.deadline
        retries = 0
        while True:
            try:
                window.results = await self._call(window, lane)
                break
            except Exception as error:
                pause = self._jitter() * min(self._retry.backoff_cap, self._retry.backoff_base * 2.0**retries)
                if isinstance(error, Retry) and error.after is not None:
                    pause = max(pause, error.after)
                retries += 1
                if anyio.current_time() + pause > gives_up_at:
                    window.error = error
                    break
                await anyio.sleep(pause)
        window.done.set()

    async def _call(self, window: _Window, lane: Any) -> list[Any]:
        async with self._lane_places[lane], self._places:
            with anyio.fail_after(self._limits.call_timeout):
                items = [self._destination.encode(each.write).item for each in window.submissions]
                results = list(await self._destination.send(lane, items, all_or_none=False))
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results
