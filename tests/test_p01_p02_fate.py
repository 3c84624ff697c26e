"""P1 one fate, P2 its own fate."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    ErrorDetail,
    Event,
    EventKind,
    Limits,
    NotWritten,
    Outcome,
    RecordNotWritten,
    RecordRejected,
    RecordUnknown,
    Rejected,
    Retry,
    RetryPolicy,
    Unknown,
    Written,
)
from tests.api import Api, gather, results_of

pytestmark = pytest.mark.anyio


async def test_p01_each_caller_gets_the_result_of_its_own_record():
    """250 callers, three calls, and every one gets what the API said of its record."""
    api = Api(lambda records: [record * 10 for record in records])
    api.script *= 3
    async with Batcher(api) as batcher:
        results = await gather(*(partial(batcher.submit, n) for n in range(250)))

    assert results == [n * 10 for n in range(250)]
    assert api.sizes == [100, 100, 50]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        ["one"],
        ["one", "two", "three"],
        None,
        "ab",
        b"ab",
        {0: "one", 1: "two"},
        {"one", "two"},
        2,
        iter(["a", "b"]),
    ],
    ids=["none", "too few", "too many", "nothing", "string", "bytes", "dict", "set", "number", "iterator"],
)
async def test_p02_an_answer_that_cannot_be_assigned_is_unknown_for_all(answer):
    """A miscounted or shapeless answer is never spread by guess, and nobody hangs."""
    api = Api(answer)
    async with Batcher(api) as batcher:
        results = await gather(partial(batcher.submit, "a"), partial(batcher.submit, "b"))

    assert [type(result) for result in results] == [RecordUnknown, RecordUnknown]
    assert results[0] is not results[1]
    assert {result.applied for result in results} == {"maybe"}
    assert len(api.calls) == 1  # and it is not sent again


async def test_p02_a_miscount_names_the_figures():
    """The message says how many came for how many, without any payload."""
    async with Batcher(Api(["secret"])) as batcher:
        outcomes = await batcher.submit_all(["payload", "payload"])

    assert outcomes == [Unknown("the write function returned 1 items for 2 records")] * 2


async def test_p01_a_raise_is_unknown_for_all_with_an_exception_object_each():
    """One failed call costs each of its callers an exception of its own, with the cause."""
    cause = ConnectionError("reset")
    async with Batcher(Api(cause)) as batcher:
        first, second = await gather(partial(batcher.submit, 1), partial(batcher.submit, 2))

    assert isinstance(first, RecordUnknown)
    assert isinstance(second, RecordUnknown)
    assert first is not second
    assert first.__cause__ is cause
    assert first.record == 1
    assert first.outcome == Unknown(cause)


async def test_p01_a_call_that_hangs_is_cut_off_and_unknown():
    """A call longer than the timeout is cancelled; its records may have been applied."""
    api = Api(seconds=3600)
    async with Batcher(api, limits=Limits(call_timeout=60), auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        with pytest.raises(RecordUnknown, match="TimeoutError") as caught:
            await batcher.submit("a")
        assert anyio.current_time() - api.calls[0].at == 60
        api.seconds = 0
        assert await batcher.submit("b") == "b"  # the worker lives on
        assert api.out == 0

    assert caught.value.applied == "maybe"


async def test_p01_calls_time_out_one_by_one():
    """Each call has its own time, whichever began first."""
    api = Api(seconds=3600)
    limits = Limits(call_timeout=10)
    async with Batcher(api, limits=limits, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
        ends: list[float] = []

        async def one(delay: float) -> None:
            await anyio.sleep(delay)
            with pytest.raises(RecordUnknown):
                await batcher.submit(delay)
            ends.append(anyio.current_time())

        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for delay in (0, 4, 8):
                tasks.start_soon(one, delay)

    assert [end - start for end in ends] == [10, 14, 18]


async def shielded(key: Any, records: list[Any]) -> list[Any]:
    """A write that cannot be cancelled, like one that blocks in a thread."""
    with anyio.CancelScope(shield=True):
        await anyio.sleep(90)
    return records


async def test_p01_a_call_that_ignores_its_cancellation_holds_up_no_caller():
    """Told at the timeout; the call keeps its slot until it really ends, and its late answer changes nothing."""
    policy = AutoBatchPolicy(max_delay=0)
    events: list[Event] = []
    async with Batcher(shielded, auto_batch=policy, limits=Limits(max_in_flight=1), on_event=events.append) as batcher:
        start = anyio.current_time()
        receipt = batcher.submit_nowait("a")
        with pytest.raises(RecordUnknown, match="TimeoutError"):
            await receipt
        assert anyio.current_time() - start == 60
        assert batcher.statistics().in_flight == 1
        next_one = batcher.submit_nowait("b")
        await anyio.sleep(31)
        assert len([event for event in events if event.kind is EventKind.DISPATCHED]) == 2
        assert not next_one.done
        assert receipt.outcome is not None
        assert receipt.outcome.kind == "unknown"
    assert [event.outcomes for event in events if event.kind is EventKind.ANSWERED][0] == {"unknown": 1}


async def test_p01_a_late_answer_is_believed_where_records_wait_for_it():
    """Under on_unknown="retry" a record must not be out twice, so its call is waited for, and may yet succeed."""
    async with Batcher(shielded, retry=RetryPolicy(on_unknown="retry")) as batcher:
        start = anyio.current_time()
        assert await batcher.submit("a", max_delay=0) == "a"
        assert anyio.current_time() - start == 90


async def test_p01_a_call_that_fails_while_it_is_cut_off_is_unknown():
    """Whatever it raises then, alone or in a group, says nothing; the batcher lives on."""

    async def write(key: Any, records: list[Any]) -> list[Any]:
        async def child() -> None:
            try:
                await anyio.sleep(100)
            finally:
                raise ValueError("cleanup failed")

        match key:
            case "group":
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(child)
                    await anyio.sleep(100)
            case "raise":
                await child()
        return records

    limits = Limits(call_timeout=5)
    async with Batcher(write, auto_batch=AutoBatchPolicy(max_delay=0), limits=limits, atomic=True) as batcher:
        for key in ("group", "raise"):
            with pytest.raises(RecordUnknown, match="TimeoutError"):
                await batcher.submit("a", key=key)
        assert await batcher.submit("b", key="fine") == "b"


def test_p01_a_write_that_swallowed_a_native_cancellation_is_not_held_against_its_worker():
    """asyncio counts such a cancellation for ever; a later one that leaks is still somebody else's."""
    calls = 0

    async def write(key: Any, records: list[Any]) -> list[Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        if calls == 2:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return records

    async def main() -> list[str]:
        kinds = []
        async with Batcher(write, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
            for n in range(3):
                (outcome,) = await batcher.submit_all([n])
                kinds.append(outcome.kind)
        return kinds

    assert asyncio.run(main()) == ["written", "unknown", "written"]


async def test_p01_a_foreign_cancellation_is_no_cancellation_of_ours():
    """One that was caught elsewhere and raised again is a failed call: nobody else notices."""
    stored: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep(1)
        except BaseException as error:
            stored.append(error)
            raise

    async with Batcher(Api(stored[0])) as batcher:
        with pytest.raises(RecordUnknown):
            await batcher.submit("a")
        assert await batcher.submit("b") == "b"


class Lazy(Sequence[Any]):
    """A sequence that decodes as it goes, and fails at it."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]()


class NoOutcome(Outcome):
    """An outcome that nobody knows."""


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (Lazy(lambda: "a", lambda: 1 / 0), ["unknown", "unknown"]),
        (Lazy(lambda: "a"), ["unknown", "unknown"]),
        (Lazy(lambda: "a", lambda: "b"), ["unknown", "unknown"]),  # and then it does not end with an IndexError
        ([NoOutcome(), "b"], ["unknown", "written"]),
        ([Rejected, Retry], ["unknown", "unknown"]),
        ([int, "b"], ["written", "written"]),
        (("a", "b"), ["written", "written"]),
    ],
    ids=["raises", "short", "endless", "no outcome", "classes", "a type is a value", "tuple"],
)
async def test_p01_answers_that_fight_back_lose_nobody(answer, kinds):
    """However an answer misbehaves while it is read, each record has an outcome and the batcher lives on."""
    if kinds == ["unknown", "unknown"] and isinstance(answer, Lazy) and len(answer.items) == 2:
        answer.items = (*answer.items, lambda: 1 / 0)
    async with Batcher(Api(answer)) as batcher:
        outcomes = await batcher.submit_all(["x", "y"])
        assert [outcome.kind for outcome in outcomes] == kinds
        assert await batcher.submit("z") == "z"


async def test_p01_a_leaked_cancellation_is_an_outcome_and_kills_nobody():
    """CancelledError out of the write function is a failed call; the batcher goes on."""
    leaked = anyio.get_cancelled_exc_class()

    class Leak:
        def __call__(self, records: list[Any]) -> BaseException:
            return leaked() if leaked is asyncio.CancelledError else TimeoutError()  # trio's cannot be made

    api = Api(Leak())
    async with Batcher(api) as batcher:
        with pytest.raises(RecordUnknown):
            await batcher.submit("a")
        assert await batcher.submit("b") == "b"


async def test_p01_a_returned_cancellation_is_unknown():
    """A BaseException among the verdicts says nothing about its record."""
    async with Batcher(Api([KeyboardInterrupt(), "fine"])) as batcher:
        outcomes = await batcher.submit_all(["a", "b"])

    assert outcomes[0].kind == "unknown"
    assert outcomes[1] == Written(data="fine")


async def test_p04_one_bad_record_costs_its_own_caller_an_error_and_nobody_else_anything():
    """Verdicts are given record by record."""
    detail = ErrorDetail("bad email", code="INVALID_EMAIL", fields=("email",))
    api = Api(["ok", ValueError("no"), Rejected((detail,)), Written("7", data="d"), NotWritten("quota", 1)])
    async with Batcher(api) as batcher:
        results = await results_of([batcher.submit_nowait(n) for n in range(5)])

    assert results[0] == "ok"
    assert isinstance(results[1], RecordRejected)
    assert isinstance(results[1].__cause__, ValueError)
    assert results[2].outcome == Rejected((detail,))
    assert results[3] == Written("7", data="d")
    assert isinstance(results[4], RecordNotWritten)


async def test_p01_thousands_of_callers_under_every_kind_of_trouble():
    """5,000 callers, 30 % cancelled, calls that raise, miscount and leak: each survivor has one fate."""
    fates: Counter[str] = Counter()
    troubles = [list, [], ConnectionError(), list, asyncio.CancelledError(), lambda records: records[1:]]
    api = Api(*troubles * 20, seconds=0.5)
    if anyio.get_cancelled_exc_class() is not asyncio.CancelledError:
        api.script = [list if isinstance(step, asyncio.CancelledError) else step for step in api.script]

    async def one(batcher: Batcher[int, int], n: int) -> None:
        await anyio.sleep(n % 7 / 4)
        with anyio.move_on_after(0.25 if n % 10 < 3 else 3600) as scope:
            try:
                fates["right" if await batcher.submit(n, key=n % 5) == n else "WRONG"] += 1
            except RecordUnknown:
                fates["unknown"] += 1
        fates["cancelled"] += scope.cancelled_caught

    async with Batcher[int, int](api) as batcher:
        async with anyio.create_task_group() as tasks:
            for n in range(5_000):
                tasks.start_soon(one, batcher, n)
        assert batcher.statistics().pending == 0

    assert sum(fates.values()) == 5_000
    assert fates["WRONG"] == 0
    assert fates["cancelled"] <= 1_500
    assert fates["right"] > 1_000


async def test_p02_an_outcome_that_is_empty_is_an_outcome_all_the_same():
    """A write may answer with an outcome of its own kind, with a length or a truth of its own; nobody asks for that."""

    class Page(Written):
        def __len__(self) -> int:
            return 0

    async def write(key: Any, records: list[Any]) -> list[Any]:
        return [Page(data=record) for record in records]

    async with Batcher[Any, Any](write) as batcher:
        alone = await batcher.submit("a")
        many = await batcher.submit_all(["b", "c"])
        group = await batcher.submit_all(["d", "e"], all_or_none=True)
        receipt = batcher.submit_nowait("f")
        assert (await receipt).data == "f"
    assert [outcome.data for outcome in (alone, *many, *group, receipt.outcome)] == list("abcdef")
    assert batcher.statistics().outcomes == {"written": 6}
