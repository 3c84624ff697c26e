"""A receipt, or an error, can say where the time of its record went: in seconds that add up."""

from __future__ import annotations

import pickle
from functools import partial
from math import inf
from typing import Any

import anyio
import attrs
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherClosed,
    BreakerPolicy,
    Event,
    FlushReason,
    Limits,
    NotWritten,
    Quota,
    RecordNotWritten,
    Refused,
    Retry,
    RetryPolicy,
    Timing,
)
from batcher._core.model.attempts import Intervals, begun, ended, overlap
from tests.api import Api, gather

pytestmark = pytest.mark.anyio

ONE = AutoBatchPolicy(max_records=1)


def spent(timing: Timing | None) -> dict[str, float]:
    """The parts that are not nothing."""
    assert timing is not None
    parts = attrs.asdict(timing, filter=lambda field, value: isinstance(value, float) and value > 0)
    assert timing.total == pytest.approx(sum(parts.values()))
    return {name: round(seconds, 6) for name, seconds in parts.items()}


async def test_a_record_waits_for_company_and_is_served():
    async with Batcher[int, int](Api(seconds=2), auto_batch=AutoBatchPolicy(max_delay=1)) as batcher:
        receipt = batcher.submit_nowait(1)
        assert receipt.timing is None
        await receipt
    assert spent(receipt.timing) == {"window": 1, "service": 2}
    assert receipt.timing is not None and receipt.timing.reason is FlushReason.DELAY


async def test_it_waits_for_a_free_slot():
    async with Batcher[int, int](Api(seconds=2), auto_batch=ONE, limits=Limits(max_in_flight=1)) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(3)]
        await batcher.flush()
    assert [spent(receipt.timing) for receipt in receipts] == [
        {"service": 2},
        {"slot": 2, "service": 2},
        {"slot": 4, "service": 2},
    ]


async def test_it_waits_for_a_quota():
    limits = Limits(quotas=[Quota(per=10, calls=1)])
    async with Batcher[int, int](Api(seconds=1), auto_batch=ONE, limits=limits) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(2)]
        await batcher.flush()
    assert spent(receipts[1].timing) == {"quota": 10, "service": 1}


async def test_who_waits_behind_others_waits_for_the_quota_as_they_do():
    """Nothing is in flight: more calls at a time would help nobody."""
    limits = Limits(quotas=[Quota(per=10, calls=1)])
    async with Batcher[int, int](Api(), auto_batch=ONE, limits=limits) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(4)]
        await anyio.sleep(5)
        late = batcher.submit_nowait(4)
        await batcher.flush()
    assert [spent(receipt.timing) for receipt in receipts] == [{}, {"quota": 10}, {"quota": 20}, {"quota": 30}]
    assert spent(late.timing) == {"quota": 35}


async def test_who_was_made_due_waits_for_the_quota_too():
    """The last batch is not full; it waits for its turn, and not for company."""
    limits = Limits(quotas=[Quota(per=10, calls=1)])
    policy = AutoBatchPolicy(max_records=2, max_delay=500)
    async with Batcher[int, int](Api(), auto_batch=policy, limits=limits) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(5)]
        await anyio.sleep(1)
        await batcher.flush()
    assert spent(receipts[3].timing) == {"quota": 10}
    assert spent(receipts[4].timing) == {"quota": 20}


async def test_between_two_quotas_it_waits_for_a_slot():
    """Ten calls in ten seconds, four of a second at a time: what the records in front wait for counts for all."""
    limits = Limits(quotas=[Quota(per=10, calls=4)], max_in_flight=2)
    async with Batcher[int, int](Api(seconds=1), auto_batch=ONE, limits=limits) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(12)]
        await batcher.flush()
    assert spent(receipts[3].timing) == {"slot": 1, "service": 1}
    assert spent(receipts[5].timing) == {"slot": 2, "quota": 8, "service": 1}
    assert spent(receipts[11].timing) == {"slot": 5, "quota": 16, "service": 1}


async def test_who_waits_behind_others_waits_while_the_provider_asks_for_it_as_often_as_it_does():
    throttle = Retry("429", after=5, pause_lane=True)
    api = Api(throttle, list, throttle, seconds=1)
    async with Batcher[int, int](api, auto_batch=ONE, limits=Limits(max_in_flight=1)) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(3)]
        await batcher.flush()
    assert spent(receipts[1].timing) == {"slot": 2, "pause": 5, "retry": 5, "service": 2}
    assert spent(receipts[2].timing) == {"slot": 4, "pause": 10, "service": 1}


async def test_a_lane_that_was_held_and_let_go_does_not_wait_for_the_quota_any_more():
    """What had waited for it was withdrawn. The next one waits for other things."""
    limits = Limits(quotas=[Quota(per=10, calls=1)], max_in_flight=1)
    api = Api(seconds=20)
    async with Batcher[int, int](api, auto_batch=AutoBatchPolicy(max_delay=0), limits=limits) as batcher:
        await batcher.submit(0)
        first, held = batcher.submit_nowait(1), batcher.submit_nowait(2, key="b")
        await anyio.sleep(1)
        assert held.withdraw()
        await first
        api.seconds = 1.0
        last = batcher.submit_nowait(3, key="b")
        await last
    assert "quota" not in spent(last.timing)


def test_what_held_a_lane_is_known_for_long_at_a_bounded_cost():
    """A lane that is never empty forgets no second of it; what is long ago is evened out."""
    intervals: Intervals = ()
    for n in range(1000):
        intervals = ended(begun(intervals, 10.0 * n), 10.0 * n + 3)
    assert len(intervals) <= 20
    assert overlap(intervals, 0.0, inf) == pytest.approx(3000)
    assert overlap(intervals, 0.0, 5000.0) == pytest.approx(1500, rel=0.01)
    assert overlap(intervals, 9982.0, 9991.5) == pytest.approx(2.5), "the last ones are known exactly"


def test_what_goes_on_holding_a_lane_is_one_spell():
    intervals = ended(begun((), 1.0), 3.0)
    assert begun(intervals, 3.0, 4.0) == begun((), 1.0, 4.0)
    assert begun(begun((), 1.0, 9.0), 3.0, 4.0) == begun((), 1.0, 9.0), "a pause that ends earlier than another"
    assert ended(begun((), 1.0, 4.0), 5.0) == begun((), 1.0, 4.0), "it was over before"
    assert ended((), 1.0) == ()


async def test_it_waits_while_the_provider_asks_for_it():
    api = Api([Retry("429", after=5, pause_lane=True)], seconds=1)
    async with Batcher[int, int](api, auto_batch=ONE, limits=Limits(max_in_flight=1)) as batcher:
        first, second = batcher.submit_nowait(1), batcher.submit_nowait(2)
        await batcher.flush()
    assert spent(first.timing) == {"retry": 5, "service": 2}
    assert spent(second.timing) == {"slot": 2, "pause": 5, "service": 1}


async def test_it_waits_for_another_try():
    """And names the batches that carried it, as the events do."""
    events: list[Event] = []
    api = Api(Retry("busy", after=3), Retry("busy", after=4), seconds=1)
    policy = AutoBatchPolicy(max_delay=0)
    async with Batcher[int, int](api, auto_batch=policy, on_event=events.append) as batcher:
        receipt = batcher.submit_nowait(1)
        await receipt
    assert spent(receipt.timing) == {"retry": 7, "service": 3}
    assert receipt.timing is not None
    assert list(receipt.timing.batches) == sorted({event.batch for event in events})
    assert len(receipt.timing.batches) == 3
    assert receipt.timing.reason is FlushReason.RETRY


async def test_it_waits_for_an_earlier_write_of_the_same_record():
    async with Batcher[int, int](Api(seconds=2), auto_batch=ONE) as batcher:
        batcher.submit_nowait(1, identity="ada")
        receipt = batcher.submit_nowait(2, identity="ada", key="other")
        await receipt
    assert spent(receipt.timing) == {"identity": 2, "service": 2}


async def test_it_waits_while_one_record_tries_whether_the_breaker_may_be_closed():
    api = Api([NotWritten("401")], seconds=1)
    retry = RetryPolicy(breaker=BreakerPolicy(failures=1, cooldown=5))
    policy, limits = AutoBatchPolicy(max_records=2), Limits(max_in_flight=1)
    async with Batcher[int, int](api, retry=retry, auto_batch=policy, limits=limits) as batcher:
        refused = batcher.submit_nowait(0)
        await anyio.sleep(10)
        receipts = [batcher.submit_nowait(n) for n in range(4)]
        await batcher.flush()
    assert spent(refused.timing) == {"window": 0.05, "service": 1}
    assert spent(receipts[0].timing) == {"service": 1}
    assert spent(receipts[1].timing) == {"breaker": 1, "service": 1}
    assert spent(receipts[3].timing) == {"breaker": 1, "slot": 1, "service": 1}


async def test_the_search_for_a_culprit_is_told_as_calls_and_waiting_for_others():
    api = Api(Refused("no"), seconds=1)
    async with Batcher[int, int](api, auto_batch=AutoBatchPolicy(max_records=2)) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(2)]
        await batcher.flush()
    assert [spent(receipt.timing) for receipt in receipts] == [{"service": 2}, {"slot": 1, "service": 2}]


async def test_one_that_never_left_says_what_it_waited_for():
    async with Batcher[int, int](Api(seconds=9), auto_batch=AutoBatchPolicy(max_delay=60)) as batcher:
        waiting = batcher.submit_nowait(1, identity="ada")
        parked = batcher.submit_nowait(2, identity="ada")
        await anyio.sleep(3)
        assert parked.withdraw() and waiting.withdraw()
    assert spent(waiting.timing) == {"window": 3}
    assert spent(parked.timing) == {"identity": 3}
    assert parked.timing is not None and parked.timing.batches == () and parked.timing.reason is None


async def test_an_error_says_it_too_and_takes_it_along():
    """At 3 a.m. the log of the error is all there is."""
    api = Api(Retry("busy", after=20), Retry("busy", after=50), seconds=1)
    async with Batcher[int, int](api, auto_batch=ONE) as batcher:
        with pytest.raises(RecordNotWritten) as caught:
            await batcher.submit(1)
    assert spent(caught.value.timing) == {"retry": 20, "service": 2}
    copy: Any = pickle.loads(pickle.dumps(caught.value))
    assert copy.timing == caught.value.timing
    assert RecordNotWritten(NotWritten("x")).timing is None


async def test_who_never_got_a_place_has_no_times():
    limits = Limits(max_pending_records=1, max_lane_records=1)
    async with Batcher[int, int](Api(seconds=9), auto_batch=ONE, limits=limits) as batcher:
        batcher.submit_nowait(1)
        with pytest.raises(RecordNotWritten) as caught:
            await batcher.submit(2, deadline=1)
    assert caught.value.timing is None

    async def late(batcher: Batcher[int, int]) -> None:
        with pytest.raises(BatcherClosed):
            await batcher.submit(2)

    closing = Batcher[int, int](Api(seconds=9), auto_batch=ONE, limits=limits)
    async with anyio.create_task_group() as tasks, closing as batcher:
        batcher.submit_nowait(1)
        tasks.start_soon(late, batcher)
        await anyio.sleep(1)


async def test_a_call_that_was_given_up_on_served_until_then():
    limits = Limits(call_timeout=5)
    async with Batcher[int, int](Api(seconds=60), auto_batch=ONE, limits=limits) as batcher:
        receipt = batcher.submit_nowait(1)
        await batcher.flush()
    assert spent(receipt.timing) == {"service": 5}


async def test_times_add_up_for_everybody_in_a_storm():
    """The total is what the caller has waited."""
    api = Api(*[Retry("busy", pause_lane=bool(n % 2)) for n in range(8)], seconds=0.5)
    limits = Limits(max_in_flight=2, quotas=[Quota(per=2, calls=3)])
    async with Batcher[int, int](api, limits=limits, auto_batch=AutoBatchPolicy(max_records=7)) as batcher:

        async def caller(n: int) -> None:
            await anyio.sleep(n % 13 / 8)
            receipt = await batcher.enqueue(n, key=n % 3, identity=n % 40)
            began = anyio.current_time()
            await receipt
            assert receipt.timing is not None
            assert receipt.timing.total == pytest.approx(anyio.current_time() - began)

        await gather(*(partial(caller, n) for n in range(200)))
