"""What users do wrong: told at once, by name, and at nobody else's cost."""

from __future__ import annotations

import functools
import types
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    EventLog,
    Fairness,
    Limits,
    Quota,
    RecordUnknown,
    Write,
    Writer,
    Written,
)
from batcher.destinations import SQLite
from tests.api import Api

pytestmark = pytest.mark.anyio
NOW = AutoBatchPolicy(max_delay=0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"key": []},
            TypeError,
            "^key must be hashable, and a list is unhashable: give a tuple, say, instead of a list",
        ),
        ({"key": ("a", {})}, TypeError, "^key must be hashable, and a tuple is unhashable: give a tuple or a string"),
        ({"identity": {}}, TypeError, "^identity must be hashable, and a dict is unhashable"),
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
        with pytest.raises(error, match=message):
            batcher.submit_nowait("a", **options)
        with pytest.raises(error, match=message):
            await batcher.enqueue("a", **options)
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


class Send:
    async def batch(self, key: Any, records: list[Any]) -> list[Any]:
        return records

    def __call__(self, key: Any, records: list[Any]) -> Any:
        return self.batch(key, records)

    async def short(self, records: list[Any]) -> list[Any]:
        return records


async def only_records(records: list[Any]) -> list[Any]:
    return records


async def by_name(*, key: Any, records: list[Any]) -> list[Any]:
    return records


async def three(key: Any, records: list[Any], client: Any) -> list[Any]:
    return records


async def keyed(key: Any, records: list[Any], *, client: Any) -> list[Any]:
    return records


def yields(key: Any, records: list[Any]) -> Any:
    yield from records


async def yields_later(key: Any, records: list[Any]) -> Any:
    for record in records:
        yield record


@types.coroutine
def old_style(key: Any, records: list[Any]) -> Any:
    yield from anyio.sleep(0).__await__()
    return records


def with_client(function: Any) -> Any:
    @functools.wraps(function)
    async def inner(key: Any, records: list[Any]) -> Any:
        return await function(key, records, "client")

    return inner


class Pending:
    """A class whose instance is what is awaited."""

    def __init__(self, key: Any, records: list[Any]) -> None:
        self.records = records

    def __await__(self) -> Any:
        yield from anyio.sleep(0).__await__()
        return self.records


@pytest.mark.parametrize(
    "write",
    [
        *(Send().batch, Send(), functools.partial(three, client="c"), functools.partial(keyed, client="c"), old_style),
        *(lambda key, records: Send().batch(key, records), lambda *both: Send().batch(*both), with_client(three)),
        *(Pending, AsyncMock(side_effect=lambda key, records: records), MagicMock(side_effect=Send())),
    ],
)
async def test_whatever_can_be_called_and_awaited_is_a_write_function(write):
    """Methods, partials, lambdas, wrappers, objects, classes, stand-ins: refused is what is wrong for certain."""
    async with Batcher(write, verify=write, auto_batch=NOW) as batcher:
        assert await batcher.submit("a") == "a"


TAKES = (
    "must be an async function of a key and a list of records, and cannot be called with a key and a list of records: "
)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (only_records, f"{TAKES}too many positional arguments; define it as 'async def NAME\\(key, records\\)'"),
        (Send().short, f"{TAKES}too many positional arguments"),
        (by_name, f"{TAKES}too many positional arguments"),
        (three, f"{TAKES}missing a required argument: 'client'"),
        (keyed, f"{TAKES}missing a required.* argument: 'client'"),
        (functools.partial(Send().batch, "key"), f"{TAKES}too many positional arguments"),
        (lambda: None, f"{TAKES}too many positional arguments"),
        *((each, "not a generator: return a list instead of yielding items") for each in (yields, yields_later)),
        (functools.partial(yields_later), "not a generator"),
        (Send, "not the class Send: give an instance of it"),
        (list, "not the class list"),
        (SQLite(":memory:"), r"not the destination SQLite: use Writer\(SQLite\(...\)\)"),
        (SQLite, r"not the destination SQLite: use Writer\(SQLite\(...\)\)"),
        ("write", r"not str: define it as 'async def NAME\(key, records\)'"),
        (None, "not NoneType"),
    ],
)
async def test_a_write_function_that_can_never_work_is_refused_where_it_is_given(write, message):
    """With its rule and the way out: not in the first call, when a record pays for it."""
    with pytest.raises(TypeError, match=f"^write .*{message.replace('NAME', 'write')}"):
        Batcher(write)
    if write is not None:
        with pytest.raises(TypeError, match=f"^verify .*{message.replace('NAME', 'verify')}"):
            Batcher(Api(), verify=write)


async def test_a_call_of_the_write_function_is_refused():
    """And the coroutine is closed: nobody is warned of it on top."""
    with pytest.raises(TypeError, match=r"^write must be .*, not a call of one: leave out its parentheses"):
        Batcher(Send().batch("key", []))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        *(("max_records", "auto_batch=AutoBatchPolicy"), ("gather", "auto_batch=AutoBatchPolicy")),
        *(("on_unknown", "retry=RetryPolicy"), ("backoff_cap", "retry=RetryPolicy")),
        *(("call_timeout", "limits=Limits"), ("quotas", "limits=Limits")),
    ],
)
@pytest.mark.parametrize(
    "make", [lambda **options: Batcher(Api(), **options), lambda **o: Writer(SQLite(":memory:"), **o)]
)
async def test_a_figure_of_a_policy_says_which(make, name, policy):
    """Who writes Batcher(write, max_records=50) is told where it goes."""
    who = type(make()).__name__
    with pytest.raises(TypeError) as caught:
        make(**{name: 50})
    belongs = policy.partition("=")[2]
    words = f"{who}() has no argument {name!r}; it belongs to {belongs}: {who}(..., {policy}({name}=...))"
    assert str(caught.value) == words
    with pytest.raises(TypeError, match=rf"^{who}\(\) has no argument 'frobnicate'$"):
        make(frobnicate=1)


async def test_a_destination_is_an_instance():
    """Forgotten parentheses are named."""
    with pytest.raises(TypeError, match=r"destination must be one, not the class SQLite: make one, SQLite\(...\)"):
        Writer(SQLite)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not function; for a function of your own use Batcher\(write\)"):
        Writer(only_records)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda: Batcher(Api()), lambda: Writer(SQLite(":memory:"))])
async def test_with_instead_of_async_with(make):
    """Says what to write instead."""
    with pytest.raises(TypeError, match="waits when it is left: use 'async with', in an async function"):  # noqa: SIM117
        with make():
            pass


async def stream() -> Any:
    yield "a"


@pytest.mark.parametrize(
    ("records", "message"),
    [
        *((each, "not ...: put a single WHAT into a list") for each in ({"email": "x"}, "text", b"text", 7, Write)),
        (stream(), r"not async_generator: collect it first, \[WHAT async for WHAT in ...\], or submit\(\) each one"),
        (Write("contacts", "create", {}), r"not Write: put a single WHAT into a list, \[WHAT\]"),
    ],
)
async def test_submit_all_takes_many(records, message):
    """One record, or what cannot be gone through here, is refused with the way out, and nothing is accepted."""
    message = message.replace("not ...", f"not {type(records).__name__}")
    async with Batcher(Api()) as batcher, Writer(SQLite(":memory:")) as writer:
        for verb, what in ((batcher.submit_all, "record"), (writer.submit_all, "write")):
            with pytest.raises(TypeError, match=message.replace("WHAT", what)):
                await verb(records)
        assert batcher.statistics().accepted == 0
        assert await batcher.submit_all({"b": 1}.keys()) == await batcher.submit_all(iter("b")) == [Written(data="b")]


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
        ({"verify": 3}, "verify must be an async function of a key and a list of records, not int"),
        ({"size_of": 3}, "size_of must be a function that returns the bytes of a record, not int"),
        (
            {"size_of": anyio.sleep},
            "size_of must be a function .*, not an async one or a generator: define it with 'def'",
        ),
        ({"size_of": yields}, "size_of must be a function .*, not an async one or a generator"),
        ({"size_of": lambda: 1}, "size_of must be a function .*, and cannot be called with one argument: too many"),
        ({"on_event": EventLog}, "on_event must be a function, not the class EventLog: give an instance of it"),
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


async def test_names_of_submit_all_must_be_hashable():
    """And the message says which one is not."""
    async with Batcher(Api()) as batcher:
        with pytest.raises(TypeError, match=r"^key must be hashable, and a list is unhashable: "):
            await batcher.submit_all(["a"], key=["x"])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"^key must be hashable, and a list is unhashable: "):
            await batcher.submit_all(["a"], key=["x"], all_or_none=True)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"^identities\[1\] must be hashable, and a list is unhashable"):
            await batcher.submit_all(["a", "b"], identities=["x", ["y"]], all_or_none=True)  # type: ignore[list-item]


async def test_identities_of_submit_all_must_match():
    """One per record."""
    async with Batcher(Api()) as batcher:
        with pytest.raises(ValueError, match="2 for 1 records"):
            await batcher.submit_all(["a"], identities=["x", "y"])
