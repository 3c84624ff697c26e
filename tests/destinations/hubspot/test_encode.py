"""HubSpot: arguments, encode(), rules() and the request."""

import json
from enum import Enum
from math import inf
from typing import Any

import pytest

from batcher.destinations import HubSpot
from batcher.destinations.hubspot.requests import BATCH_BYTES, request_of
from batcher.errors import InvalidRecord
from batcher.writes import Association, Write
from tests.destinations.hubspot.helpers import FAR, GRANT, LINK, TOKEN, create, delete, hubspot, update, upsert

TYPES = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]


class Stage(str, Enum):
    LEAD = "lead"


def request(db: HubSpot, *writes: Write, all_or_none: bool = False) -> tuple[str, Any]:
    prepared = [db.encode(write) for write in writes]
    assert len({each.lane for each in prepared}) == 1
    lane: Any = prepared[0].lane
    _, _, body = request_of(lane, [each.item for each in prepared], all_or_none)
    assert len(body) <= BATCH_BYTES + sum(each.size_bytes for each in prepared)
    return lane.path, json.loads(body)["inputs"]


@pytest.mark.parametrize(
    ("writes", "group", "verb", "inputs"),
    [
        ([create()], False, "create", [{"objectWriteTraceId": "0", "properties": {"email": "a@x"}}]),
        ([create(), create({"email": "é"})], False, "create",
         [{"objectWriteTraceId": "0", "properties": {"email": "a@x"}},
          {"objectWriteTraceId": "1", "properties": {"email": "é"}}]),
        ([create(), create({"email": "b"})], True, "create",
         [{"properties": {"email": "a@x"}}, {"properties": {"email": "b"}}]),
        ([create(associations=[LINK, FAR])], False, "create",
         [{"objectWriteTraceId": "0", "properties": {"email": "a@x"},
           "associations": [{"to": {"id": "101"}, "types": TYPES}, {"to": {"id": "101"}, "types": TYPES}]}]),
        ([update("1"), update("2", associations=[FAR])], False, "update",
         [{"id": "1", "properties": {"n": "1"}}, {"id": "2", "properties": {"n": "1"}}]),
        ([upsert("a@X")], False, "upsert",
         [{"objectWriteTraceId": "0", "id": "a@X", "idProperty": "email", "properties": {"n": "1"}}]),
        ([upsert("a", associations=[FAR])], True, "upsert",
         [{"id": "a", "idProperty": "email", "properties": {"n": "1"}}]),
        ([Write("contacts", "upsert", {"number": 7}, by="number")], False, "upsert",
         [{"objectWriteTraceId": "0", "id": "7", "idProperty": "number", "properties": {}}]),
        ([delete("1"), delete("2")], False, "archive", [{"id": "1"}, {"id": "2"}]),
    ],
)  # fmt: skip
def test_the_request_is_in_the_words_of_the_api(writes: Any, group: bool, verb: str, inputs: Any) -> None:
    """Every member where it belongs. A trace id for each input asks for partial success; a group has none."""
    path, sent = request(hubspot(), *writes, all_or_none=group)

    assert path == f"/crm/objects/2026-03/contacts/batch/{verb}"
    assert sent == inputs


def test_a_full_batch_has_a_hundred_trace_ids() -> None:
    """Unique in the call, and within the size that was counted for them."""
    _, sent = request(hubspot(), *[create()] * 100)

    assert [each["objectWriteTraceId"] for each in sent] == [str(index) for index in range(100)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (-1.5, "-1.5"),
        (3.0, "3"),
        (-(2.0**53) + 1, "-9007199254740991"),
        (1e300, "1e+300"),
        (1e-7, "1e-07"),
        (Stage.LEAD, "lead"),
    ],
)
def test_every_property_is_text(value: Any, text: str) -> None:
    """As HubSpot writes it, so that it is recognised when it comes back; None clears."""
    for write in (create({"p": value}), Write("contacts", "update", {"id": "1", "p": value})):
        assert request(hubspot(), write)[1][0]["properties"] == {"p": text}


@pytest.mark.parametrize(
    ("version", "object", "path"),
    [
        ("v3", "contacts", "/crm/v3/objects/contacts/batch/create"),
        ("2026-09", "2-123", "/crm/objects/2026-09/2-123/batch/create"),
        ("2026-03", "../x#%2F?é", "/crm/objects/2026-03/..%2Fx%23%252F%3F%C3%A9/batch/create"),
    ],
)
def test_paths(version: str, object: str, path: str) -> None:
    """Both forms of a version, and no name that can reach another path."""
    assert request(hubspot(api_version=version), create(object=object))[0] == path


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (create({"id": "1", "n": 1}), "'id' is given by HubSpot"),
        (Write("contacts", "upsert", {"id": "1", "email": "a"}, by="email"), "'id' is given by HubSpot"),
        (Write("contacts", "upsert", {"id": "1", "n": 1}, by="id"), "cannot match on the id of a record"),
        (Write("contacts", "upsert", {"hs_object_id": "1"}, by="hs_object_id"), "cannot match on the id of a record"),
        (Write("contacts", "upsert", {"a": ["1"]}, by="a"), "field 'a' holds a list"),
        (create({"n": inf}), "field 'n'"),
        (create({"n": [TOKEN]}), "field 'n' holds a list, and HubSpot takes text only: join several values with ';'"),
        (create({"n": {"a": TOKEN}}), "field 'n' holds a mapping, and HubSpot takes text only: spread it"),
        (create(object=".."), "object must be a name"),
        (create(object="\ud800"), "object has a lone surrogate"),
        (create(headers={"Sforce-Auto-Assign": TOKEN}), "headers are for Salesforce only"),
        (delete("1", associations=[LINK]), "a delete takes no associations"),
        (create(associations=[Association("", 1)]), "to of an association"),
        (update("1", associations=[Association("1", True, object="x")]), "type_id of an association"),
        (upsert("1", associations=[Association("1", 1, "", object="x")]), "category of an association"),
        (update("1", associations=[LINK]), "needs object=, the kind of the other record"),
        (upsert("1", associations=[Association("1", 1, object="")]), "needs object="),
        (update("1", associations=[Association("1", 1, object="..")]), "object of an association must be a name"),
    ],
)
def test_what_can_never_be_written_is_refused_at_the_door(write: Write, words: str) -> None:
    """The refusal names the rule and the way out, never a value."""
    with pytest.raises(InvalidRecord, match=words) as caught:
        hubspot().encode(write)

    assert TOKEN not in str(caught.value)


def test_p12_a_record_is_taken_as_given() -> None:
    """What is prepared shares nothing with the record, and making it changes nothing there."""
    record = {"id": "1", "email": "a"}
    write = Write("contacts", "update", record)
    item = hubspot().encode(write).item
    record["email"] = "b"

    assert item.piece == b'{"id":"1","properties":{"email":"a"}}'
    assert record == {"id": "1", "email": "b"}


def test_lanes_and_identities() -> None:
    """What belongs to the call is part of the lane; an update and a delete of one record have one identity."""
    db = hubspot()
    writes = [create(), update("1"), delete("1"), upsert("a"), create(object="deals")]
    other = Write("contacts", "upsert", {"phone": "a"}, by="phone")

    assert len({db.encode(each).lane for each in [*writes, other, update("2", associations=[FAR])]}) == 6
    assert db.encode(create()).identity is None
    assert db.encode(update("1")).identity == db.encode(delete("1")).identity
    assert db.encode(update("1")).identity != db.encode(update("1", "deals")).identity
    assert db.encode(update("a")).identity != db.encode(update("A")).identity
    assert db.encode(upsert("A@x ")).identity == db.encode(upsert("a@X")).identity
    assert db.encode(upsert("a")).identity not in (db.encode(other).identity, db.encode(update("a")).identity, None)


@pytest.mark.parametrize(
    ("options", "write", "records", "all_or_none"),
    [
        ({}, create(), 100, True),
        ({}, update("1"), 100, False),
        ({}, upsert("a"), 100, True),
        ({}, delete("1"), 100, False),
        ({"max_records": 7}, create(), 7, True),
    ],
)
def test_rules(options: Any, write: Write, records: int, all_or_none: bool) -> None:
    """100 records in a call, and no group where HubSpot writes a part of it."""
    db = hubspot(**options)
    rules = db.rules(db.encode(write).lane)

    assert (rules.max_records, rules.all_or_none) == (records, all_or_none)
    assert rules.max_bytes == 1_000_000 - len('{"inputs":[]}')


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"token": None}, TypeError, "give token="),
        ({"token": 1}, TypeError, "token must be a string, not int"),
        ({"token": f"{TOKEN}\n"}, ValueError, "token must be visible ASCII characters without spaces"),
        ({"token": TOKEN, **GRANT}, TypeError, "and not both"),
        ({"token": TOKEN, "refresh_token": "r"}, TypeError, "and not both"),
        ({**GRANT, "refresh_token": None}, TypeError, "give token="),
        ({**GRANT, "client_secret": None}, TypeError, "give token="),
        ({**GRANT, "client_id": None}, TypeError, "give token="),
        ({**GRANT, "client_id": ""}, ValueError, "client_id must be a name"),
        ({**GRANT, "client_secret": f"{TOKEN}\n"}, ValueError, "client_secret must be visible ASCII"),
        ({**GRANT, "refresh_token": 7}, TypeError, "refresh_token must be a string"),
        ({"api_version": "v4"}, ValueError, "api_version must be 'v3' or a date such as '2026-03', not 'v4'"),
        ({"api_version": "2026-3"}, ValueError, "api_version must be"),
        ({"api_version": 3}, ValueError, "api_version must be"),
        ({"max_records": 101}, ValueError, "max_records must be from 1 to 100, not 101"),
        ({"max_request_bytes": 0}, ValueError, "max_request_bytes must be at least 1"),
        ({"max_answer_bytes": True}, TypeError, "max_answer_bytes must be a whole number"),
        ({"timeout": 0}, ValueError, "timeout must be more than 0 seconds"),
        ({"client": "httpx"}, TypeError, "client must be an AsyncClient"),
        ({"base_url": "example.com"}, ValueError, "base_url must be the address of a server"),
        ({"token_url": "https://x/?a=b"}, ValueError, "token_url must hold no credentials, query or fragment"),
    ],
)
def test_arguments_are_checked(options: Any, error: Any, words: str) -> None:
    """A wrong argument fails where it is given, and the message shows no credentials."""
    with pytest.raises(error, match=words) as caught:
        hubspot(**options)

    assert TOKEN not in str(caught.value)


def test_p13_credentials_and_records_are_not_printed() -> None:
    """No repr of the destination or of what it prepares shows them."""
    shown = ""
    for db in (hubspot(), hubspot(**GRANT)):
        prepared = db.encode(create({"secret": "payload-1"}))
        linked = db.encode(upsert("payload-2", associations=[Association("payload-3", 1, object="deals")]))
        shown += repr(vars(db)) + repr(vars(db._sender)) + repr(prepared) + repr(linked) + repr(linked.item)
        assert repr(db) == "HubSpot('https://api.hubapi.com', api_version='2026-03')"

    for secret in (TOKEN, "s3cret", "r3fresh", "payload-1", "payload-2", "payload-3"):
        assert secret not in shown
