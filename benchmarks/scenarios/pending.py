"""h: what a record costs as more of them are pending."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from batcher import Batcher
from benchmarks.contestants import FLOOR, OURS, ROOMY
from benchmarks.findings import Chart, Check, Findings, Line, Row
from benchmarks.floors import Floor
from benchmarks.measuring import Run, Sample, Scale, instant, interleaved, one_task_each, pairwise, series
from benchmarks.scenarios._scenario import Scenario, on_asyncio

_PENDING = (1_000, 10_000, 100_000, 1_000_000)
# A run of few records is repeated, so that it lasts long enough to be timed.
_LEAST = 50_000
_WARM = 10_000
BARE = "bare tasks"


async def _part(scale: Scale) -> Findings:
    # Whole batches of 100: the rest of one would wait for its delay.
    sizes = sorted({scale.count(size) for size in _PENDING})
    least = scale.count(_LEAST)
    each = {BARE: _bare, FLOOR: _floor, OURS: _ours}
    runs: dict[str, Run] = {
        f"{name}, {size:,}": partial(_repeated, run, size, max(1, least // size))
        for size in sizes
        for name, run in each.items()
    }
    samples, notes = await interleaved(runs, scale.rounds)
    rows = [Row(f"{name} pending", "us a record", series(sample, "us")) for name, sample in samples.items()]
    median = {row.name: row.median for row in rows}
    grown = {
        name: pairwise(series(samples[f"{name}, {sizes[-1]:,}"], "us"), series(samples[f"{name}, {sizes[0]:,}"], "us"))
        for name in each
    }
    rows += [Row(f"{name}: growth from {sizes[0]:,} to {sizes[-1]:,}", "x", values) for name, values in grown.items()]
    check = Check(
        name=f"growth from {sizes[0]:,} to {sizes[-1]:,} pending: {OURS} / {BARE}",
        values=pairwise(grown[OURS], grown[BARE]),
        target=1.25,
        at_least=False,
    )
    lines = [Line(name, [(size, median[f"{name}, {size:,} pending"]) for size in sizes]) for name in each]
    chart = Chart(
        name="h-pending",
        title="The cost of a record as more of them are pending",
        x="pending records",
        y="us of CPU a record",
        logarithmic=["x"],
        lines=lines,
    )
    return Findings(rows, [check], [chart], notes)


async def _repeated(run: Any, size: int, times: int) -> Sample:
    cpu = [(await run(size))["cpu"] for _ in range(times)]
    return {"us": sum(cpu) / times / size * 1e6}


async def _ours(size: int) -> Sample:
    async with Batcher[Any, Any](instant, limits=ROOMY) as batcher:
        # Its workers are started once; paid for by few records, they would make the growth look smaller than it is.
        await one_task_each(batcher.submit, min(size, _WARM))
        return await one_task_each(batcher.submit, size)


async def _floor(size: int) -> Sample:
    return await one_task_each(Floor(instant).submit, size)


async def _bare(size: int) -> Sample:
    futures: list[asyncio.Future[None]] = []
    loop = asyncio.get_running_loop()

    async def wait(_: int) -> None:
        future = loop.create_future()
        futures.append(future)
        await future

    def settle() -> None:
        for future in futures:
            future.set_result(None)

    return await one_task_each(wait, size, settle)


SCENARIO = Scenario(
    title="More pending records",
    text="1,000 to 1,000,000 tasks that each submit one record before any batch is answered, so that all are pending "
    "at a time; CPU time from the first step of the first task to the end of the last. Bare tasks await a future "
    "each.",
    parts={"asyncio": on_asyncio(_part)},
)
