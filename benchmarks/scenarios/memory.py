"""e: memory per outstanding record."""

from __future__ import annotations

from benchmarks import contestants
from benchmarks.children import run_child
from benchmarks.contestants import FLOOR, OURS
from benchmarks.findings import Chart, Check, Findings, Line, Row
from benchmarks.measuring import Scale, pairwise, say
from benchmarks.memory_probe import BARE
from benchmarks.scenarios._scenario import Scenario

_SIZES = (200_000, 1_000_000)
# Memory hardly varies from run to run.
_ROUNDS = 3


def _part(scale: Scale) -> Findings:
    others, notes = contestants.others_here()
    sizes = [scale.count(size, 200) for size in _SIZES]
    figures: dict[tuple[str, int], list[float]] = {}
    for number in range(min(_ROUNDS, scale.rounds)):
        for size in sizes:
            # The others once: this is about what grows with us.
            for name in (BARE, FLOOR, OURS, *(others if size == sizes[0] else ())):
                used = float(run_child("benchmarks.memory_probe", name, str(size)))
                figures.setdefault((name, size), []).append(used)
                say(f"    round {number}: {name}, {size:,} outstanding: {used:,.0f} bytes each")
    rows = [Row(f"{name}, {size:,} outstanding", "bytes a record", values) for (name, size), values in figures.items()]
    checks = [
        Check(
            name=f"{OURS} / {BARE}, {size:,} outstanding",
            values=pairwise(figures[OURS, size], figures[BARE, size]),
            target=1.45,
            stretch=1.30,
            at_least=False,
        )
        for size in sizes
    ]
    linear = pairwise(figures[OURS, sizes[1]], figures[OURS, sizes[0]])
    # 5 %: lists and dicts grow in steps.
    checks.append(
        Check(name=f"linear: {OURS}, {sizes[1]:,} / {sizes[0]:,}", values=linear, target=1.05, at_least=False)
    )
    names = [name for name, size in figures if size == sizes[0]]
    lines = [Line(name, [(0, Row(name, "", figures[name, sizes[0]]).median)]) for name in names]
    chart = Chart(
        name="e-memory",
        title=f"Memory of an outstanding record, {sizes[0]:,} of them, its task included",
        x="",
        y="bytes",
        categories=[""],
        lines=lines,
    )
    return Findings(rows, checks, [chart], notes)


SCENARIO = Scenario(
    title="Memory",
    text="200,000 and 1,000,000 tasks that await the outcome of a record each, while the write never answers: growth "
    "of the resident memory, each in a fresh process. A bare task awaits a future. All sides include the "
    "caller's task.",
    parts={"processes": _part},
)
