"""Bugs that real batchers had. Most are kept out by the tests of the promises; here is the rest, and an index.

Lost wake-up B1, below. Timer races B2, test_p03 (timers do not pile up). Full batch waits for N+1 B3, test_p03.
Delay from the wrong moment B4, test_p03. Cold key starves B5, test_p10. Cancellation leaks B6, test_p08.
User callback kills the loop B7, test_shell. Wrong result mapping B8, test_p02. Item dropped after a failed
flush B9, below. Retry needs a slot that flush holds B10, below and test_shell (nesting). Full of partial
batches B11, test_p09. Dead keys kept B12, test_p09. Retry reorders B13, test_p06. Double delivery after a
timeout B14, test_p07. Poison for ever B15 and bisect floods B16, test_p04. Shutdown loses B17, test_p11.
Races make batches small B18, below. Deadline of the longest member B19, test_p03 and test_p01.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Limits, Retry
from tests.api import Api, gather

pytestmark = pytest.mark.anyio


async def test_b1_no_wake_up_is_lost_between_flush_timer_and_submit():
    """Submits, flushes and timers that fall on one moment, over and over: nobody is left behind."""
    api = Api(seconds=0.25)
    policy = AutoBatchPolicy(max_records=3, max_delay=0.5)
    async with Batcher[int, int](api, auto_batch=policy, limits=Limits(max_in_flight=2)) as batcher:

        async def caller(n: int) -> None:
            for i in range(40):
                await anyio.sleep((n + i) % 3 / 4)
                assert await batcher.submit(i, key=n % 2) == i
                if (n + i) % 7 == 0:
                    await batcher.flush()

        with anyio.fail_after(3600):
            async with anyio.create_task_group() as tasks:
                for n in range(20):
                    tasks.start_soon(caller, n)
        assert batcher.statistics().settled == 800


async def test_b9_a_failed_call_takes_nothing_along():
    """What came in while a call was failing is sent by the next one (go-elasticsearch#623, #732, #1041)."""
    api = Api(ConnectionError(), seconds=1)
    limits = Limits(max_in_flight=1)
    async with Batcher[int, int](api, limits=limits, auto_batch=AutoBatchPolicy(max_records=2)) as batcher:
        lost = [batcher.submit_nowait(n) for n in range(2)]
        await anyio.sleep(0.5)
        kept = [batcher.submit_nowait(n) for n in range(2, 5)]
        await batcher.flush()
        statistics = batcher.statistics()

    assert {receipt.outcome.kind for receipt in lost if receipt.outcome} == {"unknown"}
    assert {receipt.outcome.kind for receipt in kept if receipt.outcome} == {"written"}
    assert statistics.accepted == statistics.settled == 5


async def test_b10_a_retry_needs_no_place_that_somebody_else_holds():
    """With the house full and everybody waiting, what backs off keeps its place and comes back."""
    api = Api(*[Retry("busy")] * 5)
    limits = Limits(max_pending_records=4, max_lane_records=4, max_in_flight=1)
    async with Batcher[int, int](api, limits=limits, auto_batch=AutoBatchPolicy(max_records=2)) as batcher:
        results = await gather(*(partial(batcher.submit, n) for n in range(30)))

    assert results == list(range(30))


async def test_b18_batches_are_as_full_as_the_load_allows():
    """Not only correct: 10,000 records of 1,000 callers in 100 calls, and few calls at a trickle."""
    api = Api(seconds=0.125)
    async with Batcher[int, int](api) as batcher:

        async def caller() -> None:
            for i in range(10):
                await batcher.submit(i)

        await gather(*(caller for _ in range(1_000)))
        assert len(api.calls) <= 110  # the tail may be ragged
        api.calls.clear()
        for n in range(200):  # a record every 10 ms: 5 or 6 fall into 50 ms
            batcher.submit_nowait(n)
            await anyio.sleep(0.01)
        await batcher.flush()

    assert len(api.calls) <= 40


@pytest.mark.parametrize("waiting", [1_000, 50_000])
async def test_a_long_queue_costs_no_more_per_record(waiting):
    """Dispatch walks over nothing that it leaves behind: counted in steps, not in seconds."""
    api = Api(seconds=1)
    limits = Limits(max_pending_records=200_000, max_in_flight=1)
    async with Batcher[int, int](api, limits=limits) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(waiting)]
        lane = batcher._engine.house.lanes[None]
        walked = 0
        original = lane.queue

        class Counting:
            """The queue, counting every entry that is looked at beyond taking it out."""

            def __getattr__(self, name: str) -> Any:
                return getattr(original, name)

            def __len__(self) -> int:
                return len(original)

            def __bool__(self) -> bool:
                return bool(original)

            def __iter__(self) -> Any:
                nonlocal walked
                walked += len(original)
                return iter(original)

            def __getitem__(self, index: int) -> Any:
                nonlocal walked
                walked += 1
                return original[index]

        lane.queue = Counting()  # type: ignore[assignment]
        await anyio.sleep(5.5)  # five calls
        done = sum(receipt.done for receipt in receipts)
        assert done == 500
        assert walked <= 3 * done
        for receipt in receipts[600:]:
            receipt.withdraw()
