"""P9 bounded, P10 fair."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    Event,
    EventKind,
    Fairness,
    FlushReason,
    InvalidRecord,
    Limits,
    Overloaded,
    Retry,
)
from tests.api import Api, gather

pytestmark = pytest.mark.anyio
NOW = AutoBatchPolicy(max_delay=0)


async def test_p09_submit_waits_above_the_ceiling_and_all_are_written():
    """Real backpressure, no drops: never more pending than allowed."""
    api = Api(seconds=1)
    limits = Limits(max_pending_records=20, max_lane_records=20)
    most = 0

    async with Batcher(api, limits=limits, auto_batch=AutoBatchPolicy(max_records=7)) as batcher:

        async def one(n: int) -> int:
            nonlocal most
            result: int = await batcher.submit(n)
            most = max(most, batcher.statistics().pending)
            return result

        assert await gather(*(partial(one, n) for n in range(200))) == list(range(200))

    assert most <= 20


async def test_p09_bytes_are_bounded_like_records():
    """The ceiling of bytes holds submits up, and lets them in as bytes are settled."""
    api = Api(seconds=1)
    limits = Limits(max_pending_bytes=10, max_lane_bytes=10)
    async with Batcher(api, limits=limits, auto_batch=NOW, size_of=len) as batcher:
        batcher.submit_nowait("x" * 8)
        with pytest.raises(Overloaded):
            batcher.submit_nowait("xxx")
        assert batcher.statistics().pending_bytes == 8
        assert await batcher.submit("xxx") == "xxx"
        with pytest.raises(InvalidRecord, match="11 bytes exceed the 10 that may be pending"):
            await batcher.submit("x" * 11)

    assert [call.records for call in api.calls] == [("x" * 8,), ("xxx",)]


async def test_p09_submit_nowait_raises_and_leaves_no_trace():
    """Overloaded says how full it is; nothing was accepted."""
    api = Api(seconds=1)
    async with Batcher(api, limits=Limits(max_pending_records=2, max_lane_records=2)) as batcher:
        batcher.submit_nowait(1)
        batcher.submit_nowait(2)
        with pytest.raises(Overloaded, match="2 records are pending"):
            batcher.submit_nowait(3, key="other")
        statistics = batcher.statistics()
        assert (statistics.accepted, statistics.waiting, statistics.lanes) == (2, 0, 1)

    assert api.batches == [(1, 2)]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (
            Limits(max_pending_records=4),
            "its lane holds 2 of max_lane_records=2 (by default half of max_pending_records=4); 2 records are pending",
        ),
        (Limits(max_pending_records=2, max_lane_records=9), "the batcher holds 2 of max_pending_records=2; 2 records"),
        (Limits(max_lane_bytes=7), "its lane holds 6 of max_lane_bytes=7, and this record has 3 bytes; 2 records"),
        (
            Limits(max_pending_bytes=8, max_lane_bytes=9),
            "the batcher holds 6 of max_pending_bytes=8, and this record has",
        ),
        (
            Limits(max_lane_records=2, fairness=Fairness(by=lambda key: "acme")),
            "its tenant holds 2 of max_lane_records=2; 2 records are pending",
        ),
    ],
)
async def test_p09_who_finds_no_place_learns_which_limit_was_hit(limits, words):
    """By its name, with what it holds and where it comes from."""
    async with Batcher(Api(seconds=1), limits=limits, size_of=len) as batcher:
        batcher.submit_nowait("abc")
        batcher.submit_nowait("abc")
        with pytest.raises(Overloaded, match="no place is free: " + re.escape(words)):
            batcher.submit_nowait("abc", key="other" if limits.fairness else None)


async def test_p09_submit_nowait_never_overtakes_a_waiter():
    """As long as somebody waits for a place it would have to wait too."""
    api = Api(seconds=1)
    limits = Limits(max_pending_records=3, max_lane_records=3)
    async with Batcher(api, limits=limits, auto_batch=NOW) as batcher:
        batcher.submit_nowait("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(batcher.submit_all, ["g1", "g2", "g3"], all_or_none=True))
            await anyio.sleep(0.5)
            with pytest.raises(Overloaded, match="no place is free: others who wait for one came first"):
                batcher.submit_nowait("b")  # there are two free places, and a group waits for three


async def test_p09_places_go_by_order_of_arrival():
    """First come, first admitted."""
    api = Api(seconds=1)
    limits = Limits(max_pending_records=1, max_lane_records=1)
    async with Batcher(api, limits=limits, auto_batch=NOW) as batcher, anyio.create_task_group() as tasks:
        for n in range(5):
            tasks.start_soon(partial(batcher.submit, n, key=n % 2))
            await anyio.sleep(0.125)

    assert [call.records for call in api.calls] == [(n,) for n in range(5)]


async def test_p09_a_full_house_of_half_filled_batches_makes_them_due():
    """Nobody waits for a delay of an hour that only holds places (B11)."""
    events: list[Event] = []
    api = Api()
    limits = Limits(max_pending_records=10, max_lane_records=10)
    policy = AutoBatchPolicy(max_delay=3600)
    async with Batcher(api, limits=limits, auto_batch=policy, on_event=events.append) as batcher:
        start = anyio.current_time()
        for n in range(10):
            batcher.submit_nowait(n, key=n % 3)
        await batcher.enqueue("late")
        assert anyio.current_time() == start

    reasons = [event.reason for event in events if event.kind is EventKind.DISPATCHED]
    assert reasons == [FlushReason.PRESSURE] * 3 + [FlushReason.CLOSING]


async def test_p09_a_lane_is_forgotten_when_it_is_idle():
    """A hundred thousand keys that came and went cost nothing (B12)."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
        for n in range(1_000):
            await batcher.submit(n, key=f"tenant {n}")
        assert batcher.statistics().lanes == 0
        assert len(batcher._engine.accumulator.scheduler.deadlines) == 0


async def test_p09_a_pause_keeps_a_lane_until_it_has_passed():
    """A throttled lane is not forgotten, and not remembered for ever."""
    api = Api([Retry("429", after=50, pause_lane=True)])
    async with Batcher(api, auto_batch=NOW) as batcher:
        receipt = batcher.submit_nowait("a")
        await anyio.sleep(1)
        assert receipt.withdraw()
        assert batcher.statistics().lanes == 1
        batcher.submit_nowait("b")
        start = anyio.current_time()
        await batcher.flush()
        assert anyio.current_time() - start >= 49
        await anyio.sleep(100)
        assert batcher.statistics().lanes == 0


async def test_p09_withdrawing_while_the_house_hangs_leaves_no_ghosts():
    """The provider hangs and callers time out: nothing is kept for those who came and went."""
    api = Api(seconds=1e6)
    limits = Limits(call_timeout=1e9, shutdown_timeout=0)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=1), limits=limits) as batcher:
        for n in range(32):
            batcher.submit_nowait(n, key=n)
        scheduler = batcher._engine.accumulator.scheduler
        for n in range(500):
            assert batcher.submit_nowait("x", key=f"tenant {n % 50}").withdraw()
        assert (batcher.statistics().lanes, batcher.statistics().pending) == (32, 32)
        assert (len(scheduler.ready), len(scheduler.filling), len(scheduler.deadlines)) == (0, 0, 0)


async def test_p09_places_held_by_what_is_parked_are_pressed_for_where_it_waits():
    """A lane full of records that wait for another lane's half-filled batch makes that batch due."""
    api = Api(seconds=1)
    limits = Limits(max_pending_records=100, max_lane_records=2)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=3600), limits=limits) as batcher:
        start = anyio.current_time()
        batcher.submit_nowait("head", key="B", identity=1)
        batcher.submit_nowait("p1", key="A", identity=1)
        batcher.submit_nowait("p2", key="A", identity=1)
        await batcher.enqueue("w", key="A")
        assert anyio.current_time() - start <= 3


async def test_p10_a_due_batch_is_not_starved_by_a_stream_of_groups():
    """Groups travel alone, and take turns with a full batch."""
    api = Api(seconds=1)
    policy = AutoBatchPolicy(max_delay=3600, max_records=3)
    async with Batcher(api, auto_batch=policy, limits=Limits(max_lane_in_flight=1)) as batcher:

        async def groups() -> None:
            while True:
                await batcher.submit_all([1, 2], all_or_none=True)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(groups)
            await anyio.sleep(0.5)
            start = anyio.current_time()
            receipts = [batcher.submit_nowait(n) for n in range(3)]
            await receipts[0]
            assert anyio.current_time() - start <= 3
            tasks.cancel_scope.cancel()


async def test_p10_a_throttled_lane_does_not_hold_up_another():
    """A pause is the lane's own affair."""
    api = Api([Retry("429", after=30, pause_lane=True)])
    async with Batcher(api, auto_batch=NOW) as batcher:
        start = anyio.current_time()
        batcher.submit_nowait("slow", key="throttled")
        await anyio.sleep(1)
        assert await batcher.submit("quick", key="healthy") == "quick"
        assert anyio.current_time() - start == 1


async def test_p10_a_hanging_lane_does_not_use_up_the_calls():
    """One lane has four calls at most, so 28 are left for others."""

    async def write(key: Any, records: list[Any]) -> list[Any]:
        await anyio.sleep(50 if key == "slow" else 1)
        return records

    async with Batcher(write, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
        start = anyio.current_time()
        slow = [batcher.submit_nowait(n, key="slow") for n in range(40)]
        assert batcher.statistics().in_flight == 4
        await gather(*(partial(batcher.submit, n, key=n) for n in range(28)))
        assert anyio.current_time() - start == 1
        for receipt in slow[4:]:
            receipt.withdraw()


async def test_p10_a_full_house_is_shared_between_lanes_in_turn():
    """Under the limit of calls, lanes take turns; a deep one does not go first till it is empty."""
    api = Api(seconds=1)
    policy = AutoBatchPolicy(max_records=2)
    async with Batcher(api, limits=Limits(max_in_flight=1), auto_batch=policy) as batcher:
        for n in range(10):
            batcher.submit_nowait(n, key="deep")
        for n in range(4):
            batcher.submit_nowait(n, key="shallow")
        await batcher.flush()

    assert [call.key for call in api.calls] == ["deep", "deep", "shallow", "deep", "shallow", "deep", "deep"]


async def test_p10_a_due_lane_is_served_before_new_input():
    """A lane whose time has come is not starved by one that fills all the time (B5)."""
    api = Api(seconds=1)
    policy = AutoBatchPolicy(max_records=5, max_delay=2)
    async with Batcher(api, limits=Limits(max_in_flight=1), auto_batch=policy) as batcher:
        start = anyio.current_time()

        async def flood() -> None:
            for n in range(200):
                await batcher.enqueue(n, key="busy")
                await anyio.sleep(0.125)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood)
            await batcher.submit("cold", key="cold")
            waited = anyio.current_time() - start
            tasks.cancel_scope.cancel()

    assert waited <= 5


async def test_p10_a_full_lane_holds_up_nobody_elses_admission():
    """Its waiters wait for it; a waiter of another lane passes them."""
    api = Api([Retry("429", after=40, pause_lane=True)], seconds=1)
    limits = Limits(max_pending_records=10, max_lane_records=2)
    async with Batcher(api, limits=limits, auto_batch=NOW) as batcher:
        start = anyio.current_time()
        batcher.submit_nowait("a", key="stuck")
        await anyio.sleep(2)
        batcher.submit_nowait("b", key="stuck")
        async with anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(partial(batcher.enqueue, n, key="stuck"))
            await anyio.sleep(0.5)
            assert batcher.statistics().waiting == 50
            assert await batcher.submit("free", key="free") == "free"
            assert anyio.current_time() - start <= 4


async def test_p09_counters_return_to_zero():
    """After any amount of work nothing is held, in records, bytes, lanes, identities or timers."""
    api = Api(*[Retry("x"), ConnectionError(), list] * 10)
    async with Batcher(api, size_of=len, auto_batch=AutoBatchPolicy(max_records=4)) as batcher:
        for n in range(100):
            await batcher.enqueue("x" * (n % 5 + 1), key=n % 4, identity=n % 9, deadline=500)
        await batcher.flush()
        statistics = batcher.statistics()
        held, scheduler = batcher._engine.accumulator, batcher._engine.accumulator.scheduler
        assert statistics.accepted == statistics.settled == sum(statistics.outcomes.values()) == 100
        assert (statistics.pending, statistics.pending_bytes, statistics.in_flight, statistics.lanes) == (0, 0, 0, 0)
        assert (len(held.identities), len(scheduler.deadlines), len(held.backoffs), len(scheduler.ready)) == (
            0,
            0,
            0,
            0,
        )
