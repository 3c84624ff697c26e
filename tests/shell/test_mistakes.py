"""What users do wrong: told at once, by name, and at nobody else's cost."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    Fairness,
    Limits,
    Quota,
    RecordUnknown,
    Writer,
)
from tests.api import Api

pytestmark = pytest.mark.anyio
NOW = AutoBatchPolicy(max_delay=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": []}, TypeError, "unhashable"),
        ({"identity": {}}, TypeError, "unhashable"),
        ({"max_delay": -1}, ValueError, "max_delay must be at least 0 seconds, not -1"),
        ({"max_delay": "1"}, TypeError, "max_delay must be seconds or a timedelta, not str"),
        ({"deadline": float("nan")}, ValueError, "deadline must be at least 0 seconds, not nan"),
    ],
)
async def test_bad_arguments_fail_at_once_and_cost_nobody_else_anything(options, error, message):
    """The message names the argument, the rule and the value; nothing was accepted."""
    async with Batcher(Api()) as batcher:
        with pytest.raises(error, match=message):
            await batcher.submit("a", **options)
        assert batcher.statistics().accepted == 0
        assert batcher.statistics().lanes == 0
        assert await batcher.submit("b") == "b"


class Touchy:
    """A key that is equal by hash to all of its kind, and cannot be compared."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("cannot be compared")


async def test_an_identity_that_cannot_be_compared_fails_its_own_submit():
    """Its own error, at once, with nothing half accepted."""
    async with Batcher(Api(), auto_batch=AutoBatchPolicy(max_delay=5)) as batcher:
        first = batcher.submit_nowait("a", identity=Touchy())
        for key in ("x", "y"):
            with pytest.raises(RuntimeError, match="cannot be compared"):
                await batcher.submit("b", key=key, identity=Touchy())
        statistics = batcher.statistics()
        assert (statistics.pending, statistics.lanes) == (1, 1)
        assert await first == "a"


async def test_write_must_be_callable():
    """A clear error where it is made, not at the first batch."""
    with pytest.raises(TypeError, match="write must be an async function"):
        Batcher("write")  # type: ignore[arg-type]


async def test_policies_must_be_policies():
    """Mixed-up arguments are told apart where they are made."""
    with pytest.raises(TypeError, match=r"limits must be Limits\(...\), not AutoBatchPolicy"):
        Batcher(Api(), limits=AutoBatchPolicy())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"auto_batch must be AutoBatchPolicy\(...\), not int"):
        Batcher(Api(), auto_batch=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"destination must be one, such as SQLite\('crm.db'\), not str"):
        Writer("sqlite:crm.db")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retry": {"deadline": 5}}, r"retry must be RetryPolicy\(...\), not dict"),
        ({"verify": 3}, "verify must be an async function of a key and a list of records, not 3"),
        ({"size_of": 3}, "size_of must be a function that returns the bytes of a record, not 3"),
        ({"on_event": 3}, "on_event must be a function of one event, or a list of such, not int"),
        ({"on_event": Api()}, "on_event must be a plain function, not an async one"),
        ({"on_event": [print, anyio.sleep]}, "on_event must be a plain function, not an async one"),
    ],
)
async def test_arguments_that_can_never_work_are_refused_where_they_are_given(options, message):
    """By name, rule and value: not in the first call, when a record pays for it."""
    with pytest.raises(TypeError, match=message):
        Batcher(Api(), **options)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(quotas=Quota(calls=1, per=1, by=lambda key: key[0])), "Quota"),
        (Limits(fairness=Fairness(by=lambda key: key[0])), "Fairness"),
        (Limits(fairness=Fairness(by=lambda key: [key])), "Fairness"),  # type: ignore[arg-type, return-value]
    ],
)
async def test_what_by_raises_says_whose_it_is(limits, name):
    """The policy, and the type of the key but not the key: else nobody knows what a submit has failed for."""
    async with Batcher(Api(), limits=limits) as batcher:
        with pytest.raises(TypeError) as caught:
            await batcher.submit("a", key=7)
        assert caught.value.__notes__ == [
            f"raised by by= of {name}(by=...), called with the key of a lane, of type int"
        ]
        assert batcher.statistics().accepted == 0


async def test_a_write_that_is_not_async_is_told_so():
    """It has run by then, so its records are unknown, with the remedy."""

    def write(key: Any, records: list[Any]) -> list[Any]:
        return records

    async with Batcher(write) as batcher:  # type: ignore[arg-type, var-annotated]
        with pytest.raises(RecordUnknown, match="the write function is not async: define it with 'async def'"):
            await batcher.submit("a")


async def test_size_of_must_return_bytes():
    """A size that is none is the caller's error, at once."""
    async with Batcher(Api(), size_of=lambda _: "big") as batcher:  # type: ignore[arg-type, return-value]
        with pytest.raises(TypeError, match="size_of must return a number of bytes, not str"):
            await batcher.submit("a")


async def test_identities_of_submit_all_must_match():
    """One per record."""
    async with Batcher(Api()) as batcher:
        with pytest.raises(ValueError, match="2 for 1 records"):
            await batcher.submit_all(["a"], identities=["x", "y"])
