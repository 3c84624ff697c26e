"""P11 it ends: leaving drains, within its time."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from math import inf
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherClosed,
    BatcherNotOpen,
    Event,
    EventKind,
    FlushReason,
    Limits,
    NotWritten,
    Receipt,
    Retry,
    Unknown,
)
from tests.api import Api, gather

pytestmark = pytest.mark.anyio
LATER = AutoBatchPolicy(max_delay=3600)
NOW = AutoBatchPolicy(max_delay=0)


async def test_p11_leaving_sends_what_is_buffered_without_waiting_for_the_delay():
    """250 waiting at the end: all are written (smartbatch loses 150)."""
    events: list[Event] = []
    api = Api(seconds=1)
    start = anyio.current_time()
    async with Batcher(api, auto_batch=LATER, on_event=events.append) as batcher:
        receipts = [batcher.submit_nowait(n, key=n % 4) for n in range(250)]

    assert all(receipt.outcome is not None and receipt.outcome.ok for receipt in receipts)
    assert anyio.current_time() - start == 1
    assert {event.reason for event in events if event.kind is EventKind.DISPATCHED} == {FlushReason.CLOSING}


async def test_p11_an_exception_of_the_body_drains_and_leaves_bare():
    """The records are written, and the caller sees his own exception, not a group around it."""
    api = Api(seconds=1)
    error = ValueError("mine")
    error.__cause__ = KeyError("its cause")
    with pytest.raises(ValueError, match="mine") as caught:
        async with Batcher(api, auto_batch=LATER) as batcher:
            receipt = batcher.submit_nowait("a")
            raise error

    assert caught.value is error
    assert isinstance(error.__cause__, KeyError)
    assert error.__context__ is None
    assert await receipt == "a"


async def test_p11_an_exception_group_of_the_body_stays_intact():
    """It is neither unwrapped nor wrapped once more."""
    group = ExceptionGroup("mine", [ValueError("one")])
    with pytest.raises(ExceptionGroup) as caught:
        async with Batcher(Api()):
            raise group

    assert caught.value is group


async def test_p11_a_delay_of_never_still_drains():
    """max_delay=math.inf means full batches and flushes only, and the end is a flush."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=inf)) as batcher:
        first = batcher.submit_nowait("a")
        await anyio.sleep(1e6)
        assert not first.done
        await batcher.flush()
        last = batcher.submit_nowait("b", max_delay=inf, key="other")

    assert first.outcome is not None
    assert first.outcome.ok
    assert last.outcome is not None
    assert last.outcome.ok


async def test_p11_the_drain_ends_with_the_shutdown_timeout():
    """What is out then is cancelled and unknown, what is left is not written, and leaving ends (U5)."""
    api = Api(seconds=3600)
    limits = Limits(shutdown_timeout=30, max_in_flight=1)
    start = anyio.current_time()
    async with Batcher(api, limits=limits, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
        out, buffered = batcher.submit_nowait("a"), batcher.submit_nowait("b")

    assert anyio.current_time() - start == 30
    assert out.outcome == Unknown("the shutdown timeout of 30 s passed")
    assert buffered.outcome == NotWritten("the shutdown timeout of 30 s passed", 0)


async def test_p11_retries_that_would_come_too_late_are_settled_at_once():
    """Nobody holds a shutdown up for a try that it will not live to see."""
    api = Api([Retry("429", after=50)])
    start = anyio.current_time()
    async with Batcher(api, auto_batch=NOW) as batcher:
        receipt = batcher.submit_nowait("a")
        await anyio.sleep(1)

    assert anyio.current_time() - start == 1
    assert receipt.outcome == NotWritten("the batcher closed before its next try", 1)


async def test_p11_a_retry_within_the_shutdown_is_still_made():
    """The drain waits for a backoff that ends in time."""
    api = Api([Retry("429", after=10)])
    async with Batcher(api, auto_batch=NOW) as batcher:
        receipt = batcher.submit_nowait("a")
        await anyio.sleep(1)

    assert receipt.outcome is not None
    assert receipt.outcome.ok


async def test_p11_a_lane_paused_beyond_the_end_is_settled_at_once():
    """What it holds cannot be sent any more, and says so."""
    api = Api([Retry("429", after=45, pause_lane=True)])
    start = anyio.current_time()
    async with Batcher(api, auto_batch=NOW) as batcher:
        first = batcher.submit_nowait("a")
        await anyio.sleep(1)
        receipts = [batcher.submit_nowait(n, identity=n % 2) for n in range(6)]

    assert anyio.current_time() - start == 1
    assert first.outcome == NotWritten("the batcher closed before its next try", 1)
    assert {receipt.outcome for receipt in receipts} == {
        NotWritten("its lane is paused beyond the shutdown timeout", 0)
    }


async def test_p11_the_async_with_waits_for_a_write_that_ignores_cancellation():
    """Structured concurrency forbids less; the receipts are settled long before."""

    async def write(key: Any, records: list[Any]) -> list[Any]:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(100)
        return records

    start = anyio.current_time()
    settled_at: list[float] = []

    async with anyio.create_task_group() as outside:

        async def wait(receipt: Receipt[Any]) -> None:
            while not receipt.done:
                await anyio.sleep(1)
            settled_at.append(anyio.current_time() - start)

        async with Batcher(write, auto_batch=NOW, limits=Limits(shutdown_timeout=5)) as batcher:
            receipt = batcher.submit_nowait("a")
            outside.start_soon(wait, receipt)
            await anyio.sleep(0.5)
        assert anyio.current_time() - start == 100

    assert settled_at == [6]
    assert receipt.outcome == Unknown("the shutdown timeout of 5 s passed")


async def test_p11_closing_closes_the_gate():
    """Waiters for a place get BatcherClosed, and so does whoever comes later."""
    api = Api(seconds=5)
    limits = Limits(max_pending_records=1, max_lane_records=1)
    results: list[Any] = []

    async with anyio.create_task_group() as outside, Batcher(api, limits=limits, auto_batch=NOW) as batcher:

        async def attempt(call: Any) -> None:
            try:
                results.append(await call())
            except Exception as error:
                results.append(error)

        batcher.submit_nowait("a")
        outside.start_soon(attempt, partial(batcher.submit, "b"))
        outside.start_soon(attempt, partial(batcher.enqueue, "c"))
        outside.start_soon(attempt, partial(batcher.submit_all, ["d", "e"]))
        await anyio.sleep(1)

        async def late() -> None:
            await anyio.sleep(2)
            await attempt(partial(batcher.submit, "f"))

        outside.start_soon(late)
        await anyio.sleep(1)

    closed = [result for result in results if isinstance(result, BatcherClosed)]
    (outcomes,) = [result for result in results if isinstance(result, list)]
    assert len(closed) == 3
    assert len({id(error) for error in closed}) == 3
    assert {outcome.kind for outcome in outcomes} == {"not_written"}
    assert api.batches == [("a",)]


async def test_p11_after_closing_everything_is_refused():
    """Each verb says so, each time with an exception of its own."""
    async with Batcher(Api()) as batcher:
        pass
    results = await gather(
        partial(batcher.submit, 1), partial(batcher.enqueue, 1), partial(batcher.submit_all, [1]), batcher.flush
    )
    assert [type(result) for result in results] == [BatcherClosed] * 4
    with pytest.raises(BatcherClosed, match="closing or closed"):
        batcher.submit_nowait(1)


async def test_p11_entering_twice_is_refused():
    """A batcher lives once."""
    batcher = Batcher[Any, Any](Api())
    async with batcher:
        with pytest.raises(BatcherNotOpen, match="entered before"):
            await batcher.__aenter__()
        assert await batcher.submit("a") == "a"
    with pytest.raises(BatcherNotOpen, match="make a new one"):
        async with batcher:
            pass


async def test_p11_submitting_before_entering_is_refused():
    """Clear error, nobody hangs."""
    batcher = Batcher[Any, Any](Api())
    with pytest.raises(BatcherNotOpen, match="async with Batcher"):
        await batcher.submit("a")
    with pytest.raises(BatcherNotOpen, match=r"submit_nowait\(\) before entering"):
        batcher.submit_nowait("a")


def test_p11_a_batcher_collected_unclosed_warns():
    """Whoever forgets the async with hears of it."""

    async def forget() -> None:
        batchers = [Batcher[Any, Any](Api())]
        await batchers[0].__aenter__()
        with pytest.warns(ResourceWarning, match="unclosed <Batcher open"):
            batchers.clear()
            gc.collect()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(forget())
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    finally:
        loop.close()


async def test_p11_a_batcher_that_was_closed_or_never_opened_warns_of_nothing(recwarn):
    """No false alarm."""
    batcher = Batcher[Any, Any](Api())
    async with batcher:
        pass
    unused = Batcher[Any, Any](Api())
    del batcher, unused
    gc.collect()
    assert not [warning for warning in recwarn if issubclass(warning.category, ResourceWarning)]
