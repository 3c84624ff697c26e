"""The worker pool: how many workers there are, in whose context they work, and who must not wait for them."""

from __future__ import annotations

import socket
import time
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import ref

import anyio
import pytest
from anyio.lowlevel import checkpoint

from batcher import AutoBatchPolicy, Batcher, Limits, NestedSubmit, Rejected
from tests.api import Api, gather

pytestmark = pytest.mark.anyio
NOW = AutoBatchPolicy(max_delay=0)
request: ContextVar[str] = ContextVar("request", default="none")


async def test_write_runs_in_the_context_of_the_async_with_not_of_a_submit():
    """Whose submit filled the batch, or whose timer sent it, does not leak into write."""
    seen: list[str] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        seen.append(request.get())
        return records

    request.set("app")
    async with Batcher(write, auto_batch=AutoBatchPolicy(max_records=3)) as batcher:

        async def caller(n: int) -> None:
            request.set(f"caller {n}")
            await batcher.submit(n)

        await gather(*(partial(caller, n) for n in range(7)))
    assert seen == ["app"] * 3


async def test_workers_are_as_many_as_calls_may_be_out_however_many_lanes():
    """A batch that finds nobody idle starts nobody if there are enough: the one that is done comes back for more."""
    async with Batcher(Api(), auto_batch=NOW, limits=Limits(max_in_flight=3)) as batcher:
        await gather(*(partial(batcher.submit, n, key=n) for n in range(500)))
        assert batcher._runtime is not None
        assert len(batcher._runtime.workers._idle) <= 3


async def test_who_waits_for_work_keeps_no_record_alive():
    """A worker without a call holds on to nothing of the last one: neither the record nor its result."""

    class Payload:
        pass

    async def write(key, payloads):
        return [[payload] for payload in payloads]

    async with Batcher(write, auto_batch=NOW) as batcher:
        payload = Payload()
        seen = ref(payload)
        result = await batcher.submit(payload)
        assert result == [payload]
        del payload, result
        assert seen() is None


@pytest.mark.parametrize("verb", ["submit", "enqueue then await", "submit_all", "flush"])
async def test_waiting_for_the_same_batcher_inside_write_is_refused(verb):
    """It would deadlock at some limit, so it is refused at any, in words (B10)."""
    batchers: list[Batcher[Any, Any]] = []
    errors: list[Exception] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        batcher = batchers[0]
        try:
            match verb:
                case "submit":
                    await batcher.submit("nested", key="other")
                case "enqueue then await":
                    await batcher.submit_nowait("nested", key="quiet")
                case "submit_all":
                    await batcher.submit_all(["nested"])
                case "flush":
                    await batcher.flush()
        except NestedSubmit as error:
            errors.append(error)
        return records

    async with Batcher(write, auto_batch=NOW, limits=Limits(max_in_flight=1)) as batcher:
        batchers.append(batcher)
        assert await batcher.submit("a") == "a"
    assert errors
    assert "inside the write function of the same batcher" in str(errors[0])


async def test_a_task_started_inside_write_is_refused_too():
    """Hiding behind a task group does not help; the batcher would wait for it all the same."""
    batchers: list[Batcher[Any, Any]] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        return await gather(*(partial(batchers[0].submit, record) for record in records))

    async with Batcher(write, auto_batch=NOW) as batcher:
        batchers.append(batcher)
        (outcome,) = await batcher.submit_all(["a"])
    assert isinstance(outcome, Rejected)
    assert outcome.errors[0].code == "NestedSubmit"


@pytest.mark.parametrize("verb", ["submit", "receipt", "flush"])
async def test_what_the_first_call_has_started_may_submit_when_that_call_has_ended(verb):
    """A connection's reader, which lives on: it is part of no call any more, not even while others are out."""
    ready, told = anyio.Event(), []

    async def reader() -> None:
        await ready.wait()
        match verb:
            case "submit":
                told.append(await batcher.submit("from the reader"))
            case "receipt":
                told.append(await batcher.submit_nowait("from the reader"))
            case "flush":
                receipt = batcher.submit_nowait("from the reader", max_delay=50)
                await batcher.flush()
                told.append(receipt.outcome and receipt.outcome.kind)

    async def write(key: Any, records: list[Any]) -> list[Any]:
        if records == ["first"]:
            tasks.start_soon(reader)
        if records == ["second"]:
            ready.set()
            await anyio.sleep(1)
        return records

    async with anyio.create_task_group() as tasks, Batcher(write, auto_batch=NOW) as batcher:
        assert await batcher.submit("first") == "first"
        assert await batcher.submit("second") == "second"
        await batcher.flush()
    assert told == [{"submit": "from the reader", "receipt": "from the reader", "flush": "written"}[verb]]


async def test_what_a_call_has_started_may_not_wait_while_that_call_is_out():
    """Also in the second call of a worker, whose first has ended."""
    errors: list[Exception] = []

    async def nested() -> None:
        try:
            await batcher.submit("nested")
        except NestedSubmit as error:
            errors.append(error)

    async def write(key: Any, records: list[Any]) -> list[Any]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(nested)
        return records

    async with Batcher(write, auto_batch=NOW, limits=Limits(max_in_flight=1)) as batcher:
        for record in "ab":
            await batcher.submit(record)
    assert len(errors) == 2


async def test_a_batcher_inside_the_write_of_another_marks_its_own_calls_only():
    """The outer one's call is out all the while, and is found however deep it is."""
    errors: list[Exception] = []

    async def inner(key: Any, records: list[Any]) -> list[Any]:
        try:
            await outside.submit("deep")
        except NestedSubmit as error:
            errors.append(error)
        return records

    async def outer(key: Any, records: list[Any]) -> list[Any]:
        async with Batcher(inner, auto_batch=NOW) as inside:
            return [await inside.submit(record) for record in records]

    async with Batcher(outer, auto_batch=NOW) as outside:
        assert await outside.submit("a") == "a"
    assert len(errors) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_p07_an_answer_that_is_there_counts_although_the_loop_was_blocked_beyond_the_timeout(backend):
    """On the real clock: a call is not cancelled, and its records are not unknown, because somebody else was slow."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def write(key: Any, records: list[Any]) -> list[Any]:
        await anyio.wait_readable(ours)
        await checkpoint()  # as a client that reads in several steps
        return [ours.recv(10)]

    async def block() -> None:
        await anyio.sleep(0.01)
        theirs.send(b"answer")
        time.sleep(0.2)  # it blocks the loop, which is what this is about

    async def main() -> None:
        async with anyio.create_task_group() as tasks, Batcher(write, limits=Limits(call_timeout=0.1)) as batcher:
            receipt = batcher.submit_nowait("a", max_delay=0)
            tasks.start_soon(block)
            assert await receipt == b"answer"

    with ours, theirs:
        anyio.run(main, backend=backend)


async def test_submit_nowait_inside_write_and_another_batcher_are_fine():
    """What does not wait cannot deadlock, and a second batcher has its own workers."""
    batchers: list[Batcher[Any, Any]] = []
    api = Api()

    async def write(key: Any, records: list[Any]) -> list[Any]:
        if key is None:
            batchers[0].submit_nowait("follow-up", key="later")
            return [await batchers[1].submit(record) for record in records]
        return records

    async with Batcher(api, auto_batch=NOW) as inner, Batcher(write, auto_batch=NOW) as outer:
        batchers += [outer, inner]
        assert await outer.submit("a") == "a"
        await outer.flush()
        assert outer.statistics().settled == 2
    assert api.batches == [("a",)]
