"""The request: every rule of the Write API, and what each valid form asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batcher import Association, Write, WriteType
from batcher.server._requests import BadRequest, Installation, WriteRequest, name_of, request_of

BASE = {"groupRef": "g", "type": "create"}
ONE = {**BASE, "record": {"a": 1}}
TWO = {**BASE, "batch": [{"record": {"a": 1}}, {"record": {"a": 2}}]}
LATER = {**ONE, "mode": "asynchronous"}
LINK = {"to": {"id": "7"}, "types": [{"associationTypeId": 279}]}
NAME = "must be 1 to 255 printable characters, and not dots alone"


def told(body: Any) -> str:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(BadRequest) as caught:
        request_of("p", "i", "contacts", raw)
    return str(caught.value)


def asked(body: Any) -> WriteRequest:
    return request_of("p", "i", "contacts", json.dumps(body).encode())


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


BODIES: list[tuple[Any, str]] = [
    (b"", "the body is not JSON: Expecting value at character 1"),
    (b"{", "the body is not JSON: Expecting property name enclosed in double quotes at character 2"),
    (b"\xff", "the body holds bytes that are not UTF-8"),
    (b'{"groupRef":NaN}', "the body holds NaN, which is no number in JSON"),
    (b'{"groupRef":-Infinity}', "the body holds -Infinity, which is no number in JSON"),
    (b'{"type":"create","type":"delete"}', "the body names a field more than once"),
    (b'{"record":{"a":1,"a":2}}', "the body names a field more than once"),
    (b'{"groupRef":' + b"9" * 5000 + b"}", "the body is not usable JSON: ValueError"),
    (b"[" * 100_000, "the body is not usable JSON: RecursionError"),
    ([], "the body must be a JSON object"),
    (None, "the body must be a JSON object"),
    ("text", "the body must be a JSON object"),
]
MEMBERS: list[tuple[Any, str]] = [
    (without(ONE, "groupRef"), "groupRef: required field not found"),
    ({**ONE, "groupRef": None}, "groupRef: required field not found"),
    ({**ONE, "groupRef": ""}, "groupRef: required field not found"),
    ({**ONE, "groupRef": 7}, "groupRef must be a string, not a whole number"),
    ({**ONE, "groupRef": "."}, f"groupRef {NAME}"),
    ({**ONE, "groupRef": ".."}, f"groupRef {NAME}"),
    ({**ONE, "groupRef": "g" * 256}, f"groupRef {NAME}"),
    ({**ONE, "groupRef": "g\r\nX-Admin: 1"}, f"groupRef {NAME}"),
    ({**ONE, "groupRef": "\ud800"}, f"groupRef {NAME}"),
    (without(ONE, "type"), "type: required field not found"),
    ({**ONE, "type": None}, "type: required field not found"),
    ({**ONE, "type": "upsert"}, "type must be one of create, update, delete"),
    ({**ONE, "type": "Create"}, "type must be one of create, update, delete"),
    ({**ONE, "type": ["create"]}, "type must be one of create, update, delete"),
    ({**ONE, "mode": "later"}, "mode must be one of synchronous, asynchronous"),
    ({**ONE, "mode": True}, "mode must be one of synchronous, asynchronous"),
    (BASE, "exactly one of record and batch is required"),
    ({**BASE, "record": None, "batch": None}, "exactly one of record and batch is required"),
    ({**ONE, "batch": TWO["batch"]}, "exactly one of record and batch is required"),
    ({**BASE, "record": []}, "record must be an object, not an array"),
    ({**BASE, "record": 1.5}, "record must be an object, not a number"),
    ({**BASE, "batch": {}}, "batch must be an array, not an object"),
    ({**BASE, "batch": []}, "batch must hold 1 to 100 records, not 0"),
    ({**BASE, "batch": [{"record": {"a": 1}}] * 101}, "batch must hold 1 to 100 records, not 101"),
    ({**BASE, "batch": [{"record": {}}, "x"]}, "batch[1] must be an object, not a string"),
    ({**BASE, "batch": [None]}, "batch[0] must be an object, not null"),
    ({**BASE, "batch": [{"record": {}}, {}]}, "batch[1].record: required field not found"),
    ({**BASE, "batch": [{"record": False}]}, "batch[0].record must be an object, not true or false"),
    ({**TWO, "type": "delete"}, "batch is for create and update only: delete records one by one"),
    ({**TWO, "batchPolicy": []}, "batchPolicy must be an object, not an array"),
    ({**TWO, "batchPolicy": {"allOrNone": 1}}, "batchPolicy.allOrNone must be true or false, not a whole number"),
    (
        {**TWO, "associations": [LINK]},
        "associations of a batch belong to its records: move them to batch[].associations",
    ),
]
POLICIES: list[tuple[Any, str]] = [
    ({**LATER, "retryPolicy": 1}, "retryPolicy must be an object, not a whole number"),
    (
        {**LATER, "retryPolicy": {"deadlineHours": "1"}},
        "retryPolicy.deadlineHours must be a whole number, not a string",
    ),
    (
        {**LATER, "retryPolicy": {"deadlineHours": True}},
        "retryPolicy.deadlineHours must be a whole number, not true or false",
    ),
    ({**LATER, "retryPolicy": {"deadlineHours": 0}}, "retryPolicy.deadlineHours must be from 1 to 48"),
    ({**ONE, "retryPolicy": {"deadlineHours": 49}}, "retryPolicy.deadlineHours must be from 1 to 48"),
    ({**LATER, "autoBatchPolicy": []}, "autoBatchPolicy must be an object, not an array"),
    ({**LATER, "autoBatchPolicy": {}}, "autoBatchPolicy.maxDelayMinutes: required field not found"),
    (
        {**LATER, "autoBatchPolicy": {"maxDelayMinutes": None}},
        "autoBatchPolicy.maxDelayMinutes: required field not found",
    ),
    (
        {**LATER, "autoBatchPolicy": {"maxDelayMinutes": 1.5}},
        "autoBatchPolicy.maxDelayMinutes must be a whole number, not a number",
    ),
    ({**LATER, "autoBatchPolicy": {"maxDelayMinutes": 0}}, "autoBatchPolicy.maxDelayMinutes must be from 1 to 1440"),
    ({**LATER, "autoBatchPolicy": {"maxDelayMinutes": 1441}}, "autoBatchPolicy.maxDelayMinutes must be from 1 to 1440"),
    (
        {**LATER, "autoBatchPolicy": {"maxDelayMinutes": 1, "retryDeadlineHours": 49}},
        "autoBatchPolicy.retryDeadlineHours must be from 1 to 48",
    ),
    *(
        (
            {**body, "autoBatchPolicy": {"maxDelayMinutes": 1}},
            "autoBatchPolicy is for mode asynchronous with a single record: leave it out",
        )
        for body in (ONE, {**TWO, "mode": "asynchronous"}, {**LATER, "type": "delete"})
    ),
]
HEADERS: list[tuple[Any, str]] = [
    ({}, "headers must be an array, not an object"),
    (["x"], "headers[] must be an object, not a string"),
    ([{"value": "v"}], "headers[].key: required field not found"),
    ([{"key": "", "value": "v"}], "headers[].key: required field not found"),
    ([{"key": "k"}], "headers[].value: required field not found"),
    ([{"key": "k", "value": 1}], "headers[].value must be a string, not a whole number"),
    ([{"key": "k:", "value": "v"}], "headers[]: the name of a header must be letters, digits and hyphens"),
    ([{"key": "a\r\nb", "value": "v"}], "headers[]: the name of a header must be letters, digits and hyphens"),
    (
        [{"key": "k", "value": "v\r\nX-Admin: 1"}],
        "headers[]: the header 'k' must have a value of printable ASCII characters",
    ),
    ([{"key": "k", "value": "é"}], "headers[]: the header 'k' must have a value of printable ASCII characters"),
    ([{"key": "k", "value": "1"}, {"key": "K", "value": "2"}], "headers names a header twice: keep one"),
]
ASSOCIATIONS: list[tuple[Any, str]] = [
    ({}, "associations must be an array, not an object"),
    ([7], "associations[] must be an object, not a whole number"),
    ([{"types": LINK["types"]}], "associations[].to.id: required field not found"),
    ([{**LINK, "to": "7"}], "associations[].to must be an object, not a string"),
    ([{**LINK, "to": {"id": 7}}], "associations[].to.id must be a string, not a whole number"),
    ([{**LINK, "to": {"id": ""}}], "associations[].to.id: required field not found"),
    (
        [{**LINK, "to": {"id": "7", "objectType": 1}}],
        "associations[].to.objectType must be a string, not a whole number",
    ),
    ([{"to": {"id": "7"}}], "associations[].types must hold at least one association type"),
    ([{**LINK, "types": []}], "associations[].types must hold at least one association type"),
    ([{**LINK, "types": {}}], "associations[].types must be an array, not an object"),
    ([{**LINK, "types": ["x"]}], "associations[].types[] must be an object, not a string"),
    ([{**LINK, "types": [{}]}], "associations[].types[].associationTypeId: required field not found"),
    (
        [{**LINK, "types": [{"associationTypeId": "279"}]}],
        "associations[].types[].associationTypeId must be a whole number, not a string",
    ),
    (
        [{**LINK, "types": [{"associationTypeId": 1, "associationCategory": 2}]}],
        "associations[].types[].associationCategory must be a string, not a whole number",
    ),
]


@pytest.mark.parametrize(("body", "words"), [*BODIES, *MEMBERS, *POLICIES])
def test_what_breaks_a_rule_is_told_in_one_sentence(body, words):
    """The text of the 400 names the field and the rule, and no value."""
    assert told(body) == words


@pytest.mark.parametrize(("headers", "words"), HEADERS)
def test_headers_are_a_list_of_keys_and_values_that_a_call_can_carry(headers, words):
    """Nothing that could break out of its line, and no name twice."""
    assert told({**ONE, "headers": headers}) == words


@pytest.mark.parametrize(("links", "words"), ASSOCIATIONS)
def test_associations_name_a_record_and_types(links, words):
    """The same rules for a single record and within a batch; there the sentence says which record."""
    assert told({**ONE, "associations": links}) == words
    assert told({**BASE, "batch": [{"record": {}}, {"record": {}, "associations": links}]}) == f"batch[1].{words}"


def test_the_plainest_request_is_a_synchronous_create():
    """Only groupRef, type and record are needed."""
    assert asked(ONE) == WriteRequest(
        installation=Installation("p", "i", "g"),
        object="contacts",
        type=WriteType.CREATE,
        writes=(Write("contacts", WriteType.CREATE, {"a": 1}),),
        is_batch=False,
        all_or_none=False,
        asynchronous=False,
        retry_deadline=3600.0,
        max_delay=None,
        headers=(),
    )


@pytest.mark.parametrize(
    "name", ["mode", "batch", "batchPolicy", "retryPolicy", "autoBatchPolicy", "associations", "headers"]
)
def test_null_is_the_same_as_leaving_out(name):
    """So clients that send every member of their class are understood."""
    assert asked({**ONE, name: None}) == asked(ONE)


def test_what_the_api_does_not_know_is_let_through():
    """The published schema does not forbid other members."""
    assert asked({**ONE, "trace": "x"}) == asked(ONE)


@pytest.mark.parametrize("kind", ["create", "update"])
def test_a_batch_is_many_writes_in_order(kind):
    """Each with its own record and associations; the policy says whether they are a group."""
    request = asked({**TWO, "type": kind, "batch": [*TWO["batch"], {"record": {"a": 3}, "associations": [LINK]}]})
    assert (request.is_batch, request.all_or_none) == (True, False)
    assert [write.record for write in request.writes] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [write.associations for write in request.writes] == [(), (), (Association("7", 279),)]
    assert {write.type.value for write in request.writes} == {kind}
    assert len(asked({**BASE, "batch": [{"record": {}}] * 100}).writes) == 100
    assert len(asked({**TWO, "associations": []}).writes) == 2


def test_all_or_none_makes_a_batch_a_group_and_means_nothing_for_one_record():
    """batchPolicy is only for a batch."""
    policy = {"batchPolicy": {"allOrNone": True}}
    assert asked(TWO | policy).all_or_none
    assert not asked(TWO | {"batchPolicy": {"allOrNone": False}}).all_or_none
    assert not asked(TWO | {"batchPolicy": {}}).all_or_none
    assert not asked(ONE | policy).all_or_none


def test_the_deadline_of_an_asynchronous_write_is_hours():
    """1 without a policy, 48 at most."""
    assert asked(LATER).asynchronous
    assert asked(LATER).retry_deadline == 3600
    assert asked({**LATER, "retryPolicy": {"deadlineHours": 48}}).retry_deadline == 48 * 3600
    assert asked({**LATER, "retryPolicy": {"deadlineHours": 1}}).retry_deadline == 3600


def test_an_auto_batch_policy_has_a_delay_and_a_deadline_of_its_own():
    """retryPolicy is ignored beside it."""
    request = asked({**LATER, "retryPolicy": {"deadlineHours": 7}, "autoBatchPolicy": {"maxDelayMinutes": 1440}})
    assert (request.max_delay, request.retry_deadline) == (86_400, 3600)
    policy = {"maxDelayMinutes": 1, "retryDeadlineHours": 48}
    request = asked({**LATER, "autoBatchPolicy": policy})
    assert (request.max_delay, request.retry_deadline) == (60, 48 * 3600)


def test_a_delete_has_no_mode():
    """It is always synchronous; its retryPolicy changes nothing."""
    request = asked({"groupRef": "g", "type": "delete", "mode": "asynchronous", "record": {"id": "7"}})
    assert (request.type, request.asynchronous) == (WriteType.DELETE, False)


def test_headers_are_lower_case_and_in_order():
    """So requests that mean the same share a call, in whichever order they name them."""
    headers = [{"key": "Sforce-Auto-Assign", "value": "FALSE"}, {"key": "A", "value": ""}]
    request = asked({**ONE, "headers": headers})
    assert request.headers == (("a", ""), ("sforce-auto-assign", "FALSE"))
    assert dict(request.writes[0].headers) == dict(request.headers)
    assert asked({**ONE, "headers": headers[::-1]}).headers == request.headers


def test_an_association_of_several_types_is_several_links():
    """The category is HubSpot's unless it is given."""
    types = [{"associationTypeId": 1}, {"associationTypeId": 2, "associationCategory": "USER_DEFINED"}]
    (write,) = asked({**ONE, "associations": [{"to": {"id": "7"}, "types": types}]}).writes
    assert write.associations == (Association("7", 1), Association("7", 2, "USER_DEFINED"))


def test_an_association_may_name_the_object_of_the_other_record():
    """Which HubSpot needs where the written record exists already; null is as good as nothing."""
    types = [{"associationTypeId": 1}, {"associationTypeId": 2, "associationCategory": "USER_DEFINED"}]
    for name in ("companies", None):
        (write,) = asked({**ONE, "associations": [{"to": {"id": "7", "objectType": name}, "types": types}]}).writes
        assert write.associations == (
            Association("7", 1, object=name),
            Association("7", 2, "USER_DEFINED", object=name),
        )


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        ("contacts", "contacts"),
        ("a%2Fb", "a/b"),
        ("%2e%2e%2fetc", "../etc"),
        ("Foo__c", "Foo__c"),
        ("caf%C3%A9", "café"),
        ("a%20b", "a b"),
        ("%25", "%"),
        ("x" * 255, "x" * 255),
    ],
)
def test_a_segment_of_the_path_is_one_name(segment, name):
    """Whatever is encoded in it."""
    assert name_of(segment) == name


@pytest.mark.parametrize("segment", ["", ".", "..", "%2e", "%2E%2e", "a%0d%0aX:1", "%00", "a%7f", "x" * 256])
def test_what_is_no_name_is_told(segment):
    """Dots alone would leave the path, control characters the line."""
    with pytest.raises(BadRequest, match=f"^a name in the path {NAME}$"):
        name_of(segment)


@pytest.mark.parametrize("segment", ["%c3", "%ff", "a%80", "\xff", "caf\xc3"])
def test_bytes_that_are_not_utf8_are_no_name(segment):
    """Encoded, or sent as they are."""
    with pytest.raises(BadRequest, match=r"^the path holds bytes that are not UTF-8$"):
        name_of(segment)


def test_bytes_that_a_client_forgot_to_encode_are_the_same_name():
    """No second spelling of a name by the way it was sent."""
    assert name_of("caf\xc3\xa9") == name_of("caf%C3%A9") == "café"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ANY_VALUE = JSON | st.sampled_from([{}, [], [{}], {"id": "1"}, "create", 1, [{"record": {"a": 1}}], [LINK]])
MEMBER_NAMES = (
    *("groupRef", "type", "mode", "record", "batch", "batchPolicy", "retryPolicy", "autoBatchPolicy"),
    *("associations", "headers"),
)
NEARLY = st.builds(
    lambda base, change: base | change,
    st.sampled_from([ONE, TWO, LATER]),
    st.dictionaries(st.sampled_from(MEMBER_NAMES), ANY_VALUE, max_size=3),
)


@given(JSON | NEARLY)
@example({**LATER, "autoBatchPolicy": {"maxDelayMinutes": 2**70}})
def test_any_json_is_a_request_or_told_to_be_none(body):
    """Nothing that comes in raises anything else."""
    try:
        found: Any = request_of("p", "i", "o", json.dumps(body).encode())
    except BadRequest as error:
        found = str(error)
    assert isinstance(found, WriteRequest) or 0 < len(found) < 300


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_told_to_be_none(body):
    """Not even JSON is needed to get a sentence."""
    with pytest.raises(BadRequest):
        request_of("p", "i", "o", body)
