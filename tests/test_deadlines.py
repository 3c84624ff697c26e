"""Deadlines where people write, and the one for all who do not say; associations and headers, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from math import inf, nan
from typing import Any

import anyio
import pytest

from batcher import Association, Batcher, Limits, NotWritten, Outcome, Quota, RecordNotWritten, Write, Writer, Written
from batcher.destinations import Prepared, SQLite
from batcher.testing import ScriptedDestination

pytestmark = pytest.mark.anyio

# The first call is let through, and the next not for this long: longer than the deadlines below, not than a retry.
QUOTA = Limits(quotas=[Quota(per=50, calls=1)])
RECORD = {"email": "ada@example.com"}


class Noting(ScriptedDestination):
    """Keeps the writes that it was handed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[Write] = []

    def encode(self, write: Write) -> Prepared:
        self.writes.append(write)
        return super().encode(write)


async def _enqueued(writer: Writer, **options: Any) -> object:
    return await (await writer.enqueue(Write("contacts", "create", RECORD), **options))


async def _submitted_nowait(writer: Writer, **options: Any) -> object:
    return await writer.submit_nowait(Write("contacts", "create", RECORD), **options)


async def _submitted_all(writer: Writer, **options: Any) -> object:
    return _raised(await writer.submit_all([Write("contacts", "create", RECORD)], **options))


async def _in_a_group(writer: Writer, **options: Any) -> object:
    return _raised(await writer.submit_all([Write("contacts", "create", RECORD)], all_or_none=True, **options))


def _raised(outcomes: list[Outcome]) -> Outcome:
    (only,) = outcomes
    if isinstance(only, NotWritten):
        raise RecordNotWritten(only)
    return only


WRITING: dict[str, Callable[..., Awaitable[object]]] = {
    "create": lambda writer, **options: writer.create("contacts", RECORD, **options),
    "update": lambda writer, **options: writer.update("contacts", {"id": "1", **RECORD}, **options),
    "upsert": lambda writer, **options: writer.upsert("contacts", RECORD, by="email", **options),
    "delete": lambda writer, **options: writer.delete("contacts", "1", **options),
    "submit": lambda writer, **options: writer.submit(Write("contacts", "create", RECORD), **options),
    "submit_nowait": _submitted_nowait,
    "enqueue": _enqueued,
    "submit_all": _submitted_all,
    "group": _in_a_group,
}


async def _seconds_until_told(writer: Writer, verb: str, **options: Any) -> tuple[float, bool]:
    """Return after how long the verb came back behind a call that has used up the quota, and whether it wrote."""
    await writer.create("contacts", {"email": "first@example.com"})
    begun = anyio.current_time()
    try:
        await WRITING[verb](writer, **options)
    except RecordNotWritten:
        return anyio.current_time() - begun, False
    return anyio.current_time() - begun, True


@pytest.mark.parametrize("verb", WRITING)
async def test_the_deadline_of_a_writer_is_that_of_every_verb(verb: str):
    """A signup does not wait for 50 seconds under a quota or a throttle: it is told early that it is not written."""
    async with Writer(ScriptedDestination(), deadline=5, limits=QUOTA) as writer:
        after, written = await _seconds_until_told(writer, verb)
    assert not written
    assert after < 5


@pytest.mark.parametrize("verb", WRITING)
async def test_a_verb_that_says_its_own_deadline_has_that(verb: str):
    """With and without one of the writer."""
    async with Writer(ScriptedDestination(), limits=QUOTA) as writer:
        after, written = await _seconds_until_told(writer, verb, deadline=timedelta(seconds=5))
    assert not written
    assert after < 5
    async with Writer(ScriptedDestination(), deadline=5, limits=QUOTA) as writer:
        after, written = await _seconds_until_told(writer, verb, deadline=60)
    assert written
    assert 49 < after < 51


@pytest.mark.parametrize("verb", WRITING)
async def test_infinity_is_no_deadline(verb: str):
    """For whoever can wait: the writer's own does not count then."""
    async with Writer(ScriptedDestination(), deadline=5, limits=QUOTA) as writer:
        after, written = await _seconds_until_told(writer, verb, deadline=inf)
    assert written
    assert 49 < after < 51


async def _batcher_enqueued(batcher: Batcher[str, str], **options: Any) -> object:
    return await (await batcher.enqueue("a", **options))


async def _batcher_submitted_nowait(batcher: Batcher[str, str], **options: Any) -> object:
    return await batcher.submit_nowait("a", **options)


async def _batcher_submitted_all(batcher: Batcher[str, str], **options: Any) -> object:
    return _raised(await batcher.submit_all(["a"], **options))


BATCHING: dict[str, Callable[..., Awaitable[object]]] = {
    "submit": lambda batcher, **options: batcher.submit("a", **options),
    "submit_nowait": _batcher_submitted_nowait,
    "enqueue": _batcher_enqueued,
    "submit_all": _batcher_submitted_all,
}


@pytest.mark.parametrize("verb", BATCHING)
@pytest.mark.parametrize(
    ("default", "options", "written"),
    [(5, {}, False), (5, {"deadline": inf}, True), (None, {}, True), (inf, {}, True), (inf, {"deadline": 5}, False)],
)
async def test_a_batcher_has_one_for_all_as_well(verb: str, default: float | None, options: Any, written: bool):
    """None is never, and so is infinity."""

    async def write(key: object, records: list[str]) -> list[str]:
        return records

    async with Batcher[str, str](write, deadline=default, limits=QUOTA) as batcher:
        await batcher.submit("first")
        begun = anyio.current_time()
        told = None
        try:
            await BATCHING[verb](batcher, **options)
        except RecordNotWritten as error:
            told = error
    assert (told is None) is written
    assert (anyio.current_time() - begun < 5) is not written


@pytest.mark.parametrize(
    ("deadline", "error", "words"),
    [
        ("5", TypeError, "deadline must be seconds or a timedelta, not str"),
        (True, TypeError, "deadline must be seconds or a timedelta, not bool"),
        (-1, ValueError, "deadline must be at least 0 seconds, not -1"),
        (nan, ValueError, "deadline must be at least 0 seconds, not nan"),
    ],
)
async def test_what_is_no_deadline_is_refused_where_it_is_given(deadline: Any, error: type[Exception], words: str):
    """When the batcher is made, not with the first record."""

    async def write(key: object, records: list[str]) -> list[str]:
        return records

    with pytest.raises(error, match=words):
        Batcher(write, deadline=deadline)
    with pytest.raises(error, match=words):
        Writer(ScriptedDestination(), deadline=deadline)
    async with Writer(ScriptedDestination()) as writer:
        for verb in ("create", "update", "upsert", "delete"):
            with pytest.raises(error, match=words):
                await WRITING[verb](writer, deadline=deadline)
        assert writer.statistics().pending == 0


async def test_everyday_verbs_hand_on_associations_and_headers():
    """As a Write that was made by hand has them; a delete links nothing, so it has no such argument."""
    destination = Noting()
    links, headers = (Association(to="42", type_id=1),), {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
    async with Writer(destination) as writer:
        assert isinstance(await WRITING["create"](writer, associations=links, headers=headers), Written)
        assert isinstance(await WRITING["update"](writer, associations=links, headers=headers), Written)
        assert isinstance(await WRITING["upsert"](writer, associations=links, headers=headers), Written)
        assert isinstance(await WRITING["delete"](writer, headers=headers), Written)
    assert [write.type for write in destination.writes] == ["create", "update", "upsert", "delete"]
    assert [tuple(write.associations) for write in destination.writes] == [links, links, links, ()]
    assert all(dict(write.headers) == headers for write in destination.writes)


@pytest.mark.parametrize("verb", ["create", "update", "upsert"])
async def test_what_a_destination_does_not_take_is_refused_in_words(verb: str):
    """As it is with a Write."""
    async with Writer(SQLite(":memory:")) as writer:
        with pytest.raises(ValueError, match="SQLite takes no associations: leave them out"):
            await WRITING[verb](writer, associations=[Association(to="42", type_id=1)])
        with pytest.raises(ValueError, match="SQLite takes no headers: leave them out"):
            await WRITING[verb](writer, headers={"a": "b"})
