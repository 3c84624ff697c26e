"""Ampersand: arguments, encode(), rules() and the request."""

import json
from math import inf
from typing import Any

import pytest

from batcher.destinations import Ampersand
from batcher.destinations.ampersand.requests import request_of
from batcher.errors import InvalidRecord
from batcher.writes import Association, Write
from tests.destinations.ampersand.helpers import KEY, LINK, ampersand, create, delete, update

FORCE: dict[str, Any] = {"headers": {"Sforce-Auto-Assign": "FALSE"}}
SF15, SF18 = "003xx0000000001", "003xx0000000001AAB"


def request(db: Ampersand, *writes: Write, all_or_none: bool = False) -> tuple[str, Any]:
    prepared = [db.encode(write) for write in writes]
    assert len({each.lane for each in prepared}) == 1
    lane: Any = prepared[0].lane
    _, path, body = request_of(lane, [each.item for each in prepared], all_or_none)
    envelope = body if len(writes) == 1 else lane.envelope
    assert len(body) <= len(envelope) + sum(each.size_bytes for each in prepared) + 60
    return path, json.loads(body)


@pytest.mark.parametrize(
    ("options", "writes", "all_or_none", "body"),
    [
        ({}, [create()], False, {"type": "create", "mode": "synchronous", "record": {"email": "a@x"}}),
        ({}, [update("1")], False, {"type": "update", "mode": "synchronous", "record": {"id": "1", "n": 1}}),
        ({}, [delete("1")], False, {"type": "delete", "record": {"id": "1"}}),
        ({"mode": "asynchronous"}, [delete("1")], False, {"type": "delete", "record": {"id": "1"}}),
        (
            {},
            [create(), create({"email": "é"})],
            False,
            {
                "type": "create",
                "mode": "synchronous",
                "batch": [{"record": {"email": "a@x"}}, {"record": {"email": "é"}}],
            },
        ),
        (
            {"provider": "salesforce", **FORCE},
            [update("1", headers={"X": "1"}), update("2", headers={"x": "1"})],
            True,
            {
                "type": "update",
                "mode": "synchronous",
                "headers": [{"key": "sforce-auto-assign", "value": "FALSE"}, {"key": "x", "value": "1"}],
                "batchPolicy": {"allOrNone": True},
                "batch": [{"record": {"id": "1", "n": 1}}, {"record": {"id": "2", "n": 1}}],
            },
        ),
        (
            {"provider": "hubspot"},
            [create(associations=[LINK]), create()],
            False,
            {
                "type": "create",
                "mode": "synchronous",
                "batch": [
                    {
                        "record": {"email": "a@x"},
                        "associations": [
                            {
                                "to": {"id": "18417469260"},
                                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}],
                            }
                        ],
                    },
                    {"record": {"email": "a@x"}},
                ],
            },
        ),
        (
            {"mode": "asynchronous", "retry_deadline_hours": 48},
            [create()],
            False,
            {
                "type": "create",
                "mode": "asynchronous",
                "retryPolicy": {"deadlineHours": 48},
                "record": {"email": "a@x"},
            },
        ),
        (
            {"mode": "asynchronous", "retry_deadline_hours": 2, "max_delay_minutes": 5},
            [create()],
            False,
            {
                "type": "create",
                "mode": "asynchronous",
                "autoBatchPolicy": {"maxDelayMinutes": 5, "retryDeadlineHours": 2},
                "record": {"email": "a@x"},
            },
        ),
        (
            {"mode": "asynchronous", "max_delay_minutes": 1440},
            [create()],
            False,
            {
                "type": "create",
                "mode": "asynchronous",
                "autoBatchPolicy": {"maxDelayMinutes": 1440},
                "record": {"email": "a@x"},
            },
        ),
    ],
)
def test_the_request_is_in_the_words_of_the_api(options: Any, writes: Any, all_or_none: bool, body: Any) -> None:
    """Every field of the contract, where it belongs, and none that was not asked for."""
    path, sent = request(ampersand(**options), *writes, all_or_none=all_or_none)

    assert path == "/v1/projects/p/integrations/i/objects/contacts"
    assert sent == {"groupRef": "g", **body}


def test_names_are_percent_encoded() -> None:
    """No name can reach another path, whatever it holds."""
    path, _ = request(ampersand(project="a/b", integration="ü ?"), create(object="../x__c#%2F"))

    assert path == "/v1/projects/a%2Fb/integrations/%C3%BC%20%3F/objects/..%2Fx__c%23%252F"


@pytest.mark.parametrize(
    ("options", "write", "words"),
    [
        ({}, Write("contacts", "upsert", {"email": "a"}, by="email"), "no upsert: create or update"),
        ({}, create({"id": "1", "n": 1}), "'id' is given by the provider"),
        ({}, create({"n": inf}), "field 'n'"),
        ({}, create(object=".."), "object must be a name"),
        ({}, create(object="\ud800"), "object has a lone surrogate"),
        ({}, create(associations=[LINK]), "associations are for provider='hubspot' only"),
        ({"provider": "salesforce"}, create(associations=[LINK]), "associations are for provider='hubspot' only"),
        ({"provider": "hubspot"}, delete("1", associations=[LINK]), "a delete takes no associations"),
        ({"provider": "hubspot"}, create(associations=[Association("", 1)]), "to of an association"),
        ({"provider": "hubspot"}, create(associations=[Association("1", True)]), "type_id of an association"),
        ({"provider": "hubspot"}, create(associations=[Association("1", 1, "")]), "category of an association"),
        ({}, create(**FORCE), "headers are for provider='salesforce' only"),
        ({"provider": "hubspot"}, create(**FORCE), "headers are for provider='salesforce' only"),
        ({"provider": "salesforce"}, create(headers={"a b": "1"}), "name of a header"),
        ({"provider": "salesforce"}, create(headers={"a": f"{KEY}\r\nb: 1"}), "the header 'a'"),
        ({"provider": "salesforce"}, create(headers={"a": "1", "A": "1"}), "the header 'A' is there twice"),
    ],
)
def test_what_can_never_be_written_is_refused_at_the_door(options: Any, write: Write, words: str) -> None:
    """The refusal names the rule and the way out, never a value."""
    with pytest.raises(InvalidRecord, match=words) as caught:
        ampersand(**options).encode(write)

    assert KEY not in str(caught.value)


def test_lanes_and_identities() -> None:
    """What belongs to the call is part of the lane; both ways to write a Salesforce id are one record."""
    force, other = ampersand(provider="salesforce"), ampersand()
    lanes = {force.encode(each).lane for each in (create(), update("1"), create(**FORCE), create(object="x"))}

    assert len(lanes) == 4
    assert force.encode(create({"n": 1})).lane in lanes
    assert force.encode(create()).identity is None
    assert force.encode(update(SF15)).identity == force.encode(delete(SF18)).identity
    assert other.encode(update(SF15)).identity != other.encode(update(SF18)).identity
    assert other.encode(update("1")).identity != other.encode(update("1", "leads")).identity


@pytest.mark.parametrize(
    ("options", "write", "records", "all_or_none"),
    [
        ({}, create(), 100, True),
        ({}, update("1"), 100, False),
        ({"provider": "hubspot"}, create(), 100, True),
        ({"provider": "hubspot"}, update("1"), 100, False),
        ({"provider": "salesforce"}, update("1"), 100, True),
        ({"provider": "salesforce"}, delete("1"), 1, False),
        ({"max_records": 7}, create(), 7, True),
        ({"mode": "asynchronous"}, create(), 100, True),
        ({"mode": "asynchronous", "max_delay_minutes": 1}, create(), 1, True),
    ],
)
def test_rules(options: Any, write: Write, records: int, all_or_none: bool) -> None:
    """100 records in a batch, no batch of deletes, no group where the provider writes a part of it."""
    db = ampersand(**options)
    rules = db.rules(db.encode(write).lane)

    assert (rules.max_records, rules.all_or_none) == (records, all_or_none)
    assert rules.max_bytes < 1_000_000


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"project": 1}, TypeError, "project must be a string, not int"),
        ({"project": ""}, ValueError, "project must be a name"),
        ({"integration": ".."}, ValueError, "integration must be a name"),
        ({"group_ref": ""}, ValueError, "group_ref must be a name"),
        ({"provider": "sap"}, ValueError, "provider must be one of None, 'salesforce', 'hubspot', not 'sap'"),
        ({"mode": "async"}, ValueError, "mode must be one of"),
        ({"headers": {"a": "b"}}, ValueError, "headers are for provider='salesforce' only"),
        ({"headers": {"a\n": "b"}, "provider": "salesforce"}, ValueError, "name of a header"),
        ({"retry_deadline_hours": 1}, ValueError, "retry_deadline_hours needs mode='asynchronous'"),
        ({"max_delay_minutes": 1}, ValueError, "max_delay_minutes needs mode='asynchronous'"),
        ({"mode": "asynchronous", "retry_deadline_hours": 49}, ValueError, "from 1 to 48, not 49"),
        ({"mode": "asynchronous", "max_delay_minutes": 0}, ValueError, "from 1 to 1440, not 0"),
        ({"max_records": 101}, ValueError, "max_records must be from 1 to 100, not 101"),
        ({"max_records": 1.0}, TypeError, "max_records must be a whole number, not float"),
        ({"max_request_bytes": True}, TypeError, "max_request_bytes must be a whole number, not bool"),
        ({"max_answer_bytes": 0}, ValueError, "max_answer_bytes must be at least 1, not 0"),
        ({"timeout": 0}, ValueError, "timeout must be more than 0 seconds"),
        ({"timeout": inf}, ValueError, "timeout must be more than 0 seconds and finite"),
        ({"client": "httpx"}, TypeError, "client must be an AsyncClient of httpx or httpx2, not str"),
        ({"base_url": 1}, TypeError, "base_url must be a string"),
        ({"base_url": "example.com"}, ValueError, "base_url must be the address of a server"),
        ({"base_url": "http://a b"}, ValueError, "base_url must"),
        ({"platform_url": "https://u:p@x"}, ValueError, "platform_url must hold no credentials"),
        ({"platform_url": "https://x/?a=b"}, ValueError, "platform_url must hold no credentials, query or fragment"),
        ({"api_key": None}, TypeError, "api_key must be a string, not NoneType"),
        ({"api_key": ""}, ValueError, "api_key must be visible ASCII"),
        ({"api_key": f"{KEY}\n"}, ValueError, "api_key must be visible ASCII characters without spaces"),
    ],
)
def test_arguments_are_checked(options: Any, error: Any, words: str) -> None:
    """A wrong argument fails where it is given, and the message shows no credentials."""
    with pytest.raises(error, match=words) as caught:
        ampersand(**options)

    assert KEY not in str(caught.value)


def test_the_key_and_the_records_are_not_printed() -> None:
    """P13: no repr of the destination or of what it prepares shows them."""
    db = ampersand(provider="salesforce")
    prepared = db.encode(create({"secret": KEY}, headers={"x": KEY}))

    assert repr(db) == "Ampersand('p', 'i', provider='salesforce')"
    assert KEY not in repr(vars(db)) + repr(vars(db._sender)) + repr(prepared) + repr(prepared.item)
