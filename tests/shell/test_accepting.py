"""Accepting: a record that is late or too large before it is sent, and those that come together."""

from __future__ import annotations

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    InvalidRecord,
    Limits,
    NotWritten,
    RecordNotWritten,
    Rejected,
    Retry,
    Written,
)
from tests.api import Api

pytestmark = pytest.mark.anyio
NOW = AutoBatchPolicy(max_delay=0)


async def test_an_expired_record_is_not_sent():
    """Its deadline passes while it is parked, or buffered because all the calls are out that may be."""
    api = Api([Retry("429", after=20)], seconds=8)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=30), limits=Limits(max_in_flight=1)) as batcher:
        backing_off = batcher.submit_nowait("r", max_delay=0, deadline=45, identity="ada")
        await anyio.sleep(2)
        parked = batcher.submit_nowait("p", deadline=5, identity="ada")
        buffered = batcher.submit_nowait("b", key="x", deadline=5)
        with pytest.raises(RecordNotWritten, match="its deadline passed"):
            await buffered
        assert parked.outcome == buffered.outcome == NotWritten("its deadline passed", 0)
        assert await backing_off == "r"
    assert [call.records for call in api.calls] == [("r",), ("r",)]


async def test_an_expired_waiter_is_not_accepted():
    """A submit that waits for a place waits no longer than its deadline."""
    api = Api(seconds=20)
    async with Batcher(api, auto_batch=NOW, limits=Limits(max_pending_records=1, max_lane_records=1)) as batcher:
        batcher.submit_nowait("a")
        start = anyio.current_time()
        with pytest.raises(RecordNotWritten, match="its deadline passed"):
            await batcher.submit("b", deadline=4)
        assert (await batcher.enqueue("c", deadline=4)).outcome == NotWritten("its deadline passed", 0)
        assert anyio.current_time() - start == 8
        assert batcher.statistics().accepted == 1


async def test_a_deadline_of_zero_is_over_before_the_submit_waits():
    """The record is settled inside the very submit that brings it, and nobody hangs."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
        with pytest.raises(RecordNotWritten, match="its deadline passed"):
            await batcher.submit("a", deadline=0)
        (outcome,) = await batcher.submit_all(["a"], deadline=0)
        assert outcome == NotWritten("its deadline passed", 0)
    assert api.calls == []


async def test_a_retry_beyond_the_records_own_deadline_is_not_made():
    """deadline= bounds retries as well."""
    async with Batcher(Api([Retry("429", after=20)]), auto_batch=NOW) as batcher:
        with pytest.raises(RecordNotWritten, match="429"):
            await batcher.submit("a", deadline=10)


async def test_an_oversized_record_of_a_submit_all_is_rejected_alone():
    """The others are written; outcomes keep their places."""
    policy = AutoBatchPolicy(max_bytes=5)
    async with Batcher(Api(), auto_batch=policy, size_of=len) as batcher:
        first, second, third = await batcher.submit_all(["ab", "x" * 6, "cd"])
        with pytest.raises(InvalidRecord):
            await batcher.enqueue("x" * 6)
    assert (first, third) == (Written(data="ab"), Written(data="cd"))
    assert isinstance(second, Rejected)


async def test_submit_all_of_one_identity_goes_in_order():
    """Not one call, but all due: each as soon as the one before has its outcome."""
    api = Api(seconds=1)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=60)) as batcher:
        start = anyio.current_time()
        await batcher.submit_all([1, 2, 3], identities=["a", "a", None])
        assert anyio.current_time() - start == 2
    assert api.batches == [(1, 3), (2,)]


async def test_a_place_that_comes_with_the_cancellation_is_given_to_the_next():
    """In the same step: nothing of the cancelled one is sent, and nobody waits for it to notice."""
    api = Api(seconds=5)
    limits = Limits(max_pending_records=2, max_lane_records=2, max_in_flight=1)
    async with Batcher[str, str](api, auto_batch=NOW, limits=limits) as batcher, anyio.create_task_group() as tasks:
        batcher.submit_nowait("out")
        await anyio.sleep(1)
        buffered = batcher.submit_nowait("buffered")
        scope = anyio.CancelScope()

        async def give_up() -> None:
            with scope:
                await batcher.enqueue("cancelled")

        tasks.start_soon(give_up)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(batcher.enqueue, "next")
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        assert buffered.withdraw()
        assert (batcher.statistics().pending, batcher.statistics().waiting) == (2, 0)
    assert api.batches == [("out",), ("next",)]
