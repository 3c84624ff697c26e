"""d: the wait that batching adds where records come one by one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Any

from batcher import AutoBatchPolicy, Batcher, Limits, Quota
from benchmarks.contestants import FLOOR, OURS, Submit
from benchmarks.findings import Check, Findings, Row
from benchmarks.floors import Floor
from benchmarks.measuring import Scale, instant, percentile, say
from benchmarks.scenarios._scenario import Scenario, on_asyncio

_EVERY, _SUBMITS = 0.02, 250
# A quota that is never used up here: 50 records a second make 50 calls at most.
_CALLS, _PER = 100, 1.0
_GATHER, _MAX_DELAY = 0.02, 0.05


async def _part(scale: Scale) -> Findings:
    submits = max(5, round(_SUBMITS * scale.seconds))
    waits: dict[str, list[float]] = {}
    for number in range(scale.rounds):
        for name, figures in (await _round(submits)).items():
            waits.setdefault(name, []).append(percentile(figures, 99) * 1000)
            say(f"    round {number}: {name} p99 {waits[name][-1]:.1f} ms")
    gathering = f"{OURS} with free quota"
    rows = [Row(f"{name}, p99 of the added wait", "ms", values) for name, values in waits.items()]
    # What the machine adds to any timer, the floor's too, is not the batcher's.
    over = [mine - other for mine, other in zip(waits[OURS], waits[FLOOR], strict=True)]
    rows.append(Row(f"{OURS}: p99 above the floor's", "ms", over))
    return Findings(
        rows,
        [
            _check(f"{OURS}: p99, delay of 50 ms", waits[OURS], _MAX_DELAY * 1000 + 2),
            _check(f"{gathering}: p99, gathers for 20 ms", waits[gathering], _GATHER * 1000 + 5),
        ],
    )


def _check(name: str, values: list[float], target: float) -> Check:
    return Check(name=name, values=values, target=target, at_least=False, unit="ms")


async def _round(submits: int) -> dict[str, list[float]]:
    """Submit each record to everybody at the same moment: they share the noise of the machine."""
    policy = AutoBatchPolicy(max_delay=_MAX_DELAY)
    gathering = AutoBatchPolicy(max_delay=_MAX_DELAY, gather=_GATHER)
    limits = Limits(quotas=(Quota(calls=_CALLS, per=_PER),))
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(Batcher[Any, Any](instant, auto_batch=policy))
        free = await stack.enter_async_context(Batcher[Any, Any](instant, auto_batch=gathering, limits=limits))
        submit: dict[str, Submit] = {
            FLOOR: Floor(instant, max_delay=_MAX_DELAY).submit,
            OURS: plain.submit,
            f"{OURS} with free quota": free.submit,
        }
        waits: dict[str, list[float]] = {name: [] for name in submit}
        async with asyncio.TaskGroup() as tasks:
            for number in range(submits):
                for name, each in submit.items():
                    tasks.create_task(_timed(each, number, waits[name]))
                await asyncio.sleep(_EVERY)
        return waits


async def _timed(submit: Submit, number: int, waits: list[float]) -> None:
    began = perf_counter()
    await submit(number)
    waits.append(perf_counter() - began)


SCENARIO = Scenario(
    title="A trickle",
    text="One submit each 20 ms, a write that answers at once, so that all of the wait is added by batching. "
    "With a quota that is not used up, a batch gathers for 20 ms only.",
    parts={"asyncio": on_asyncio(_part)},
)
