"""P11 it ends: what is closed stays closed, whoever comes, and whatever a hook does meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
import trio

from batcher import Batcher, BatcherClosed, BatcherNotOpen


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
