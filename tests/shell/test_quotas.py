"""Quotas: what a caller meets when the provider counts calls."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, InvalidGroup, Limits, Quota, RecordNotWritten
from tests.api import Api, gather

pytestmark = pytest.mark.anyio


async def test_callers_share_the_calls_that_the_quota_leaves():
    """A record a second against one call in ten seconds: batches fill while they wait, and nobody is refused."""
    api = Api()
    limits = Limits(quotas=[Quota(calls=1, per=10)])
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0.02), limits=limits) as batcher:

        async def caller(n: int) -> None:
            await anyio.sleep(n)
            assert await batcher.submit(n) == n

        await gather(*(partial(caller, n) for n in range(30)))
    gaps = [later.at - earlier.at for earlier, later in zip(api.calls, api.calls[1:], strict=False)]
    assert all(gap >= 10 for gap in gaps)
    assert len(api.calls) == 4


async def test_with_a_free_quota_a_lone_caller_waits_for_the_gathering_only():
    """An unused quota is lost anyway, so nobody waits for company that does not come."""
    api = Api()
    policy = AutoBatchPolicy.for_quota(calls=100, per=100, unused="free")
    async with Batcher(api, auto_batch=policy, limits=Limits(quotas=[Quota(calls=100, per=100)])) as batcher:
        began = anyio.current_time()
        await batcher.submit("a")
        assert anyio.current_time() - began == pytest.approx(0.02)
    priced = Api()
    async with Batcher(priced, auto_batch=AutoBatchPolicy.for_quota(calls=100, per=100, unused="priced")) as batcher:
        began = anyio.current_time()
        await batcher.submit("a")
        assert anyio.current_time() - began == pytest.approx(1.0)


async def test_a_record_whose_deadline_passes_under_the_quota_is_not_sent():
    """The quota outranks the record, and the record is told in time."""
    api = Api()
    async with Batcher(
        api, auto_batch=AutoBatchPolicy(max_delay=0), limits=Limits(quotas=[Quota(calls=1, per=60)])
    ) as batcher:
        await batcher.submit("a")
        with pytest.raises(RecordNotWritten) as caught:
            await batcher.submit("b", deadline=5)
    assert caught.value.applied == "no"
    assert api.batches == [("a",)]


async def test_a_group_larger_than_a_quota_of_records_is_refused_at_once():
    """It could never be sent whole."""
    async with Batcher(Api(), limits=Limits(quotas=[Quota(records=2, per=1)])) as batcher:
        with pytest.raises(InvalidGroup, match="3 records exceed the 2 that one call may carry"):
            await batcher.submit_all(list("abc"), all_or_none=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"per": 0, "calls": 1}, ValueError, "per must be more than 0 seconds and finite"),
        ({"per": float("inf"), "calls": 1}, ValueError, "per must be more than 0 seconds and finite"),
        ({"per": 1}, ValueError, "a quota needs calls or records"),
        ({"per": 1, "calls": 0}, ValueError, "calls must be at least 1"),
        ({"per": 1, "records": 1.5}, TypeError, "records must be a whole number"),
    ],
)
def test_a_quota_that_says_nothing_is_refused(arguments, error, message):
    """At once, and in words."""
    with pytest.raises(error, match=message):
        Quota(**arguments)


def test_quotas_must_be_quotas():
    """A number in their place would limit nothing."""
    with pytest.raises(TypeError, match="quotas must hold Quota"):
        Limits(quotas=[100])  # type: ignore[list-item]


def test_gathering_is_a_part_of_the_delay():
    """``max_delay`` bounds."""
    assert AutoBatchPolicy(max_delay=1, gather=1).window == 1
    assert AutoBatchPolicy(max_delay=1).window == 1
    with pytest.raises(ValueError, match=r"gather must be at most max_delay, 0\.05 s, not 1"):
        AutoBatchPolicy(gather=1)
    with pytest.raises(TypeError, match="gather must be seconds"):
        AutoBatchPolicy(gather="1")  # type: ignore[arg-type]


def test_the_policy_for_a_quota():
    """Free: 20 ms, or less where calls are plenty; priced: as long as the quota takes for a call."""
    assert AutoBatchPolicy.for_quota(100, 10, unused="free") == AutoBatchPolicy(max_delay=0.1, gather=0.02)
    assert AutoBatchPolicy.for_quota(1000, 10, unused="free") == AutoBatchPolicy(max_delay=0.01, gather=0.01)
    assert AutoBatchPolicy.for_quota(100, 10, unused="priced") == AutoBatchPolicy(max_delay=0.1)
    with pytest.raises(ValueError, match="unused must be 'free' or 'priced', not 'cheap'"):
        AutoBatchPolicy.for_quota(100, 10, unused="cheap")  # type: ignore[arg-type]
