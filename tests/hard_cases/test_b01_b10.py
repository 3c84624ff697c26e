"""Bugs that real batchers had, first half: one test each, which names the line that keeps it out here."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Limits, Retry
from batcher.errors import RecordUnknown
from tests.api import Api, gather, results_of
from tests.hard_cases.guards import guards

pytestmark = pytest.mark.anyio


@guards("batcher._shell.runtime", "Runtime.act_on", "if self.engine.next_at < self.timer.armed_at:", broken="if False:")
@guards(
    "batcher._shell.workers",
    "WorkerPool._make_calls",
    "self._idle.append(waiter)",
    broken="pass",
)
@guards("batcher._shell.waiting", "AllSettled.set_result", "self._waiters.set_result(None)", broken="pass")
async def test_b01_no_wake_up_is_lost_between_flush_timer_and_submit():
    """Submits, flushes, timers and the end that fall on one moment, over and over: nobody is left behind.

    gax-java#1200 checked, was notified, and then waited; in google-api-go-client#475 the handler left while a bundle
    was queued; python-bigtable#896 checked and then read.
    """
    api = Api(seconds=0.25)
    policy = AutoBatchPolicy(max_records=3, max_delay=0.5)
    limits = Limits(max_in_flight=2, shutdown_timeout=1_000)
    async with Batcher[int, int](api, auto_batch=policy, limits=limits) as batcher:
        await anyio.sleep(10)  # everybody is asleep
        with anyio.fail_after(1):
            assert await batcher.submit(-1) == -1

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
        last = batcher.submit_nowait(0)
        left_at = anyio.current_time()
    assert anyio.current_time() - left_at < 1, "the end waits for no timeout"
    assert last.done
    assert batcher.statistics().settled == 802


@guards(
    "batcher._core.model.deadlines",
    "Deadlines._refresh",
    "while heap and current.get(heap[0][2])",
    broken="while [] and (current.get(heap[0][2]))",
)
async def test_b02_a_stale_timer_does_nothing():
    """A timer of a batch that has left by its size sends no part of the next one, and one of a settled record is none.

    aws-sdk-java-v2#6374: timers that were left behind cut batches of 2.5 records instead of 10.
    java-bigtable-hbase#2762 cancelled a timer after it had entered. librdkafka#5089 is one more.
    """
    api = Api()
    policy = AutoBatchPolicy(max_records=4, max_delay=1)
    async with Batcher[int, int](api, auto_batch=policy) as batcher:
        start = anyio.current_time()
        full = [batcher.submit_nowait(n, deadline=2) for n in range(4)]  # leaves; its timer would ring at 1
        await anyio.sleep(0.75)
        kept = batcher.submit_nowait(4)  # due at 1.75
        await anyio.sleep(0.5)
        taken_back = batcher.submit_nowait(5, deadline=1)
        assert not kept.done
        assert taken_back.withdraw()
        await kept
        assert anyio.current_time() - start == pytest.approx(1.75)
        await anyio.sleep(10)
        assert await batcher.submit(6) == 6

    assert all(receipt.done for receipt in full)
    assert api.batches == [(0, 1, 2, 3), (4,), (6,)]


@guards("batcher._core.engine", "Engine._may_send", "(at > now and not self._scheduler.closing)", broken="False")
async def test_b02_a_batch_that_is_due_no_longer_waits_on():
    """It was full, and had to wait for a call to end; meanwhile a record was taken back. It waits for company again.

    As with the others, what was true when the timer, or the turn, was noted need not be true when it comes.
    """
    api = Api(seconds=1)
    policy = AutoBatchPolicy(max_records=3, max_delay=10)
    async with Batcher[int, int](api, auto_batch=policy, limits=Limits(max_in_flight=1)) as batcher:
        start = anyio.current_time()
        receipts = [batcher.submit_nowait(n, key=key) for key in ("first", "second") for n in range(3)]
        assert receipts[4].withdraw()
        assert await results_of(receipts[:4] + receipts[5:]) == [0, 1, 2, 0, 2]
    assert [call.at - start for call in api.calls] == pytest.approx([0, 10])


@guards(
    "batcher._core.arriving",
    "Arriving.submit",
    "count >= queue.max_records and",
    broken="count > queue.max_records and",
)
@guards(
    "batcher._core.model.queues",
    "Queue.due_at",
    "len(self.entries) - self.dead >= self.max_records",
    broken="len(self.entries) - self.dead > self.max_records",
)
@pytest.mark.parametrize("options", [{}, {"identity": True}], ids=["plain", "with an identity"])
async def test_b03_a_full_batch_waits_for_no_further_record(options):
    """The submit that fills a batch sends it: with nobody else to come, nobody would wake it.

    gax compares with ``>``, so a full batch waits for record N + 1; so does the TryAdd of Cosmos.
    """
    api = Api()
    policy = AutoBatchPolicy(max_records=3, max_delay=3600)
    async with Batcher[int, int](api, auto_batch=policy) as batcher:
        start = anyio.current_time()
        names = [dict.fromkeys(options, n) for n in range(3)]
        receipts = [batcher.submit_nowait(n, **names[n]) for n in range(3)]
        assert batcher.statistics().in_flight == 1, "cut within the third submit"
        assert await results_of(receipts) == [0, 1, 2]
        assert anyio.current_time() == start
    assert api.sizes == [3]


@guards("batcher._core.model.queues", "Queue.due_at", "self.entries[0].due_at", broken="self.entries[-1].due_at")
@guards(
    "batcher._core.model.entries",
    "Entry.due_at.fget",
    "return self.accepted_at +",
    broken="return self.accepted_at // 1 +",
)
async def test_b04_the_delay_counts_from_the_first_record():
    """Not from the last one, nor from a tick, nor from the end of the call before.

    gax, Bigtable and esutil tick periodically, aiokafka#1137 counts between requests, Vector changed from one to the
    other in #9004; async-batcher starts anew with each arrival.
    """
    api = Api(seconds=0.25)
    policy = AutoBatchPolicy(max_delay=0.5)
    async with Batcher[int, int](api, auto_batch=policy) as batcher:
        await anyio.sleep(0.3125)  # off any tick
        first, gap = anyio.current_time(), 5 / 32
        for n in range(20):  # during the delay of the next ones, calls end
            batcher.submit_nowait(n)
            await anyio.sleep(gap)
        await anyio.sleep(1)
    assert api.sizes == [4] * 5
    assert [call.at - first for call in api.calls] == pytest.approx([n * gap + 0.5 for n in range(0, 20, 4)])


@guards("batcher._core.arriving", "Arriving._filled", "self.collect(now)  # what is due", broken="pass  # what is due")
@pytest.mark.parametrize("limit", [1, 2])
async def test_b05_a_cold_key_is_served_although_a_busy_one_never_pauses(limit):
    """What is due goes before what has just come in, even if the loop finds no time for the clock.

    Vector polls its input before its timers, so that an input that is never idle delays what has expired;
    cockroach#89299 and restate#1051 share slots.
    """
    api = Api()
    policy = AutoBatchPolicy(max_records=10, max_delay=0.0)
    async with Batcher[Any, Any](api, auto_batch=policy, limits=Limits(max_in_flight=limit)) as batcher:
        cold = batcher.submit_nowait("cold", key="cold")  # due at once
        for n in range(100):  # without a turn of the loop
            batcher.submit_nowait(n, key="busy")
        await cold
        await batcher.flush()
    assert "cold" in [call.key for call in api.calls[:2]]
    assert api.calls[0].key == "cold", "it was due before the other was full"


@guards("batcher.batching", "Batcher.submit", "runtime.abandon((entry,))", broken="pass")
@guards(
    "batcher._shell.backend.waiters",
    "wake",
    "if waiter is not None and not waiter.done():",
    broken="if waiter is not None:",
)
async def test_b06_a_cancelled_caller_leaks_nothing_and_takes_nobody_along():
    """Cancelled in the buffer: never sent, place given back. Cancelled in flight: the others get their results.

    ray#41057 and #50046, async-batcher and aiodataloader leave survivors hanging; BentoML makes a fallback value of
    a cancellation.
    """
    api = Api(seconds=1)
    limits = Limits(max_pending_records=10, max_lane_records=10)
    policy = AutoBatchPolicy(max_records=10, max_delay=0.5)
    results: list[int] = []
    async with Batcher[int, int](api, auto_batch=policy, limits=limits) as batcher:

        async def caller(n: int, patience: float) -> None:
            with anyio.move_on_after(patience):
                results.append(await batcher.submit(n))

        async with anyio.create_task_group() as tasks:
            for n in range(9):
                tasks.start_soon(caller, n, [0.25, 1, 100][n % 3])  # in the buffer, in flight, not at all
            await anyio.sleep(0.375)
            assert batcher.statistics().pending == 6
            tasks.start_soon(caller, 9, 100)
        assert batcher.statistics().pending == 0
    assert [sorted(batch) for batch in api.batches] == [[1, 2, 4, 5, 7, 8, 9]]
    assert sorted(results) == [2, 5, 8, 9]


@guards("batcher._shell.hooks", "call_guarded", "if stops_programs(error):", broken="if True:")
async def test_b07_a_callback_that_raises_kills_nobody():
    """The hook, a callback of a receipt, and ``size_of`` may raise: only a ``size_of`` costs its own submit an error.

    ray#66140 (``batch_size_fn``), kafka-python#1543 and syrusakbary/promise#29 lost the loop to one.
    """

    def size_of(record: Any) -> int:
        if record == "bad":
            raise ZeroDivisionError
        return 1

    def explode(_: object) -> None:
        raise ZeroDivisionError("from a callback")

    api = Api()
    async with Batcher[Any, Any](api, size_of=size_of, on_event=explode) as batcher:
        receipt = batcher.submit_nowait("a")
        receipt.add_done_callback(explode)
        results = await gather(*(partial(batcher.submit, record) for record in ["b", "bad", "c"]))
        assert await receipt == "a"
        assert await batcher.submit("d") == "d"
        assert batcher.statistics().pending == 0
    assert [type(each) for each in results] == [str, ZeroDivisionError, str]


@guards("batcher._core.verdicts", "listed", "if len(verdicts) != count:", broken="if False:")
@pytest.mark.parametrize(
    "change", [lambda rows: rows[1:], lambda rows: [*rows, 0], lambda rows: []], ids=["too few", "too many", "none"]
)
async def test_b08_no_result_is_given_to_the_wrong_caller(change):
    """With one answer too few or too many nobody knows whose is whose: unknown for all, and the figures are told.

    aioautobatch hangs or shifts the answers, Hystrix#1176 and #1734 mixed them up, in prime#852 a 404 of one item
    failed all.
    """
    api = Api(change)
    async with Batcher[int, int](api) as batcher:
        results = await gather(*(partial(batcher.submit, n) for n in range(5)))
        assert await batcher.submit(5) == 5
    assert [type(each) for each in results] == [RecordUnknown] * 5
    assert f"{len(change(list(range(5))))} items for 5 records" in str(results[0].outcome.cause)


@guards("batcher._core.engine", "Engine.settle", "self._scheduler.reschedule(batch.lane, now)", broken="pass")
async def test_b09_a_failed_call_takes_nothing_along():
    """What came in while a call was failing is sent by the next one.

    go-elasticsearch#623, #732, #1041 and #1227: the same bug, mended in 2023 and again in 2026.
    """
    api = Api(ConnectionError(), seconds=1)
    limits = Limits(max_lane_in_flight=1)
    async with Batcher[int, int](api, limits=limits, auto_batch=AutoBatchPolicy(max_records=2)) as batcher:
        lost = [batcher.submit_nowait(n) for n in range(2)]
        await anyio.sleep(0.5)
        kept = [batcher.submit_nowait(n) for n in range(2, 5)]
        await batcher.flush()
        statistics = batcher.statistics()

    assert {receipt.outcome.kind for receipt in lost if receipt.outcome} == {"unknown"}
    assert {receipt.outcome.kind for receipt in kept if receipt.outcome} == {"written"}
    assert statistics.accepted == statistics.settled == 5


@guards(
    "batcher._core.engine",
    "Engine.settle",
    "batch.lane.in_flight -= 1",
    broken="batch.lane.in_flight -= type(answer).__name__ != 'Retry'",
)
async def test_b10_a_retry_needs_no_place_that_somebody_else_holds():
    """With all places taken and everybody waiting, what backs off holds no call, keeps its place, and comes back.

    elasticsearch#47599: the retry needed the thread that flush held; elasticsearch-java#651, OpenTelemetry's
    collector#10255 and #12244. See also test_workers for a submit inside of write, which would wait for itself.
    """
    api = Api(*[Retry("busy")] * 5)
    limits = Limits(max_pending_records=4, max_lane_records=4, max_in_flight=1)
    async with Batcher[int, int](api, limits=limits, auto_batch=AutoBatchPolicy(max_records=2)) as batcher:
        results = await gather(*(partial(batcher.submit, n) for n in range(30)))

    assert results == list(range(30))
