"""One of several processes under one load. It is ready, is told to go, and prints what it did."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from random import Random
from typing import Any

from batcher import AutoBatchPolicy, Batcher
from benchmarks.tally import Tally

LANES, RATE, MAX_DELAY = 16, 1_600, 0.1
SPREAD, ROUTED = "any process takes any record", "a lane's records go to its process"


async def _work(index: int, count: int, way: str, seconds: float) -> Tally:
    """Be one process: submit its share of the records, at random, over the lanes that it sees."""
    lanes = list(range(index, LANES, count)) if way == ROUTED else list(range(LANES))
    tally = Tally()
    gap = count / RATE
    policy = AutoBatchPolicy(max_delay=MAX_DELAY)
    async with Batcher[Any, Any](tally.write, auto_batch=policy) as batcher, asyncio.TaskGroup() as tasks:
        loop = asyncio.get_running_loop()
        due = loop.time()
        random = Random(index)
        for number in range(round(seconds / gap)):
            tasks.create_task(tally.timed(partial(batcher.submit, key=random.choice(lanes)), number))
            due += random.expovariate(1 / gap)
            await asyncio.sleep(max(0.0, due - loop.time()))
    return tally


def _main() -> None:
    index, count, way, seconds = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    tally = asyncio.run(_work(int(index), int(count), way, float(seconds)))
    print(json.dumps({"calls": tally.calls, "waits": tally.waits}), flush=True)


if __name__ == "__main__":
    _main()
