"""c: throughput and tail where the write takes its time."""

from __future__ import annotations

import asyncio
from functools import partial
from time import perf_counter
from typing import Any

from batcher import AutoBatchPolicy, Batcher, Limits
from benchmarks.contestants import FLOOR, OURS, Submit
from benchmarks.findings import Check, Findings, Row
from benchmarks.floors import LimitedFloor
from benchmarks.measuring import (
    Run,
    Sample,
    Scale,
    interleaved,
    many_callers,
    pairwise,
    percentile,
    series,
)
from benchmarks.scenarios._scenario import Scenario, on_asyncio

_SUBMITTERS, _EACH = 10_000, 10
_WRITE_SECONDS, _MAX_RECORDS, _MAX_DELAY = 0.005, 100, 0.01


async def _write(key: Any, items: list[Any]) -> list[Any]:
    await asyncio.sleep(_WRITE_SECONDS)
    return items


async def _part(scale: Scale) -> Findings:
    submitters = scale.count(_SUBMITTERS)
    runs: dict[str, Run] = {}
    for in_flight in (4, 32):
        runs[f"{FLOOR}, {in_flight} calls out"] = partial(_floor, submitters, in_flight)
        runs[f"{OURS}, {in_flight} calls out"] = partial(_ours, submitters, in_flight)
    samples, notes = await interleaved(runs, scale.rounds)
    rows = [Row(name, "records/s", series(each, "rate")) for name, each in samples.items()]
    rows += [Row(f"{name}, p99 of the wait", "ms", series(each, "p99_ms")) for name, each in samples.items()]
    checks = []
    for in_flight in (4, 32):
        floor, ours = (samples[f"{name}, {in_flight} calls out"] for name in (FLOOR, OURS))
        rates = pairwise(series(ours, "rate"), series(floor, "rate"))
        tails = pairwise(series(ours, "p99_ms"), series(floor, "p99_ms"))
        where = f"{OURS} / {FLOOR}, {in_flight} calls out"
        checks.append(Check(name=f"{where}: records/s", values=rates, target=0.90, stretch=1.0))
        checks.append(Check(name=f"{where}: p99", values=tails, target=1.25, stretch=1.0, at_least=False))
    return Findings(rows, checks, (), notes)


async def _ours(submitters: int, in_flight: int) -> Sample:
    async with Batcher[Any, Any](
        _write,
        auto_batch=AutoBatchPolicy(max_records=_MAX_RECORDS, max_delay=_MAX_DELAY),
        limits=Limits(max_in_flight=in_flight, max_lane_in_flight=in_flight),
    ) as batcher:
        return await _load(batcher.submit, submitters)


async def _floor(submitters: int, in_flight: int) -> Sample:
    return await _load(LimitedFloor(_write, _MAX_RECORDS, _MAX_DELAY, in_flight).submit, submitters)


async def _load(submit: Submit, submitters: int) -> Sample:
    waits: list[float] = []

    async def watched(number: int) -> None:
        began = perf_counter()
        await submit(number)
        waits.append(perf_counter() - began)

    sample = await many_callers(watched, submitters * _EACH, submitters)
    return sample | {"p99_ms": percentile(waits, 99) * 1000}


SCENARIO = Scenario(
    title="A write that takes its time",
    text="10,000 submitters of 10 records each, a write that takes 5 ms, 100 records per batch, a delay of 10 ms, and "
    "the same limit of calls that are out on both sides: 4, the batcher's default for one lane, and 32. With 4 the "
    "calls are the bottleneck, with 32 the interpreter is.",
    parts={"asyncio": on_asyncio(_part)},
)
