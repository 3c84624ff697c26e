"""P11 it ends: what is closed stays closed, whoever comes, and whatever a hook does meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
import trio

from batcher import AutoBatchPolicy, Batcher, BatcherClosed, BatcherNotOpen, Event, EventKind, Limits, Unknown


async def _closed() -> Batcher[Any, Any]:
    async def write(key: Any, records: list[Any]) -> list[Any]:
        return records

    async with Batcher(write) as batcher:
        await batcher.submit(1)
    return batcher


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_p11_where_no_loop_runs_a_closed_batcher_takes_nothing(backend):
    """No record is taken in of which nobody will ever hear again."""
    batcher = anyio.run(_closed, backend=backend)
    for submit in (batcher.submit, batcher.enqueue):
        with pytest.raises((BatcherClosed, BatcherNotOpen)):
            submit(2).send(None)
    with pytest.raises((BatcherClosed, BatcherNotOpen)):
        batcher.submit_nowait(2)
    assert batcher.statistics().accepted == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("run_elsewhere", [trio.run, lambda function, *args: asyncio.run(function(*args))])
def test_p11_in_another_loop_a_closed_batcher_takes_nothing(backend, run_elsewhere):
    """Of the other backend, or a second one of the same."""
    batcher = anyio.run(_closed, backend=backend)

    async def submit() -> None:
        with anyio.fail_after(5):
            await batcher.submit(2)

    with pytest.raises((BatcherClosed, BatcherNotOpen)):
        run_elsewhere(submit)
    assert batcher.statistics().accepted == 1


@pytest.mark.anyio
@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_p11_an_exit_in_the_hook_while_the_rest_is_settled(ending, cancelled):
    """The program ends, and so do the tasks; every record has its outcome, and whoever asked to be told of it is."""
    told: list[Any] = []

    def hook(event: Event) -> None:
        if event.kind is EventKind.DETACHED:
            raise ending("hook")

    async def write(key: Any, records: list[Any]) -> list[Any]:
        await anyio.sleep(100)
        return records

    limits = Limits(shutdown_timeout=1)
    batcher = Batcher(write, auto_batch=AutoBatchPolicy(max_delay=0), limits=limits, on_event=hook)
    with anyio.CancelScope() as scope, pytest.raises(ending, match="hook"):
        async with batcher:
            receipt = batcher.submit_nowait("a")
            receipt.add_done_callback(told.append)
            with anyio.move_on_after(1):
                await batcher.submit("b")
            if cancelled:
                scope.cancel()
    assert "closed: 0 pending, 0 in flight" in repr(batcher)
    assert isinstance(receipt.outcome, Unknown)
    assert told == [receipt]
    assert batcher.statistics().outcomes == {"unknown": 2}


@pytest.mark.anyio
async def test_p11_an_exit_in_a_callback_while_the_rest_is_settled():
    """The other callbacks are called all the same: they may be what keeps the records that were not written."""
    told: list[Any] = []

    def note(receipt: Any) -> None:
        told.append(receipt)
        if len(told) < 3:
            raise SystemExit(len(told))

    async def write(key: Any, records: list[Any]) -> list[Any]:
        await anyio.sleep(100)
        return records

    batcher = Batcher(write, limits=Limits(shutdown_timeout=1))
    with pytest.raises(SystemExit, match="1"):
        async with batcher:
            receipts = [batcher.submit_nowait(n) for n in range(5)]
            for receipt in receipts:
                receipt.add_done_callback(note)
    assert "closed: 0 pending" in repr(batcher)
    assert told == receipts
    assert all(receipt.done for receipt in receipts)
