"""The worker pool: how many workers there are, in whose context they work, and who must not wait for them."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import ref

import pytest

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
