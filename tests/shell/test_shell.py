"""The shell: what flush() counts."""

from __future__ import annotations

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Limits, NotWritten, Quota
from tests.api import Api

pytestmark = pytest.mark.anyio


async def test_a_flush_counts_what_it_settles_itself():
    """A record may be told in the very turn in which the flush makes it due: its quota has no room in time."""
    limits = Limits(quotas=[Quota(per=60, calls=1)])
    async with Batcher[str, str](Api(), limits=limits, auto_batch=AutoBatchPolicy(max_delay=5)) as batcher:
        await batcher.submit("first", max_delay=0)
        hurried = batcher.submit_nowait("hurried", deadline=30)
        with anyio.fail_after(1):
            await batcher.flush()
        assert hurried.outcome == NotWritten("its quota is used up beyond its deadline", 0)
