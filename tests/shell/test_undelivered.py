"""What ends not written and nobody awaits: the function that gets it, or a line."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    ErrorDetail,
    Limits,
    NotWritten,
    Overloaded,
    Receipt,
    RecordError,
    Rejected,
    Retry,
    Unknown,
    Write,
    Writer,
    WriteType,
)
from batcher.destinations import SQLite
from tests.api import Api

pytestmark = pytest.mark.anyio

NOW = AutoBatchPolicy(max_delay=0)
LATER = AutoBatchPolicy(max_delay=5)
REJECTED = Rejected(ErrorDetail("no", code="DUP"))


class Sink:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, str, int]] = []

    def __call__(self, record: Any, outcome: Any, attempts: int) -> None:
        self.told.append((record, outcome.kind, attempts))


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "batcher" and each.levelno == logging.WARNING]


def verdicts(*each: Any) -> Any:
    return Api(list(each))


async def test_receipts_that_nobody_awaits_are_told_in_order():
    """Each that is not written, with its outcome and the calls made; of those that are written nothing."""
    sink = Sink()
    api = verdicts("x", REJECTED, Unknown("lost"), NotWritten("HTTP 401"), "y")
    async with Batcher(api, auto_batch=NOW, on_undelivered=sink) as batcher:
        for record in range(3):
            batcher.submit_nowait(record)
        for record in range(3, 5):
            await batcher.enqueue(record)
        await batcher.flush()  # which waits, but looks at no outcome
        assert sink.told == [(1, "rejected", 1), (2, "unknown", 1), (3, "not_written", 1)]


async def test_whoever_is_told_otherwise_is_not_told_again():
    """By an await, a callback, submit(), submit_all(), withdraw(), or because it was refused at once."""
    sink = Sink()
    limits = Limits(max_pending_records=3, max_lane_records=3)
    rejecting = Api(*[lambda records: [REJECTED] * len(records)] * 9)
    async with Batcher(rejecting, auto_batch=LATER, on_undelivered=sink, limits=limits) as batcher:
        batcher.submit_nowait(1).add_done_callback(lambda receipt: None)
        assert batcher.submit_nowait(2).withdraw()

        async def wait_for(receipt: Receipt[Any]) -> None:
            with pytest.raises(RecordError):
                await receipt

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for, batcher.submit_nowait(3))
            batcher.submit_nowait(4).add_done_callback(repr)
            with pytest.raises(Overloaded):
                batcher.submit_nowait(5)
        with pytest.raises(RecordError):
            await batcher.submit(6)
        await batcher.submit_all([7, 8])
        await batcher.submit_all([9, 10], all_or_none=True)
    assert sink.told == []


async def test_who_awaits_later_gets_the_outcome_all_the_same():
    """It was told as undelivered, for nobody could know."""
    sink = Sink()
    async with Batcher(verdicts(REJECTED), auto_batch=NOW, on_undelivered=sink) as batcher:
        receipt = batcher.submit_nowait("a")
        await anyio.sleep(1)
        assert sink.told == [("a", "rejected", 1)]
        with pytest.raises(RecordError, match="DUP"):
            await receipt


async def test_a_withdrawal_that_comes_too_late_tells_nothing_of_the_outcome():
    """A call carries it, so it is as if nobody had asked."""
    sink = Sink()
    async with Batcher(Api([REJECTED], seconds=5), auto_batch=NOW, on_undelivered=sink) as batcher:
        receipt = batcher.submit_nowait("a")
        await anyio.sleep(1)
        assert not receipt.withdraw()
    assert sink.told == [("a", "rejected", 1)]


async def test_an_await_that_was_cancelled_is_none():
    """Whoever has stopped waiting sees no outcome; another who waits does."""
    for others in (0, 1):
        sink = Sink()
        async with Batcher(Api([REJECTED], seconds=5), auto_batch=NOW, on_undelivered=sink) as batcher:
            receipt = batcher.submit_nowait("a")

            async def wait_for(receipt: Receipt[Any]) -> None:
                with pytest.raises(RecordError):
                    await receipt

            async with anyio.create_task_group() as tasks:
                for _ in range(others):
                    tasks.start_soon(wait_for, receipt)
                with anyio.move_on_after(1):
                    await receipt
        assert sink.told == [("a", "rejected", 1)] * (1 - others)


@pytest.mark.parametrize("verb", ["submit", "submit_all", "group"])
async def test_records_whose_caller_was_cancelled_while_the_call_was_out(verb):
    """All that is not written of them; the others of the same call belong to somebody."""
    sink = Sink()
    api = Api([REJECTED, "fine"], seconds=5)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0.1), on_undelivered=sink) as batcher:
        with anyio.move_on_after(1):
            if verb == "submit":
                batcher.submit_nowait("x").add_done_callback(repr)
                await batcher.submit("a")
            else:
                await batcher.submit_all(["a", "b"], all_or_none=verb == "group")
        assert sink.told == []
        api.script = [list]
        await anyio.sleep(10)
    wanted = {"submit": [], "submit_all": [("a", "rejected", 1)], "group": [("a", "rejected", 1)]}
    assert sink.told[:1] == wanted[verb]


async def test_a_submit_that_is_cancelled_before_its_call_is_told_and_is_no_line(caplog):
    """It ends not written, and its caller is gone. A caller who goes is usual course: without the function it is no
    line.
    """
    sink = Sink()
    for function in (sink, None):
        async with Batcher(Api(), auto_batch=LATER, on_undelivered=function) as batcher:
            with anyio.move_on_after(1):
                await batcher.submit("a")
            with anyio.move_on_after(0.1):
                await batcher.submit_all(["b", "c"] if function is not None else ["b"], deadline=600)
    assert ("a", "not_written", 0) in sink.told
    assert lines_of(caplog) == []


async def test_those_of_a_cancelled_submit_all_that_had_their_outcome_before():
    """Nobody has seen these either."""
    sink = Sink()
    api = Api([REJECTED], list)
    policy = AutoBatchPolicy(max_records=1)
    async with Batcher(api, auto_batch=policy, on_undelivered=sink) as batcher:
        with anyio.move_on_after(3):
            api.script = [[REJECTED], Retry("locked", after=9), list]
            await batcher.submit_all(["a", "b"])
        assert sorted(sink.told) == [("a", "rejected", 1), ("b", "not_written", 1)]


async def test_what_is_left_when_the_batcher_ends_is_told_before_it_is_left():
    """Nothing of it comes after the end of the block."""
    sink = Sink()
    limits = Limits(shutdown_timeout=3)
    async with Batcher(Api(list, seconds=60), auto_batch=NOW, on_undelivered=sink, limits=limits) as batcher:
        batcher.submit_nowait("out")
        await anyio.sleep(1)
        for record in range(3):
            batcher.submit_nowait(record, key="paused")
    assert sink.told[0] == ("out", "unknown", sink.told[0][2])
    told = len(sink.told)
    await anyio.sleep(100)
    assert len(sink.told) == told


async def test_it_may_submit_again_and_what_it_raises_is_logged(caplog):
    """Thousands of times, without exhausting the stack, and no record suffers."""
    again: list[Any] = []

    def resubmit(record: int, outcome: Any, attempts: int) -> None:
        again.append(record)
        if record < 2000:
            batcher.submit_nowait(record + 1)
        raise ValueError

    def reject(records: list[Any]) -> list[Any]:
        return [REJECTED] * len(records)

    policy = AutoBatchPolicy(max_records=1)
    async with Batcher(Api(*[reject] * 3000), auto_batch=policy, on_undelivered=resubmit) as batcher:
        batcher.submit_nowait(0)
        await anyio.sleep(60)
    assert again == list(range(2001))
    assert "on_undelivered raised; the record is not affected" in caplog.text


async def test_a_writer_gives_the_write_as_submitted():
    """Not what travels."""
    sink = Sink()
    async with Writer(SQLite(":memory:"), auto_batch=NOW, on_undelivered=sink) as writer:
        write = Write("no_such_table", WriteType.UPDATE, {"id": "1", "name": "x"})
        receipt = writer.submit_nowait(write)
        outcomes = await writer.submit_all([write, write])
        await writer.flush()
        assert receipt.outcome is not None
        assert not receipt.outcome.ok
        assert not any(outcome.ok for outcome in outcomes)
    ((told, kind, _),) = sink.told
    assert told is write
    assert kind == receipt.outcome.kind


async def test_without_the_function_it_is_a_line_with_a_count(caplog):
    """Once per kind and minute, and without a word of the provider or of the record."""
    rejecting = Api(*[lambda records: [REJECTED] * len(records)] * 9)
    async with Batcher(rejecting, auto_batch=NOW) as batcher:
        for _ in range(3):
            for _ in range(4):
                batcher.submit_nowait("hunter2")
            await batcher.flush()
        assert lines_of(caplog) == ["the write function: 4 records are rejected and nobody awaits them (DUP)"]
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("function", [3, "f", anyio.sleep])
def test_a_function_that_cannot_be_called_is_refused_in_words(function):
    """An async one as well: nobody would await it."""
    with pytest.raises(TypeError, match=r"^on_undelivered must be a (plain )?function"):
        Batcher(Api(), on_undelivered=function)


async def test_those_whose_caller_was_cancelled_and_that_were_written_are_not_told():
    """It is all as it should be with them."""
    sink = Sink()
    async with Batcher(Api(seconds=2), auto_batch=NOW, on_undelivered=sink) as batcher:
        with anyio.move_on_after(1):
            await batcher.submit_all(range(300))
        await anyio.sleep(5)
        assert sink.told == []
        assert batcher.statistics().outcomes["written"] == 300


@pytest.mark.parametrize("pending", [True, False])
def test_a_batcher_dropped_with_records_warns_where_python_shows_it(pending):
    """A ResourceWarning is hidden by default: enough for one that holds nothing, but not for records that are lost."""

    async def forget() -> list[type[Warning]]:
        batchers = [Batcher[Any, Any](Api(), auto_batch=LATER)]
        await batchers[0].__aenter__()
        if pending:
            batchers[0].submit_nowait("a")
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            batchers.clear()
            gc.collect()
        return [each.category for each in shown]

    loop = asyncio.new_event_loop()
    try:
        assert loop.run_until_complete(forget()) == [RuntimeWarning if pending else ResourceWarning]
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    finally:
        loop.close()


async def test_a_call_that_is_given_up_on():
    """Its records are unknown before it has ended."""
    sink = Sink()
    limits = Limits(call_timeout=5)
    async with Batcher(Api(seconds=60), auto_batch=NOW, limits=limits, on_undelivered=sink) as batcher:
        batcher.submit_nowait("a")
        await anyio.sleep(6)
        assert [told[:2] for told in sink.told] == [("a", "unknown")]


async def test_a_record_that_waits_for_a_place_until_its_deadline():
    """Its receipt comes with the outcome in it; whoever does not look hears of it."""
    sink = Sink()
    limits = Limits(max_pending_records=1, max_lane_records=1)
    async with Batcher(Api(seconds=20), auto_batch=NOW, limits=limits, on_undelivered=sink) as batcher:
        batcher.submit_nowait("a")
        await batcher.enqueue("b", deadline=1)
        await anyio.sleep(1)
        assert sink.told == [("b", "not_written", 0)]


async def test_a_record_that_is_refused_at_the_end_of_a_step():
    """Submitted by a finalizer, say: its receipt was given before anybody could see that it is too large."""
    sink = Sink()
    policy = AutoBatchPolicy(max_bytes=10)
    async with Batcher(Api(), auto_batch=policy, size_of=len, on_undelivered=sink) as batcher:
        runtime = batcher._runtime
        assert runtime is not None
        runtime.step(batcher.submit_nowait, "a" * 11)
        await anyio.sleep(1)
        assert sink.told == [("a" * 11, "rejected", 0)]


async def test_those_that_are_settled_because_a_step_was_cut_off():
    """An interrupt in the middle of a step ends the batcher, and nobody awaits these."""
    sink = Sink()

    def interrupt() -> None:
        raise ZeroDivisionError

    with pytest.raises(BaseException, match=r"cut off|division|cancel|^$"):
        async with Batcher(Api(), auto_batch=LATER, on_undelivered=sink) as batcher:
            batcher.submit_nowait("a")
            runtime = batcher._runtime
            assert runtime is not None
            with pytest.raises(ZeroDivisionError):
                runtime.step(interrupt)
            await anyio.sleep(1)
    assert sink.told == [("a", "not_written", 0)]
