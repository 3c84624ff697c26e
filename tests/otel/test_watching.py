"""What the bridge to OpenTelemetry shows of batchers that it watches."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import anyio
import anyio.to_thread
import attrs
import pytest

from batcher import AutoBatchPolicy, Batcher, Limits, Statistics, Writer
from batcher.otel import OpenTelemetry
from batcher.testing import ScriptedDestination
from tests.api import Api
from tests.otel.test_bridge import Telemetry, telemetry

__all__ = ["telemetry"]

pytestmark = pytest.mark.anyio

HELD = ("batcher.pending.records", "batcher.pending.size", "batcher.waiting", "batcher.in_flight", "batcher.lanes")


async def test_what_a_batcher_holds_is_shown_when_metrics_are_collected(telemetry):
    """The figures of its statistics at that moment."""
    bridge = telemetry.bridge()
    limits = Limits(max_pending_records=4, max_lane_records=3)
    policy = AutoBatchPolicy(max_records=2)
    async with Batcher(Api(seconds=5), on_event=bridge, auto_batch=policy, limits=limits, size_of=len) as batcher:
        bridge.watch(batcher)
        assert [telemetry.points(name) for name in HELD] == [{(): 0}] * 5
        assert telemetry.points("batcher.settled") == {}
        await batcher.submit("aa", max_delay=0)
        for _ in range(3):
            batcher.submit_nowait("bb")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batcher.submit, "cc")
            await anyio.wait_all_tasks_blocked()
            assert [telemetry.points(name) for name in HELD] == [{(): 3}, {(): 6}, {(): 1}, {(): 2}, {(): 1}]
            assert telemetry.points("batcher.accepted") == {(): 4}
            assert telemetry.points("batcher.settled") == {("written",): 1}


async def test_what_no_call_settled_is_among_what_is_settled(telemetry):
    """A record withdrawn or turned away is in no answer, so only the batcher itself can tell."""
    bridge = telemetry.bridge()
    async with Batcher(Api(), on_event=bridge, auto_batch=AutoBatchPolicy(max_delay=60)) as batcher:
        bridge.watch(batcher)
        assert batcher.submit_nowait("a").withdraw()
        await batcher.submit_all(["b"])
        assert telemetry.points("batcher.settled") == {("not_written",): 1, ("written",): 1}
        assert telemetry.points("batcher.records") == {("written",): 1}


async def test_several_batchers_add_up_or_are_told_apart_by_name(telemetry):
    """Also a Writer, also by several bridges of one provider; watching one twice counts it once."""
    plain, named = telemetry.bridge(), telemetry.bridge(name="crm")
    async with (
        Batcher(Api(), on_event=plain) as one,
        Batcher(Api(), on_event=plain) as other,
        Writer(ScriptedDestination(), on_event=named) as writer,
    ):
        for batcher in (one, other, one):
            plain.watch(batcher)
        named.watch(writer)
        await one.submit_all(["a"] * 2)
        await other.submit_all(["b"] * 3)
        await writer.create("contacts", {"email": "ada@example.com"})
        assert telemetry.points("batcher.accepted") == {(): 5, ("crm",): 1}
        assert telemetry.points("batcher.settled") == {("written",): 5, ("crm", "written"): 1}
        assert telemetry.points("batcher.lanes") == {(): 0, ("crm",): 0}
        assert telemetry.points("batcher.calls") == {("submit_all",): 2, ("crm", "delay"): 1}


async def test_a_batcher_that_is_dropped_is_collected_and_its_totals_stay(telemetry):
    """It is not kept alive by being watched; totals never fall, and go on with the next one of the name."""
    bridge = telemetry.bridge(name="crm")

    async def use(records: int) -> weakref.ref[Any]:
        async with Batcher(Api(), on_event=bridge) as batcher:
            bridge.watch(batcher)
            await batcher.submit_all(["a"] * records)
            assert telemetry.points("batcher.in_flight") == {("crm",): 0}
        return weakref.ref(batcher)

    gone = await use(3)
    gc.collect()
    assert gone() is None
    assert telemetry.points("batcher.in_flight") == {}
    assert telemetry.points("batcher.settled") == {("crm", "written"): 3}

    await use(2)
    gc.collect()
    assert telemetry.points("batcher.accepted") == {("crm",): 5}
    assert telemetry.points("batcher.settled") == {("crm", "written"): 5}


def test_a_total_never_falls(telemetry):
    """Metrics are collected in a thread of their own: what it reads in the middle of a step may be short by a batch."""

    @attrs.define
    class Torn:
        accepted: int

        def statistics(self) -> Statistics:
            return Statistics(
                accepted=self.accepted,
                settled=0,
                pending=0,
                pending_bytes=0,
                waiting=0,
                in_flight=0,
                in_flight_limit=32,
                open_breakers=0,
                calls=0,
                lanes=0,
                outcomes={},
            )

    torn = Torn(100)
    telemetry.bridge().watch(torn)
    assert telemetry.points("batcher.accepted") == {(): 100}
    torn.accepted = 90
    assert telemetry.points("batcher.accepted") == {(): 100}
    torn.accepted = 130
    assert telemetry.points("batcher.accepted") == {(): 130}


def test_only_a_batcher_can_be_watched():
    """Anything else is refused when it is given, not when metrics are collected."""
    with pytest.raises(TypeError, match="batcher must be a Batcher or a Writer, not str"):
        OpenTelemetry().watch("crm")  # type: ignore[arg-type]


def test_what_collects_metrics_is_not_kept_alive():
    """The provider of a test, or of an application that ends its telemetry, can go."""
    short_lived = Telemetry()
    short_lived.bridge()
    gone = weakref.ref(short_lived.meters)
    del short_lived
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_metrics_may_be_collected_in_another_thread_while_records_flow(backend, telemetry, caplog):
    """As exporters do it. Totals never fall, nothing fails, and in the end they are exact. On the real clock."""
    bridge = telemetry.bridge()
    seen: list[Any] = []

    async def main() -> None:
        async with Batcher(Api(seconds=0.002), on_event=bridge, auto_batch=AutoBatchPolicy(max_records=10)) as batcher:
            bridge.watch(batcher)

            async def submit() -> None:
                while len(seen) < 8:
                    await batcher.submit_all(["a"] * 10)

            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(submit)
                while len(seen) < 8:
                    seen.append(await anyio.to_thread.run_sync(telemetry.points, "batcher.accepted"))
            settled = batcher.statistics().settled
            assert telemetry.points("batcher.settled") == {("written",): settled}
            assert telemetry.points("batcher.accepted") == {(): settled}

    anyio.run(main, backend=backend)
    counts = [points[()] for points in seen]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    assert caplog.text == ""
