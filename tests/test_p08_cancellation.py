"""P8 cancellation hurts nobody else."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    Event,
    EventKind,
    Limits,
    NotWritten,
    RecordNotWritten,
    Rejected,
    Retry,
    RetryPolicy,
    Unknown,
)
from tests.api import Api, gather

pytestmark = pytest.mark.anyio
LATER = AutoBatchPolicy(max_delay=10)
NOW = AutoBatchPolicy(max_delay=0)


async def cancelled_after(seconds: float, call: Any) -> bool:
    with anyio.move_on_after(seconds) as scope:
        await call()
    return scope.cancelled_caught


async def test_p08_a_cancelled_submit_withdraws_what_is_buffered():
    """It is not sent, its place is given back, and its batchmates never notice."""
    api = Api()
    async with Batcher(api, auto_batch=LATER) as batcher:
        mates = [batcher.submit_nowait(n) for n in range(2)]
        assert await cancelled_after(1, partial(batcher.submit, "gone"))
        assert batcher.statistics().pending == 2
        await batcher.flush()
        assert [await mate for mate in mates] == [0, 1]

    assert api.batches == [(0, 1)]


async def test_p08_the_opener_cancelled_the_next_one_has_its_own_delay():
    """The delay counts from the first record that is still there."""
    api = Api()
    async with Batcher(api, auto_batch=LATER) as batcher:
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancelled_after, 5, partial(batcher.submit, "gone"))
            await anyio.sleep(3)
            await batcher.submit("stays")
        assert anyio.current_time() - start == 13

    assert api.batches == [("stays",)]


async def test_p08_a_cancelled_submit_in_flight_is_detached_and_its_outcome_reaches_the_hook():
    """The call runs to its end, the mates get their results, and somebody observes the outcome."""
    events: list[Event] = []
    api = Api(lambda records: [Rejected(ValueError("x")), *records[1:]], seconds=5)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=2, max_delay=9), on_event=events.append) as batcher:
        results: list[Any] = []

        async def stay() -> None:
            await anyio.sleep(0.5)
            results.append(await batcher.submit("stays"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stay)
            assert await cancelled_after(2, partial(batcher.submit, "gone"))

    assert results == ["stays"]
    assert api.batches == [("gone", "stays")]
    (detached,) = [event for event in events if event.kind is EventKind.DETACHED]
    assert detached.outcomes == {"rejected": 1}
    assert detached.codes == ("ValueError",)


async def test_p08_a_submit_cancelled_in_the_step_that_cut_its_batch_is_detached():
    """Also when its own submit cut the batch: the record is sent, and not sent twice."""
    events: list[Event] = []
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=1), on_event=events.append) as batcher:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await batcher.submit("a")
        await batcher.flush()

    assert api.batches == [("a",)]
    assert [event.kind for event in events].count(EventKind.DETACHED) == 1


async def test_p08_a_cancelled_submit_behind_an_identity_is_withdrawn():
    """What is parked is taken out of its queue."""
    api = Api(seconds=5)
    async with Batcher(api, auto_batch=NOW) as batcher:
        batcher.submit_nowait("first", identity="ada")
        assert await cancelled_after(1, partial(batcher.submit, "gone", identity="ada"))
        await batcher.submit("third", identity="ada")

    assert [call.records for call in api.calls] == [("first",), ("third",)]


async def test_p08_a_cancelled_submit_that_backs_off_is_not_tried_again():
    """No further attempt, and the lane is free for others."""
    api = Api([Retry("429", after=30)])
    async with Batcher(api, auto_batch=NOW) as batcher:
        assert await cancelled_after(1, partial(batcher.submit, "gone"))
        assert batcher.statistics().pending == 0
        assert await batcher.submit("b") == "b"
        await anyio.sleep(60)

    assert api.batches == [("gone",), ("b",)]


async def test_p08_withdraw_tells_whether_it_was_possible_and_settles_the_receipt():
    """True: not written, known. False: a call carries it, or it is over."""
    api = Api(seconds=5)
    async with Batcher(api, auto_batch=LATER) as batcher:
        receipt = batcher.submit_nowait("a")
        assert receipt.withdraw() is True
        assert receipt.withdraw() is False
        assert receipt.outcome == NotWritten("withdrawn by its caller", 0)
        with pytest.raises(RecordNotWritten, match="withdrawn"):
            await receipt
        sent = batcher.submit_nowait("b", max_delay=0)
        await anyio.sleep(1)
        assert sent.withdraw() is False
        assert await sent == "b"
        assert sent.withdraw() is False


async def test_p08_withdrawing_what_may_have_been_applied_is_unknown():
    """An earlier attempt stays doubtful."""
    api = Api([Retry("504", after=30, applied="maybe")])
    async with Batcher(api, auto_batch=NOW, retry=RetryPolicy(on_unknown="retry")) as batcher:
        receipt = batcher.submit_nowait("a")
        await anyio.sleep(1)
        assert receipt.withdraw()
        assert receipt.outcome == Unknown("withdrawn by its caller")


async def test_p08_a_cancelled_await_of_a_receipt_only_stops_waiting():
    """The record goes on, and others who wait for it get it."""
    api = Api(seconds=5)
    async with Batcher(api, auto_batch=NOW) as batcher:
        receipt = batcher.submit_nowait("a")

        async def wait() -> Any:
            return await receipt

        results = await gather(wait, partial(cancelled_after, 1, wait), wait, partial(cancelled_after, 2, wait))
        assert results == ["a", True, "a", True]
        assert await receipt == "a"  # any number of times

    assert api.batches == [("a",)]


async def test_p08_a_cancelled_flush_only_stops_waiting():
    """What it made due is on its way all the same."""
    api = Api(seconds=5)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=100)) as batcher:
        receipt = batcher.submit_nowait("a")
        assert await cancelled_after(1, batcher.flush)
        assert await receipt == "a"


@pytest.mark.parametrize("verb", ["submit", "submit_all"])
async def test_p08_a_flush_ends_although_a_submit_in_flight_is_cancelled(verb):
    """Who else waits for the record is not forgotten when its caller goes."""
    api = Api(seconds=5)
    events: list[Event] = []
    async with Batcher(api, auto_batch=NOW, on_event=events.append) as batcher:
        call = partial(batcher.submit, "a") if verb == "submit" else partial(batcher.submit_all, ["a", "b"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancelled_after, 2, call)
            await anyio.sleep(1)
            start = anyio.current_time()
            with anyio.fail_after(1000):
                await batcher.flush()
            assert anyio.current_time() - start == 4
    assert EventKind.DETACHED in [event.kind for event in events]


async def test_p08_an_enqueue_cancelled_while_its_place_becomes_free():
    """Both in one step: the record is taken back, and the next in line gets the place."""
    api = Api(seconds=5)
    limits = Limits(max_pending_records=2, max_lane_records=2)
    async with Batcher(api, limits=limits, auto_batch=NOW) as batcher:
        batcher.submit_nowait("head", key="x", identity="ada")
        parked = batcher.submit_nowait("parked", key="x", identity="ada")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(batcher.enqueue, "gone")
                await anyio.sleep(1)
                scope.cancel()
                assert parked.withdraw()
        assert batcher.statistics().pending == 1
        assert await batcher.submit("next") == "next"
    assert [call.records for call in api.calls] == [("head",), ("next",)]


async def test_p08_thousands_of_waiters_cancelled_in_one_step():
    """Their place goes from one to the next without depth; at most the first in line was cut by then, and detached."""
    api = Api(seconds=5)
    limits = Limits(max_pending_records=2, max_lane_records=2)
    async with Batcher(api, limits=limits, auto_batch=NOW) as batcher:
        batcher.submit_nowait("head", key="x", identity="ada")
        parked = batcher.submit_nowait("parked", key="x", identity="ada")
        async with anyio.create_task_group() as tasks:
            for n in range(3_000):
                tasks.start_soon(batcher.enqueue, n)
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()
            assert parked.withdraw()
        assert batcher.statistics().waiting == 0
        assert batcher.statistics().pending <= 2
        await batcher.flush()
    assert len(api.calls) <= 2


async def test_p08_waiting_again_and_again_piles_nothing_up():
    """A receipt that is polled with a timeout keeps the waiters that still wait, and no others."""
    api = Api(seconds=1_000)
    limits = Limits(call_timeout=5_000, shutdown_timeout=5_000)
    async with Batcher(api, auto_batch=NOW, limits=limits) as batcher:
        receipt = batcher.submit_nowait("a")

        async def wait() -> Any:
            return await receipt

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            for _ in range(50):
                assert await cancelled_after(1, wait)
                assert await cancelled_after(1, batcher.flush)
            assert len(receipt.waiter._waiters) <= 4
            with anyio.fail_after(2_000):
                await batcher.flush()
        lone = batcher.submit_nowait("b")
        for _ in range(50):
            with anyio.move_on_after(1):
                await lone
        assert not hasattr(lone.waiter, "_waiters")


async def test_p08_a_flush_after_one_that_was_cancelled_still_ends():
    """It does not lean on a count that somebody else has given up."""
    api = Api(seconds=100)
    limits = Limits(call_timeout=500, shutdown_timeout=500)
    async with Batcher(api, auto_batch=NOW, limits=limits) as batcher:
        receipt = batcher.submit_nowait("a")
        assert await cancelled_after(1, batcher.flush)

        async def wait() -> Any:
            return await receipt

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(1_000):
                await batcher.flush()


async def test_p08_a_cancelled_submit_all_withdraws_and_detaches():
    """What is out runs to its end, the rest is not sent."""
    events: list[Event] = []
    api = Api(seconds=5)
    limits = Limits(max_in_flight=1)
    policy = AutoBatchPolicy(max_records=2)
    async with Batcher(api, limits=limits, auto_batch=policy, on_event=events.append) as batcher:
        assert await cancelled_after(1, partial(batcher.submit_all, range(6)))
        assert batcher.statistics().pending == 2
        await batcher.flush()

    assert api.batches == [(0, 1)]
    assert [event.kind for event in events].count(EventKind.DETACHED) == 2


async def test_p08_a_cancelled_admission_waiter_leaves_no_trace():
    """submit() or enqueue(): no place taken, no lane kept, and the next in line is not held up."""
    api = Api(seconds=5)
    limits = Limits(max_pending_records=1, max_lane_records=1)
    async with Batcher(api, limits=limits, auto_batch=NOW) as batcher:
        batcher.submit_nowait("first")
        assert await cancelled_after(1, partial(batcher.submit, "gone", key="x"))
        assert await cancelled_after(1, partial(batcher.enqueue, "gone", key="y"))
        assert await cancelled_after(1, partial(batcher.submit_all, ["gone"], key="z", all_or_none=True))
        statistics = batcher.statistics()
        assert (statistics.waiting, statistics.pending, statistics.lanes) == (0, 1, 1)
        assert await batcher.submit("next") == "next"

    assert [call.records for call in api.calls] == [("first",), ("next",)]


async def test_p08_everybody_cancelled_the_call_in_flight_still_ends_by_itself():
    """Nobody waits any more, and the write is not interrupted (strawberry cancels it)."""
    ended: list[str] = []

    async def write(key: Any, records: list[str]) -> list[str]:
        await anyio.sleep(5)
        ended.extend(records)
        return records

    async with Batcher(write, auto_batch=NOW) as batcher:
        calls = [partial(cancelled_after, 1, partial(batcher.submit, f"{n}")) for n in range(20)]
        assert await gather(*calls) == [True] * 20

    assert len(ended) == 20


async def test_p08_settled_and_cancelled_in_one_turn_is_reported():
    """The outcome came, but its caller was cancelled before he could see it: the hook gets it."""
    events: list[Event] = []
    scopes: list[anyio.CancelScope] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        await anyio.sleep(1)
        return records

    def on_event(event: Event) -> None:
        events.append(event)
        if event.kind is EventKind.ANSWERED:
            scopes[0].cancel()

    async with Batcher(write, auto_batch=NOW, on_event=on_event) as batcher:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await batcher.submit("a")
        seen = not scope.cancelled_caught
        detached = [event.kind for event in events].count(EventKind.DETACHED)
        assert seen + detached == 1  # exactly one of the two knows
