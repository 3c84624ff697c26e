"""Salesforce: arguments, encode(), rules() and the request."""

import json
from math import inf
from typing import Any

import pytest

from batcher.destinations import Salesforce
from batcher.destinations.salesforce.requests import partition_of, request_of
from batcher.errors import InvalidRecord
from batcher.writes import Association, Write
from tests.destinations.salesforce.helpers import ORG, TOKEN, create, delete, salesforce, sf_id, update, upsert

COLLECTIONS = "/services/data/v67.0/composite/sobjects"
ASSIGN: dict[str, Any] = {"headers": {"Sforce-Auto-Assign": "FALSE"}}


def request(db: Salesforce, *writes: Write, all_or_none: bool = False) -> tuple[str, str, Any]:
    prepared = [db.encode(write) for write in writes]
    assert len({each.lane for each in prepared}) == 1
    lane: Any = prepared[0].lane
    method, path, body = request_of(lane, [each.item for each in prepared], all_or_none)
    sizes = sum(each.size_bytes for each in prepared)
    assert sizes <= len(body or path) <= 1_000_000 - db.rules(lane).max_bytes + sizes + len(COLLECTIONS)
    return method, path, None if body is None else json.loads(body)


@pytest.mark.parametrize(
    ("writes", "method", "path", "records"),
    [
        ([create(), create({"LastName": "é"})], "POST", "",
         [{"attributes": {"type": "Contact"}, "LastName": "Ada"},
          {"attributes": {"type": "Contact"}, "LastName": "é"}]),
        ([update(1), update(2, length=15, City=None)], "PATCH", "",
         [{"attributes": {"type": "Contact"}, "id": sf_id(1), "Phone": "1"},
          {"attributes": {"type": "Contact"}, "id": sf_id(2, 15), "Phone": "1", "City": None}]),
        ([upsert("a"), upsert(7)], "PATCH", "/Contact/Ref__c",
         [{"attributes": {"type": "Contact"}, "Ref__c": "a", "Phone": "1"},
          {"attributes": {"type": "Contact"}, "Ref__c": 7, "Phone": "1"}]),
        ([create({"Account": {"Ref__c": "x"}}, "Ns__Deal__c")], "POST", "",
         [{"attributes": {"type": "Ns__Deal__c"}, "Account": {"Ref__c": "x"}}]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("all_or_none", [False, True])
def test_the_request_is_in_the_words_of_the_api(
    writes: Any, method: str, path: str, records: Any, all_or_none: bool
) -> None:
    """One object for the whole call, its type in each record, and whether it is all or none."""
    sent = request(salesforce(), *writes, all_or_none=all_or_none)

    assert sent == (method, COLLECTIONS + path, {"allOrNone": all_or_none, "records": records})


def test_a_delete_has_its_ids_in_the_address() -> None:
    """And no body; 200 of them fit by far."""
    method, path, body = request(salesforce(), delete(1), delete(2, length=15))
    assert (method, body) == ("DELETE", None)
    assert path == f"{COLLECTIONS}?ids={sf_id(1)},{sf_id(2, 15)}&allOrNone=false"
    _, path, _ = request(salesforce(), *map(delete, range(200)), all_or_none=True)
    assert path.endswith(f",{sf_id(199)}&allOrNone=true")
    assert len(path) < 4096


def test_the_version_and_the_names_are_in_the_path() -> None:
    """No name can reach another path, whatever it holds."""
    _, path, _ = request(salesforce(api_version="46.0"), upsert("a", "../x#", "ü ?/"))

    assert path == "/services/data/v46.0/composite/sobjects/..%2Fx%23/%C3%BC%20%3F%2F"


@pytest.mark.parametrize(
    ("options", "write", "words"),
    [
        ({}, create({"Id": sf_id(1), "n": 1}), "'id' is given by Salesforce: leave it out, or update"),
        ({}, create({"id": None, "n": 1}), "'id' is given by Salesforce"),
        ({}, create({"attributes": {}, "n": 1}), "'attributes' is set here"),
        ({}, create({"Attributes": {}, "n": 1}), "'attributes' is set here"),
        ({}, create({"City": 1, "CITY": 2}), "field 'CITY' is there twice, in other upper and lower case"),
        ({}, Write("Contact", "update", {"id": sf_id(1), "Id": sf_id(2)}), "field 'Id' is there twice"),
        ({}, Write("Contact", "update", {"id": "1", "n": 1}), "'id' must be 15 or 18 letters and digits"),
        ({}, Write("Contact", "delete", {"id": sf_id(1)[:16]}), "'id' must be 15 or 18 letters and digits"),
        ({}, Write("Contact", "delete", {"id": f"{sf_id(1, 15)[:-1]},"}), "'id' must be 15 or 18 letters and digits"),
        ({}, Write("Contact", "delete", {"id": f"{sf_id(1)}\n"}), "'id' must be 15 or 18 letters and digits"),
        ({}, Write("Contact", "upsert", {"Ref__c": "a", "ID": sf_id(1)}, by="Ref__c"), "an upsert has no 'id'"),
        ({}, Write("Contact", "upsert", {"Id": sf_id(1), "n": 1}, by="Id"), "an upsert has no 'id'"),
        ({}, upsert(True), "must be a string or a number"),
        ({}, upsert(["a"]), "must be a string or a number"),
        ({}, create({"n": inf}), "field 'n'"),
        ({}, create(object=".."), "object must be a name"),
        ({}, create(object="\ud800"), "'object' has a lone surrogate"),
        ({}, upsert("a", by=".."), "by must be a name"),
        ({}, create(associations=[Association("1", 279)]), "Salesforce has no associations: leave them out, and set"),
        ({}, create(headers={"a b": "1"}), "name of a header"),
        ({}, create(headers={"a": f"{TOKEN}\r\nb: 1"}), "the header 'a'"),
        ({}, create(headers={"Authorization": TOKEN}), "the header 'authorization' is set by the destination"),
        ({}, create(headers={"CONTENT-TYPE": "text/plain"}), "the header 'content-type' is set by the destination"),
        ({"api_version": "45.0"}, upsert("a"), "upserts need api_version='46.0' or later, not '45.0'"),
    ],
)
def test_what_can_never_be_written_is_refused_at_the_door(options: Any, write: Write, words: str) -> None:
    """The refusal names the rule and the way out, never a value."""
    with pytest.raises(InvalidRecord, match=words) as caught:
        salesforce(**options).encode(write)

    assert TOKEN not in str(caught.value)
    assert sf_id(1) not in str(caught.value)


def test_what_belongs_to_the_call_is_part_of_the_lane() -> None:
    """Object, type, external id field and headers, in any case and order, those of the destination included."""
    db = salesforce(headers={"Sforce-Mru": "updateMru=false"})
    writes = [create(), update(1), delete(1), upsert("a"), upsert("a", by="Other__c"), create(object="Lead")]
    lanes = {db.encode(each).lane for each in (*writes, create(**ASSIGN), create(headers={"sforce-mru": "x"}))}

    assert len(lanes) == 8
    assert db.encode(create({"n": 1})).lane in lanes
    assert db.encode(create(headers={"SFORCE-AUTO-ASSIGN": "FALSE"})).lane in lanes
    lane: Any = db.encode(create(**ASSIGN)).lane
    assert lane.headers == (("sforce-auto-assign", "FALSE"), ("sforce-mru", "updateMru=false"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (update(1), delete(1), True),
        (update(1), update(1, length=15), True),
        (update(1), update(1, "contact"), True),
        (update(1), update(2), False),
        (Write("Contact", "delete", {"id": f"00a{15:012}"}), Write("Contact", "delete", {"id": f"00A{15:012}"}), False),
        (upsert("a"), upsert("A "), True),
        (upsert(1), upsert(1.0), True),
        (upsert(1), upsert("1"), True),
        (upsert("a"), upsert("a", by="ref__C"), True),
        (upsert("a"), upsert("a", "CONTACT"), True),
        (upsert("a"), upsert("b"), False),
        (upsert(1), upsert(1.5), False),
        (upsert("a"), upsert("a", by="Other__c"), False),
        (upsert("a"), upsert("a", "Lead"), False),
        (upsert(sf_id(1)), update(1), False),
    ],
)
def test_p06_the_identity_of_a_record(one: Write, other: Write, same: bool) -> None:
    """
    The first 15 characters of an id, or the value of an external id field, of one object; both ways to write are one.
    """
    db = salesforce()

    assert (db.encode(one).identity == db.encode(other).identity) is same
    assert db.encode(create()).identity is None


def test_one_parent_has_one_partition() -> None:
    """
    Ids of both lengths, other cases of the field, and values that are no ids: always the same, and spread over all.
    """
    assert partition_of({"AccountId": sf_id(1)}, "accountid", 7) == partition_of(
        {"accountID": sf_id(1, 15)}, "AccountId", 7
    )
    assert partition_of({"Account": {"R": "x"}}, "Account", 7) == partition_of({"Account": {"R": "x"}}, "Account", 7)
    assert {partition_of({"a": sf_id(n)}, "a", 4) for n in range(100)} == {0, 1, 2, 3}
    assert [partition_of(each, "a", 4) for each in ({}, {"a": None}, {"a": ""}, {"b": sf_id(1)})] == [None] * 4
    assert [partition_of(each, "a", 1) for each in ({}, {"a": sf_id(1)})] == [0, 0]


@pytest.mark.parametrize("write", [create(), update(1), upsert("a"), delete(1)])
def test_rules(write: Write) -> None:
    """200 records of any type, all or none if asked for, and as many calls as the batcher likes."""
    db = salesforce()
    rules = db.rules(db.encode(write).lane)

    assert (rules.max_records, rules.all_or_none, rules.max_in_flight) == (200, True, inf)
    assert rules.max_bytes < 1_000_000
    assert salesforce(max_records=7).rules(db.encode(write).lane).max_records == 7


def test_p10_records_of_one_parent_never_travel_in_two_calls_at_once() -> None:
    """They share a lane that has one call out at a time; a few lanes share all parents, so that batches still fill."""
    db = salesforce(keep_together="AccountId")
    lanes = [db.encode(create({"AccountId": sf_id(n)})).lane for n in range(100)]
    assert len(set(lanes)) == 4
    assert {db.rules(lane).max_in_flight for lane in lanes} == {1}
    assert db.encode(update(1, AccountId=sf_id(5, 15))).lane == db.encode(update(2, AccountId=sf_id(5))).lane
    for write in (create(), delete(1)):
        assert db.rules(db.encode(write).lane).max_in_flight == inf

    one = salesforce(keep_together="AccountId", partitions=1)
    assert len({one.encode(each).lane for each in (create(), create({"AccountId": sf_id(1)}))}) == 1
    assert {one.rules(one.encode(each).lane).max_in_flight for each in (create(), delete(1))} == {1}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"instance_url": 1}, TypeError, "instance_url must be a string"),
        ({"instance_url": "acme"}, ValueError, "instance_url must be the address of a server"),
        ({"api_version": 67.0}, TypeError, "api_version must be a string, not float"),
        ({"api_version": "v67.0"}, ValueError, "api_version must be like '67.0', 42.0 or later, not 'v67.0'"),
        ({"api_version": "67.1"}, ValueError, "api_version must be like"),
        ({"api_version": "41.0"}, ValueError, "api_version must be like '67.0', 42.0 or later, not '41.0'"),
        ({"headers": {"a\n": "b"}}, ValueError, "name of a header"),
        ({"headers": {"Host": "b"}}, ValueError, "the header 'host' is set by the destination"),
        ({"keep_together": 1}, TypeError, "keep_together must be the name of a field, not int"),
        ({"keep_together": ""}, ValueError, "keep_together must be the name of a field, not an empty string"),
        ({"partitions": 0}, ValueError, "partitions must be at least 1, not 0"),
        ({"max_records": 201}, ValueError, "max_records must be from 1 to 200, not 201"),
        ({"max_request_bytes": True}, TypeError, "max_request_bytes must be a whole number, not bool"),
        ({"max_answer_bytes": 0}, ValueError, "max_answer_bytes must be at least 1, not 0"),
        ({"timeout": 0}, ValueError, "timeout must be more than 0 seconds"),
        ({"client": "httpx"}, TypeError, "client must be an AsyncClient of httpx or httpx2, not str"),
        ({"access_token": 1}, TypeError, "access_token must be a string, not int"),
        ({"access_token": f"{TOKEN}\n"}, ValueError, "access_token must be visible ASCII"),
        ({"access_token": None}, TypeError, "give access_token=, or client_id= and client_secret=, or"),
        ({"client_id": "c"}, TypeError, "give access_token=, or"),
        ({"access_token": None, "client_id": "c"}, TypeError, "give access_token=, or"),
        ({"access_token": None, "client_secret": TOKEN}, TypeError, "give access_token=, or"),
        (
            {"access_token": None, "client_id": 1, "client_secret": "s"},
            TypeError,
            "client_id must be a string, not int",
        ),
        ({"access_token": None, "client_id": "c", "client_secret": ""}, ValueError, "client_secret must be visible"),
    ],
)
def test_arguments_are_checked(options: Any, error: Any, words: str) -> None:
    """A wrong argument fails where it is given, and the message shows no credentials."""
    with pytest.raises(error, match=words) as caught:
        salesforce(**options)

    assert TOKEN not in str(caught.value)


def test_the_token_and_the_records_are_not_printed() -> None:
    """P13: no repr of the destination or of what it prepares shows them."""
    db = salesforce()
    prepared = db.encode(create({"secret": TOKEN}, headers={"x": TOKEN}))
    removed = db.encode(delete(1))

    assert repr(db) == f"Salesforce({ORG!r}, api_version='67.0')"
    assert TOKEN not in repr(vars(db)) + repr(vars(db._sender)) + repr(prepared) + repr(prepared.item)
    assert sf_id(1)[:15] not in repr(removed.item)
