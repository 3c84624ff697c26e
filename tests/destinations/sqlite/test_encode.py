"""SQLite: encode(), and the arguments."""

from math import inf
from typing import Any

import pytest

from batcher.destinations.sqlite import SQLite, Table
from batcher.errors import InvalidRecord
from batcher.writes import Write
from tests.destinations.sqlite.helpers import CONTACTS, LINKS, create, delete, update, upsert

pytestmark = pytest.mark.anyio

# --- encode() ---


def test_lanes_sizes_and_identities() -> None:
    """Type and match field are part of the lane; an id and an external value are different identities."""
    db = SQLite(":memory:", objects=CONTACTS)
    created, updated = db.encode(create({"email": "é"})), db.encode(update("1", n=1))
    deleted, upserted = db.encode(delete("1")), db.encode(upsert({"email": "1"}))

    assert [each.lane for each in (created, updated, deleted, upserted)] == [
        ("contacts", "create"),
        ("contacts", "update"),
        ("contacts", "delete"),
        ("contacts", "upsert", "email"),
    ]
    assert created.item == '{"email":"é"}'.encode()
    assert created.size_bytes == len(created.item) + 1
    assert created.identity is None
    assert updated.identity == deleted.identity == ("sqlite", "contacts", "id", "1")
    assert upserted.identity != updated.identity
    assert db.encode(update("1", "leads", n=1)).identity != updated.identity
    assert db.encode(upsert({"email": "1", "n": 2})).identity == upserted.identity


def test_the_item_is_a_copy() -> None:
    """Changing the record after encode() changes nothing of what is written."""
    record = {"tags": ["a"]}
    prepared = SQLite(":memory:").encode(create(record))
    record["tags"].append("b")

    assert prepared.item == b'{"tags":["a"]}'


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (create({"id": "1"}), "given by the database"),
        (upsert({"id": "1", "email": "a"}), "given by the database"),
        (create({"n": float("nan")}), "field 'n'"),
        (update("1", n=b""), "field 'n'"),
        (upsert({"phone": "1"}, by="phone"), "by='phone' is not declared unique for the object 'contacts'"),
        (upsert({"email": "1"}, object="leads"), "not declared unique for the object 'leads'"),
        (Write("contacts", "create", {"n": 1}, associations=LINKS), "no associations"),
        (Write("contacts", "create", {"n": 1}, headers={"a": "b"}), "no headers"),
        (create({"n": 1}, "a b"), "object must be"),
    ],
)
def test_what_can_never_be_written_is_refused_at_the_door(write: Write, words: str) -> None:
    """The refusal names the rule and the way out, and comes before the database is open."""
    with pytest.raises(InvalidRecord, match=words):
        SQLite(":memory:", objects=CONTACTS).encode(write)


@pytest.mark.parametrize(
    "name", ['a"b', "a;b", "a b", "-a", ".a", "ключ", "\u212aontacts", "x" * 64, "a\n", "SQLite_x"]
)
async def test_names_that_are_no_objects(name: str) -> None:
    """An object is refused wherever it is named if it cannot be a table."""
    with pytest.raises(ValueError, match="object must"):
        SQLite(":memory:", objects={name: Table()})
    with pytest.raises(InvalidRecord, match="object must"):
        SQLite(":memory:").encode(create({"n": 1}, name))
    async with SQLite(":memory:") as db:
        with pytest.raises(ValueError, match="object must"):
            await db.rows(name)


# --- Arguments ---


@pytest.mark.parametrize("side", ["unique", "required"])
@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        ("email", TypeError, r"as a list: \['email'\]"),
        ([1], TypeError, "must hold names of fields, not int"),
        ([""], ValueError, "must not be empty"),
        (['a"b'], ValueError, "quotation mark"),
        (["a\\b"], ValueError, "backslash"),
        (["a\x00b"], ValueError, "control character"),
        (["a\ud800"], ValueError, "surrogate"),
        (["id"], ValueError, "given by the database"),
    ],
)
def test_declared_names_are_checked(side: str, names: Any, error: type[Exception], words: str) -> None:
    """A declaration that the database could not keep is refused when it is made."""
    with pytest.raises(error, match=words):
        Table(**{side: names})


def test_a_name_counts_once() -> None:
    """Repeating a declared field says nothing new."""
    assert Table(unique=["a", "b", "a"]).unique == ("a", "b")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"path": ""}, ValueError, "path must be"),
        ({"path": b"a"}, TypeError, "path must be"),
        ({"path": None}, TypeError, "path must be"),
        ({"objects": {"a": Table(), "A": Table()}}, ValueError, "declares 'a' twice"),
        ({"objects": {"a": {"unique": ["b"]}}}, TypeError, r"objects\['a'\] must be a Table, not dict"),
        ({"max_records": 0}, ValueError, "max_records"),
        ({"delay": -1}, ValueError, "delay"),
        ({"lock_timeout": inf}, ValueError, "lock_timeout must be at most 3600"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    """A bad argument is named at once, with its rule."""
    with pytest.raises(error, match=words):
        SQLite(**{"path": ":memory:", **arguments})


def test_rules_and_repr() -> None:
    """One call carries 100 records unless told otherwise, and may be a group."""
    db = SQLite("crm.db", max_records=7)

    assert db.rules(("contacts", "create")).max_records == 7
    assert db.rules(("contacts", "create")).all_or_none
    assert SQLite(":memory:").rules(("contacts", "create")).max_records == 100
    assert repr(db) == "SQLite('crm.db')"
