"""P11: a bound for the host's shutdown. Whoever waits is told within it, and nothing is left unnamed."""

from __future__ import annotations

import signal
import threading
from functools import partial
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherClosed,
    Limits,
    NotWritten,
    Quota,
    RecordNotWritten,
    Retry,
    RetryPolicy,
    Unknown,
    Writer,
)
from batcher.testing import ScriptedDestination, check_conserved
from tests.api import Api

pytestmark = pytest.mark.anyio
LATER = AutoBatchPolicy(max_delay=500)


async def told_at(batcher: Batcher[Any, Any], record: str, told: dict[str, tuple[float, Any]], **options: Any) -> None:
    receipt = batcher.submit_nowait(record, **options)
    while not receipt.done:
        await anyio.sleep(0.5)
    told[record] = anyio.current_time(), receipt.outcome


async def test_p11_whoever_waits_is_told_within_the_bound(caplog):
    """What can be written is, at once; what is tried again or out is settled when the time is up, and counted."""

    async def write(key: str, records: list[str]) -> Any:
        if key == "throttled":
            raise Retry("429", after=0.5)
        await anyio.sleep(1000 if key == "hangs" else 0)
        return records

    told: dict[str, tuple[float, Any]] = {}
    retry, limits = RetryPolicy(deadline=900, breaker=None), Limits(call_timeout=2000)
    async with Batcher(write, auto_batch=LATER, retry=retry, limits=limits) as batcher:
        async with anyio.create_task_group() as tasks:
            begun = anyio.current_time()
            tasks.start_soon(partial(told_at, batcher, "hangs", told, key="hangs", max_delay=0))
            tasks.start_soon(partial(told_at, batcher, "throttled", told, key="throttled", max_delay=0))
            tasks.start_soon(partial(told_at, batcher, "buffered", told, key="good"))
            await anyio.sleep(3)
            batcher.end_within(10)
            await anyio.wait_all_tasks_blocked()
            now = anyio.current_time()
            assert await batcher.submit("newcomer", key="good") == "newcomer"
            assert anyio.current_time() == now, "nobody waits for company any more"
        assert told["buffered"] == (begun + 3.5, told["buffered"][1])
        assert told["buffered"][1].kind == "written"
        assert told["hangs"][1] == Unknown("the shutdown timeout of 10 s passed")
        assert isinstance(told["throttled"][1], NotWritten)
        assert max(at for at, _ in told.values()) <= begun + 13.5
        with pytest.raises(BatcherClosed):
            await batcher.submit("late")
    assert anyio.current_time() <= begun + 14
    check_conserved(batcher.statistics())
    (line,) = [record.getMessage() for record in caplog.records if "shutdown timeout" in record.getMessage()]
    assert line == "the shutdown timeout of 10 s passed: 1 records are unknown, 0 are not written"


async def test_p11_leaving_begins_no_new_time():
    """The earlier bound counts, from when it was set; and the shorter one of two."""

    async def write(key: str, records: list[str]) -> list[str]:
        await anyio.sleep(1000)
        return records

    begun = anyio.current_time()
    async with Batcher(write, limits=Limits(call_timeout=2000)) as batcher:
        receipt = batcher.submit_nowait("a", max_delay=0)
        batcher.end_within()
        batcher.end_within(5)
        batcher.end_within(50)
        await anyio.sleep(2)
    assert anyio.current_time() == begun + 5
    assert receipt.outcome == Unknown("the shutdown timeout of 5 s passed")


async def test_p11_whoever_waits_for_a_place_or_a_quota_is_told_as_well():
    """He was not accepted, or not sent."""
    limits = Limits(max_pending_records=1, max_lane_records=1, quotas=[Quota(calls=1, per=600)])
    async with Batcher(Api(), auto_batch=LATER, limits=limits) as batcher:
        await batcher.submit("first", max_delay=0)
        receipt = batcher.submit_nowait("held", max_delay=0)
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises((BatcherClosed, RecordNotWritten)):
                    await batcher.submit("waits")

            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            batcher.end_within(10)
        assert receipt.outcome == NotWritten("its quota is used up beyond the shutdown timeout", 0)


async def test_p11_before_entering_and_after_leaving_it_does_nothing():
    """A signal may come at any time."""
    batcher = Batcher(Api())
    batcher.end_within(1)
    async with batcher:
        assert await batcher.submit("a") == "a"
    batcher.end_within(1)
    with pytest.raises(ValueError, match="seconds must be at least 0 seconds, not -1"):
        batcher.end_within(-1)


async def test_p11_a_writer_has_it_too():
    """The destination is closed when it is left, as ever."""
    destination = ScriptedDestination(seconds=1000)
    begun = anyio.current_time()
    async with Writer(destination, limits=Limits(call_timeout=2000)) as writer:
        writer.end_within(3)
        async with anyio.create_task_group() as tasks:

            async def create() -> None:
                with pytest.raises(Exception, match="the shutdown timeout of 3 s passed"):
                    await writer.create("contacts", {"email": "ada@example.com"})

            tasks.start_soon(create)
    assert anyio.current_time() == begun + 3


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("how", ["signal", "thread"])
def test_p11_a_signal_handler_and_a_thread_may_call_it(backend: str, how: str):
    """On the real clock: it wakes a loop that sleeps."""
    told: list[Any] = []

    async def write(key: str, records: list[str]) -> list[str]:
        await anyio.sleep(1000)
        return records

    async def main() -> None:
        with anyio.fail_after(60):
            async with Batcher(write) as batcher:
                receipt = batcher.submit_nowait("a", max_delay=0)
                await anyio.sleep(0.05)
                end = partial(batcher.end_within, 0.01)
                if how == "thread":
                    thread = threading.Thread(target=end)
                    thread.start()
                else:
                    before = signal.signal(signal.SIGTERM, lambda *_: end())
                    main_thread = threading.main_thread().ident
                    threading.Timer(0.05, signal.pthread_kill, [main_thread, signal.SIGTERM]).start()
                try:
                    await receipt
                except Exception as error:
                    told.append(str(error))
                finally:
                    if how == "signal":
                        signal.signal(signal.SIGTERM, before)
            batcher.end_within(1)

    anyio.run(main, backend=backend)
    assert told == ["the record may or may not have been written: the shutdown timeout of 0.01 s passed"]
