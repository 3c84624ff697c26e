"""k: fragmentation, the price of batching in several processes."""

from __future__ import annotations

import json
from contextlib import ExitStack

from benchmarks.children import child, line_from, tell
from benchmarks.findings import Chart, Findings, Line, Row
from benchmarks.measuring import Scale, percentile, say
from benchmarks.process_worker import LANES, RATE, ROUTED, SPREAD
from benchmarks.scenarios._scenario import Scenario
from benchmarks.tally import Tally

_SECONDS = 4.0
_COUNTS = (1, 4, 16)


def _part(scale: Scale) -> Findings:
    counts = _COUNTS if scale.share >= 0.01 else (1, 2)  # 16 interpreters take a while to start
    rows: list[Row] = []
    points: dict[str, list[tuple[float, float]]] = {SPREAD: [], ROUTED: []}
    for count in counts:
        for way, line in points.items():
            tally = _load(count, way, max(0.2, _SECONDS * scale.seconds))
            line.append((count, tally.calls_per_1000))
            where = f"{count} process{'es' if count > 1 else ''}, {way}"
            rows.append(Row(f"{where}: calls", "per 1,000 records", [tally.calls_per_1000]))
            rows.append(Row(f"{where}: p50 of the wait", "ms", [percentile(tally.waits, 50) * 1000]))
            say(f"    {where}: {tally.calls_per_1000:.0f} calls per 1,000 records")
    chart = Chart(
        name="k-processes",
        title=f"The same load over more processes: {RATE:,} records/s, {LANES} lanes, a delay of 100 ms",
        x="processes",
        y="calls per 1,000 records",
        logarithmic=["x"],
        lines=[Line(way, line) for way, line in points.items()],
    )
    return Findings(rows, (), [chart])


def _load(count: int, way: str, seconds: float) -> Tally:
    """Run the load over *count* processes, all at the same time."""
    total = Tally()
    with ExitStack() as stack:
        workers = [
            stack.enter_context(child("benchmarks.process_worker", str(index), str(count), way, str(seconds)))
            for index in range(count)
        ]
        for worker in workers:
            line_from(worker)  # it is ready
        for worker in workers:
            tell(worker, "go")
        for worker in workers:
            found = json.loads(line_from(worker))
            total.calls += found["calls"]
            total.waits += found["waits"]
    return total


SCENARIO = Scenario(
    title="Fragmentation",
    text="1,600 records a second, arriving at random over 16 lanes, dealt out to 1, 4 and 16 processes with a batcher "
    "each, evenly or by lane, with a delay of 100 ms. Processes that share lanes share no batches: the wait is "
    "the same and the calls multiply. Routed by lane, they do not. One run per point: there is no target.",
    parts={"processes": _part},
)
