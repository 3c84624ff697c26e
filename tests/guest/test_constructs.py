"""P20: whatever is around and inside, the host sees what it would see without a batcher."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import anyio
import pytest

from batcher import RecordRejected
from tests.guest.constructs import (
    AROUND,
    CANCELLED_WHERE,
    INSIDE,
    WRAPPED,
    in_move_on,
    in_task_group,
    is_rejected,
    is_rejected_in_anyio_group,
    left_by_another_task,
    opened,
    plain,
    raises_before_any_await,
    while_draining,
)
from tests.guest.helpers import Straw, Trial, caught, here, run, shape, strangers, works_on

MODES = [(around, "plain") for around in AROUND]
MODES += [(around, "debug") for around in (plain, in_task_group, in_move_on, left_by_another_task)]
if sys.version_info >= (3, 12):
    MODES += [(around, "eager") for around in AROUND]


def eager(loop: asyncio.AbstractEventLoop) -> None:
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)


@pytest.mark.parametrize(("inside", "out"), INSIDE, ids=lambda each: getattr(each, "__name__", ""))
@pytest.mark.parametrize(("around", "mode"), MODES, ids=lambda each: getattr(each, "__name__", each))
def test_p20_what_the_body_raises_comes_out_and_nothing_else(around, inside, out, mode):
    """Whatever is around and inside: the host sees what it would see without a batcher, and goes on as before."""

    async def main(trial: Trial) -> int:
        if mode == "eager":
            eager(asyncio.get_running_loop())
        tasks = asyncio.all_tasks()
        error = await caught(around(trial, inside))
        assert shape(error) == ([out] if around in WRAPPED and out is not None else out)
        cancelling = here().cancelling()
        trial.check()
        assert set(trial.outcomes) <= {"written"}
        await works_on(cancelling, tasks)
        return cancelling

    # Not 0: before Python 3.13 the TaskGroup of asyncio does not take back what it has cancelled (cpython#116720).
    expected = run(partial(main, Straw()))
    assert run(partial(main, Trial()), debug=mode == "debug") == expected


@pytest.mark.parametrize("around", AROUND, ids=lambda each: each.__name__)
@pytest.mark.parametrize("inside", [raises_before_any_await, is_rejected, is_rejected_in_anyio_group])
def test_p20_on_uvloop_too(around, inside):
    """The same in real time, for some that take none of it."""
    uvloop = pytest.importorskip("uvloop")
    out = dict(INSIDE)[inside]

    async def main() -> None:
        trial = Trial()
        tasks = asyncio.all_tasks()
        assert shape(await caught(around(trial, inside))) == ([out] if around in WRAPPED else out)
        trial.check()
        await asyncio.sleep(0)
        assert strangers(tasks) == []

    run(main, uvloop.new_event_loop)


def test_p20_a_task_group_in_the_body_on_uvloop():
    """The smallest input of the report, in real time."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        trial = Trial()
        async with trial.batcher as batcher, asyncio.TaskGroup() as tasks:
            tasks.create_task(batcher.submit("bad"))

    with pytest.raises(ExceptionGroup) as error:
        run(main, uvloop.new_event_loop)
    assert shape(error.value) == [RecordRejected]


@pytest.mark.parametrize("inside", [each for each, _ in CANCELLED_WHERE], ids=lambda each: each.__name__)
def test_p20_a_sibling_that_fails_ends_the_body_and_nothing_else(inside):
    """The TaskGroup around gets the sibling's error, without a CancelledError that it cannot place."""

    async def fail() -> None:
        await asyncio.sleep(10)
        raise ValueError("the sibling's")

    async def main() -> None:
        trial = Trial()
        tasks = asyncio.all_tasks()
        with pytest.raises(ExceptionGroup) as error:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await opened(trial, inside)
        assert shape(error.value) == [ValueError]
        trial.check()
        await works_on(0, tasks)

    run(main)


@pytest.mark.parametrize("inside", [each for each, _ in CANCELLED_WHERE], ids=lambda each: each.__name__)
@pytest.mark.parametrize("around", ["timeout", "wait_for", "fail_after", "move_on_after"])
def test_p20_a_timeout_around_is_a_timeout(around, inside):
    """Of asyncio or of anyio: whoever set it is told, and nobody else."""

    async def main() -> None:
        trial = Trial()
        tasks = asyncio.all_tasks()
        if around == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(10):
                    await opened(trial, inside)
        elif around == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(opened(trial, inside), 10)
        elif around == "fail_after":
            with pytest.raises(TimeoutError), anyio.fail_after(10):
                await opened(trial, inside)
        else:
            with anyio.move_on_after(10) as scope:
                await opened(trial, inside)
            assert scope.cancelled_caught
        trial.check()
        await works_on(0, tasks)

    run(main)


def test_p20_a_shield_lets_the_batcher_go_on():
    """Who waits behind a shield is cancelled alone."""

    async def main() -> None:
        trial = Trial()
        inner = asyncio.create_task(opened(trial, while_draining))
        outer = asyncio.create_task(asyncio.wait_for(asyncio.shield(inner), 5))
        with pytest.raises(TimeoutError):
            await outer
        await inner
        trial.check()
        assert trial.outcomes == ["written"]

    run(main)


@pytest.mark.anyio
@pytest.mark.parametrize("inside", ["group", "scope", "error"])
async def test_p20_constructs_of_anyio_around_and_inside(inside):
    """On trio as on asyncio."""
    trial = Trial()
    out: BaseException | None = None
    try:
        with anyio.fail_after(1000):
            async with anyio.create_task_group() as outer, trial.batcher as batcher:
                outer.start_soon(anyio.sleep, 1)
                if inside == "group":
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(batcher.submit, "bad")
                        tasks.start_soon(anyio.sleep, 500)
                elif inside == "scope":
                    with anyio.move_on_after(1):
                        await batcher.submit("a", max_delay=60)
                else:
                    trial.put("a")
                    raise ValueError("mine")
    except BaseException as error:
        out = error
    assert shape(out) == {"group": [[RecordRejected]], "scope": None, "error": [ValueError]}[inside]
    trial.check()
    await anyio.sleep(1)
