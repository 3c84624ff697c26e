"""P20: the host is cancelled natively: once, twice; where it is; what the body makes of it."""

from __future__ import annotations

import asyncio
import sys

import anyio
import pytest

from tests.guest.constructs import AROUND, CANCELLED_WHERE, in_shield, in_wait_for, while_a_write_ignores_it
from tests.guest.helpers import Trial, caught, here, run, shape, works_on


@pytest.mark.parametrize("around", [each for each in AROUND if each is not in_shield], ids=lambda each: each.__name__)
@pytest.mark.parametrize(("inside", "outcomes"), CANCELLED_WHERE, ids=lambda each: getattr(each, "__name__", ""))
@pytest.mark.parametrize("times", [1, 2, 3])
def test_p20_a_cancelled_host_is_cancelled_once_for_each_time(around, inside, outcomes, times):
    """It gets its CancelledError, all its cancellations count, and none is added."""

    async def main() -> None:
        trial = Trial()
        tasks = asyncio.all_tasks()
        left: list[int] = []

        async def host() -> None:
            try:
                await around(trial, inside)
            finally:
                left.append(here().cancelling())
                await asyncio.sleep(0)  # none is left to be thrown

        task = asyncio.ensure_future(host())
        await asyncio.sleep(10)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.5)
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(100)  # wait_for() of Python 3.11 does not wait for what is cancelled a second time
        trial.check()
        assert trial.outcomes == outcomes
        held = inside is while_a_write_ignores_it  # the others have left before the second comes
        if sys.version_info >= (3, 12) or around is not in_wait_for:
            assert left == [times if held else 1]
        await works_on(0, tasks)

    run(main)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_p20_a_cancellation_is_neither_lost_nor_repeated_while_a_write_ignores_it(times):
    """The host waits for the write, as it must, and is told of every cancellation then."""
    ended: list[float] = []

    async def host(trial: Trial) -> None:
        try:
            async with trial.batcher:
                trial.put("late")
                await asyncio.sleep(1)
        finally:
            ended.append(asyncio.get_running_loop().time())
            assert here().cancelling() == times
            await asyncio.sleep(0)
            ended.append(asyncio.get_running_loop().time())

    async def main() -> None:
        trial = Trial()
        tasks = asyncio.all_tasks()
        task = asyncio.create_task(host(trial))
        await asyncio.sleep(2)  # it drains
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(1)
        assert trial.outcomes == ["unknown"]
        assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        trial.check()
        await works_on(0, tasks)

    run(main)
    assert ended == [30, 30]


def test_p20_a_cancellation_that_comes_only_while_the_tasks_end_is_not_lost():
    """The body was over and everything settled: the CancelledError comes out all the same."""

    async def host(trial: Trial) -> None:
        with pytest.raises(asyncio.CancelledError):
            async with trial.batcher:
                trial.put("late")
        assert here().cancelling() == 1
        await asyncio.sleep(0)

    async def main() -> None:
        trial = Trial(patience=5)
        task = asyncio.create_task(host(trial))
        await asyncio.sleep(10)
        assert trial.outcomes == ["unknown"]
        task.cancel()
        await task
        trial.check()

    run(main)


@pytest.mark.parametrize("uncancels", [True, False])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("around", AROUND[:1] + AROUND[6:12], ids=lambda each: each.__name__)
def test_p20_a_cancellation_that_the_body_has_caught_stays_caught(around, times, uncancels):
    """The batcher drains, and leaves the count as the body has left it."""

    async def body(trial: Trial) -> None:
        trial.after = 5
        trial.put("a")
        for _ in range(times):
            here().cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(1)
            if uncancels:
                here().uncancel()
        trial.put("b")

    async def main() -> None:
        trial = Trial()
        tasks = asyncio.all_tasks()
        assert shape(await caught(around(trial, body))) is None
        trial.check()
        assert trial.outcomes == ["written", "written"]
        await works_on(0 if uncancels else times, tasks)
        while here().cancelling():
            here().uncancel()

    run(main)


@pytest.mark.parametrize("entered_with", [0, 1, 2])
def test_p20_a_host_that_was_cancelled_before_is_no_trouble(entered_with):
    """Code that cleans up after its own cancellation may use a batcher."""

    async def main() -> None:
        trial = Trial()
        for _ in range(entered_with):
            here().cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(1)
        async with trial.batcher as batcher:
            assert await batcher.submit("a") == "a"
            with pytest.raises(ExceptionGroup):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(batcher.submit, "bad")
        assert here().cancelling() == entered_with
        await asyncio.sleep(0)

    run(main)


@pytest.mark.anyio
async def test_p20_a_body_that_is_shielded_from_its_host_may_still_submit():
    """The host is cancelled, and its last words are written before it leaves."""
    trial = Trial()
    with anyio.CancelScope() as scope:
        async with trial.batcher as batcher:
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
                assert await batcher.submit("the last words") == "the last words"
            trial.put("not these")
            await anyio.sleep(1)
    assert scope.cancelled_caught
    trial.check()
    assert trial.outcomes == ["not_written"]
