"""What one contestant holds for so many outstanding records: ``python -m benchmarks.memory_probe batcher 1000``."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from batcher import Batcher
from benchmarks import contestants
from benchmarks.contestants import FLOOR, OURS, ROOMY

BARE = "bare tasks"


async def _probe(name: str, size: int) -> float:
    """Return the bytes per record while *size* records wait for a write that never answers."""
    never = asyncio.get_running_loop().create_future()

    async def write(key: Any, items: list[Any]) -> list[Any]:
        await asyncio.shield(never)
        return items

    async def bare(_: int) -> None:
        await asyncio.get_running_loop().create_future()

    async with AsyncExitStack() as stack:
        if name == BARE:
            submit: contestants.Submit = bare
        elif name == OURS:
            submit = (await stack.enter_async_context(Batcher[Any, Any](write, limits=ROOMY))).submit
        else:
            opened = contestants.floor if name == FLOOR else contestants.OTHERS[name]
            submit = await stack.enter_async_context(opened(write))
        loop = asyncio.get_running_loop()
        tasks: list[Any] = [None] * size
        gc.collect()
        gc.disable()  # it finds nothing here, and takes long
        before = resident_bytes()
        for number in range(size):
            awaited = submit(0)
            # A task for each caller on all sides: a loader gives a future and leaves the task to its caller.
            tasks[number] = loop.create_task(awaited if asyncio.iscoroutine(awaited) else _wait_for(awaited))
        for _ in range(10):
            await asyncio.sleep(0)
        await asyncio.sleep(0.2)
        used = (resident_bytes() - before) / size
        if any(task.done() for task in tasks):
            raise AssertionError("a record has an outcome although the write never answered")
        print(used, flush=True)
        # Nothing is drained: that is not the question, and the write never ends.
        os._exit(0)


async def _wait_for(awaited: Awaitable[Any]) -> Any:
    return await awaited


def resident_bytes() -> int:
    """Return what this process holds in memory; where there is no /proc, the most that it held so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    asyncio.run(_probe(sys.argv[1], int(sys.argv[2])))
