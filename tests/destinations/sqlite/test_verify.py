"""SQLite: which creates of a lost answer were applied."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from batcher import Outcome, Retry, Written
from batcher.destinations.sqlite import SQLite, Table
from batcher.errors import BatcherNotOpen
from tests.destinations.sqlite.helpers import CONTACTS, create, delete, fault, send, update, upsert

pytestmark = pytest.mark.anyio
TWO = {"contacts": Table(unique=["email", "a'b", "phone"])}


async def ask(db: SQLite, *records: dict[str, Any]) -> Sequence[Outcome]:
    prepared = [db.encode(create(record)) for record in records]
    return await db.verify(prepared[0].lane, [each.item for each in prepared])


async def kinds(db: SQLite, *records: dict[str, Any]) -> str:
    """The first letters: written, not written, unknown."""
    return "".join(outcome.kind[0] for outcome in await ask(db, *records))


async def test_it_tells_what_is_there_as_it_was_sent(path):
    """Written with its id, not written if it is not there, unknown if the row holds anything else by now."""
    async with SQLite(path, objects=CONTACTS) as db:
        await send(db, *[create({"email": each, "n": 1}) for each in ("a", "b'); --", "c")])
        await send(db, update("3", n=2))
        records = [{"email": each, "n": 1} for each in ("d", "c", "b'); --", "a")]
        outcomes = await ask(db, *records)
        assert [outcome.kind[0] for outcome in outcomes] == ["n", "u", "w", "w"]
        assert outcomes[2:] == [Written("2"), Written("1")]
        await send(db, delete("1"))
        assert await kinds(db, *records) == "nuwn"
        assert await db.count("contacts") == 2


async def test_values_are_the_same_if_their_json_is(path):
    """1, 1.0, "1" and true are four values, and the order of fields counts, too."""
    async with SQLite(path, objects=CONTACTS) as db:
        await send(db, create({"email": 1, "n": 2}))
        assert await kinds(db, {"email": 1, "n": 2}) == "w"
        assert await kinds(db, {"email": 1.0, "n": 2}, {"email": "1", "n": 2}, {"email": True, "n": 2}) == "nnn"
        assert await kinds(db, {"email": 1, "n": 2.0}) == await kinds(db, {"n": 2, "email": 1}) == "u"


async def test_any_unique_field_will_do(path):
    """A record is looked for by the first one in which it holds a value; without any it is unknown."""
    async with SQLite(path, objects=TWO) as db:
        records: list[dict[str, Any]] = [
            {"email": "", "phone": "1"},
            {"a'b": "x", "phone": "2"},
            {"n": 1},
            {"email": None},
        ]
        await send(db, *map(create, records))
        assert await kinds(db, *records, {"a'b": "1"}) == "wwuun"
        assert await kinds(db, {"phone": "2"}) == "u"


async def test_two_records_with_one_value_are_not_told_apart(path):
    """One of them was refused, and nobody knows which."""
    async with SQLite(path, objects=CONTACTS) as db:
        await send(db, create({"email": "a"}))
        assert await kinds(db, {"email": "a"}, {"email": "b"}, {"email": "a"}) == "unu"


async def test_only_creates_of_an_object_with_a_unique_field_can_be_verified():
    """In whatever case its name is written."""
    db = SQLite(":memory:", objects=CONTACTS)
    writes = [create({"n": 1}), create({"n": 1}, "Contacts"), create({"n": 1}, "leads"), update("1"), delete("1")]
    lanes = [db.encode(each).lane for each in (*writes, upsert({"email": "a"}))]
    assert [db.rules(lane).verifiable for lane in lanes] == [True, True, False, False, False, False]


async def test_what_was_never_committed_is_not_there(path, connections):
    """A transaction that could not be rolled back is undone before the question, and the question leaves none."""
    async with SQLite(path, objects=CONTACTS) as db:
        connections[0].faults["COMMIT"] = fault("SQLITE_FULL")
        connections[0].faults["ROLLBACK"] = fault("SQLITE_IOERR")
        with pytest.raises(Retry):
            await send(db, create({"email": "a"}))
        assert connections[0].in_transaction
        assert await kinds(db, {"email": "a"}) == "n"
        assert not connections[0].in_transaction
        assert await send(db, create({"email": "a"})) == [Written("1")]


async def test_a_lock_teaches_nothing(file):
    """Whoever holds it may be about to commit: ask again later."""
    async with SQLite(file, objects=CONTACTS, lock_timeout=0) as db:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Retry, match="SQLITE_BUSY"):
                await ask(db, {"email": "a"})
            other.execute("""INSERT INTO contacts (record) VALUES ('{"email":"a"}')""")
            other.execute("COMMIT")
        assert await kinds(db, {"email": "a"}) == "w"


async def test_trouble_that_stays_leaves_all_unknown(file):
    """A table that is gone is no proof that nothing was written."""
    async with SQLite(file, objects=CONTACTS) as db:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("DROP TABLE contacts")
        outcomes = await ask(db, {"email": "a"}, {"email": "b"})
        assert [outcome.kind for outcome in outcomes] == ["unknown"] * 2 and "SQLITE_ERROR" in str(outcomes[0])


async def test_outside_of_the_block_it_cannot_be_asked():
    """As with every other call."""
    with pytest.raises(BatcherNotOpen):
        await ask(SQLite(":memory:", objects=CONTACTS), {"email": "a"})
