"""The floor written for trio; imported only where trio runs."""

from __future__ import annotations

from typing import Any

import outcome
import trio

from benchmarks.floors import Write


class TrioFloor:
    """One list each of items and tasks, a task that sleeps as timer, a task per batch, a length check."""

    def __init__(self, write: Write, nursery: trio.Nursery, max_records: int = 100, max_delay: float = 0.05) -> None:
        self.write, self.max_records, self.max_delay = write, max_records, max_delay
        self.nursery = nursery
        self.items: list[Any] = []
        self.tasks: list[trio.lowlevel.Task] = []
        self.generation = 0

    async def submit(self, item: Any) -> Any:
        self.items.append(item)
        self.tasks.append(trio.lowlevel.current_task())
        if len(self.items) == 1:
            self.nursery.start_soon(self.flush_later, self.generation)
        elif len(self.items) >= self.max_records:
            self.flush()
        return await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    async def flush_later(self, generation: int) -> None:
        await trio.sleep(self.max_delay)
        if generation == self.generation:
            self.flush()

    def flush(self) -> None:
        self.generation += 1
        items, self.items = self.items, []
        tasks, self.tasks = self.tasks, []
        if items:
            self.nursery.start_soon(self.send, items, tasks)

    async def send(self, items: list[Any], tasks: list[trio.lowlevel.Task]) -> None:
        results = await self.write(None, items)
        if len(results) != len(items):
            raise ValueError(f"{len(results)} results for {len(items)} items")
        for task, result in zip(tasks, results, strict=True):
            trio.lowlevel.reschedule(task, outcome.Value(result))
