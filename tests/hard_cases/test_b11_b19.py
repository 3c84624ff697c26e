"""Bugs that real batchers had, second half: one test each, which names the line that keeps it out here."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Limits, Refused, RetryPolicy
from batcher.errors import RecordNotWritten, RecordRejected, RecordUnknown
from batcher.outcomes import Retry
from tests.api import Api, gather, results_of
from tests.hard_cases.guards import guards

pytestmark = pytest.mark.anyio


@guards(
    "batcher._core.arriving",
    "Arriving._press_all",
    "self._scheduler.force_all(FlushReason.PRESSURE, now)",
    broken="pass",
)
@guards("batcher._core.arriving", "Arriving._press", "lane.queue.force(FlushReason.PRESSURE)", broken="pass")
@pytest.mark.parametrize("lane_records", [6, 2], ids=["all places are taken", "a lane is full"])
async def test_b11_a_batcher_full_of_half_filled_batches_sends_them(lane_records):
    """Whoever waits for a place makes those leave who hold one and only wait for company.

    A comment in gax fears it; OpenTelemetry's collector#15944 and google-cloud-cpp#6678 had it.
    """
    api = Api()
    policy = AutoBatchPolicy(max_records=100, max_delay=3600)
    limits = Limits(max_pending_records=6, max_lane_records=lane_records)
    async with Batcher[int, int](api, auto_batch=policy, limits=limits) as batcher:
        start = anyio.current_time()
        held = [batcher.submit_nowait(n, key=n % 3) for n in range(6)]
        newcomer = await batcher.enqueue(6, key="new" if lane_records == 6 else 0)
        assert anyio.current_time() - start < 1
        if lane_records == 6:
            assert await results_of(held) == list(range(6))
        await batcher.flush()
    assert newcomer.done


@guards("batcher._core.lanes", "Lanes.forget_if_idle", "del self.by_key[lane.name]", broken="pass")
@guards("batcher._core.admission", "Admission.has_room", "<= limits.max_pending_records", broken="< 1e9")
async def test_b12_memory_is_bounded_and_gone_keys_cost_nothing():
    """Under more load than the destination takes the ceiling holds, and keys that are gone leave nothing behind.

    OpenTelemetry's collector#15747 and #13672; kpl#12, #21, #122; batch-aint-one before 0.13.
    """
    api = Api(seconds=0.5)
    limits = Limits(max_pending_records=50, max_lane_records=50)
    most = 0
    async with Batcher[int, int](api, limits=limits) as batcher:

        async def caller(n: int) -> None:
            nonlocal most
            assert await batcher.submit(n, key=n) == n
            most = max(most, batcher.statistics().pending)

        async def watch() -> None:
            nonlocal most
            for _ in range(20):
                most = max(most, batcher.statistics().pending)
                await anyio.sleep(0.125)

        await gather(watch, *(partial(caller, n) for n in range(1_000)))
        assert batcher.statistics().lanes == 0
        assert batcher.statistics().settled == 1_000
    assert most == 50


@guards(
    "batcher._core.model.queues",
    "Queue.put_back",
    "self.entries.extendleft(reversed(entries))",
    broken="self.entries.extend(entries)",
)
async def test_b13_what_is_sent_again_goes_in_front():
    """Younger records do not overtake those that were asked to come again.

    librdkafka#1092, critical, even with one request in flight; #623 and #2004.
    """
    api = Api(Retry("busy", after=2, pause_lane=True))
    policy = AutoBatchPolicy(max_records=4, max_delay=0.5)
    async with Batcher[int, int](
        api, auto_batch=policy, limits=Limits(max_lane_in_flight=1), retry=RetryPolicy(backoff_base=0)
    ) as batcher:
        receipts = []
        for n in range(8):
            receipts.append(batcher.submit_nowait(n))
            await anyio.sleep(0.125)
        assert await results_of(receipts) == list(range(8))
    assert api.batches[0] == (0, 1, 2, 3)
    assert [n for batch in api.batches[1:] for n in batch] == list(range(8))


@guards("batcher._core.identities", "Identities.join", "heads = heads and not queue", broken="heads = True")
async def test_b13_a_retry_lets_no_later_write_of_its_record_pass():
    """Two writes of one remote record: while the first backs off, the second stays behind, in another lane too.

    librdkafka#1092: messages of one partition changed places when the first was retried.
    """
    api = Api(lambda records: [Retry("busy", after=5)])
    async with Batcher[str, str](api) as batcher:
        first = batcher.submit_nowait("first", key="update", identity=7)
        second = batcher.submit_nowait("second", key="delete", identity=7)
        assert await results_of([second, first]) == ["second", "first"]
    assert api.batches == [("first",), ("first",), ("second",)]


@guards("batcher._core.settling", "Settling._goes_again", "return not doubtful and", broken="return True or")
@guards("batcher._core.engine", "Engine.give_up_on", "fates = [Unknown(error)]", broken="fates = [None]")
@guards(
    "batcher._shell.runtime",
    "Runtime.run",
    "if self.step(self.engine.give_up_on, batch, error, now):",
    broken="if False:",
)
@pytest.mark.parametrize("loss", ["the call times out", "the answer is lost", "verdicts in doubt"])
async def test_b14_what_may_have_been_applied_is_not_sent_again(loss):
    """After a timeout the record may be there: its caller is told so, once the timeout is over, and nothing is doubled.

    librdkafka#1958 and #4953; Segment had duplicates in Salesforce, because the try after a timeout met the original,
    which was still worked on; quickbooks-ruby#343.
    """
    applied: list[str] = []

    async def write(_: object, records: list[str]) -> list[Any]:
        applied.extend(records)
        if len(applied) > 2:
            return records
        match loss:
            case "the call times out":
                with anyio.CancelScope(shield=True):  # it is still worked on, whoever waits for it or not
                    await anyio.sleep(20)
            case "the answer is lost":
                raise ConnectionResetError
        return [Retry(TimeoutError(), applied="maybe")] * len(records)

    async with Batcher(write, limits=Limits(call_timeout=5)) as batcher:
        start = anyio.current_time()
        results = await gather(*(partial(batcher.submit, name) for name in ("a", "b")))
        assert anyio.current_time() - start < 6
        assert [type(each) for each in results] == [RecordUnknown] * 2
        assert [each.applied for each in results] == ["maybe"] * 2
        await anyio.sleep(300)
    assert sorted(applied) == ["a", "b"]


@guards(
    "batcher._core.settling",
    "Settling._failed",
    "self._isolating.isolate(batch, error, now, jitter)",
    broken="self._again(batch.entries, [Retry('refused')], now, jitter)",
)
@guards("batcher._core.isolating", "Isolating.isolate", "if len(entries) == 1:", broken="if True:")
async def test_b15_a_poisonous_record_is_neither_retried_for_ever_nor_takes_all_along():
    """A batch that is refused as a whole costs one record its fate, and the others a few calls.

    beats#14350 sent such a batch again for ever; its repair, #29368, dropped all of it; then came halving, #34911.
    """

    def answer(records: list[int]) -> Any:
        return Refused("something in there is bad") if 42 in records else records

    api = Api(*[answer] * 1_000)
    async with Batcher[int, int](api) as batcher:
        results = await gather(*(partial(batcher.submit, n) for n in range(100)))
    rejected = [each for each in results if isinstance(each, RecordRejected)]
    assert [each.record for each in rejected] == [42]
    assert [each for each in results if each not in rejected] == [n for n in range(100) if n != 42]
    assert len(api.calls) <= 14


@guards("batcher._core.model.budgets", "SearchBudget.spend", "if calls > self.calls:", broken="if False:")
async def test_b16_the_search_for_culprits_does_not_flood():
    """With every record bad, halving all of them would double the calls: the search ends with its budget.

    litellm#31705. The rest is told that it was not isolated, rather than that it is bad.
    """
    api = Api(*[Refused("all bad")] * 1_000)
    async with Batcher[int, int](api, retry=RetryPolicy(isolation_calls=20)) as batcher:
        results = await gather(*(partial(batcher.submit, n) for n in range(100)))
    assert [type(each) for each in results] == [RecordRejected] * 100
    assert len(api.calls) <= 21
    assert {each.outcome.isolated for each in results} == {True, False}


@guards(
    "batcher._core.leaving",
    "Leaving.abort",
    "while units := list(accumulator.pending_units()):",
    broken="while units := []:",
)
@guards("batcher._core.leaving", "Leaving.abort", "accumulator.settle(unit, fates, now)", broken="pass")
async def test_b17_a_destination_that_is_down_at_the_end_loses_nobody():
    """What cannot be sent within the shutdown timeout is told to its caller: nothing is deleted in silence.

    OpenTelemetry's collector#15677 deleted its stored queue when the destination was down at shutdown.
    """
    api = Api(seconds=100)
    policy = AutoBatchPolicy(max_records=10, max_delay=1)
    limits = Limits(max_in_flight=2, shutdown_timeout=10)
    async with Batcher[int, int](api, auto_batch=policy, limits=limits) as batcher:
        receipts = [batcher.submit_nowait(n, identity=n % 90) for n in range(100)]
        await anyio.sleep(0.5)
    statistics = batcher.statistics()
    assert all(receipt.done for receipt in receipts)
    assert dict(statistics.outcomes) == {"unknown": 20, "not_written": 80}
    assert statistics.accepted == statistics.settled == 100


@guards("batcher._core.model.queues", "Queue.take", "self._forced = 0", broken="pass")
async def test_b18_batches_are_as_full_as_the_load_allows():
    """Not only correct: 10,000 records of 1,000 callers in 100 calls, and few calls at a trickle, after a flush too.

    OpenTelemetry's collector#9761, aws-sdk-java-v2#6374 and dataloader#294 worked, slowly, and no test told.
    """
    api = Api(seconds=0.125)
    async with Batcher[int, int](api) as batcher:

        async def caller() -> None:
            for i in range(10):
                await batcher.submit(i)

        await gather(*(caller for _ in range(1_000)))
        assert len(api.calls) <= 110  # the tail may be ragged
        api.calls.clear()
        async with anyio.create_task_group() as tasks:
            for n in range(200):  # a record every 10 ms: 5 or 6 fall into 50 ms
                batcher.submit_nowait(n)
                if n == 10:
                    tasks.start_soon(batcher.flush)
                await anyio.sleep(0.01)
        await batcher.flush()

    assert len(api.calls) <= 40


@guards(
    "batcher._shell.workers",
    "WorkerPool.next_timeout",
    "return began_at + self._call_timeout",
    broken="return began_at + 3600",
)
@guards("batcher._core.accumulator", "Accumulator.watch_expiry", "if expires_at < inf:", broken="if expires_at < -1:")
async def test_b19_the_timeout_of_a_call_is_not_that_of_a_member():
    """A member's deadline bounds its waiting and nobody else's; a call ends by its own timeout.

    cockroach#89299 and #91815: the deadline of a batch was that of its longest member, or none; then, #108873, one
    too short for a page.
    """
    api = Api(seconds=4)
    policy = AutoBatchPolicy(max_delay=2)
    limits = Limits(call_timeout=5, max_in_flight=1)
    async with Batcher[str, str](api, auto_batch=policy, limits=limits) as batcher:
        batcher.submit_nowait("first", max_delay=0)  # its call is out for 4 seconds
        await anyio.sleep(0.5)
        start = anyio.current_time()

        async def caller(name: str, deadline: float | None) -> Any:
            try:
                return await batcher.submit(name, deadline=deadline), anyio.current_time() - start
            except (RecordNotWritten, RecordUnknown) as error:
                return type(error), anyio.current_time() - start

        members: list[tuple[str, float | None]] = [("short", 1), ("middle", 5), ("endless", None)]
        fates = await gather(*(partial(caller, *member) for member in members))
        assert fates == [(RecordNotWritten, 1), ("middle", 7.5), ("endless", 7.5)]
        assert [sorted(batch) for batch in api.batches] == [["first"], ["endless", "middle"]]

        api.seconds, start = 1_000, anyio.current_time()
        fates = await gather(*(partial(caller, *member) for member in members[1:]))
        assert fates == [(RecordUnknown, 7), (RecordUnknown, 7)]
