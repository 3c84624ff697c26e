"""Receipts: what they give, and callbacks for outcomes that nobody awaits."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import Any, Literal

import anyio
import pytest
from anyio.lowlevel import checkpoint

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherNotOpen,
    NotWritten,
    Outcome,
    Receipt,
    RecordRejected,
    Retry,
    Written,
)
from batcher._shell.workers import working_for
from batcher.testing import virtual_time
from tests.api import Api

pytestmark = pytest.mark.anyio


async def test_an_explicit_outcome_is_returned_as_it_is():
    """Written("7") from write is what submit() returns."""
    async with Batcher(Api([Written("7", data={"x": 1})])) as batcher:
        assert await batcher.submit("a") == Written("7", data={"x": 1})


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
async def test_any_value_is_a_result(value):
    """Falsy ones too: nothing is mistaken for "no answer yet"."""
    async with Batcher(Api([value])) as batcher:
        receipt = batcher.submit_nowait("a")
        assert repr(receipt) == "<Receipt: buffered>"
        assert await receipt == value
        assert receipt.outcome == Written(data=value)
        assert repr(receipt) == "<Receipt: written>"


async def test_a_receipt_that_is_kept_does_not_keep_who_waited():
    """Receipts may be kept for long, and a waiter holds the task that waited."""
    async with Batcher(Api()) as batcher:
        receipt = batcher.submit_nowait("a")
        assert await receipt == "a"
        assert receipt.waiter is None


async def test_a_callback_is_told_the_outcome_of_a_receipt_that_nobody_awaits():
    """Fire and forget, with a dead-letter queue: the refused record is told, with its own receipt."""
    dead: list[tuple[Any, Outcome | None]] = []

    def keep_dead(receipt: Receipt[Any]) -> None:
        if receipt.outcome is not None and not receipt.outcome.ok:
            dead.append((receipt.record, receipt.outcome))

    async with Batcher(Api([1, ValueError("bad"), 3])) as batcher:
        for record in "abc":
            (await batcher.enqueue(record)).add_done_callback(keep_dead)
        await batcher.flush()
    assert [(record, outcome.kind) for record, outcome in dead if outcome] == [("b", "rejected")]


async def test_every_callback_and_every_waiter_of_a_receipt_is_told():
    """One does not displace another, in whatever order they came."""
    told: list[str] = []
    async with Batcher(Api()) as batcher:
        receipt = batcher.submit_nowait("a")
        receipt.add_done_callback(lambda r: told.append("first"))

        async def wait() -> None:
            told.append(await receipt)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            receipt.add_done_callback(lambda r: told.append("second"))
    assert sorted(told) == ["a", "first", "second"]


async def test_a_callback_of_a_settled_receipt_is_called_soon():
    """Nobody has to look first whether it is too late. They are called in order, from the same place."""
    told: list[object] = []
    async with Batcher(Api()) as batcher:
        receipt = batcher.submit_nowait("a")
        await receipt
        for name in ("first", "second"):
            receipt.add_done_callback(partial(lambda name, r: told.append((name, r.outcome)), name))
        assert told == []
        await anyio.wait_all_tasks_blocked()
        assert told == [("first", Written(data="a")), ("second", Written(data="a"))]
        receipt.add_done_callback(lambda r: told.append("before it is left"))
    assert told[2:] == ["before it is left"]
    receipt.add_done_callback(lambda r: told.append("after"))
    assert told[3:] == ["after"], "nobody else would call it"


async def test_a_callback_of_a_settled_receipt_may_add_another_and_submit_again_and_again():
    """A thousand times, without exhausting the stack; and what it submits is accepted or refused in words."""
    left = list(range(1000))
    receipts: list[Receipt[Any]] = []

    def again(settled: Receipt[Any]) -> None:
        if left:
            receipts.append(batcher.submit_nowait(left.pop()))
            settled.add_done_callback(again)

    async with Batcher(Api()) as batcher:
        receipt = batcher.submit_nowait("a")
        await receipt
        receipt.add_done_callback(again)
        await anyio.wait_all_tasks_blocked()
        assert len(receipts) == 1000
        await batcher.flush()
        assert all(each.done for each in receipts)
    left[:] = range(5)
    receipt.add_done_callback(again)
    assert len(receipts) == 1000, "the batcher is closed, which is logged"


async def test_a_callback_may_submit_again():
    """It runs when the state is whole, so it may come back in."""
    api = Api([ValueError("not now")])
    again: list[Receipt[Any]] = []
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        receipt = batcher.submit_nowait("a")
        receipt.add_done_callback(lambda r: again.append(batcher.submit_nowait("once more")))
        with pytest.raises(RecordRejected):
            await receipt
        assert await again[0] == "once more"
    assert api.batches == [("a",), ("once more",)]


async def test_callbacks_that_come_back_in_follow_each_other_without_exhausting_the_stack():
    """However many: each is called from the same place, not from within the one before."""
    async with Batcher(Api(), auto_batch=AutoBatchPolicy(max_records=5000, max_delay=10)) as batcher:
        receipts = [batcher.submit_nowait(n) for n in range(2000)]
        following = iter(receipts[1:])
        for receipt in receipts[:-1]:
            receipt.add_done_callback(lambda _: next(following).withdraw())
        assert receipts[0].withdraw()
        await anyio.wait_all_tasks_blocked()
        assert all(receipt.done for receipt in receipts)


async def test_a_callback_runs_in_the_context_of_whoever_added_it():
    """Not in that of the worker whose call has ended: what it starts is no part of the write function."""
    name: ContextVar[str] = ContextVar("name", default="worker")
    seen: list[object] = []

    def look(receipt: Receipt[Any]) -> None:
        seen.append((name.get(), working_for()))

    async with Batcher(Api()) as batcher:
        name.set("adder")
        receipt = batcher.submit_nowait("a")
        receipt.add_done_callback(look)
        await receipt
    assert seen == [("adder", ())]


async def test_a_callback_that_raises_harms_nobody(caplog):
    """It is logged, and its neighbours in the batch are told all the same."""
    told: list[str] = []
    async with Batcher(Api()) as batcher:
        one, two = batcher.submit_nowait("a"), batcher.submit_nowait("b")
        one.add_done_callback(lambda r: told[5])
        two.add_done_callback(lambda r: told.append(r.record))
    assert told == ["b"]
    assert "a callback of a receipt raised" in caplog.text


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_interrupt_in_a_callback_is_not_swallowed(backend: Literal["asyncio", "trio"]):
    """Ctrl-C stays Ctrl-C."""

    def interrupt(receipt: Receipt[Any]) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with Batcher(Api()) as batcher:
            receipt = batcher.submit_nowait("a")
            await receipt
            receipt.add_done_callback(interrupt)
            await anyio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend=backend, backend_options=virtual_time(backend))


async def test_a_withdrawn_record_and_one_left_at_an_abort_are_told_too():
    """Whatever ends a record, its callback hears of it."""
    told: list[str] = []
    with anyio.CancelScope() as scope:
        async with Batcher(Api(), auto_batch=AutoBatchPolicy(max_delay=10)) as batcher:
            for record in "ab":
                receipt = batcher.submit_nowait(record)
                receipt.add_done_callback(lambda r: told.append(r.record))
                if record == "a":
                    assert receipt.withdraw()
                    assert isinstance(receipt.outcome, NotWritten)
                    assert told == ["a"]
            scope.cancel()
    assert told == ["a", "b"]


def test_a_callback_is_added_in_the_batchers_own_loop_only():
    """Elsewhere it could be called in the wrong thread."""
    kept: list[Receipt[Any]] = []

    async def main() -> None:
        async with Batcher(Api()) as batcher:
            kept.append(batcher.submit_nowait("a"))

    anyio.run(main)
    with pytest.raises(BatcherNotOpen, match="another event loop"):
        kept[0].add_done_callback(print)


@pytest.mark.parametrize("verb", ["callback", "on_undelivered"])
async def test_one_that_makes_the_next_necessary_for_ever_leaves_the_host_its_turns(verb):
    """Refused at once, for its lane is paused, and submitted again by whoever hears of it: his affair alone."""
    count = 0
    stop = False

    def again(*_: object) -> None:
        nonlocal count
        count += 1
        if count < 5000 and not stop:
            receipt = batcher.submit_nowait("again", key="paused", deadline=1)
            if verb == "callback":
                receipt.add_done_callback(again)

    api = Api(Retry("429", after=50, pause_lane=True))
    async with Batcher(api, on_undelivered=again if verb == "on_undelivered" else None) as batcher:
        first = batcher.submit_nowait("first", key="paused", max_delay=0)
        await anyio.sleep(1)
        again()
        for _ in range(20):
            await checkpoint()
        assert 5 < count < 1000
        assert await batcher.submit("another", max_delay=0) == "another"
        stop = True
        assert await first == "first"
