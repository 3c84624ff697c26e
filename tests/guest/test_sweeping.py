"""P20: somebody cancels every task of the loop, those of the batcher too."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from batcher import BatcherClosed, BatcherError
from tests.guest.constructs import nothing, opened, while_draining, while_out
from tests.guest.helpers import Stop, Trial, here, run, works_on


@pytest.mark.parametrize("entered_by", ["the one that leaves", "one that is gone"])
@pytest.mark.parametrize("inside", [nothing, while_draining], ids=lambda each: each.__name__)
def test_p20_a_loop_that_was_swept_is_left_in_words(entered_by, inside):
    """All tasks but the host's were cancelled: leaving neither hangs, nor is it silent."""

    async def main() -> None:
        trial = Trial()
        tasks = asyncio.all_tasks()
        if entered_by == "one that is gone":
            await asyncio.create_task(trial.batcher.__aenter__())
        else:
            await trial.batcher.__aenter__()
        await inside(trial)
        await asyncio.sleep(1)
        for task in asyncio.all_tasks() - tasks:
            task.cancel()
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError as cancelled:
            assert entered_by == "the one that leaves"
            with pytest.raises(BatcherError, match="cancelled from outside"):
                await trial.batcher.__aexit__(type(cancelled), cancelled, None)
        else:
            assert entered_by == "one that is gone"
            trial_before = trial.outcomes
            assert None not in trial_before
            with pytest.raises(BatcherClosed):
                await trial.batcher.submit("b")
            with pytest.raises(BatcherError, match="cancelled from outside"):
                await trial.batcher.__aexit__(None, None, None)
        trial.check()
        await works_on(0, tasks)

    run(main)


def test_p20_swept_before_any_of_its_tasks_ran():
    """Nothing of it has begun, and everything is settled all the same."""

    async def main() -> None:
        trial = Trial()
        tasks = asyncio.all_tasks()
        with pytest.raises(BatcherError, match="cancelled from outside"):
            async with trial.batcher:
                for task in asyncio.all_tasks() - tasks:
                    task.cancel()
                trial.put("a")
                await asyncio.sleep(50)
        trial.check()
        await works_on(0, tasks)

    run(main)


def test_p20_swept_while_it_drains():
    """The drain ends at once, and the host is not cancelled for it."""

    async def main() -> None:
        trial = Trial(after=20)
        tasks = asyncio.all_tasks()
        loop = asyncio.get_running_loop()
        loop.call_later(5, lambda: [task.cancel() for task in asyncio.all_tasks() - tasks])
        with pytest.raises(BatcherError, match="cancelled from outside"):
            async with trial.batcher:
                trial.put("a")
        assert loop.time() == 5
        trial.check()
        await works_on(0, tasks)

    run(main)


def test_p20_swept_together_with_the_host():
    """Somebody has cancelled the host as well, before it heard of us: that is what it is told, and all that counts."""

    async def main() -> None:
        trial = Trial(after=20)
        tasks = asyncio.all_tasks()

        async def host() -> None:
            try:
                await opened(trial, while_out)
            finally:
                assert here().cancelling() == 1

        task = asyncio.create_task(host())
        await asyncio.sleep(1)
        trial.receipts[0].add_done_callback(lambda _: task.cancel())
        for each in asyncio.all_tasks() - tasks - {task}:
            each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        trial.check()
        await works_on(0, tasks)

    run(main)


@pytest.mark.parametrize("order", ["the scope", "the tasks"])
def test_p20_swept_while_a_scope_around_is_cancelled(order):
    """Whichever comes first, it is the scope's cancellation, and the scope catches it."""

    async def main() -> None:
        trial = Trial(after=20)
        tasks = asyncio.all_tasks()
        loop = asyncio.get_running_loop()
        with anyio.CancelScope() as scope:
            async with trial.batcher:
                trial.put("a")
                await asyncio.sleep(1)
                if order == "the scope":
                    loop.call_soon(scope.cancel)
                else:  # in between the cancellation and the body's next step
                    trial.receipts[0].add_done_callback(lambda _: loop.call_soon(scope.cancel))
                for each in asyncio.all_tasks() - tasks:
                    each.cancel()
                await asyncio.sleep(5)
        assert scope.cancelled_caught
        trial.check()
        await works_on(0, tasks)

    run(main)


@pytest.mark.parametrize("then", ["leaves", "uncancels", "catches", "raises", "stops"])
@pytest.mark.parametrize("entered_with", [0, 1])
def test_p20_swept_and_what_the_body_makes_of_it(then, entered_with):
    """The count is as before, whoever has taken our own cancellation back; an error of the body's own leaves."""

    async def main() -> None:
        trial = Trial(after=20)
        tasks = asyncio.all_tasks()
        for _ in range(entered_with):
            here().cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(1)
        out = {"raises": ValueError, "stops": Stop}.get(then, BatcherError)
        with pytest.raises(out, match=r"mine|cancelled from outside"):
            async with trial.batcher:
                await asyncio.sleep(1)
                for each in asyncio.all_tasks() - tasks:
                    each.cancel()
                try:
                    await asyncio.sleep(5)
                except asyncio.CancelledError:
                    if then == "leaves":
                        raise
                    if then == "uncancels":
                        here().uncancel()
                    if then == "raises":
                        raise ValueError("mine") from None
                    if then == "stops":
                        raise Stop("mine") from None
        trial.check()
        assert here().cancelling() == entered_with
        while here().cancelling():
            here().uncancel()
        await works_on(0, tasks)

    run(main)


def test_p20_swept_and_left_by_another_task_that_is_cancelled():
    """Its cancellation is its own, and no business of the task that has entered: that gets its count back."""

    async def main() -> None:
        trial = Trial(after=20)
        tasks = asyncio.all_tasks()
        swept = asyncio.Event()

        async def leave() -> None:
            try:
                await swept.wait()
                here().cancel()
                await asyncio.sleep(1)
            except asyncio.CancelledError as error:
                await trial.batcher.__aexit__(type(error), error, None)
                raise

        leaving = asyncio.create_task(leave())
        others = asyncio.all_tasks()
        here().cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(1)
        await trial.batcher.__aenter__()
        trial.put("a")
        await asyncio.sleep(1)
        for each in asyncio.all_tasks() - others:
            each.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(5)
        assert here().cancelling() == 2
        swept.set()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        assert here().uncancel() == 0
        trial.check()
        await works_on(0, tasks)

    run(main)
