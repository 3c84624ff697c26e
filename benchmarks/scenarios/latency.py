"""j: latency against calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from batcher import AutoBatchPolicy, Batcher, Limits, Quota
from benchmarks.contestants import Submit
from benchmarks.findings import Chart, Findings, Line, Row
from benchmarks.measuring import Scale, percentile, say
from benchmarks.scenarios._scenario import Scenario, on_asyncio
from benchmarks.tally import Tally

_RATES = (20, 100, 500, 1_500)
_SECONDS = 4.0
_CALLS, _PER = 20, 1.0
_QUOTA = Limits(quotas=(Quota(calls=_CALLS, per=_PER),))

_POLICIES: Mapping[str, tuple[AutoBatchPolicy, Limits]] = {
    "fixed window, 10 ms": (AutoBatchPolicy(max_delay=0.01), Limits()),
    "fixed window, 50 ms": (AutoBatchPolicy(max_delay=0.05), Limits()),
    "fixed window, 250 ms": (AutoBatchPolicy(max_delay=0.25), Limits()),
    "gather, 20 calls/s": (AutoBatchPolicy.for_quota(_CALLS, _PER, unused="free"), _QUOTA),
}


async def _part(scale: Scale) -> Findings:
    rows: list[Row] = []
    points: dict[str, list[tuple[float, float]]] = {}
    for rate in _RATES:
        say(f"    {rate} records/s")
        for name, tally in (await _run(rate, max(0.2, _SECONDS * scale.seconds))).items():
            calls = tally.calls_per_1000
            rows.append(Row(f"{name}, {rate:,} records/s: calls", "per 1,000 records", [calls]))
            for percent in (50, 99):
                wait = percentile(tally.waits, percent) * 1000
                rows.append(Row(f"{name}, {rate:,} records/s: p{percent} of the wait", "ms", [wait]))
                points.setdefault(f"{name}, p{percent}", []).append((calls, wait))
    charts = [
        Chart(
            name=f"j-latency-p{percent}",
            title=f"p{percent} of the wait against calls, from {_RATES[-1]:,} (left) to {_RATES[0]} records/s (right)",
            x="calls per 1,000 records",
            y="ms",
            logarithmic=["x", "y"],
            lines=[Line(name, points[f"{name}, p{percent}"]) for name in _POLICIES],
        )
        for percent in (50, 99)
    ]
    return Findings(rows, (), charts)


async def _run(rate: int, seconds: float) -> dict[str, Tally]:
    """Give the same arrivals to every policy, in one loop."""
    tallies = {name: Tally() for name in _POLICIES}
    random = Random(1)
    async with AsyncExitStack() as stack:
        submits: dict[str, Submit] = {}
        for name, (policy, limits) in _POLICIES.items():
            batcher = Batcher[Any, Any](tallies[name].write, auto_batch=policy, limits=limits)
            submits[name] = (await stack.enter_async_context(batcher)).submit
        loop = asyncio.get_running_loop()
        began = due = loop.time()
        async with asyncio.TaskGroup() as tasks:
            number = 0
            while due < began + seconds:
                due += random.expovariate(rate)
                await asyncio.sleep(max(0.0, due - loop.time()))
                for name, submit in submits.items():
                    tasks.create_task(tallies[name].timed(submit, number))
                number += 1
    return tallies


SCENARIO = Scenario(
    title="Latency against calls",
    text="Records that arrive at random (exponential gaps, the same for every policy), a write that answers at once. A "
    'fixed window takes the calls that it takes. `AutoBatchPolicy.for_quota(20, 1, unused="free")` makes 20 a '
    "second at most: it waits for 20 ms while some are left, and once all are made, records wait for the next second "
    "to begin, which shows in its p99. One run per point: there is no target, the shape is the finding.",
    parts={"asyncio": on_asyncio(_part)},
)
