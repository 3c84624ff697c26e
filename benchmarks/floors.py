"""The floors: the least code that batches at all, on asyncio.

They have no limits, retries, cancellation, closing or errors; :class:`Floor` has no keys either. What a batcher
costs over them is the price of what it promises. The report prints their source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Write: TypeAlias = Callable[[Any, list[Any]], Awaitable[list[Any]]]


class Floor:
    """One list each of items and futures, a timer, a task per batch, a length check."""

    def __init__(self, write: Write, max_records: int = 100, max_delay: float = 0.05) -> None:
        self.write, self.max_records, self.max_delay = write, max_records, max_delay
        self.items: list[Any] = []
        self.futures: list[asyncio.Future[Any]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: Any) -> Any:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self.items.append(item)
        self.futures.append(future)
        if len(self.items) == 1:
            self.timer = loop.call_later(self.max_delay, self.flush)
        elif len(self.items) >= self.max_records:
            self.flush()
        return await future

    def flush(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        items, self.items = self.items, []
        futures, self.futures = self.futures, []
        if items:
            task = asyncio.create_task(self.send(items, futures))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def send(self, items: list[Any], futures: list[asyncio.Future[Any]]) -> None:
        results = await self.write(None, items)
        if len(results) != len(items):
            raise ValueError(f"{len(results)} results for {len(items)} items")
        for future, result in zip(futures, results, strict=True):
            if not future.done():
                future.set_result(result)


class LimitedFloor(Floor):
    """The floor with a limit on the calls that are out at a time."""

    def __init__(self, write: Write, max_records: int, max_delay: float, in_flight: int) -> None:
        super().__init__(write, max_records, max_delay)
        self.slots = asyncio.Semaphore(in_flight)

    async def send(self, items: list[Any], futures: list[asyncio.Future[Any]]) -> None:
        async with self.slots:
            await super().send(items, futures)


class LanesFloor:
    """The floor with a dict of buffers; a buffer is forgotten when it is sent."""

    def __init__(self, write: Write, max_records: int = 100, max_delay: float = 0.05) -> None:
        self.write, self.max_records, self.max_delay = write, max_records, max_delay
        self.buffers: dict[Any, tuple[list[Any], list[asyncio.Future[Any]], asyncio.TimerHandle]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: Any, key: Any) -> Any:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        buffer = self.buffers.get(key)
        if buffer is None:
            self.buffers[key] = [item], [future], loop.call_later(self.max_delay, self.flush, key)
        else:
            items = buffer[0]
            items.append(item)
            buffer[1].append(future)
            if len(items) >= self.max_records:
                self.flush(key)
        return await future

    def flush(self, key: Any) -> None:
        items, futures, timer = self.buffers.pop(key)
        timer.cancel()
        task = asyncio.create_task(self.send(key, items, futures))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def send(self, key: Any, items: list[Any], futures: list[asyncio.Future[Any]]) -> None:
        results = await self.write(key, items)
        if len(results) != len(items):
            raise ValueError(f"{len(results)} results for {len(items)} items")
        for future, result in zip(futures, results, strict=True):
            if not future.done():
                future.set_result(result)
