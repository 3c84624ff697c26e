"""P6 same record, in order."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Event, EventKind, FlushReason, Limits, Retry, RetryPolicy
from tests.api import Api

pytestmark = pytest.mark.anyio


async def test_p06_two_writes_of_one_identity_are_never_in_one_batch_nor_in_flight_at_once():
    """The second one leaves when the first has its outcome."""
    api = Api(seconds=5)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        start = anyio.current_time()
        for n in range(3):
            batcher.submit_nowait(n, identity="ada")
        await batcher.flush()

    assert [(call.at - start, call.records) for call in api.calls] == [(0, (0,)), (5, (1,)), (10, (2,))]


async def test_p06_the_queue_of_an_identity_crosses_lanes():
    """An update and a delete of one record are in different lanes and still go in the order accepted."""
    api = Api(seconds=1)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        for n, key in enumerate(["update", "delete", "update", "create"]):
            batcher.submit_nowait(n, key=key, identity="ada")
        await batcher.flush()

    assert [call.records for call in api.calls] == [(0,), (1,), (2,), (3,)]


async def test_p06_nobody_waits_behind_what_waits():
    """Records of other identities pass, and share the batch of the first one."""
    api = Api(seconds=1)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=3, max_delay=60)) as batcher:
        for record, identity in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", None)]:
            batcher.submit_nowait(record, identity=identity)
        await anyio.sleep(0.5)
        assert api.batches == [("a1", "b1", "c1")]


async def test_p06_what_waits_brings_its_predecessor_forward_to_its_own_due_time():
    """The first write had time; the second one has less, so the first one's batch goes earlier."""
    events: list[Event] = []
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=60), on_event=events.append) as batcher:
        start = anyio.current_time()
        batcher.submit_nowait("other", key="slow")
        batcher.submit_nowait("first", key="slow", identity="ada")
        await anyio.sleep(1)
        await batcher.submit("second", key="quick", identity="ada", max_delay=4)

    assert [(call.at - start, call.records) for call in api.calls] == [(5, ("other", "first")), (5, ("second",))]
    assert [event.reason for event in events if event.kind is EventKind.DISPATCHED][0] is FlushReason.IDENTITY


async def test_p06_a_whole_queue_is_brought_forward():
    """The last one's haste reaches the head through all that stand between."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=60)) as batcher:
        start = anyio.current_time()
        for n in range(4):
            batcher.submit_nowait(n, key=n, identity="ada")
        await batcher.submit("last", identity="ada", max_delay=1)
        assert anyio.current_time() - start == 1

    assert [call.records[0] for call in api.calls] == [0, 1, 2, 3, "last"]


async def test_p06_order_holds_across_retries():
    """What is sent again keeps its place before those that wait for it (B13)."""
    api = Api([Retry("locked", after=5)], [Retry("locked", after=5)])
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        batcher.submit_nowait("first", identity="ada")
        batcher.submit_nowait("second", identity="ada")
        await batcher.submit("third", identity="ada")

    assert [call.records for call in api.calls] == [("first",)] * 3 + [("second",), ("third",)]


async def test_p06_a_withdrawn_write_lets_its_successor_go():
    """Withdrawing the one in front, or one in the middle, breaks no queue."""
    api = Api(seconds=1)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=10)) as batcher:
        receipts = [batcher.submit_nowait(n, identity="ada") for n in range(4)]
        assert receipts[2].withdraw()
        assert receipts[0].withdraw()
        await batcher.flush()

    assert [call.records for call in api.calls] == [(1,), (3,)]


async def test_p06_a_call_that_was_given_up_on_holds_its_identities_until_it_ends():
    """Its caller is told at the timeout; the next write of that record waits until nothing is out any more."""
    calls: list[tuple[float, Any]] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        calls.append((anyio.current_time() - start, records[0]))
        with anyio.CancelScope(shield=True):
            await anyio.sleep(8)
        return records

    async with Batcher(write, auto_batch=AutoBatchPolicy(max_delay=0), limits=Limits(call_timeout=5)) as batcher:
        start = anyio.current_time()
        first = batcher.submit_nowait("first", identity="ada")
        second = batcher.submit_nowait("second", identity="ada")
        await anyio.sleep(6)
        assert first.done
        await anyio.sleep(20)
        assert second.done

    assert calls == [(0, "first"), (8, "second")]


async def test_p06_equal_records_without_identity_are_two_records():
    """Nothing is merged: the API gets both (dloader loses one)."""
    api = Api()
    async with Batcher(api) as batcher:
        assert len(await batcher.submit_all([{"a": 1}, {"a": 1}])) == 2

    assert api.batches == [({"a": 1}, {"a": 1})]


async def test_p06_many_records_of_few_identities_under_failures():
    """Over hundreds of writes with retries, each identity's writes are applied in order, one at a time."""
    out: set[Any] = set()
    applied: dict[Any, list[int]] = defaultdict(list)
    calls = 0

    async def write(key: Any, records: list[tuple[int, int]]) -> list[Any]:
        nonlocal calls
        calls += 1
        identities = [identity for identity, _ in records]
        assert len(set(identities)) == len(identities)
        assert not out & set(identities)
        out.update(identities)
        await anyio.sleep(calls % 3)
        out.difference_update(identities)
        answer: list[Any] = []
        for identity, n in records:
            if (calls + n) % 4 == 0:
                answer.append(Retry("again"))
            else:
                applied[identity].append(n)
                answer.append("ok")
        return answer

    limits = Limits(max_in_flight=3, max_lane_in_flight=2)
    policy = AutoBatchPolicy(max_records=5, max_delay=1)
    retry = RetryPolicy(deadline=1_000_000)
    async with Batcher(write, auto_batch=policy, limits=limits, retry=retry) as batcher:
        for n in range(400):
            await batcher.enqueue((n % 13, n), key=n % 3, identity=n % 13)
            if n % 50 == 0:
                await anyio.sleep(1)
        await batcher.flush()

    assert all(numbers == sorted(numbers) for numbers in applied.values())
    assert sum(map(len, applied.values())) == 400
