"""P11 it ends, also where it is broken off: its host is cancelled, or a task of it dies."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherError,
    Event,
    NotWritten,
    Receipt,
    Retry,
    Unknown,
)
from tests.api import Api

pytestmark = pytest.mark.anyio
LATER = AutoBatchPolicy(max_delay=3600)
NOW = AutoBatchPolicy(max_delay=0)


async def test_p11_a_keyboard_interrupt_sends_nothing_more():
    """Not an Exception: buffered records are known not to be written, at once."""
    api = Api()
    with pytest.raises(KeyboardInterrupt):
        async with Batcher(api, auto_batch=LATER) as batcher:
            receipt = batcher.submit_nowait("a")
            raise KeyboardInterrupt

    assert receipt.outcome == NotWritten("the batcher was cancelled", 0)
    assert api.calls == []


async def test_p11_a_cancelled_host_settles_everything_at_once():
    """Buffered: not written. Parked: not written. Backing off: not written. Out: unknown. Nothing more is sent."""
    api = Api([Retry("429", after=20)], seconds=5)
    receipts: dict[str, Receipt[Any]] = {}
    with anyio.CancelScope() as scope:
        async with Batcher(api, auto_batch=NOW) as batcher:
            receipts["backing off"] = batcher.submit_nowait("r", key="x")
            await anyio.sleep(6)
            receipts["out"] = batcher.submit_nowait("o", identity="ada")
            receipts["parked"] = batcher.submit_nowait("p", identity="ada")
            await anyio.sleep(1)
            receipts["buffered"] = batcher.submit_nowait("b", max_delay=60)
            scope.cancel()
            await anyio.sleep_forever()

    assert {name: receipt.outcome for name, receipt in receipts.items()} == {
        "backing off": NotWritten("the batcher was cancelled", 1),
        "out": Unknown("the batcher was cancelled"),
        "parked": NotWritten("the batcher was cancelled", 0),
        "buffered": NotWritten("the batcher was cancelled", 0),
    }
    assert api.batches == [("r",), ("o",)]
    assert api.out == 0


async def test_p11_nobody_waits_for_a_cancelled_batcher():
    """Who awaits from outside of its task group is woken all the same."""
    api = Api(seconds=3600)

    async def wait(receipt: Receipt[Any]) -> str:
        try:
            await receipt
        except Exception as error:
            return type(error).__name__
        return "written"

    results: list[str] = []

    async def collect(receipt: Receipt[Any]) -> None:
        results.append(await wait(receipt))

    async with anyio.create_task_group() as outside:
        with anyio.CancelScope() as scope:
            async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
                for n in range(6):  # four out, two buffered
                    outside.start_soon(collect, batcher.submit_nowait(n))
                await anyio.sleep(1)
                scope.cancel()
                await anyio.sleep(1)

    assert sorted(results) == ["RecordNotWritten"] * 2 + ["RecordUnknown"] * 4


async def test_p11_what_no_worker_had_begun_is_not_written_rather_than_unknown():
    """Cut and dispatched, but the call was never made: that is known."""
    api = Api()
    with pytest.raises(KeyboardInterrupt):
        async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
            receipt = batcher.submit_nowait("a")
            assert batcher.statistics().in_flight == 1
            raise KeyboardInterrupt  # before any task could run

    assert receipt.outcome == NotWritten("the batcher was cancelled", 0)
    assert api.calls == []
    assert batcher.statistics().calls == 0


async def test_p11_a_hook_that_leaks_a_cancellation_ends_nothing():
    """It is the hook's own affair, like any other error of it."""
    cancelled = asyncio.CancelledError if anyio.get_cancelled_exc_class() is asyncio.CancelledError else ValueError

    def on_event(event: Event) -> None:
        raise cancelled

    async with Batcher(Api(), auto_batch=NOW, on_event=on_event) as batcher:
        for n in range(3):
            assert await batcher.submit(n) == n


async def test_p11_an_exit_in_the_hook_is_nobodys_outcome():
    """What ends programs goes through; what was accepted is settled on the way."""

    def on_event(event: Event) -> None:
        raise GeneratorExit

    receipts: list[Receipt[Any]] = []
    batcher = Batcher[Any, Any](Api(), auto_batch=AutoBatchPolicy(max_records=1), on_event=on_event)
    with pytest.raises(GeneratorExit):
        async with batcher:
            receipts.append(await batcher.enqueue("a"))
    assert batcher.statistics().pending == 0


async def test_p11_a_host_cancelled_while_it_drains_stops_draining():
    """The second signal does not have to wait for the first one's patience."""
    api = Api(seconds=3600)
    start = anyio.current_time()
    with anyio.move_on_after(5):
        async with Batcher(api, auto_batch=NOW) as batcher:
            receipt = batcher.submit_nowait("a")

    assert anyio.current_time() - start == 5
    assert receipt.outcome == Unknown("the batcher was cancelled")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_p11_an_interrupt_in_the_write_function_ends_the_batcher_and_leaves_bare(backend):
    """KeyboardInterrupt is nobody's outcome: it ends the program, and every receipt is settled."""
    receipts: list[Receipt[Any]] = []

    async def main() -> None:
        async with Batcher[Any, Any](Api(KeyboardInterrupt()), auto_batch=NOW) as batcher:
            receipts.append(batcher.submit_nowait("a"))
            await anyio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend=backend)

    assert receipts[0].outcome == Unknown("the batcher was cancelled")


def test_p11_somebody_cancels_every_task_of_the_loop():
    """As careless shutdown code does: workers and timer die, and every receipt is settled all the same."""
    receipts: list[Receipt[Any]] = []

    async def main() -> None:
        api = Api(seconds=0)
        async with Batcher[Any, Any](api, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
            await batcher.submit("warm up")
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            receipts.append(batcher.submit_nowait("a"))
            receipts.append(batcher.submit_nowait("b", key="other"))
            await asyncio.wait_for(asyncio.Event().wait(), 20)

    with pytest.raises(BatcherError, match="a task of the batcher was cancelled from outside"):
        asyncio.run(main())
    assert [receipt.done for receipt in receipts] == [True, True]
    assert {receipt.outcome.kind for receipt in receipts if receipt.outcome} <= {"unknown", "not_written"}


async def test_p11_nothing_is_accepted_while_a_cancelled_host_leaves(caplog):
    """Not even from a callback of what is settled then: nobody would see to it any more."""
    again: list[Receipt[Any]] = []
    with anyio.CancelScope() as scope:
        async with Batcher[Any, Any](Api(), auto_batch=AutoBatchPolicy(max_delay=60)) as batcher:
            receipt = batcher.submit_nowait("a")
            receipt.add_done_callback(lambda _: again.append(batcher.submit_nowait("again")))
            scope.cancel()
            await anyio.sleep(1)
    assert receipt.outcome == NotWritten("the batcher was cancelled", 0)
    assert again == []
    assert "BatcherClosed" in caplog.text


def test_p11_somebody_cancels_a_worker_in_the_middle_of_its_call():
    """Its records are unknown, and the cancellation is not taken for one that leaked out of the write function."""
    tasks: list[asyncio.Task[Any] | None] = []
    receipts: list[Receipt[Any]] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        tasks.append(asyncio.current_task())
        return await asyncio.sleep(20, records)

    async def main() -> None:
        async with Batcher[Any, Any](write, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
            receipts.append(batcher.submit_nowait("a"))
            while not tasks:
                await asyncio.sleep(0)
            assert tasks[0] is not None
            tasks[0].cancel()
            await asyncio.sleep(5)

    with pytest.raises(BatcherError, match="a task of the batcher was cancelled from outside"):
        asyncio.run(main())
    assert [receipt.outcome and receipt.outcome.kind for receipt in receipts] == ["unknown"]


async def test_p11_two_calls_that_fail_beyond_exceptions_leave_together():
    """What is nobody's outcome is not lost, even if there are two of it: a group."""
    # asyncio stops at KeyboardInterrupt and SystemExit by itself.
    interrupt = GeneratorExit if anyio.get_cancelled_exc_class() is asyncio.CancelledError else SystemExit

    async def write(key: int, records: list[str]) -> list[str]:
        try:
            await anyio.sleep(key)
        finally:
            raise interrupt

    with pytest.raises(BaseExceptionGroup) as caught:
        async with Batcher[Any, Any](write, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
            batcher.submit_nowait("a", key=1)
            batcher.submit_nowait("b", key=2)
            await anyio.sleep(10)
    assert [type(error) for error in caught.value.exceptions] == [interrupt] * 2
