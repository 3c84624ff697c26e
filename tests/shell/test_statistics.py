"""Statistics: every figure, at one moment."""

from __future__ import annotations

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Limits, Statistics
from tests.api import Api

pytestmark = pytest.mark.anyio


async def test_statistics_are_a_frozen_snapshot():
    """Every figure, at one moment."""
    api = Api(seconds=5)
    limits = Limits(max_pending_records=4, max_lane_records=3)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=2), limits=limits, size_of=len) as batcher:
        assert batcher.statistics().calls == 0
        await batcher.submit("aa", max_delay=0)
        for _ in range(3):
            batcher.submit_nowait("bb")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batcher.submit, "cc")
            await anyio.wait_all_tasks_blocked()
            assert batcher.statistics() == Statistics(
                accepted=4,
                settled=1,
                pending=3,
                pending_bytes=6,
                waiting=1,
                in_flight=2,
                in_flight_limit=32,
                open_breakers=0,
                calls=3,
                lanes=1,
                outcomes={"written": 1},
            )
