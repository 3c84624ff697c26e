"""P22: it says why. Without a hook, nothing is lost without a line; with one, nothing without a call of it."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BreakerPolicy,
    ErrorDetail,
    Limits,
    NotWritten,
    Rejected,
    Retry,
    RetryPolicy,
    Unknown,
    Write,
    Writer,
    WriteType,
)
from batcher.destinations import SQLite
from tests.api import Api

pytestmark = pytest.mark.anyio

POISON = "hunter2"
ROUTES: dict[str, Any] = {
    "refused token": [lambda records: [NotWritten("HTTP 401")] * len(records)] * 9,
    "throttled for too long": [Retry("HTTP 429", after=500, pause_lane=True)] * 9,
    "server error": [Retry("HTTP 500", applied="maybe")] * 9,
    "lost answer": [ConnectionResetError(POISON)] * 9,
    "unusable answer": [[POISON]] * 9,
    "a mixed answer": [lambda records: [Unknown("no item"), *records[1:]]] * 9,
    "retries used up": [Retry(OSError(POISON))] * 9999,
    "refused record": [lambda records: [Rejected(ErrorDetail(POISON, code="DUP"))] * len(records)] * 9,
    "ended": [anyio.sleep],
}
RETRY = RetryPolicy(deadline=20, breaker=BreakerPolicy(failures=3))


def of(route: str) -> Any:
    async def hang(key: Any, records: list[Any]) -> list[Any]:
        await anyio.sleep(1000)
        return records

    return hang if route == "ended" else Api(*ROUTES[route])


@pytest.mark.parametrize("route", ROUTES)
async def test_p22_no_record_is_lost_without_a_line(route, caplog):
    """Whatever the reason of the destination; and nothing of the record is in the line."""
    limits = Limits(shutdown_timeout=1)
    async with Batcher(of(route), auto_batch=AutoBatchPolicy(max_delay=0), retry=RETRY, limits=limits) as batcher:
        for record in range(3):
            batcher.submit_nowait(f"{POISON} {record}", key=POISON)
        await anyio.sleep(1 if route == "ended" else 100)
    lines = [each.getMessage() for each in caplog.records if each.name == "batcher"]
    assert lines
    assert len(lines) <= 5
    assert {each.levelno for each in caplog.records if each.name == "batcher"} == {logging.WARNING}
    assert POISON not in caplog.text


@pytest.mark.parametrize("route", ROUTES)
async def test_p22_no_record_is_lost_without_a_call_of_on_undelivered(route):
    """Exactly those that are not written, each once, as submitted."""
    told: list[Any] = []
    receipts: dict[str, Any] = {}
    limits = Limits(shutdown_timeout=1)

    def undelivered(record: Any, outcome: Any, attempts: int) -> None:
        told.append(record)
        assert outcome == receipts[record].outcome
        assert attempts >= 0

    policy = AutoBatchPolicy(max_delay=0)
    async with Batcher(of(route), auto_batch=policy, retry=RETRY, limits=limits, on_undelivered=undelivered) as batcher:
        for record in map(str, range(10)):
            receipts[record] = batcher.submit_nowait(record, key=int(record) % 3)
        await anyio.sleep(1 if route == "ended" else 100)
    assert sorted(told) == [record for record, receipt in receipts.items() if not receipt.outcome.ok]
    assert told


async def test_p22_a_line_names_the_object_and_the_destination(caplog):
    """Whoever reads it at night knows where to look."""
    async with Writer(SQLite(":memory:"), auto_batch=AutoBatchPolicy(max_delay=0)) as writer:
        writer.submit_nowait(Write("contacts", WriteType.UPDATE, {"id": "1", "email": POISON}))
        await writer.flush()
    (line,) = [each.getMessage() for each in caplog.records if each.name == "batcher"]
    assert line.startswith("SQLite, contacts: ")
    assert POISON not in caplog.text


async def test_p22_while_all_is_well_it_is_silent(caplog):
    """Not a line, at whatever level."""
    caplog.set_level(logging.DEBUG)
    async with Batcher(Api()) as batcher:
        await batcher.submit_all(range(1000))
        batcher.submit_nowait(1)
    assert [each for each in caplog.records if each.name.startswith("batcher")] == []


async def test_p22_a_lane_and_a_record_of_a_batcher_are_not_named(caplog):
    """They are its user's own, and may say what no log should: also what has an attribute of that name."""

    class Key:
        object = POISON

    api = Api(*[lambda records: [NotWritten("HTTP 401")] * len(records)] * 99)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0), retry=RETRY) as batcher:
        for _ in range(8):
            await batcher.submit_all([Key(), Key()], key=Key())
        for _ in range(8):
            await batcher.submit_all([Key(), Key()], key=POISON)
    assert "circuit breaker" in caplog.text
    assert POISON not in caplog.text
