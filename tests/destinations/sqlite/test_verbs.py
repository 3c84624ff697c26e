"""SQLite: The four verbs, the rules of a table, partial success and groups."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from batcher.destinations.sqlite import SQLite, Table
from batcher.outcomes import Refused, Rejected, Written
from batcher.writes import Write
from tests.destinations.sqlite.helpers import (
    CONTACTS,
    MISSING_EMAIL,
    NOT_FOUND,
    create,
    delete,
    duplicate,
    refusal,
    send,
    update,
    upsert,
)

pytestmark = pytest.mark.anyio

# --- The four verbs ---


async def test_create_gives_an_id(path: str | Path) -> None:
    """Each created record gets an id of its own, as a string, and is stored as it was."""
    record = {"email": "ada@x", "n": [1, {"deep": None}], "big": 1e-7, "text": "a\x00b\U0001f600"}
    async with SQLite(path) as db:
        assert await send(db, create(record), create({"email": "bob@x"})) == [Written("1"), Written("2")]
        assert await db.rows("contacts") == [{**record, "id": "1"}, {"email": "bob@x", "id": "2"}]
        assert await db.count("contacts") == 2


async def test_an_update_replaces_the_fields_it_gives(path: str | Path) -> None:
    """Fields that are not given stay, and a nested value is replaced, not merged."""
    async with SQLite(path) as db:
        await send(db, create({"email": "ada@x", "address": {"city": "London", "zip": "1"}, "n": 1}))
        assert await send(db, update("1", address={"city": "Paris"}, n=None)) == [Written("1")]
        assert await db.rows("contacts") == [{"email": "ada@x", "address": {"city": "Paris"}, "n": None, "id": "1"}]


async def test_upsert_matches_on_a_unique_field(path: str | Path) -> None:
    """An upsert creates once, and updates from then on, also within one call; it says which it did."""
    async with SQLite(path, objects=CONTACTS) as db:
        verdicts = await send(
            db, upsert({"email": "ada@x", "a": 1}), upsert({"email": "bob@x"}), upsert({"email": "ada@x", "b": 2})
        )
        assert verdicts == [
            Written("1", {"created": True}),
            Written("2", {"created": True}),
            Written("1", {"created": False}),
        ]
        assert await db.rows("contacts") == [
            {"email": "ada@x", "a": 1, "b": 2, "id": "1"},
            {"email": "bob@x", "id": "2"},
        ]


async def test_a_deleted_id_is_never_used_again(path: str | Path) -> None:
    """After a delete the record is gone, and its id names no other one."""
    async with SQLite(path) as db:
        await send(db, create({"n": 1}), create({"n": 2}))
        assert await send(db, delete("2")) == [Written("2")]
        assert await send(db, create({"n": 3})) == [Written("3")]
        assert [row["id"] for row in await db.rows("contacts")] == ["1", "3"]


@pytest.mark.parametrize(
    "wrong", ["2", "01", " 1", "1 ", "1.0", "+1", "-1", "0", "1e0", "\u0661", "x", "1\n", str(2**63), "9" * 5000]
)
@pytest.mark.parametrize("verb", [partial(update, n=2), delete])
async def test_only_the_exact_id_names_a_record(verb: Any, wrong: str) -> None:
    """Another spelling of an id, or an id that nobody has, is not found and changes nothing."""
    async with SQLite(":memory:") as db:
        await send(db, create({"n": 1}))
        (verdict,) = await send(db, verb(wrong))
        assert refusal(verdict) == NOT_FOUND
        assert await db.rows("contacts") == [{"n": 1, "id": "1"}]


# --- The rules of a table ---


async def test_a_duplicate_is_refused(path: str | Path) -> None:
    """A create, an update or an upsert that would repeat a unique value is refused, and the field is named."""
    async with SQLite(path, objects={"contacts": Table(unique=["email", "phone"])}) as db:
        await send(db, create({"email": "ada@x", "phone": "1"}), create({"email": "bob@x", "phone": "2"}))
        (created,) = await send(db, create({"email": "ada@x"}))
        (updated,) = await send(db, update("2", phone="1"))
        (upserted,) = await send(db, upsert({"email": "eve@x", "phone": "1"}))
        assert [refusal(each) for each in (created, updated, upserted)] == [
            duplicate("email"),
            duplicate("phone"),
            duplicate("phone"),
        ]
        assert "ada@x" not in repr(created)
        assert await db.count("contacts") == 2


VALUES = [
    1,
    1.0,
    "1",
    True,
    "true",
    0,
    False,
    -0.0,
    "0",
    [1],
    "[1]",
    [True],
    {},
    "{}",
    "null",
    "A",
    "a",
    "a\x00b",
    "a\x00c",
]


async def test_values_are_the_same_if_their_json_is() -> None:
    """Numbers, texts, booleans and lists that look alike are different values, and each is a duplicate of itself."""
    async with SQLite(":memory:", objects={"contacts": Table(unique=["key"])}) as db:
        for number, value in enumerate(VALUES, start=1):
            assert await send(db, create({"key": value})) == [Written(str(number))]
        for number, value in enumerate(VALUES, start=1):
            (again,) = await send(db, create({"key": value}))
            assert refusal(again) == duplicate("key")
            assert await send(db, upsert({"key": value}, by="key")) == [Written(str(number), {"created": False})]
        identities = {db.encode(upsert({"key": value}, by="key")).identity for value in VALUES}
        assert len(identities) == len(VALUES)


@pytest.mark.parametrize("empty", [{}, {"key": None}, {"key": ""}])
async def test_empty_values_are_no_duplicates(empty: dict[str, Any]) -> None:
    """Any number of records may leave a unique field empty."""
    async with SQLite(":memory:", objects={"contacts": Table(unique=["key"])}) as db:
        assert await send(db, *[create({"n": 1, **empty})] * 2) == [Written("1"), Written("2")]


@pytest.mark.parametrize("empty", [{}, {"email": None}, {"email": ""}])
async def test_required_fields_are_required(path: str | Path, empty: dict[str, Any]) -> None:
    """A required field must not be empty in a record that is created, nor become so."""
    async with SQLite(path, objects={"contacts": Table(unique=["name"], required=["email", "name"])}) as db:
        await send(db, create({"email": "ada@x", "name": "Ada"}))
        (created,) = await send(db, create({"name": "Bob", **empty}))
        (upserted,) = await send(db, upsert({"name": "Bob", **empty}, by="name"))
        (neither,) = await send(db, create({"n": 1}))
        assert refusal(created) == refusal(upserted) == MISSING_EMAIL
        assert refusal(neither) == ("REQUIRED_FIELD_MISSING", ("email", "name"))
        if empty:
            (updated,) = await send(db, update("1", **empty))
            assert refusal(updated) == MISSING_EMAIL
        assert await db.rows("contacts") == [{"email": "ada@x", "name": "Ada", "id": "1"}]


@pytest.mark.parametrize("falsy", [0, False, 0.0, [], {}])
async def test_a_falsy_value_is_not_empty(falsy: Any) -> None:
    """Only missing, None and the empty text are empty."""
    async with SQLite(":memory:", objects=CONTACTS) as db:
        assert await send(db, create({"email": falsy})) == [Written("1")]
        (again,) = await send(db, create({"email": falsy}))
        assert refusal(again) == duplicate()


AWKWARD = [
    "a.b",
    "a[0]",
    "it's",
    "ключ",
    "$",
    "$.a",
    "#-1",
    " ",
    "--",
    "; DROP TABLE contacts",
    "%s",
    "?1",
    "\x7f",
    "a:b",
]


@pytest.mark.parametrize("field", AWKWARD)
async def test_awkward_names_of_fields(field: str) -> None:
    """The name of a field is a name, whatever SQL, JSON paths or formats make of its characters."""
    async with SQLite(":memory:", objects={"contacts": Table(unique=[field], required=[field])}) as db:
        first, same, other = await send(
            db, create({field: "v", "a": 1}), create({"a": 2, field: "v"}), create({field: "w", "b": "v"})
        )
        assert (first, other) == (Written("1"), Written("2"))
        assert refusal(same) == duplicate(field)
        assert await send(db, upsert({field: "w", "n": 1}, by=field)) == [Written("2", {"created": False})]
        (missing,) = await send(db, create({"b": 1}))
        assert missing.errors[0].fields == (field,)


async def test_names_that_differ_in_case_are_two_fields() -> None:
    """Each unique field has an index of its own, although SQLite ignores the case of index names."""
    async with SQLite(":memory:", objects={"contacts": Table(unique=["Email", "email"])}) as db:
        await send(db, create({"Email": "a", "email": "b"}))
        assert await send(db, create({"Email": "b", "email": "a"})) == [Written("2")]
        one, two = await send(db, create({"Email": "a"}), create({"email": "a"}))
        assert (refusal(one), refusal(two)) == (duplicate("Email"), duplicate("email"))


async def test_upper_and_lower_case_are_one_object(path: str | Path) -> None:
    """Contacts and contacts are one table and one lane."""
    async with SQLite(path, objects={"Contacts": Table(unique=["email"])}) as db:
        await send(db, create({"email": "a"}, "CONTACTS"))
        (again,) = await send(db, create({"email": "a"}, "contacts"))
        assert refusal(again) == duplicate()
        assert await db.count("Contacts") == 1
        lanes = {db.encode(create({"n": 1}, name)).lane for name in ("contacts", "CONTACTS")}
        assert lanes == {("contacts", "create")}


@pytest.mark.parametrize("name", ["p_1", "2-123", "Custom__c", "a.b", "order", "select", "_x", "x" * 63])
async def test_objects_are_made_on_demand(path: str | Path, name: str) -> None:
    """The first write of an object makes its table, also if its name means something in SQL."""
    async with SQLite(path) as db:
        assert await db.rows(name) == []
        assert await db.count(name) == 0
        assert await send(db, create({"n": 1}, name)) == [Written("1")]
        assert await db.rows(name) == [{"n": 1, "id": "1"}]


# --- Partial success, and groups ---


async def test_one_bad_record_costs_only_itself(path: str | Path) -> None:
    """Each verdict is the one of its own record, wherever the bad ones stand, and the good ones are stored."""
    async with SQLite(path, objects=CONTACTS) as db:
        records: list[dict[str, Any]] = [
            {"n": 0},
            {"email": "a"},
            {"email": "a", "n": 2},
            {"email": "b"},
            {"email": ""},
        ]
        verdicts = await send(db, *[create(record) for record in records])
        assert [verdicts[1], verdicts[3]] == [Written("1"), Written("2")]
        assert [refusal(verdicts[index]) for index in (0, 2, 4)] == [MISSING_EMAIL, duplicate(), MISSING_EMAIL]
        assert await db.rows("contacts") == [{"email": "a", "id": "1"}, {"email": "b", "id": "2"}]


async def test_a_group_is_written_whole(path: str | Path) -> None:
    """A group without culprits is written."""
    async with SQLite(path, objects=CONTACTS) as db:
        verdicts = await send(db, create({"email": "a"}), create({"email": "b"}), all_or_none=True)
        assert verdicts == [Written("1"), Written("2")]
        assert await db.count("contacts") == 2


async def test_a_group_names_every_culprit(path: str | Path) -> None:
    """A group with culprits leaves nothing behind, and each culprit is named with its own errors."""
    async with SQLite(path, objects=CONTACTS) as db:
        await send(db, create({"email": "a"}))
        records: list[dict[str, Any]] = [
            {"email": "b"},
            {"email": "a"},
            {"email": "c"},
            {"n": 1},
            {"email": "b", "n": 2},
        ]
        with pytest.raises(Refused) as caught:
            await send(db, *[create(record) for record in records], all_or_none=True)
        named = {index: (errors[0].code, errors[0].fields) for index, errors in caught.value.named.items()}
        assert named == {1: duplicate(), 3: MISSING_EMAIL, 4: duplicate()}
        assert [error for errors in caught.value.named.values() for error in errors] == list(caught.value.errors)
        assert await db.rows("contacts") == [{"email": "a", "id": "1"}]
        assert await send(db, create({"email": "b"})) == [Written("2")]


async def test_a_refused_group_undoes_its_updates_and_deletes(path: str | Path) -> None:
    """What a refused group changed or deleted is as before."""
    async with SQLite(path, objects=CONTACTS) as db:
        await send(db, create({"email": "a"}), create({"email": "b"}))
        with pytest.raises(Refused):
            await send(db, update("1", n=1), update("9", n=1), all_or_none=True)
        with pytest.raises(Refused):
            await send(db, delete("1"), delete("9"), all_or_none=True)
        assert await db.rows("contacts") == [{"email": "a", "id": "1"}, {"email": "b", "id": "2"}]


RECORDS = st.fixed_dictionaries(
    {}, optional={"email": st.sampled_from(["a", "b", "c", "", None]), "n": st.integers(0, 3)}
)
IDS = st.sampled_from(["1", "2", "3", "4", "9"])
WRITES = st.one_of(
    st.lists(st.builds(create, RECORDS.filter(bool)), min_size=1, max_size=4),
    st.lists(st.builds(lambda key, record: update(key, **record), IDS, RECORDS.filter(bool)), min_size=1, max_size=3),
    st.lists(
        st.builds(lambda record: upsert(record), RECORDS.filter(lambda r: r.get("email"))), min_size=1, max_size=4
    ),
    st.lists(st.builds(delete, IDS), min_size=1, max_size=3),
)


class Model:
    """What the database should hold, and the code it should answer with, in plain dicts."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def apply(self, write: Write, new_id: str) -> str | None:
        record = dict(write.record)
        key = record.pop("id", None)
        if write.type == "upsert":
            key = next((key for key, row in self.rows.items() if row.get("email") == record["email"]), None)
        elif write.type != "create" and key not in self.rows:
            return "NOT_FOUND"
        if write.type == "delete":
            del self.rows[key]
            return None
        merged = {**self.rows.get(key, {}), **record}
        if not merged.get("email"):
            return "REQUIRED_FIELD_MISSING"
        if any(row["email"] == merged["email"] for other, row in self.rows.items() if other != key):
            return "DUPLICATE_VALUE"
        self.rows[key or new_id] = merged
        return None


async def send_or_refused(db: SQLite, writes: list[Write], all_or_none: bool) -> Sequence[Any]:
    """Return the verdicts; of a refused group the errors of the culprits, and None for the others."""
    try:
        return await send(db, *writes, all_or_none=all_or_none)
    except Refused as refused:
        return [Rejected(refused.named[i]) if i in refused.named else None for i in range(len(writes))]


async def check_against_model(calls: Any) -> None:
    model = Model()
    async with SQLite(":memory:", objects=CONTACTS) as db:
        for writes, all_or_none in calls:
            before = dict(model.rows)
            verdicts = await send_or_refused(db, writes, all_or_none)
            expected = [
                model.apply(write, getattr(verdict, "record_id", f"new {index}"))
                for index, (write, verdict) in enumerate(zip(writes, verdicts, strict=True))
            ]
            assert [each.errors[0].code if isinstance(each, Rejected) else None for each in verdicts] == expected
            if all_or_none and any(expected):
                model.rows = before
            assert {row.pop("id"): row for row in await db.rows("contacts")} == model.rows


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(WRITES, st.booleans()), max_size=8))
def test_the_database_holds_what_the_verdicts_say(calls: Any) -> None:
    """After any calls, in groups or not, the rows are those that the verdicts promised, and the codes are right."""
    anyio.run(check_against_model, calls)
