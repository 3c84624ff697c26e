"""P20 a good guest: no cancellation of a batcher's own reaches its host, and none of the host's is eaten."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Any, Self

import anyio
import attrs
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherClosed,
    BatcherError,
    Limits,
    NotWritten,
    Receipt,
    RecordRejected,
    Rejected,
)
from batcher.testing import virtual_time

ON_ASYNCIO = virtual_time("asyncio")["loop_factory"]
LATER = AutoBatchPolicy(max_delay=100)
NOW = AutoBatchPolicy(max_delay=0)


class Refusal(Exception):
    """What the write function answers for a bad record."""


class Stop(BaseException):
    """What ends programs, and that asyncio does not know."""


@attrs.define
class Trial:
    """One batcher in its host, and what came of it."""

    after: float = 0.0  # seconds that a call takes
    policy: AutoBatchPolicy = NOW
    patience: float = 50
    batcher: Batcher[Any, Any] = attrs.field(init=False)
    receipts: list[Receipt[Any]] = attrs.field(factory=list)
    sent: list[Any] = attrs.field(factory=list)
    ours: set[str] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.batcher = Batcher(self.write, auto_batch=self.policy, limits=Limits(shutdown_timeout=self.patience))

    async def write(self, key: Any, records: list[Any]) -> list[Any]:
        self.sent += records
        await anyio.sleep(self.after)
        if "late" in records:  # ignores cancellation
            with anyio.CancelScope(shield=True):
                await anyio.sleep(30)
        return [Refusal() if record == "bad" else record for record in records]

    def put(self, *records: Any) -> None:
        self.receipts += map(self.batcher.submit_nowait, records)

    @property
    def outcomes(self) -> list[Any]:
        return [receipt.outcome and receipt.outcome.kind for receipt in self.receipts]

    def check(self) -> None:
        """What holds after each trial, however it went."""
        assert all(receipt.done for receipt in self.receipts)
        assert self.batcher.statistics().pending == 0
        assert "closed" in repr(self.batcher)


class Straw(Trial):
    """No batcher at all: what a host sees with this is what it is to see with one."""

    def __attrs_post_init__(self) -> None:
        self.batcher = self  # type: ignore[assignment]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def submit(self, record: Any, max_delay: float = 0) -> Any:
        await anyio.sleep(max_delay or self.after)
        if record == "bad":
            raise RecordRejected(Rejected(Refusal()))
        return record

    def put(self, *records: Any) -> None: ...

    def check(self) -> None: ...


def here() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def strangers(before: set[asyncio.Task[Any]]) -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() - before]


def run(main: Callable[[], Awaitable[Any]], factory: Any = ON_ASYNCIO, **options: Any) -> Any:
    """Run *main* in a task, with what may have been left behind counted as an error."""
    with asyncio.Runner(loop_factory=factory, **options) as runner:
        return runner.run(main())  # type: ignore[arg-type]


# The table on asyncio: what is around, what is inside, where it fails. Each function of `AROUND` is a host: it opens
# the batcher in the middle of a construct of its own.

Body = Callable[[Trial], Awaitable[None]]
Around = Callable[[Trial, Body], Awaitable[Any]]


async def opened(trial: Trial, body: Body) -> None:
    async with trial.batcher:
        await body(trial)


async def plain(trial: Trial, body: Body) -> None:
    await opened(trial, body)


async def in_task_group(trial: Trial, body: Body) -> None:
    async with asyncio.TaskGroup() as tasks:
        await tasks.create_task(asyncio.sleep(0))
        await opened(trial, body)


async def child_of_task_group(trial: Trial, body: Body) -> None:
    async def child() -> None:
        await asyncio.sleep(0)  # an eager one that fails before it waits has Python 3.12.1 cancel the host too late
        await opened(trial, body)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(child())


async def in_native_timeout(trial: Trial, body: Body) -> None:
    async with asyncio.timeout(1000):
        await opened(trial, body)


async def in_wait_for(trial: Trial, body: Body) -> None:
    await asyncio.wait_for(opened(trial, body), 1000)


async def in_shield(trial: Trial, body: Body) -> None:
    await asyncio.shield(opened(trial, body))


async def in_anyio_group(trial: Trial, body: Body) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep, 0)
        await opened(trial, body)


async def in_move_on(trial: Trial, body: Body) -> None:
    with anyio.move_on_after(1000):
        await opened(trial, body)


async def in_fail_after(trial: Trial, body: Body) -> None:
    with anyio.fail_after(1000):
        await opened(trial, body)


async def in_shielded_scope(trial: Trial, body: Body) -> None:
    with anyio.CancelScope(shield=True):
        await opened(trial, body)


async def in_exit_stack(trial: Trial, body: Body) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(1000))
        await stack.enter_async_context(trial.batcher)
        await body(trial)


async def in_another_batcher(trial: Trial, body: Body) -> None:
    async with Batcher(trial.write):
        await opened(trial, body)


async def left_by_another_task(trial: Trial, body: Body) -> None:
    stack = AsyncExitStack()

    async def enter() -> None:
        await stack.enter_async_context(trial.batcher)

    async def close(error: BaseException) -> None:
        await stack.__aexit__(type(error), error, None)

    await asyncio.create_task(enter())
    try:
        await body(trial)
    except BaseException as error:
        await asyncio.create_task(close(error))
        raise
    else:
        await asyncio.create_task(stack.aclose())


async def in_async_generator(trial: Trial, body: Body) -> None:
    @asynccontextmanager
    async def fixture() -> AsyncIterator[None]:
        async with trial.batcher:
            yield

    async with fixture():
        await body(trial)


AROUND: list[Around] = [
    plain,
    in_task_group,
    child_of_task_group,
    in_native_timeout,
    in_wait_for,
    in_shield,
    in_anyio_group,
    in_move_on,
    in_fail_after,
    in_shielded_scope,
    in_exit_stack,
    in_another_batcher,
    left_by_another_task,
    in_async_generator,
]


# Inside, and where it fails. Each says what is to come out, and what becomes of its records.


async def nothing(trial: Trial) -> None:
    """It fails nowhere."""


async def raises_before_any_await(trial: Trial) -> None:
    raise ValueError("mine")


async def raises_while_buffered(trial: Trial) -> None:
    trial.policy = LATER
    trial.put("a", "b")
    raise ValueError("mine")


async def raises_while_out(trial: Trial) -> None:
    trial.after = 5
    trial.put("a")
    await asyncio.sleep(1)
    raise ValueError("mine")


async def is_rejected(trial: Trial) -> None:
    await trial.batcher.submit("bad")


async def is_rejected_in_task_group(trial: Trial) -> None:
    trial.after = 1
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(trial.batcher.submit("bad"))
        trial.put("a")


async def is_rejected_beside_a_waiting_sibling(trial: Trial) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(500))
        tasks.create_task(trial.batcher.submit("bad"))
        tasks.create_task(trial.batcher.submit("good"))


async def is_rejected_in_anyio_group(trial: Trial) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trial.batcher.submit, "bad")
        tasks.start_soon(anyio.sleep, 500)


async def is_rejected_in_native_timeout(trial: Trial) -> None:
    async with asyncio.timeout(10):
        await trial.batcher.submit("bad")


async def is_rejected_in_wait_for(trial: Trial) -> None:
    await asyncio.wait_for(trial.batcher.submit("bad"), 10)


async def is_rejected_in_shield(trial: Trial) -> None:
    await asyncio.shield(trial.batcher.submit("bad"))


async def times_out_while_buffered(trial: Trial) -> None:
    async with asyncio.timeout(10):
        await trial.batcher.submit("a", max_delay=60)


async def times_out_while_out(trial: Trial) -> None:
    trial.after = 20
    async with asyncio.timeout(10):
        await trial.batcher.submit("a")


async def fails_after_while_out(trial: Trial) -> None:
    trial.after = 20
    with anyio.fail_after(10):
        await trial.batcher.submit("a")


async def waits_too_long_for_it(trial: Trial) -> None:
    trial.after = 20
    await asyncio.wait_for(trial.batcher.submit("a"), 10)


async def moves_on_while_out(trial: Trial) -> None:
    trial.after = 20
    with anyio.move_on_after(10) as scope:
        await trial.batcher.submit("a")
    assert scope.cancelled_caught


async def cancels_a_scope_of_its_own(trial: Trial) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trial.batcher.submit, "a")
        tasks.cancel_scope.cancel()


async def is_rejected_in_every_construct_at_once(trial: Trial) -> None:
    with anyio.move_on_after(50):
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            async with anyio.create_task_group() as inner:
                inner.start_soon(anyio.sleep, 1)
            tasks.create_task(trial.batcher.submit("bad"))


INSIDE: list[tuple[Body, Any]] = [
    (nothing, None),
    (raises_before_any_await, ValueError),
    (raises_while_buffered, ValueError),
    (raises_while_out, ValueError),
    (is_rejected, RecordRejected),
    (is_rejected_in_task_group, [RecordRejected]),
    (is_rejected_beside_a_waiting_sibling, [RecordRejected]),
    (is_rejected_in_anyio_group, [RecordRejected]),
    (is_rejected_in_native_timeout, RecordRejected),
    (is_rejected_in_wait_for, RecordRejected),
    (is_rejected_in_shield, RecordRejected),
    (times_out_while_buffered, TimeoutError),
    (times_out_while_out, TimeoutError),
    (fails_after_while_out, TimeoutError),
    (waits_too_long_for_it, TimeoutError),
    (moves_on_while_out, None),
    (cancels_a_scope_of_its_own, None),
    (is_rejected_in_every_construct_at_once, [RecordRejected]),
]
MODES = [(around, "plain") for around in AROUND]
MODES += [(around, "debug") for around in (plain, in_task_group, in_move_on, left_by_another_task)]
if sys.version_info >= (3, 12):
    MODES += [(around, "eager") for around in AROUND]
WRAPPED = {in_task_group, child_of_task_group, in_anyio_group}  # they put what comes out of them into a group


def shape(error: BaseException | None) -> Any:
    if isinstance(error, BaseExceptionGroup):
        return [shape(each) for each in error.exceptions]
    return None if error is None else type(error)


async def caught(call: Awaitable[Any]) -> BaseException | None:
    try:
        await call
    except BaseException as error:
        return error
    return None


async def works_on(before: int, tasks: set[asyncio.Task[Any]]) -> None:
    """The host is as it was: nothing is left to be raised, no cancellation is counted, no task is there."""
    assert here().cancelling() == before
    for _ in range(3):
        await asyncio.sleep(0)
    with anyio.CancelScope():
        await anyio.sleep(1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1))
    assert strangers(tasks) == []
    assert here().cancelling() == before


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


# The host is cancelled natively: once, twice; where it is; what the body makes of it.


async def while_buffered(trial: Trial) -> None:
    trial.receipts.append(trial.batcher.submit_nowait("a", max_delay=60))
    await asyncio.sleep(50)


async def while_out(trial: Trial) -> None:
    trial.after = 20
    trial.put("a")
    await asyncio.sleep(50)


async def while_draining(trial: Trial) -> None:
    trial.after = 20
    trial.put("a")


async def while_a_write_ignores_it(trial: Trial) -> None:
    trial.put("late")
    await asyncio.sleep(50)


async def while_waiting_in_a_task_group(trial: Trial) -> None:
    trial.after = 20
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(trial.batcher.submit("a"))


async def while_waiting_in_an_anyio_group(trial: Trial) -> None:
    trial.after = 20
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(trial.batcher.submit, "a")


async def while_waiting_in_a_timeout(trial: Trial) -> None:
    trial.after = 20
    async with asyncio.timeout(15):
        await trial.batcher.submit("a")


CANCELLED_WHERE: list[tuple[Body, list[str]]] = [
    (while_buffered, ["not_written"]),
    (while_out, ["unknown"]),
    (while_draining, ["unknown"]),
    (while_a_write_ignores_it, ["unknown"]),
    (while_waiting_in_a_task_group, []),
    (while_waiting_in_an_anyio_group, []),
    (while_waiting_in_a_timeout, []),
]


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


# Entered here, left there.


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


# On both loops.


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

    # The nursery stays where it was, and trio says so, to the task that has entered: no word of ours gets there, for
    # nothing of ours runs there any more. If that task ends before anybody leaves, trio itself breaks: nor then.
    with pytest.raises(RuntimeError, match="Nursery stack corrupted"):
        trio.run(main, clock=virtual_time("trio")["clock"])


# Objects.


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
