"""P3 prompt batches."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Event, EventKind, FlushReason, InvalidRecord, Limits, Retry
from tests.api import Api, gather

pytestmark = pytest.mark.anyio


def reasons(events: list[Event]) -> list[FlushReason | None]:
    return [event.reason for event in events if event.kind is EventKind.DISPATCHED]


async def test_p03_the_nth_submit_dispatches_not_the_one_after():
    """A full batch leaves inside the submit that filled it, at no delay."""
    events: list[Event] = []
    api = Api()
    policy = AutoBatchPolicy(max_records=3, max_delay=3600)
    async with Batcher(api, auto_batch=policy, on_event=events.append) as batcher:
        for n in range(3):
            batcher.submit_nowait(n)
        assert batcher.statistics().in_flight == 1  # before anything could run
        await anyio.sleep(0)
        await anyio.wait_all_tasks_blocked()
        assert api.batches == [(0, 1, 2)]

    assert reasons(events) == [FlushReason.RECORDS]


async def test_p03_a_lone_record_waits_exactly_the_delay():
    """One record is sent when its delay ends: not before, not after."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=5)) as batcher:
        await anyio.sleep(1)  # the batcher sleeps, with nothing to wait for
        start = anyio.current_time()
        await batcher.submit("a")

    assert [call.at - start for call in api.calls] == [5]


async def test_p03_the_delay_counts_from_the_first_record_and_later_ones_do_not_change_it():
    """Neither a later record nor its own shorter delay moves the departure."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=8)) as batcher:
        start = anyio.current_time()
        batcher.submit_nowait("a", max_delay=4)
        await anyio.sleep(3)
        batcher.submit_nowait("b", max_delay=0.5)
        await batcher.flush() if anyio.current_time() - start > 3 else await anyio.sleep(2)

    assert [(call.at - start, call.records) for call in api.calls] == [(4, ("a", "b"))]


async def test_p03_an_old_queue_is_not_sent_in_batches_of_one():
    """Records that waited behind a limit leave in full batches, whatever their age."""
    api = Api(seconds=10)
    policy = AutoBatchPolicy(max_records=100, max_delay=0.5)
    async with Batcher(api, auto_batch=policy, limits=Limits(max_lane_in_flight=1)) as batcher:
        await gather(*(partial(batcher.submit, n) for n in range(1_000)))

    assert api.sizes == [100] * 10


async def test_p03_zero_delay_leaves_at_the_next_turn_of_the_loop():
    """max_delay=0 still coalesces what is submitted in one turn."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        start = anyio.current_time()
        await gather(*(partial(batcher.submit, n) for n in range(10)))

    assert api.sizes == [10]
    assert api.calls[0].at == start


async def test_p03_bytes_are_a_limit_next_to_records():
    """The record that would exceed max_bytes opens the next batch, and the full one leaves at once."""
    events: list[Event] = []
    api = Api()
    policy = AutoBatchPolicy(max_bytes=10, max_delay=3600)
    async with Batcher(api, auto_batch=policy, size_of=len, on_event=events.append) as batcher:
        for record in ("aaaa", "bbbb", "ccc", "dd"):
            batcher.submit_nowait(record)
        await anyio.wait_all_tasks_blocked()
        assert api.batches == [("aaaa", "bbbb")]
        batcher.submit_nowait("eeeee")  # 3 + 2 + 5: exactly full
        await anyio.wait_all_tasks_blocked()

    assert api.batches == [("aaaa", "bbbb"), ("ccc", "dd", "eeeee")]
    assert reasons(events) == [FlushReason.BYTES, FlushReason.BYTES]
    assert [event.size_bytes for event in events if event.kind is EventKind.DISPATCHED] == [8, 10]


async def test_p03_a_record_larger_than_a_batch_fails_its_own_submit_at_once():
    """It joins no batch, and the message has the figures."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_bytes=10), size_of=len) as batcher:
        with pytest.raises(InvalidRecord, match="11 bytes exceed the 10 that one call may carry"):
            await batcher.submit("x" * 11)
        assert await batcher.submit("x" * 10) == "x" * 10

    assert api.sizes == [1]


async def test_p03_flush_ignores_the_delay_and_waits_for_everything_accepted():
    """flush() makes all due, also what is in flight and in other lanes, and returns when all have fates."""
    events: list[Event] = []
    api = Api(seconds=2)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=3600), on_event=events.append) as batcher:
        receipts = [batcher.submit_nowait(n, key=n % 3) for n in range(9)]
        start = anyio.current_time()
        await batcher.flush()
        assert all(receipt.done for receipt in receipts)
        assert anyio.current_time() - start == 2
        await batcher.flush()  # nothing to do, nothing to wait for

    assert sorted(api.sizes) == [3, 3, 3]
    assert set(reasons(events)) == {FlushReason.FLUSH}


async def test_p03_flushes_of_the_same_records_share_the_count():
    """Twenty flushes at once cost one walk over what is pending, and all of them end; cancelled ones hold up none."""
    api = Api(seconds=5)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=3600)) as batcher:
        for n in range(150):
            batcher.submit_nowait(n)
        ended = 0

        async def flush(patience: float) -> None:
            nonlocal ended
            with anyio.move_on_after(patience):
                await batcher.flush()
                ended += 1

        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(flush, 1 if n % 4 == 0 else 100)
            await anyio.sleep(2)
            await flush(100)
            assert anyio.current_time() - start == 5
        assert ended == 16
        with anyio.move_on_after(1):
            batcher.submit_nowait("late")
            await batcher.flush()
        await batcher.flush()  # although the one before gave up on the same records
        assert batcher.statistics().pending == 0


async def test_p03_what_comes_during_a_flush_is_not_waited_for():
    """flush() covers what was accepted before it, so it ends under steady input."""
    api = Api(seconds=1)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=50)) as batcher:
        batcher.submit_nowait("before")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batcher.flush)
            await anyio.sleep(0.5)
            late = batcher.submit_nowait("late")
        assert not late.done


async def test_p03_flush_overrides_no_pause():
    """A lane that the provider paused is not sent to, flush or not."""
    api = Api([Retry("429", after=30, pause_lane=True)])
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        start = anyio.current_time()
        batcher.submit_nowait("a")
        await anyio.sleep(1)
        batcher.submit_nowait("b")
        await batcher.flush()

    assert [call.records for call in api.calls] == [("a",), ("a", "b")]
    assert api.calls[1].at - start >= 30


async def test_p03_submit_all_leaves_when_the_last_one_is_in():
    """A declared set does not wait for company that is not coming."""
    events: list[Event] = []
    api = Api()
    policy = AutoBatchPolicy(max_records=10, max_delay=3600)
    async with Batcher(api, auto_batch=policy, on_event=events.append) as batcher:
        start = anyio.current_time()
        waiting = batcher.submit_nowait("early")
        outcomes = await batcher.submit_all(range(23))
        assert anyio.current_time() == start
        assert waiting.done
        assert await batcher.submit_all([]) == []

    assert [outcome.data for outcome in outcomes] == list(range(23))  # type: ignore[attr-defined]
    assert api.sizes == [10, 10, 4]
    assert reasons(events)[-1] is FlushReason.SUBMIT_ALL


async def test_p03_a_due_batch_keeps_filling_while_a_limit_holds_it():
    """Held by the in-flight limit, it takes in what comes, up to max_records."""
    api = Api(seconds=10)
    policy = AutoBatchPolicy(max_records=5, max_delay=1)
    async with Batcher(api, auto_batch=policy, limits=Limits(max_in_flight=1)) as batcher:
        for n in range(8):
            batcher.submit_nowait(n, key="a")
            await anyio.sleep(1)
        await batcher.flush()

    assert api.batches == [(0, 1), (2, 3, 4, 5, 6), (7,)] or api.batches == [(0,), (1, 2, 3, 4, 5), (6, 7)]


async def test_p03_timers_do_not_pile_up():
    """One structure holds all deadlines; what was sent early leaves no timer behind (B2)."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=2, max_delay=5)) as batcher:
        for n in range(1_000):
            batcher.submit_nowait(n, key=n % 10)
        await anyio.wait_all_tasks_blocked()
        assert batcher.statistics().pending == 0
        assert len(batcher._engine.accumulator.scheduler.deadlines) == 0
        start = anyio.current_time()
        await anyio.sleep(100)
        assert anyio.current_time() - start == 100

    assert api.sizes == [2] * 500
