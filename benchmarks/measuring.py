"""Loads, and rounds in which everybody takes a turn."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import ceil
from typing import Any, TypeAlias

import anyio
import attrs

from benchmarks.contestants import Submit

Sample: TypeAlias = dict[str, float]
"""What one run of one contestant gave, by name: seconds, cpu, p99, ..."""
Run: TypeAlias = Callable[[], Awaitable[Sample]]

# A contestant that hangs is left out after this many seconds, not waited for.
PATIENCE = 300.0


@attrs.frozen(kw_only=True)
class Scale:
    """How much is measured."""

    name: str
    share: float
    """Of the records of the full size."""
    rounds: int
    seconds: float
    """Of the runs that last a time rather than a number of records, as a share."""

    def count(self, full: int, least: int = 100) -> int:
        """Return how many of *full* to take."""
        return max(least, round(full * self.share))


SCALES: Mapping[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(name="full", share=1.0, rounds=5, seconds=1.0),
        Scale(name="quick", share=0.05, rounds=3, seconds=0.3),
        Scale(name="tiny", share=0.001, rounds=1, seconds=0.02),  # for crashes only
    )
}


async def instant(key: Any, items: list[Any]) -> list[Any]:
    """A write that answers at once."""
    return items


class Stopwatch:
    """Wall time and the CPU time of this process. The neighbours on a shared machine disturb the second less."""

    def __init__(self) -> None:
        gc.collect()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def sample(self, records: int, **more: float) -> Sample:
        """Return what has passed, and the records per second."""
        seconds, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"seconds": seconds, "cpu": cpu, "rate": records / seconds, **more}


async def many_callers(submit: Submit, records: int, callers: int) -> Sample:
    """Submit from many tasks, each one record at a time. The clock starts when all tasks are there."""

    async def caller() -> None:
        for number in range(records // callers):
            await submit(number)

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
        watch = Stopwatch()
    return watch.sample(records // callers * callers)


async def one_task_each(submit: Submit, records: int, then: Callable[[], object] | None = None) -> Sample:
    """Submit each record from a task of its own, on asyncio. The clock starts when all tasks are there.

    :param then: called when all tasks have had their first step
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_awaited(submit, number)) for number in range(records)]
    watch = Stopwatch()
    if then is not None:
        loop.call_soon(then)
    for task in tasks:
        await task
    return watch.sample(records)


async def _awaited(submit: Submit, number: int) -> Any:
    return await submit(number)


async def interleaved(runs: Mapping[str, Run], rounds: int) -> tuple[dict[str, list[Sample]], list[str]]:
    """Let everybody run once per round, each round beginning with the next one; the first round warms up.

    :returns: the samples by contestant, and a note on each that did not end
    """
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    notes: list[str] = []
    for number in range(rounds + 1):
        names = list(samples)
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            with anyio.move_on_after(PATIENCE) as scope:
                samples[name].append(await runs[name]())
            if scope.cancelled_caught:
                notes.append(f"{name} did not end within {PATIENCE:g} s and is left out")
                del samples[name]
            say(f"    round {number}: {name} {_shown(samples.get(name))}")
    return {name: each[1:] for name, each in samples.items()}, notes


def say(line: str) -> None:
    """Show progress; results go elsewhere."""
    print(line, file=sys.stderr, flush=True)


def _shown(samples: list[Sample] | None) -> str:
    if not samples:
        return "did not end"
    return ", ".join(f"{name} {value:,.4g}" for name, value in samples[-1].items())


def series(samples: Sequence[Sample], name: str) -> list[float]:
    """Return one figure of each round."""
    return [sample[name] for sample in samples]


def pairwise(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours / theirs, round by round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return what *percent* of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]
