"""Answers that cannot be used: each record learns why, and the log says it once."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from batcher import AutoBatchPolicy, Batcher, RecordUnknown, Refused, Rejected, RetryPolicy, Unknown, Written
from tests.api import Api

pytestmark = pytest.mark.anyio

NOW = AutoBatchPolicy(max_delay=0)
VERIFY = RetryPolicy(on_unknown="verify", deadline=10)


async def put(record: Any) -> Any:
    raise AssertionError("nobody awaits it")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the library warned of."""
    return [each.getMessage() for each in caplog.records if each.name == "batcher"]


async def test_a_coroutine_that_nobody_awaited_wrote_nothing_for_sure(caplog):
    """Its record is unknown and its caller learns the remedy; those with a verdict keep theirs, and nothing leaks."""

    async def write(key: Any, records: list[Any]) -> list[Any]:
        return [put(record) if record != 1 else "value" for record in records]

    lost = Unknown("the write function returned a coroutine for the record: await it")
    async with Batcher(write, auto_batch=NOW) as batcher:
        assert await batcher.submit_all([0, 1, 2]) == [lost, Written(data="value"), lost]
        gc.collect()  # a coroutine that is dropped unawaited warns here, and warnings are errors
    (warning,) = warnings_of(caplog)
    assert warning == f"the write function: 2 records are unknown ({lost.cause})"


async def test_a_coroutine_that_has_begun_is_closed_whatever_it_says(anyio_backend_name):
    """What it does at its end is nobody's outcome."""

    class Pause:
        def __await__(self) -> Any:
            yield

    async def stubborn() -> None:
        try:
            await Pause()
        finally:
            raise ValueError("at the end")

    async def write(key: Any, records: list[Any]) -> list[Any]:
        begun = stubborn()
        begun.send(None)
        return [begun]

    async with Batcher(write, auto_batch=NOW) as batcher:
        with pytest.raises(RecordUnknown, match="await it"):
            await batcher.submit("a")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_future_is_no_value_either():
    """It goes on; whether it wrote anything nobody knows."""

    async def write(key: Any, records: list[Any]) -> list[Any]:
        return [asyncio.get_running_loop().create_future()]

    async with Batcher(write, auto_batch=NOW) as batcher:
        with pytest.raises(RecordUnknown, match="returned a Future for the record: await it"):
            await batcher.submit("a")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "the write function returned NoneType, not a list with one item per record"),
        ([1, 2], "the write function returned 2 items for 1 records"),
        ([ValueError], "the write function returned the class ValueError, not an instance of it"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_logged_once_a_minute(answer, words, caplog):
    """A service that is busy is not flooded; every record is told, and hooks are told of every call."""
    async with Batcher(Api(*[lambda records: answer] * 3), auto_batch=NOW) as batcher:
        for _ in range(3):
            with pytest.raises(RecordUnknown, match=r"the write function returned"):
                await batcher.submit("hunter2")
    warning, kept_back = warnings_of(caplog)
    assert f"a call with 1 records failed ({words}): 1 unknown" in warning
    assert kept_back == "2 more lines like these were kept back in the last minute"
    assert "hunter2" not in caplog.text


async def test_a_verify_that_does_not_count_is_logged_once_a_minute(caplog):
    """It is asked again until the deadline, for a question does no harm; but the developer hears of it."""

    async def verify(key: Any, records: list[Any]) -> list[Any]:
        return []

    lost = ConnectionError()
    async with Batcher(Api(lost), verify=verify, retry=VERIFY, auto_batch=NOW) as batcher:
        with pytest.raises(RecordUnknown, match=r"verify\(\) returned 0 items for 1 records"):
            await batcher.submit("a")
    raised, asked, *rest = warnings_of(caplog)
    assert "raised ConnectionError" in raised
    assert "failed (verify() returned 0 items for 1 records): 1 to be sent again" in asked
    assert len(rest) <= 2  # that it is given up, and how many lines were kept back


async def test_a_verify_that_is_not_async_is_told_so(caplog):
    """As a write that is not: with the remedy, and without asking again in vain."""
    asked = 0

    def verify(key: Any, records: list[Any]) -> list[Any]:
        nonlocal asked
        asked += 1
        return records

    api = Api(ConnectionError())
    async with Batcher(api, verify=verify, retry=VERIFY, auto_batch=NOW) as batcher:  # type: ignore[arg-type]
        with pytest.raises(RecordUnknown, match=r"verify\(\) is not async: define it with 'async def'"):
            await batcher.submit("a")
    assert asked == 1
    assert "verify() is not async" in caplog.text


async def test_a_verify_that_returns_coroutines_is_told_so():
    """By its own name: it is not write that is to be mended."""

    async def verify(key: Any, records: list[Any]) -> list[Any]:
        return [put(record) for record in records]

    async with Batcher(Api(ConnectionError()), verify=verify, retry=VERIFY, auto_batch=NOW) as batcher:
        with pytest.raises(RecordUnknown, match=r"verify\(\) returned a coroutine for the record: await it"):
            await batcher.submit("a")


async def test_a_group_that_was_written_in_part_is_logged(caplog):
    """The outcomes say what happened, and the log that write has broken a promise, each time."""
    mixed: list[Any] = ["written", Rejected("no"), Unknown("lost")]
    async with Batcher(Api(mixed, mixed), auto_batch=NOW) as batcher:
        for _ in range(2):
            outcomes = await batcher.submit_all(["a", "b", "c"], all_or_none=True)
            assert [outcome.kind for outcome in outcomes] == ["written", "rejected", "unknown"]
    broken = [each for each in warnings_of(caplog) if "an all-or-none group was written in part" in each]
    assert len(broken) == 2
    assert "1 of its 3 records" in broken[0]


@pytest.mark.parametrize("answer", [["x", "y"], ("x", "y"), [Rejected("no")] * 2, Refused("no", {0: "a"})])
async def test_a_group_that_was_written_whole_or_not_at_all_is_not_logged(answer, caplog):
    """A promise that is kept is no news; nor are those who travel without one."""
    async with Batcher(Api(answer, ["x", Rejected("no")]), auto_batch=NOW) as batcher:
        await batcher.submit_all(["a", "b"], all_or_none=True)
        await batcher.submit_all(["a", "b"])
    assert warnings_of(caplog) == []


async def test_a_refusal_that_names_nobody_real_is_logged(caplog):
    """The search for the culprit goes on without it; that the positions are wrong is for the developer to know."""
    refused = Refused("bad", {0: "a", 7: "who?", -1: "me?"})
    async with Batcher(Api(refused, list, refused, list), auto_batch=NOW) as batcher:
        for _ in range(2):
            outcomes = await batcher.submit_all(["a", "b"])
            assert [outcome.kind for outcome in outcomes] == ["rejected", "written"]
    (warning,) = warnings_of(caplog)
    assert "Refused(named=...) with 2 positions that are none of the batch" in warning
