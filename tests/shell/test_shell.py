"""The shell: contexts, nesting, hooks, statistics, deadlines, and results."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import ref

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    Event,
    EventKind,
    FlushReason,
    InvalidRecord,
    Limits,
    NestedSubmit,
    NotWritten,
    Quota,
    RecordNotWritten,
    Rejected,
    Retry,
    Statistics,
    Written,
)
from tests.api import Api, gather

pytestmark = pytest.mark.anyio
NOW = AutoBatchPolicy(max_delay=0)
request: ContextVar[str] = ContextVar("request", default="none")


async def test_write_runs_in_the_context_of_the_async_with_not_of_a_submit():
    """Whose submit filled the batch, or whose timer sent it, does not leak into write."""
    seen: list[str] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        seen.append(request.get())
        return records

    request.set("app")
    async with Batcher(write, auto_batch=AutoBatchPolicy(max_records=3)) as batcher:

        async def caller(n: int) -> None:
            request.set(f"caller {n}")
            await batcher.submit(n)

        await gather(*(partial(caller, n) for n in range(7)))
    assert seen == ["app"] * 3


@pytest.mark.parametrize("verb", ["submit", "enqueue then await", "submit_all", "flush"])
async def test_waiting_for_the_same_batcher_inside_write_is_refused(verb):
    """It would deadlock at some limit, so it is refused at any, in words (B10)."""
    batchers: list[Batcher[Any, Any]] = []
    errors: list[Exception] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        batcher = batchers[0]
        try:
            match verb:
                case "submit":
                    await batcher.submit("nested", key="other")
                case "enqueue then await":
                    await batcher.submit_nowait("nested", key="quiet")
                case "submit_all":
                    await batcher.submit_all(["nested"])
                case "flush":
                    await batcher.flush()
        except NestedSubmit as error:
            errors.append(error)
        return records

    async with Batcher(write, auto_batch=NOW, limits=Limits(max_in_flight=1)) as batcher:
        batchers.append(batcher)
        assert await batcher.submit("a") == "a"
    assert errors
    assert "inside the write function of the same batcher" in str(errors[0])


async def test_a_task_started_inside_write_is_refused_too():
    """Hiding behind a task group does not help; the batcher would wait for it all the same."""
    batchers: list[Batcher[Any, Any]] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        return await gather(*(partial(batchers[0].submit, record) for record in records))

    async with Batcher(write, auto_batch=NOW) as batcher:
        batchers.append(batcher)
        (outcome,) = await batcher.submit_all(["a"])
    assert isinstance(outcome, Rejected)
    assert outcome.errors[0].code == "NestedSubmit"


async def test_submit_nowait_inside_write_and_another_batcher_are_fine():
    """What does not wait cannot deadlock, and a second batcher has its own workers."""
    batchers: list[Batcher[Any, Any]] = []
    api = Api()

    async def write(key: Any, records: list[Any]) -> list[Any]:
        if key is None:
            batchers[0].submit_nowait("follow-up", key="later")
            return [await batchers[1].submit(record) for record in records]
        return records

    async with Batcher(api, auto_batch=NOW) as inner, Batcher(write, auto_batch=NOW) as outer:
        batchers += [outer, inner]
        assert await outer.submit("a") == "a"
        await outer.flush()
        assert outer.statistics().settled == 2
    assert api.batches == [("a",)]


async def test_events_tell_what_happened_and_why():
    """One event per batch that leaves and one per answer, with reasons, counts, bytes and seconds."""
    events: list[Event] = []
    api = Api(["x", Retry("429"), ValueError()], seconds=2)
    async with Batcher(api, on_event=events.append, size_of=len, auto_batch=AutoBatchPolicy(max_delay=1)) as batcher:
        for record in ("a", "bb", "ccc"):
            batcher.submit_nowait(record, key="contacts")
        await batcher.flush() if False else await anyio.sleep(4)
        await batcher.flush()

    first, answered, again, last = events
    assert first == Event(
        kind=EventKind.DISPATCHED,
        key="contacts",
        batch=first.batch,
        reason=FlushReason.DELAY,
        records=3,
        size_bytes=6,
        seconds=1.0,
    )
    assert answered == Event(
        kind=EventKind.ANSWERED,
        key="contacts",
        batch=first.batch,
        records=3,
        size_bytes=6,
        seconds=2.0,
        outcomes={"written": 1, "rejected": 1},
        retried=1,
        cause="429",
        codes=("ValueError",),
    )
    assert (again.kind, again.reason, again.records) == (EventKind.DISPATCHED, FlushReason.RETRY, 1)
    assert last.outcomes == {"written": 1}


async def test_a_hook_that_raises_harms_nobody(caplog):
    """It is logged, and every record meets its fate (B7)."""

    def on_event(event: Event) -> None:
        raise RuntimeError("broken hook")

    async with Batcher(Api(), on_event=on_event, auto_batch=AutoBatchPolicy(max_records=2)) as batcher:
        assert await gather(*(partial(batcher.submit, n) for n in range(5))) == list(range(5))
    assert "broken hook" in caplog.text


async def test_a_hook_may_submit():
    """It is called when the state is whole, so it may come back in."""
    batchers: list[Batcher[Any, Any]] = []

    def on_event(event: Event) -> None:
        if event.kind is EventKind.ANSWERED and event.key is None:
            batchers[0].submit_nowait("audit", key="audit")

    api = Api()
    async with Batcher(api, on_event=on_event, auto_batch=NOW) as batcher:
        batchers.append(batcher)
        await batcher.submit("a")
    assert api.batches == [("a",), ("audit",)]


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


async def test_an_expired_record_is_not_sent():
    """Its deadline passes while it is parked, or buffered because all the calls are out that may be."""
    api = Api([Retry("429", after=20)], seconds=8)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=30), limits=Limits(max_in_flight=1)) as batcher:
        backing_off = batcher.submit_nowait("r", max_delay=0, deadline=45, identity="ada")
        await anyio.sleep(2)
        parked = batcher.submit_nowait("p", deadline=5, identity="ada")
        buffered = batcher.submit_nowait("b", key="x", deadline=5)
        with pytest.raises(RecordNotWritten, match="its deadline passed"):
            await buffered
        assert parked.outcome == buffered.outcome == NotWritten("its deadline passed", 0)
        assert await backing_off == "r"
    assert [call.records for call in api.calls] == [("r",), ("r",)]


async def test_an_expired_waiter_is_not_accepted():
    """A submit that waits for a place waits no longer than its deadline."""
    api = Api(seconds=20)
    async with Batcher(api, auto_batch=NOW, limits=Limits(max_pending_records=1, max_lane_records=1)) as batcher:
        batcher.submit_nowait("a")
        start = anyio.current_time()
        with pytest.raises(RecordNotWritten, match="its deadline passed"):
            await batcher.submit("b", deadline=4)
        assert (await batcher.enqueue("c", deadline=4)).outcome == NotWritten("its deadline passed", 0)
        assert anyio.current_time() - start == 8
        assert batcher.statistics().accepted == 1


async def test_a_deadline_of_zero_is_over_before_the_submit_waits():
    """The record is settled inside the very submit that brings it, and nobody hangs."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
        with pytest.raises(RecordNotWritten, match="its deadline passed"):
            await batcher.submit("a", deadline=0)
        (outcome,) = await batcher.submit_all(["a"], deadline=0)
        assert outcome == NotWritten("its deadline passed", 0)
    assert api.calls == []


async def test_a_retry_beyond_the_records_own_deadline_is_not_made():
    """deadline= bounds retries as well."""
    async with Batcher(Api([Retry("429", after=20)]), auto_batch=NOW) as batcher:
        with pytest.raises(RecordNotWritten, match="429"):
            await batcher.submit("a", deadline=10)


async def test_what_goes_wrong_unseen_is_logged_without_payload(caplog):
    """Where write raised, and how many records a batcher that ends early leaves behind."""
    secret = "hunter2"
    api = Api(ValueError(secret))
    async with Batcher(api, auto_batch=NOW) as batcher:
        await batcher.submit_all([secret])
    assert "a call with 1 records raised ValueError at " in caplog.text
    assert "api.py:" in caplog.text
    with anyio.CancelScope() as scope:
        async with Batcher(Api(seconds=9), auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
            for key in range(3):
                batcher.submit_nowait(secret, key=key)
            await anyio.sleep(1)
            batcher.submit_nowait(secret, key=0, identity=1)
            batcher.submit_nowait(secret, key=0, identity=1)
            scope.cancel()
            await anyio.sleep(1)
    assert "the batcher was cancelled: " in caplog.text
    assert secret not in caplog.text


async def test_an_oversized_record_of_a_submit_all_is_rejected_alone():
    """The others are written; outcomes keep their places."""
    policy = AutoBatchPolicy(max_bytes=5)
    async with Batcher(Api(), auto_batch=policy, size_of=len) as batcher:
        first, second, third = await batcher.submit_all(["ab", "x" * 6, "cd"])
        with pytest.raises(InvalidRecord):
            await batcher.enqueue("x" * 6)
    assert (first, third) == (Written(data="ab"), Written(data="cd"))
    assert isinstance(second, Rejected)


async def test_submit_all_of_one_identity_goes_in_order():
    """Not one call, but all due: each as soon as the one before has its outcome."""
    api = Api(seconds=1)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=60)) as batcher:
        start = anyio.current_time()
        await batcher.submit_all([1, 2, 3], identities=["a", "a", None])
        assert anyio.current_time() - start == 2
    assert api.batches == [(1, 3), (2,)]


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


async def test_workers_are_as_many_as_calls_may_be_out_however_many_lanes():
    """A batch that finds nobody idle starts nobody if there are enough: the one that is done comes back for more."""
    async with Batcher(Api(), auto_batch=NOW, limits=Limits(max_in_flight=3)) as batcher:
        await gather(*(partial(batcher.submit, n, key=n) for n in range(500)))
        assert batcher._runtime is not None
        assert len(batcher._runtime.workers._idle) <= 3


async def test_who_waits_for_work_keeps_no_record_alive():
    """A worker without a call holds on to nothing of the last one: neither the record nor its result."""

    class Payload:
        pass

    async def write(key, payloads):
        return [[payload] for payload in payloads]

    async with Batcher(write, auto_batch=NOW) as batcher:
        payload = Payload()
        seen = ref(payload)
        result = await batcher.submit(payload)
        assert result == [payload]
        del payload, result
        assert seen() is None


async def test_a_flush_counts_what_it_settles_itself():
    """A record may be told in the very turn in which the flush makes it due: its quota has no room in time."""
    limits = Limits(quotas=[Quota(per=60, calls=1)])
    async with Batcher[str, str](Api(), limits=limits, auto_batch=AutoBatchPolicy(max_delay=5)) as batcher:
        await batcher.submit("first", max_delay=0)
        hurried = batcher.submit_nowait("hurried", deadline=30)
        with anyio.fail_after(1):
            await batcher.flush()
        assert hurried.outcome == NotWritten("its quota is used up beyond its deadline", 0)
