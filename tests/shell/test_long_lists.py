"""More records in one submit_all() than there are places: P1, P9, P10, P11."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import attrs
import pytest

from batcher import AutoBatchPolicy, Batcher, Limits, NotWritten, Overloaded, Rejected, Retry, Write, Writer, Written
from batcher.destinations import Prepared
from batcher.testing import ScriptedDestination
from tests.api import Api

pytestmark = pytest.mark.anyio
THREES = AutoBatchPolicy(max_records=3)


def tight(places: int = 6, **more: Any) -> Limits:
    return Limits(max_pending_records=places, max_lane_records=places, **more)


def told(outcomes: list[Any]) -> list[Any]:
    return [outcome.data if isinstance(outcome, Written) else outcome.kind for outcome in outcomes]


async def test_p09_more_records_than_places_are_written_in_their_order():
    """Never more pending than allowed, full batches, and each gets its own answer."""
    api = Api(seconds=1)
    async with Batcher(api, limits=tight(max_lane_in_flight=1), auto_batch=THREES) as batcher:
        outcomes: list[Any] = []

        async def all_of_them() -> None:
            outcomes.extend(await batcher.submit_all(range(1_000)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(all_of_them)
            while len(outcomes) < 1_000:
                await anyio.sleep(0.5)
                assert batcher.statistics().pending <= 6
    assert told(outcomes) == list(range(1_000))
    assert [record for batch in api.batches for record in batch] == list(range(1_000))
    assert set(api.sizes[:-1]) == {3}


async def test_p09_a_list_is_not_overtaken():
    """Whoever comes later waits behind all of it, and submit_nowait() is refused as long as any of it waits."""
    api = Api(seconds=1)
    limits = tight(max_lane_in_flight=1)
    async with Batcher[Any, Any](api, limits=limits, auto_batch=THREES) as batcher, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(batcher.submit_all, range(30)))
        await anyio.sleep(0.5)
        tasks.start_soon(batcher.submit, "later")
        for _ in range(8):
            await anyio.sleep(1)
            with pytest.raises(Overloaded):
                batcher.submit_nowait("at once")
    assert [record for batch in api.batches for record in batch] == [*range(30), "later"]


async def test_p09_lists_of_several_lanes_share_a_full_house_in_full_batches():
    """However many lists wait for places, no more calls are made than there are batches."""
    api = Api(seconds=0.005)
    limits = Limits(max_pending_records=400, max_lane_records=200)
    async with Batcher(api, limits=limits) as batcher, anyio.create_task_group() as tasks:
        for lane in range(4):
            tasks.start_soon(partial(batcher.submit_all, range(3_000), key=lane))
    assert len(api.calls) == 120


async def test_p10_lanes_of_a_list_do_not_wait_for_each_other():
    """One lane of the list is paused and full; the others are written meanwhile, the last of each at once."""
    destination = ScriptedDestination(Retry("throttled", after=50, pause_lane=True))
    pairs = [(name, n) for n in range(0, 10, 2) for name in ("sick", "well", "fine")]
    writes = [Write(name, "create", {"n": each}) for name, n in pairs for each in (n, n + 1)]
    limits = Limits(max_pending_records=20, max_lane_records=4)
    async with Writer(destination, limits=limits, auto_batch=THREES) as writer:
        start = anyio.current_time()
        outcomes = await writer.submit_all(writes)
        took = anyio.current_time() - start
    assert [outcome.kind for outcome in outcomes] == ["written"] * 30
    done = {
        name: max(call.at for call in destination.calls if call.object == name) - start for name in ("well", "fine")
    }
    assert max(done.values()) < 1
    assert 50 <= took < 51


async def test_p01_what_can_never_be_written_is_told_among_the_others():
    """Behind a full lane, too, and takes no place."""
    api = Api(seconds=1)
    records = ["x" * (9 if n % 5 else 11) for n in range(40)]
    limits = tight(3, max_lane_bytes=40)
    async with Batcher(api, limits=limits, auto_batch=AutoBatchPolicy(max_bytes=10), size_of=len) as batcher:
        outcomes = await batcher.submit_all(records)
    assert [type(outcome) for outcome in outcomes] == [Written if len(record) == 9 else Rejected for record in records]
    assert sum(api.sizes) == 32


async def test_p11_those_without_a_place_when_the_batcher_closes_are_told():
    """What is pending is still sent; what never got a place is not written, and nothing of it is sent."""
    api = Api(seconds=1)
    outcomes: list[Any] = []

    async def all_of_them(batcher: Batcher[int, int]) -> None:
        outcomes.extend(await batcher.submit_all(range(100)))

    limits = tight(max_lane_in_flight=1)
    async with (
        anyio.create_task_group() as tasks,
        Batcher[int, int](api, limits=limits, auto_batch=THREES) as batcher,
    ):
        tasks.start_soon(all_of_them, batcher)
        await anyio.sleep(2.5)
    written = sum(api.sizes)
    assert 6 < written < 100
    assert told(outcomes) == [*range(written), *["not_written"] * (100 - written)]
    assert {outcome.cause for outcome in outcomes[written:]} == {
        "the batcher closed while the record waited for a place"
    }


async def test_p11_one_that_has_just_got_its_place_is_written():
    """The batcher begins to close in the very moment in which a place has become free: whoever has it, has it."""
    api = Api(seconds=1)
    outcomes: list[Any] = []

    async def all_of_them(batcher: Batcher[Any, Any]) -> None:
        outcomes.extend(await batcher.submit_all(range(6)))

    async with (
        anyio.create_task_group() as tasks,
        Batcher[Any, Any](api, limits=tight(3), auto_batch=THREES) as batcher,
    ):
        first = batcher.submit_nowait("first")
        tasks.start_soon(all_of_them, batcher)
        await first
    # trio says not who goes first: the body, which closes the gate, or the list, which takes the other places, too.
    written = sum(api.sizes) - 1
    assert written in (3, 5)
    assert told(outcomes) == [*range(written), *["not_written"] * (6 - written)]


async def test_p08_a_cancelled_list_submits_nothing_more():
    """What is in flight goes its way, what waits is withdrawn, and the rest never comes."""
    api = Api(seconds=1)
    async with Batcher(api, limits=tight(max_lane_in_flight=1), auto_batch=THREES) as batcher:
        with anyio.move_on_after(2.5):
            await batcher.submit_all(range(100))
        await anyio.sleep(5)
        assert (batcher.statistics().pending, batcher.statistics().waiting) == (0, 0)
        assert await batcher.submit("next") == "next"
    assert api.batches == [(0, 1, 2), (3, 4, 5), (6, 7, 8), ("next",)]


async def test_p08_a_cancelled_list_of_several_lanes_submits_nothing_more():
    """As above, whatever lane they wait in."""
    destination = ScriptedDestination(seconds=1)
    writes = [Write(name, "create", {"n": n}) for n in range(20) for name in ("a", "b")]
    limits = Limits(max_pending_records=12, max_lane_records=6, max_lane_in_flight=1)
    async with Writer(destination, limits=limits, auto_batch=THREES) as writer:
        with anyio.move_on_after(2.5):
            await writer.submit_all(writes)
        await anyio.sleep(5)
        assert (writer.statistics().pending, writer.statistics().waiting) == (0, 0)
    assert {len(call.records) for call in destination.calls} == {3}
    assert len(destination.calls) == 6


async def test_p10_a_deadline_counts_for_those_who_wait_for_a_place_too():
    """All that could not be sent in time is told so, whether it ever had a place or not."""
    api = Api(seconds=1)
    async with Batcher(api, limits=tight(max_lane_in_flight=1), auto_batch=THREES) as batcher:
        start = anyio.current_time()
        outcomes = await batcher.submit_all(range(200), deadline=3.5)
        assert anyio.current_time() - start < 5
    kinds = [type(outcome) for outcome in outcomes]
    written = kinds.count(Written)
    assert 6 <= written <= 15
    assert kinds == [Written] * written + [NotWritten] * (200 - written)
    assert sum(api.sizes) == written


async def test_p10_a_list_that_is_late_before_it_has_any_place():
    """It is told so at once, all of it."""
    api = Api(seconds=1)
    async with Batcher(api, limits=tight(3), auto_batch=THREES) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(3)]
        outcomes = await batcher.submit_all(range(20), deadline=0)
        assert not receipts[0].done
    assert told(outcomes) == ["not_written"] * 20
    assert api.batches == [(0, 1, 2)]


async def test_p06_writes_of_one_identity_keep_their_order_behind_a_full_lane():
    """The order in the list is the order in which they are accepted, and sent."""
    api = Api(seconds=1)
    async with Batcher(api, limits=tight(4), auto_batch=THREES) as batcher:
        outcomes = await batcher.submit_all(range(40), identities=[n % 7 for n in range(40)])
    assert told(outcomes) == list(range(40))
    sent = [record for batch in api.batches for record in batch]
    for identity in range(7):
        assert [n for n in sent if n % 7 == identity] == list(range(identity, 40, 7))


async def test_p06_a_later_write_of_an_identity_does_not_overtake_a_list():
    """Where records have identities, their order counts from when they were handed over, with a place or without."""
    api = Api(seconds=1)
    limits = tight(3, max_lane_in_flight=1)
    async with Batcher[Any, Any](api, limits=limits, auto_batch=THREES) as batcher, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(batcher.submit_all, [*range(20), "old"], identities=[*range(20), "x"]))
        await anyio.sleep(0.5)
        assert await batcher.submit("new", identity="x") == "new"
    sent = [record for batch in api.batches for record in batch]
    assert sent[-2:] == ["old", "new"]


class SomeHaveNames(ScriptedDestination):
    """Creates have an identity if they say so."""

    def encode(self, write: Write) -> Prepared:
        return attrs.evolve(super().encode(write), identity=write.record.get("name"))


async def test_p06_nor_one_that_stands_behind_records_without_identity():
    """A mixed list keeps its order as well."""
    destination = SomeHaveNames(seconds=1)
    list_of_writes = [
        *(Write("contact", "create", {"n": n}) for n in range(8)),
        Write("deal", "create", {"n": 8}),
        Write("contact", "create", {"n": 9, "name": "x"}),
    ]
    limits = Limits(max_pending_records=20, max_lane_records=3, max_lane_in_flight=1)
    async with Writer(destination, limits=limits, auto_batch=THREES) as writer, anyio.create_task_group() as tasks:
        tasks.start_soon(writer.submit_all, list_of_writes)
        await anyio.sleep(0.5)
        await writer.submit(Write("contact", "create", {"n": 10, "name": "x"}))
        assert writer.statistics().waiting == 0
    sent = [record["n"] for call in destination.calls if call.object == "contact" for record in call.records]
    assert sent == [*range(8), 9, 10]


async def test_p03_the_last_of_a_list_waits_for_no_company():
    """What is left when the others are in leaves at once, whatever the delay."""
    api = Api(seconds=1)
    slow = AutoBatchPolicy(max_records=3, max_delay=60)
    async with Batcher(api, limits=tight(max_lane_in_flight=1), auto_batch=slow) as batcher:
        start = anyio.current_time()
        assert told(await batcher.submit_all(range(22))) == list(range(22))
        assert anyio.current_time() - start < 20
    assert sum(api.sizes) == 22
