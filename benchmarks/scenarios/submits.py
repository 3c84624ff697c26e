"""a: what one submit costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from benchmarks import contestants, instructions
from benchmarks.contestants import FLOOR, OURS, Open
from benchmarks.findings import Chart, Check, Findings, Line, Row
from benchmarks.measuring import Run, Sample, Scale, instant, interleaved, many_callers, pairwise, series
from benchmarks.scenarios._scenario import Scenario, on_asyncio, on_trio, on_uvloop

_RECORDS, _CALLERS = 200_000, 1_000


def measure(backend: str, target: float, stretch: float) -> Callable[[Scale], Awaitable[Findings]]:
    """Return what measures one backend."""

    async def part(scale: Scale) -> Findings:
        callers = min(_CALLERS, scale.count(_RECORDS))
        others, notes = contestants.others_here() if backend != "trio" else ({}, [])
        opened = {FLOOR: contestants.floor, OURS: contestants.ours, **others}
        runs: dict[str, Run] = {
            name: partial(_run, open_, scale.count(_RECORDS), callers) for name, open_ in opened.items()
        }
        samples, late = await interleaved(runs, scale.rounds)
        return _findings(backend, target, stretch, samples, notes + late)

    return part


async def _run(open_: Open, records: int, callers: int) -> Sample:
    async with open_(instant) as submit:
        return await many_callers(submit, records, callers)


def _findings(
    backend: str, target: float, stretch: float, samples: dict[str, list[Sample]], notes: list[str]
) -> Findings:
    rate = {name: series(each, "rate") for name, each in samples.items()}
    cpu = {name: series(each, "cpu") for name, each in samples.items()}
    rows = [Row(f"{name} on {backend}", "records/s", values) for name, values in rate.items()]
    rows.append(Row(f"{OURS} / {FLOOR} on {backend}, by the clock instead", "x", pairwise(rate[OURS], rate[FLOOR])))
    # The others are compared where people run them: on the stock loop.
    wanted = {FLOOR: (target, stretch)}
    if backend == "asyncio":
        wanted |= {"aiodataloader": (0.9, 1.0), "async-batcher": (5.0, 5.0)}
    checks = [
        Check(name=f"{OURS} / {name} on {backend}", values=pairwise(cpu[name], cpu[OURS]), target=t, stretch=s)
        for name, (t, s) in wanted.items()
        if name in rate
    ]
    lines = [Line(name, [(0, Row(name, "", values).median)]) for name, values in rate.items()]
    chart = Chart(
        name="a-submits",
        title="One submit: 1,000 tasks, one lane, instant write",
        x="",
        y="records/s",
        categories=[backend],
        lines=lines,
    )
    return Findings(rows, checks, [chart], notes)


SCENARIO = Scenario(
    title="One submit",
    text="200,000 submits from 1,000 tasks, one lane, a write that answers at once, default limits. "
    "The others run on asyncio only. Instructions are counted by valgrind, where it is installed.",
    parts={
        "asyncio": on_asyncio(measure("asyncio", 0.80, 0.90)),
        "uvloop": on_uvloop(measure("uvloop", 0.72, 0.90)),
        "trio": on_trio(measure("trio", 0.85, 0.90)),
        "instructions": instructions.count,
    },
)
