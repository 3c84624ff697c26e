"""g: HTTP, with a constant server in another process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from batcher import Write, Writer, WriteType
from batcher.destinations import Ampersand
from benchmarks.children import child, line_from
from benchmarks.contestants import IN_FLIGHT, OURS
from benchmarks.findings import Chart, Check, Findings, Line, Row
from benchmarks.http_clients import PATH, by_hand, clients_here, one_call_each, record
from benchmarks.measuring import Run, Sample, Scale, interleaved, many_callers, pairwise, series
from benchmarks.scenarios._scenario import Scenario, on_asyncio

_RECORDS, _CALLERS = 50_000, 1_000
# One call per record is so slow that fewer records give its rate as well.
_ALONE, _ALONE_CALLERS, _ALONE_IN_FLIGHT = 2_000, 100, 32
BY_HAND, ALONE = "batched by hand", "one call per record"


async def _part(scale: Scale) -> Findings:
    clients, notes = clients_here()
    callers = min(_CALLERS, scale.count(_RECORDS))
    with child("benchmarks.server") as server:
        url = f"http://127.0.0.1:{line_from(server)}"
        runs: dict[str, Run] = {}
        for name, made in clients.items():
            runs[f"{OURS}, {name}"] = partial(_ours, made, url, scale.count(_RECORDS), callers)
            runs[f"{BY_HAND}, {name}"] = partial(_by_hand, made, url, scale.count(_RECORDS), callers)
            runs[f"{ALONE}, {name}"] = partial(_alone, made, url, scale.count(_ALONE))
        samples, late = await interleaved(runs, scale.rounds)
    rate = {name: series(each, "rate") for name, each in samples.items()}
    rows = [Row(name, "records/s", values) for name, values in rate.items()]
    cpu = [series(samples[f"{name}, httpx"], "cpu") for name in (BY_HAND, OURS)]
    rows.append(Row(f"{OURS} / {BY_HAND}, httpx, by CPU time instead", "x", pairwise(*cpu)))
    return Findings(rows, _checks(list(clients), rate), [_chart(list(clients), rows)], notes + late)


async def _ours(made: Callable[[], Any], url: str, records: int, callers: int) -> Sample:
    async with made() as client:
        destination = Ampersand(
            "project",
            "integration",
            api_key="key",
            group_ref="group",
            provider="salesforce",
            base_url=url,
            client=client,
        )
        async with Writer(destination) as writer:
            return await many_callers(
                lambda number: writer.submit(Write("contact", WriteType.CREATE, record(number))), records, callers
            )


async def _by_hand(made: Callable[[], Any], url: str, records: int, callers: int) -> Sample:
    async with made() as client:
        floor = by_hand(client, url + PATH, IN_FLIGHT)
        return await many_callers(lambda number: floor.submit(record(number)), records, callers)


async def _alone(made: Callable[[], Any], url: str, records: int) -> Sample:
    async with made() as client:
        submit = one_call_each(client, url + PATH, _ALONE_IN_FLIGHT)
        return await many_callers(submit, records, min(_ALONE_CALLERS, records))


def _checks(clients: list[str], rate: dict[str, list[float]]) -> list[Check]:
    checks = []
    for other, target, stretch in ((BY_HAND, 0.75, 0.90), (ALONE, 50.0, 100.0)):
        for client in clients:
            ratios = pairwise(rate[f"{OURS}, {client}"], rate[f"{other}, {client}"])
            checks.append(Check(name=f"{OURS} / {other}, {client}", values=ratios, target=target, stretch=stretch))
    return checks


def _chart(clients: list[str], rows: list[Row]) -> Chart:
    median = {row.name: row.median for row in rows}
    lines = [
        Line(name, [(number, median[f"{name}, {client}"]) for number, client in enumerate(clients)])
        for name in (BY_HAND, OURS, ALONE)
    ]
    return Chart(
        name="g-http",
        title="HTTP on loopback, 100 records per call, 1,000 tasks",
        x="",
        y="records/s",
        categories=clients,
        lines=lines,
    )


SCENARIO = Scenario(
    title="HTTP on loopback",
    text="50,000 contacts from 1,000 tasks through `Writer(Ampersand(...))`, 100 per call and 4 calls out, to a server "
    "in another process that always says yes. By hand: the floor over the same client and encoder, which encodes a "
    "batch at once, checks nothing of a record, counts no bytes, believes the answer but for its count, tries nothing "
    "again, and if a call fails, leaves its callers waiting. One call per record: 2,000 records from "
    "100 tasks, 32 calls out.",
    parts={"asyncio": on_asyncio(_part)},
)
