"""i: what ``import batcher`` costs."""

from __future__ import annotations

from benchmarks.children import run_code
from benchmarks.findings import Check, Findings, Row
from benchmarks.measuring import Scale, pairwise, say
from benchmarks.scenarios._scenario import Scenario

_CODE = "import time; began = time.process_time(); import {}; print((time.process_time() - began) * 1000)"
_OURS, _BASE, _HTTPX = "batcher", "anyio, attrs", "httpx"


def _part(scale: Scale) -> Findings:
    figures: dict[str, list[float]] = {_BASE: [], _OURS: [], _HTTPX: []}
    for _ in range(scale.rounds * 2 + 1):  # they are short
        for modules, values in figures.items():
            values.append(float(run_code(_CODE.format(modules))))
    warm = {modules: values[1:] for modules, values in figures.items()}  # the first one may compile
    rows = [Row(f"import {modules}", "ms", values) for modules, values in warm.items()]
    for row in rows:
        say(f"    {row.name}: {row.median:.0f} ms")
    ratios = pairwise(warm[_OURS], warm[_BASE])
    check = Check(name=f"import {_OURS} / import {_BASE}", values=ratios, target=1.5, at_least=False)
    return Findings(rows, [check])


SCENARIO = Scenario(
    title="Importing",
    text="CPU time of one `import` statement in a fresh interpreter, with compiled files in place. "
    "`import httpx` is shown for comparison: `import batcher` does not do it.",
    parts={"processes": _part},
)
