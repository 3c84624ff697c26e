"""f: a million records in one call."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from batcher import Batcher, Limits, Written
from benchmarks.contestants import FLOOR, OURS, ROOMY
from benchmarks.findings import Check, Findings, Row
from benchmarks.floors import Floor
from benchmarks.measuring import Run, Sample, Scale, Stopwatch, instant, interleaved, series
from benchmarks.scenarios._scenario import Scenario, on_asyncio

_RECORDS = 1_000_000
_MILLION = 1_000_000.0


async def _part(scale: Scale) -> Findings:
    records = scale.count(_RECORDS)
    runs: dict[str, Run] = {
        f"{OURS}: submit_all()": partial(_ours, records, ROOMY),
        f"{OURS}: submit_all(), default ceilings": partial(_ours, records, None),
        f"{FLOOR}: gather() of submits": partial(_floor, records),
    }
    samples, notes = await interleaved(runs, scale.rounds)
    rows = [Row(name, "records/s", series(each, "rate")) for name, each in samples.items()]
    rates = [records / cpu for cpu in series(samples[f"{OURS}: submit_all()"], "cpu")]
    check = Check(
        name=f"{OURS}: submit_all()", values=rates, target=_MILLION, stretch=2 * _MILLION, unit="records/s of CPU"
    )
    return Findings(rows, [check], (), notes)


async def _ours(records: int, limits: Limits | None) -> Sample:
    items = list(range(records))
    async with Batcher[Any, Any](instant, limits=limits) as batcher:
        watch = Stopwatch()
        outcomes = await batcher.submit_all(items)
        sample = watch.sample(records)
    if len(outcomes) != records or not all(isinstance(outcome, Written) for outcome in outcomes):
        raise AssertionError("a record has no outcome, or another one than written")
    return sample


async def _floor(records: int) -> Sample:
    items = list(range(records))
    submit = Floor(instant).submit
    watch = Stopwatch()
    results = await asyncio.gather(*map(submit, items))
    sample = watch.sample(records)
    if results != items:
        raise AssertionError("a record has another record's result")
    return sample


SCENARIO = Scenario(
    title="A million records in one call",
    text="`submit_all()` of 1,000,000 records, a write that answers at once, 100 records per batch, ceilings "
    "of pending records raised; each record gets an outcome. Next to it `asyncio.gather()` over the floor, and the "
    "same call under the default ceilings, where most records have to wait for a place. The target is a rate of CPU "
    "time and not a ratio: it depends on the machine, and on who else uses it.",
    parts={"asyncio": on_asyncio(_part)},
)
