"""b: what lanes cost."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from batcher import AutoBatchPolicy, Batcher
from benchmarks.contestants import FLOOR, MAX_RECORDS, OURS, ROOMY
from benchmarks.findings import Chart, Check, Findings, Line, Row
from benchmarks.floors import LanesFloor
from benchmarks.measuring import Run, Sample, Scale, instant, interleaved, one_task_each, pairwise, series
from benchmarks.scenarios._scenario import Scenario, on_asyncio

_RECORDS = 200_000
# So that each batch leaves because it is full, and nothing waits for a clock.
_NEVER = 600.0


async def _part(scale: Scale) -> Findings:
    records = scale.count(_RECORDS, 200)
    few, some, many = (max(1, round(lanes * records / _RECORDS)) for lanes in (100, 1_000, 100_000))
    shapes = {
        f"{few:,} lanes": (few, min(MAX_RECORDS, records // few)),
        f"{some:,} lanes": (some, min(MAX_RECORDS, records // some)),
        f"{some:,} lanes, 2 per batch": (some, 2),
        f"{many:,} lanes, 2 per batch": (many, 2),
    }
    runs: dict[str, Run] = {}
    for shape, (lanes, per_batch) in shapes.items():
        runs[f"{FLOOR}, {shape}"] = partial(_floor, records, lanes, per_batch)
        runs[f"{OURS}, {shape}"] = partial(_ours, records, lanes, per_batch)
    samples, notes = await interleaved(runs, scale.rounds)
    return _findings(list(shapes), samples, notes)


async def _ours(records: int, lanes: int, per_batch: int) -> Sample:
    policy = AutoBatchPolicy(max_records=per_batch, max_delay=_NEVER)
    async with Batcher[Any, Any](instant, auto_batch=policy, limits=ROOMY) as batcher:
        return await one_task_each(lambda number: batcher.submit(number, key=number % lanes), records)


async def _floor(records: int, lanes: int, per_batch: int) -> Sample:
    submit = LanesFloor(instant, per_batch, _NEVER).submit
    sample = await one_task_each(lambda number: submit(number, number % lanes), records)
    await asyncio.sleep(0)  # the last batch's task ends
    return sample


def _findings(shapes: list[str], samples: dict[str, list[Sample]], notes: list[str]) -> Findings:
    rate = {name: series(each, "rate") for name, each in samples.items()}
    cpu = {name: series(each, "cpu") for name, each in samples.items()}
    rows = [Row(name, "records/s", values) for name, values in rate.items()]
    checks = []
    for shape in shapes:
        ratios = pairwise(cpu[f"{FLOOR}, {shape}"], cpu[f"{OURS}, {shape}"])
        checks.append(Check(name=f"{OURS} / {FLOOR} with a dict, {shape}", values=ratios, target=0.65, stretch=0.80))
        by_clock = pairwise(rate[f"{OURS}, {shape}"], rate[f"{FLOOR}, {shape}"])
        rows.append(Row(f"{OURS} / {FLOOR}, {shape}, by the clock instead", "x", by_clock))
    fewer, more = shapes[-2:]
    for name in (OURS, FLOOR):
        growth = pairwise(cpu[f"{name}, {more}"], cpu[f"{name}, {fewer}"])
        what = f"{name}: cost of a record in {more} / {fewer}"
        if name == OURS:
            checks.append(Check(name=what, values=growth, target=1.5, at_least=False))
        else:
            rows.append(Row(what, "x", growth))
    return Findings(rows, checks, [_chart(shapes, rows)], notes)


def _chart(shapes: list[str], rows: list[Row]) -> Chart:
    median = {row.name: row.median for row in rows}
    lines = [
        Line(name, [(number, median[f"{name}, {shape}"]) for number, shape in enumerate(shapes)])
        for name in (FLOOR, OURS)
    ]
    return Chart(name="b-lanes", title="Many lanes, instant write", x="", y="records/s", categories=shapes, lines=lines)


SCENARIO = Scenario(
    title="Many lanes",
    text="200,000 submits, each from a task of its own, dealt out over the lanes one by one; a write that answers at "
    "once. All records are pending at a time and each batch leaves full (100 records, or 2 where a lane gets no "
    "more), so nothing waits for a clock and the figures are costs. Ceilings of pending records raised.",
    parts={"asyncio": on_asyncio(_part)},
)
