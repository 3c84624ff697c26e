"""Salesforce: what is asked after a lost answer, and what the answer to that means. Pure."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher import Retry, Write
from batcher.destinations._http.answers import Answer
from batcher.destinations._http.verifying import Question
from batcher.destinations.salesforce.verifying import outcomes, question_of
from tests.destinations.salesforce.helpers import (
    LOCKED,
    NOW,
    answer,
    create,
    delete,
    fault,
    items_of,
    salesforce,
    sf_id,
    update,
    upsert,
)
from tests.destinations.truths import TRUTHS

RECORDS = [{"Ref__c": name, "LastName": "Ada", "Phone": None} for name in ("r0", "r1", "r2")]


def question(*records: dict[str, Any], by: str = "Ref__c") -> Question:
    return question_of(items_of([create(record) for record in records or RECORDS]), by, "Contact", "67.0")


def soql_of(asked: Question) -> str:
    (only,) = json.loads((asked.request or ("", b""))[1])["compositeRequest"]
    (soql,) = parse_qs(urlsplit(only["url"]).query)["q"]
    return str(soql)


def row(number: int, **more: Any) -> dict[str, Any]:
    fields = {"Id": sf_id(number), "Ref__c": f"r{number}", "LastName": "Ada", "Phone": None}
    return {"attributes": {"type": "Contact", "url": "/x"}, **fields, **more}


def without(number: int, *names: str) -> dict[str, Any]:
    return {name: value for name, value in row(number).items() if name not in names}


def result(rows: list[Any], **more: Any) -> dict[str, Any]:
    return {"totalSize": len(rows), "done": True, "records": rows, **more}


def composite(body: Any, status: Any = 200, **more: Any) -> dict[str, Any]:
    inner = {"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": "found"}
    return {"compositeResponse": [inner | more]}


def kinds(body: Any, asked: Question | None = None) -> str:
    """The first letters: written, not written, unknown."""
    return "".join(outcome.kind[0] for outcome in outcomes(answer(200, body), asked or question(), now=NOW))


def test_one_query_asks_for_all_fields():
    """In the body of one call, each value and each field once, in whatever case they are."""
    asked = question({"Ref__c": "b", "LastName": "x"}, {"ref__C": "a", "lastname": "y", "Phone": "1"}, {"Ref__c": "b"})
    path, body = asked.request or ("", b"")
    (only,) = json.loads(body)["compositeRequest"]
    url = urlsplit(only["url"])
    assert path == "/services/data/v67.0/composite"
    assert (only["method"], url.path, only["referenceId"]) == ("GET", "/services/data/v67.0/query", "found")
    soql = "SELECT Id,lastname,phone,ref__c FROM Contact WHERE ref__c IN ('a','b')"
    assert parse_qs(url.query) == {"q": [soql]} and soql_of(asked) == soql


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("O'Neil", r"'O\'Neil'"),
        ("back\\", r"'back\\'"),
        ("\\' OR Name != '", r"'\\\' OR Name != \''"),
        ('%_"&+é', "'%_\"&+é'"),
        (7, "7"),
        (-7, "-7"),
    ],
)
def test_a_value_cannot_leave_its_quotes(value, literal):
    """What is reserved in SOQL is escaped; numbers are written as numbers."""
    assert soql_of(question({"Ref__c": value})).endswith(f" IN ({literal})")


@pytest.mark.parametrize(
    "record",
    [
        {"LastName": "x"},
        {"Ref__c": None},
        {"Ref__c": ""},
        {"Ref__c": " r0"},
        {"Ref__c": "line\nbreak"},
        {"Ref__c": "@{found.records[0].Id}"},
        {"Ref__c": "x" * 256},
        {"Ref__c": True},
        {"Ref__c": 1.5},
        {"Ref__c": ["r0"]},
        {"Ref__c": "r0", "Account": {"Ref__c": "7"}},
        {"Ref__c": "r0", "Name FROM User WHERE Id": "1"},
        {"Ref__c": "r0", "Account.Name": "1"},
    ],
)
def test_what_cannot_be_asked_for_is_unknown_and_hurts_nobody(record):
    """A value that Salesforce would trim or read as something else, a field that a query cannot name."""
    assert question(record).request is None
    asked = question(record, RECORDS[1])
    assert soql_of(asked) == soql_of(question(RECORDS[1]))
    assert kinds(composite(result([row(0), row(1)])), asked) == "uw"


def test_a_query_that_is_too_long_is_not_sent():
    """Salesforce takes 100,000 characters."""
    assert question(*({"Ref__c": f"{number:0>255}"} for number in range(200))).request
    assert question(*({"Ref__c": f"{number:'>255}"} for number in range(200))).request is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (result([row(0), row(1), row(2)]), "www"),
        (result([row(2), row(0), row(1)]), "www"),
        (result([row(1)]), "nwn"),
        (result([]), "nnn"),
        (result([row(1)], done=False), "uwu"),
        (result([row(1)], totalSize=2), "uwu"),
        (result([row(1)], totalSize=None), "uwu"),
        (result([row(1), None]), "uwu"),
        (result([row(1), without(0, "Id")]), "uwu"),
        (result([row(1), without(0, "Ref__c")]), "uwu"),
        (result([row(1), row(3)]), "uwu"),
        (result([row(0, LastName="Bob"), row(1)]), "uwn"),
        (result([row(0, LastName="ADA"), row(1)]), "uwn"),
        (result([row(0, LastName=None), row(1)]), "uwn"),
        (result([row(0, Phone="1"), row(1)]), "uwn"),
        (result([without(0, "Phone"), row(1)]), "uwn"),
        (result([row(0, Ref__c="R0"), row(1)]), "uwn"),
        (result([row(0), row(0), row(1)]), "uwn"),
        (result([row(0), row(0, Id=sf_id(7)), row(1)]), "uwn"),
        (result([row(0), row(0, Id=sf_id(7), Ref__c="R0"), row(1)]), "uwn"),
        (result([row(0), row(1, Id=sf_id(0))]), "uun"),
    ],
)
def test_only_what_an_answer_proves_is_told(body, expected):
    """Written is what is there as it was sent; not written what a whole answer, about nothing else, does not hold."""
    assert kinds(composite(body)) == expected


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ({"LastName": " Ada "}, {"LastName": "Ada"}),
        ({"Email": "Ada@X.com"}, {"Email": "ada@x.com"}),
        ({"n__c": 1}, {"n__c": 1.0}),
        ({"At__c": "2026-01-01T01:00:00+01:00"}, {"At__c": "2026-01-01T00:00:00.000+0000"}),
        ({"AccountId": sf_id(3, 15)}, {"AccountId": sf_id(3)}),
        ({"lastname": "Ada", "REF__C": "r0"}, {"LastName": "Ada"}),
    ],
)
def test_what_salesforce_makes_of_a_value_is_the_value(sent, found):
    """Trimmed, lowered, in another notation, under its own name."""
    asked = question({**({} if "REF__C" in sent else {"Ref__c": "r0"}), **sent})
    assert kinds(composite(result([{"Id": sf_id(0), "Ref__c": "r0", **found}])), asked) == "w"
    assert kinds(composite(result([{"Id": sf_id(0), "Ref__c": "r0", **dict.fromkeys(found, "no")}])), asked) == "u"


def test_numbers_are_found_by_number():
    """Salesforce writes them with a fraction."""
    asked = question({"Ref__c": 7}, {"Ref__c": 8})
    assert kinds(composite(result([{"Id": sf_id(0), "Ref__c": 7.0}])), asked) == "wn"


def test_values_that_differ_in_case_are_not_told_apart():
    """A query may ignore case, and whether the field does is not known here."""
    asked = question({"Ref__c": "a"}, {"Ref__c": "A"}, {"Ref__c": "b"})
    assert kinds(composite(result([{"Id": sf_id(0), "Ref__c": "a"}])), asked) == "uun"
    assert kinds(composite(result([{"Id": sf_id(0), "Ref__c": "a"}])), question({"Ref__c": "A"})) == "u"


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 405, 410, 414])
def test_a_refused_question_leaves_all_unknown(status):
    """Asking again is no use, and nothing says that the records are not there; so with the answer inside."""
    for reply in (
        answer(status, fault("INVALID_FIELD", "secret")),
        answer(200, composite(fault("INVALID_FIELD"), status)),
    ):
        told = outcomes(reply, question(), now=NOW)
        assert [outcome.kind for outcome in told] == ["unknown"] * 3
        assert f"HTTP {status} (INVALID_FIELD)" in str(told[0]) and "secret" not in str(told[0])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, fault("REQUEST_LIMIT_EXCEEDED")),
        (400, fault(LOCKED)),
        (429, b""),
        (420, b""),
        (500, b"<html>"),
        (502, b""),
        (503, fault("SERVER_UNAVAILABLE")),
        (500, composite(result([]))),
    ],
)
def test_trouble_that_passes_is_asked_about_again(status, body):
    """Of the call, and of the query in it."""
    replies = [answer(status, body)]
    if not isinstance(body, bytes):
        replies.append(answer(200, composite(body, status)))
    for reply in replies:
        with pytest.raises(Retry):
            outcomes(reply, question(), now=NOW)


@pytest.mark.parametrize(
    "reply",
    [
        answer(200, b""),
        answer(200, b"<html>"),
        answer(200, []),
        answer(200, {"compositeResponse": []}),
        answer(200, {"compositeResponse": [None]}),
        answer(200, {"compositeResponse": composite(result([]))["compositeResponse"] * 2}),
        answer(200, composite(result([]), referenceId="other")),
        answer(200, composite(result([]), None)),
        answer(200, composite(None)),
        answer(200, composite({"records": None})),
        answer(200, result([])),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again(reply):
    """A page of a proxy, an answer to something else."""
    with pytest.raises(Retry):
        outcomes(reply, question(), now=NOW)


def test_half_an_answer_is_asked_for_again():
    """And the reason says so."""
    with pytest.raises(Retry, match="broke off"):
        outcomes(Answer(200, {}, b"", "the answer broke off"), question(), now=NOW)


def test_only_creates_of_an_object_with_a_unique_field_can_be_verified():
    """Salesforce keeps nothing unique by itself."""
    crm = salesforce(unique={"contact": "Ref__c"})

    def verifiable(write: Write, destination: Any = crm) -> bool:
        return bool(destination.rules(destination.encode(write).lane).verifiable)

    assert verifiable(create()) and verifiable(create(headers={"Sforce-Auto-Assign": "FALSE"}))
    assert not any(map(verifiable, [create(object="Lead"), update(1), upsert("r1"), delete(1)]))
    assert not verifiable(create(), salesforce())


@pytest.mark.parametrize("given", [{"Contact": "Account.Ref__c"}, {"Con tact": "Ref__c"}, {"Contact": "Ref__c)"}])
def test_names_that_no_query_can_hold_are_refused(given):
    """They go into SOQL as they are."""
    with pytest.raises(ValueError, match="names of objects and of fields"):
        salesforce(unique=given)


@given(TRUTHS, st.randoms(use_true_random=False))
def test_no_answer_makes_it_say_what_is_not_so(truths, dice):
    """Rows in any order, twice, or left out while the count says so: what is told is true."""
    sent = [{"Ref__c": f"r{number}", "LastName": "Ada"} for number in range(len(truths))]
    rows = []
    for number, truth in enumerate(truths):
        times = {"faithful": 1, "twice": 2, "dropped": 0}[truth.shown] if truth.there != "nothing" else 0
        rows += [row(number, LastName="Ada" if truth.there == "all" else "Bob")] * times
    dice.shuffle(rows)
    missing = sum(truth.there != "nothing" and truth.shown == "dropped" for truth in truths)
    body = composite(result(rows, totalSize=len(rows) + missing))
    for truth, outcome in zip(truths, outcomes(answer(200, body), question(*sent), now=NOW), strict=True):
        assert outcome.kind in (truth.kind, "unknown")
        faithful = truth.shown == "faithful" and (truth.there != "nothing" or not missing)
        assert not faithful or outcome.kind == truth.kind
