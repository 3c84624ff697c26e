"""What may be around a batcher on asyncio, what inside, where it fails, and where its host is cancelled.

Each function of `AROUND` is a host: it opens the batcher in the middle of a construct of its own. Those of `INSIDE` say
what is to come out, those of `CANCELLED_WHERE` what becomes of their records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from batcher import Batcher, RecordRejected
from tests.guest.helpers import LATER, Trial

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


WRAPPED = {in_task_group, child_of_task_group, in_anyio_group}  # they put what comes out of them into a group


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
