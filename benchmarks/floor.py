"""How much does the batcher cost over the least code that batches at all?

    python benchmarks/floor.py             # asyncio
    python benchmarks/floor.py --backend trio
    python benchmarks/floor.py --source    # print the floor

200,000 submits from 1,000 tasks on one lane, an instant ``write``, default limits. The floor has no
keys, limits, retries, cancellation, closing or errors: one list each of items and futures, a timer, a
task per batch, a length check. Both run in one process, interleaved, and the medians are compared as a
ratio, because the machine may be shared and noisy.

Targets: at most 1.35 times the floor's time on asyncio; at least 0.85 of the floor's rate on trio.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from batcher import Batcher

MAX_RECORDS, MAX_DELAY = 100, 0.05


class AsyncioFloor:
    """The least that batches, on asyncio."""

    def __init__(self, write: Callable[[Any, list[Any]], Awaitable[list[Any]]]) -> None:
        self.write = write
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
            self.timer = loop.call_later(MAX_DELAY, self.flush)
        elif len(self.items) >= MAX_RECORDS:
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


def trio_floor() -> type:
    """Return the same thing written for trio."""
    import trio

    class TrioFloor:
        """The least that batches, on trio."""

        def __init__(self, write: Callable[[Any, list[Any]], Awaitable[list[Any]]], nursery: trio.Nursery) -> None:
            self.write = write
            self.nursery = nursery
            self.items: list[Any] = []
            self.tasks: list[trio.lowlevel.Task] = []
            self.generation = 0

        async def submit(self, item: Any) -> Any:
            self.items.append(item)
            self.tasks.append(trio.lowlevel.current_task())
            if len(self.items) == 1:
                self.nursery.start_soon(self.flush_later, self.generation)
            elif len(self.items) >= MAX_RECORDS:
                self.flush()
            return await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

        async def flush_later(self, generation: int) -> None:
            await trio.sleep(MAX_DELAY)
            if generation == self.generation:
                self.flush()

        def flush(self) -> None:
            self.generation += 1
            items, self.items = self.items, []
            tasks, self.tasks = self.tasks, []
            if items:
                self.nursery.start_soon(self.send, items, tasks)

        async def send(self, items: list[Any], tasks: list[trio.lowlevel.Task]) -> None:
            import outcome

            results = await self.write(None, items)
            if len(results) != len(items):
                raise ValueError(f"{len(results)} results for {len(items)} items")
            for task, result in zip(tasks, results, strict=True):
                trio.lowlevel.reschedule(task, outcome.Value(result))

    return TrioFloor


async def write(key: Any, items: list[Any]) -> list[Any]:
    """Answer at once."""
    return items


async def load(submit: Callable[[Any], Awaitable[Any]], submits: int, callers: int) -> float:
    """Submit from many tasks and return the seconds it took."""

    async def caller() -> None:
        for i in range(submits // callers):
            await submit(i)

    gc.collect()
    started = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    return time.perf_counter() - started


async def compare(backend: str, submits: int, callers: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the floor and of the batcher, round by round."""
    floors: list[float] = []
    ours: list[float] = []
    for round_number in range(rounds + 1):  # the first one warms up
        if backend == "asyncio":
            floors.append(await load(AsyncioFloor(write).submit, submits, callers))
        else:
            import trio

            async with trio.open_nursery() as nursery:
                floors.append(await load(trio_floor()(write, nursery).submit, submits, callers))
                nursery.cancel_scope.cancel()
        async with Batcher[Any, Any](write) as batcher:
            ours.append(await load(batcher.submit, submits, callers))
        print(f"  round {round_number}: floor {floors[-1]:.3f} s, batcher {ours[-1]:.3f} s", flush=True)
    return floors[1:], ours[1:]


def main() -> int:
    """Run the comparison; exit with 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    parser.add_argument("--uvloop", action="store_true", help="asyncio on uvloop")
    parser.add_argument("--submits", type=int, default=200_000)
    parser.add_argument("--callers", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--source", action="store_true", help="print the source of the floor first")
    options = parser.parse_args()
    if options.source:
        print(inspect.getsource(AsyncioFloor if options.backend == "asyncio" else trio_floor))
    loop = {"use_uvloop": True} if options.uvloop else {}
    print(f"{options.submits:,} submits, {options.callers:,} tasks, {options.backend}, Python {sys.version.split()[0]}")
    floors, ours = anyio.run(
        compare,
        options.backend,
        options.submits,
        options.callers,
        options.rounds,
        backend=options.backend,
        backend_options=loop,
    )
    floor, our = statistics.median(floors), statistics.median(ours)
    print(f"floor   {floor:.3f} s, {options.submits / floor:,.0f} records/s (median of {options.rounds})")
    print(f"batcher {our:.3f} s, {options.submits / our:,.0f} records/s")
    met = our <= 1.35 * floor if options.backend == "asyncio" else floor / our >= 0.85
    target = "at most 1.35" if options.backend == "asyncio" else f"at most {1 / 0.85:.2f}"
    print(f"ratio   {our / floor:.2f} times the floor's time ({target}: {'met' if met else 'MISSED'})")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
