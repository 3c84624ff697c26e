"""P20: entered here and left there, closed early, interrupted, exited; and nothing stays alive."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anyio
import pytest

from batcher import Batcher, BatcherError, NotWritten, Receipt
from batcher.testing import virtual_time
from tests.guest.constructs import nothing, raises_while_buffered, while_draining
from tests.guest.helpers import LATER, NOW, ON_ASYNCIO, Trial, caught, here, run, shape, strangers, works_on


@pytest.mark.parametrize("inside", [nothing, raises_while_buffered, while_draining], ids=lambda each: each.__name__)
def test_p20_entered_in_one_run_and_left_in_another(inside):
    """As notebooks, and fixtures with a Runner: all is written, as if it were one."""
    trial = Trial(policy=LATER)
    with asyncio.Runner(loop_factory=ON_ASYNCIO) as runner:
        runner.run(trial.batcher.__aenter__())
        error = runner.run(caught(inside(trial)))
        runner.run(trial.batcher.__aexit__(None, None, None))
        assert shape(error) in (None, ValueError)
        trial.check()
        assert set(trial.outcomes) <= {"written"}

        async def rest() -> list[str]:
            return strangers({here()})

        assert runner.run(rest()) == []


def test_p20_a_task_that_has_entered_and_gone_on_is_not_touched():
    """Another one leaves; the first has its own business by then."""

    async def main() -> None:
        trial = Trial(policy=LATER)
        entered, left = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            await trial.batcher.__aenter__()
            entered.set()
            await left.wait()
            await works_on(0, asyncio.all_tasks())

        task = asyncio.create_task(first())
        await entered.wait()
        trial.put("a")
        with anyio.CancelScope():
            await trial.batcher.__aexit__(None, None, None)
        left.set()
        await task
        trial.check()
        assert trial.outcomes == ["written"]

    run(main)


def test_p20_a_generator_that_is_closed_early_hurts_nobody():
    """GeneratorExit may not wait: what is buffered is settled at once, and whoever ran the generator goes on."""

    async def main() -> None:
        trial = Trial(policy=LATER)
        tasks = asyncio.all_tasks()

        async def fixture() -> AsyncIterator[int]:
            async with trial.batcher:
                yield 1
                yield 2

        async with aclosing(fixture()) as steps:  # type: ignore[type-var]
            async for _ in steps:
                trial.put("a")
                break
        trial.check()
        assert trial.receipts[0].outcome == NotWritten("the batcher was cancelled", 0)
        await works_on(0, tasks)

    run(main)


@pytest.mark.parametrize("how", ["another task", "dropped", "the end of the loop"])
def test_p20_a_generator_that_somebody_else_closes_hurts_nobody(how):
    """Another task, the collector, or the loop as it ends."""
    trial = Trial(policy=LATER)

    async def fixture() -> AsyncIterator[int]:
        async with trial.batcher:
            yield 1

    kept: list[Any] = []

    async def main() -> None:
        tasks = asyncio.all_tasks()
        steps = fixture()
        await anext(steps)
        trial.put("a")
        if how == "another task":
            await asyncio.create_task(steps.aclose())  # type: ignore[attr-defined]
        elif how == "dropped":
            del steps
            gc.collect()
            await asyncio.sleep(1)
        else:
            kept.append(steps)
            return
        trial.check()
        await works_on(0, tasks)

    run(main)
    trial.check()
    assert trial.outcomes == ["not_written"]


def test_p20_a_coroutine_that_is_closed_does_not_try_to_wait():
    """`coroutine ignored GeneratorExit` is what comes of it."""

    async def main() -> None:
        trial = Trial(policy=LATER)
        tasks = asyncio.all_tasks()

        async def body() -> None:
            async with trial.batcher:
                trial.put("a")
                await anyio.sleep(5)

        coroutine = body()
        coroutine.send(None)
        coroutine.close()
        trial.check()
        assert trial.outcomes == ["not_written"]
        await works_on(0, tasks)

    run(main)


@pytest.mark.anyio
@pytest.mark.parametrize("cancelled_at", [10, 100])
async def test_p20_the_body_hears_of_an_interrupt_at_once(cancelled_at):
    """A call beside it that ignores cancellation holds up the end, and neither the body nor a receipt.

    Nor does the interrupt get lost if the host is cancelled while it waits for that call.
    """
    interrupt = GeneratorExit if anyio.get_cancelled_exc_class() is asyncio.CancelledError else KeyboardInterrupt
    heard: list[tuple[float, list[str]]] = []

    async def write(key: str, records: list[Any]) -> list[Any]:
        if key == "late":
            with anyio.CancelScope(shield=True):
                await anyio.sleep(30)
            return records
        await anyio.sleep(1)
        raise interrupt

    start = anyio.current_time()
    with pytest.raises(interrupt), anyio.move_on_after(cancelled_at):
        async with Batcher(write, auto_batch=NOW) as batcher:
            receipts = [batcher.submit_nowait("a", key=key) for key in ("late", "interrupt")]
            try:
                await anyio.sleep(100)
            finally:
                outcomes = [type(receipt.outcome).__name__ for receipt in receipts]
                heard.append((anyio.current_time() - start, outcomes))
    assert heard == [(1, ["Unknown", "Unknown"])]
    assert anyio.current_time() - start == 30


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [SystemExit, ValueError, KeyboardInterrupt])
async def test_p20_who_exits_drains_and_who_is_interrupted_does_not(kind):
    """Five enqueued, then the exit: five written (sentry-python#2983)."""
    trial = Trial(after=5, policy=LATER)
    error = kind(3)
    with pytest.raises(kind) as left:
        async with trial.batcher as batcher:
            for n in range(5):
                trial.receipts.append(await batcher.enqueue(n))
            raise error
    assert left.value is error
    assert error.__context__ is None
    trial.check()
    assert set(trial.outcomes) == ({"not_written"} if kind is KeyboardInterrupt else {"written"})


@pytest.mark.anyio
@pytest.mark.parametrize("cancelled", [False, True])
async def test_p20_an_exit_in_a_callback_of_the_last_records_is_not_lost(cancelled):
    """It comes when the batcher gives up, and leaves when the tasks have ended."""
    trial = Trial(patience=5)

    def stop(_: Receipt[Any]) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit) as left, anyio.CancelScope() as scope:
        async with trial.batcher:
            trial.put("late")
            trial.receipts[0].add_done_callback(stop)
            await anyio.sleep(1)
            if cancelled:
                scope.cancel()
                await anyio.sleep(1)
    assert left.value.code == 3
    trial.check()
    assert trial.outcomes == ["unknown"]


@pytest.mark.anyio
async def test_p20_an_exit_of_a_cancelled_host_does_not_wait():
    """The drain is cut off by the cancellation that was there."""
    trial = Trial(after=5, policy=LATER)
    start = anyio.current_time()
    with anyio.CancelScope() as scope:
        async with trial.batcher:
            trial.put("a")
            scope.cancel()
            raise SystemExit
    trial.check()
    assert trial.outcomes == ["unknown"] or trial.outcomes == ["not_written"]
    assert anyio.current_time() == start


@pytest.mark.parametrize("patience", [5, 50])
def test_p20_on_trio_another_task_is_told_what_to_do(patience):
    """A nursery cannot change its task. All that was held is written, and the words name the way out."""
    trio = pytest.importorskip("trio")
    trial = Trial(policy=LATER, patience=patience)

    async def main() -> None:
        async def leave(task_status: Any) -> None:
            task_status.started()
            with (
                trio.move_on_after(10 if patience == 5 else 100),
                pytest.raises(BatcherError, match=r"left in the task that it was entered in.*nursery\.start"),
            ):
                await trial.batcher.__aexit__(None, None, None)
            left.set()

        left = trio.Event()
        async with trio.open_nursery() as nursery:
            await trial.batcher.__aenter__()
            trial.put("late")
            start = trio.current_time()
            await nursery.start(leave)
            await left.wait()
            trial.check()
            assert trial.outcomes == ["written"] if patience > 30 else ["unknown"]
            assert trio.current_time() - start == 30  # when the tasks have ended

    # The nursery stays where it was, and trio says so, to the task that has entered (by a bare assertion before 0.30):
    # no word of ours gets there, for nothing of ours runs there any more. If that task ends before anybody leaves, trio
    # itself breaks: nor then.
    with pytest.raises((RuntimeError, AssertionError), match=r"Nursery stack corrupted|^$"):
        trio.run(main, clock=virtual_time("trio")["clock"])


@pytest.mark.parametrize("how", ["left", "cancelled", "closed"])
def test_p20_nothing_of_a_record_or_of_the_host_stays_alive(how):
    """The task, the group and the future are let go of with the batcher."""

    class Record:
        pass

    async def main() -> None:
        trial = Trial()
        record = Record()
        gone: list[weakref.ref[Any]] = [weakref.ref(record), weakref.ref(trial.batcher)]

        async def host(batcher: Any, record: Record) -> None:
            async with batcher:
                await batcher.submit(record)
                if how == "cancelled":
                    here().cancel()
                await asyncio.sleep(1)

        task = asyncio.create_task(host(trial.batcher, record))
        gone.append(weakref.ref(task))
        if how == "closed":
            await asyncio.sleep(0.1)
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        trial.sent.clear()
        del task, record, trial
        await asyncio.sleep(0)
        gc.collect()
        assert [each() for each in gone] == [None] * 3

    run(main)


def test_p20_a_batcher_that_is_dropped_open_warns_and_is_collected():
    """Its tasks do not hold it, and the loop ends without complaints."""

    async def main() -> None:
        batcher = Batcher(Trial().write)
        await batcher.__aenter__()
        await batcher.submit("a")
        gone = weakref.ref(batcher)
        with pytest.warns(ResourceWarning, match="unclosed <Batcher open"):
            del batcher
            gc.collect()
        assert gone() is None
        await asyncio.sleep(1)

    run(main)
