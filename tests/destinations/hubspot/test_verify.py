"""HubSpot: what is asked after a lost answer, and what the answer to that means. Pure."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batcher import Retry, Write, Written
from batcher.destinations._http.answers import Answer
from batcher.destinations._http.verifying import Question
from batcher.destinations.hubspot.verifying import outcomes, question_of
from tests.destinations.hubspot.helpers import (
    LINK,
    NOW,
    answer,
    bad,
    create,
    delete,
    done,
    good,
    hubspot,
    items_of,
    update,
    upsert,
)
from tests.destinations.truths import TRUTHS

RECORDS = [{"email": f"{name}@x.com", "n": number, "gone": None} for number, name in enumerate("abc")]


def question(*records: dict[str, Any], by: str = "email") -> Question:
    return question_of(items_of([create(record) for record in records or RECORDS]), by, "/read")


def body_of(asked: Question) -> bytes:
    assert asked.request is not None and asked.request[0] == "/read"
    return asked.request[1]


def row(number: int, **more: Any) -> dict[str, Any]:
    properties = {
        "email": f"{'abc'[number]}@x.com",
        "n": str(number),
        "gone": None,
        "createdate": "2026-01-01T00:00:00Z",
    }
    return good(str(number + 1), {**properties, **more})


def missing(*names: str, category: str = "OBJECT_NOT_FOUND", at: str = "ids") -> dict[str, Any]:
    return bad("Could not get some CONTACT objects", category, **{at: list(names)})


def kinds(reply: Answer, asked: Question | None = None) -> str:
    """The first letters: written, not written, unknown."""
    return "".join(outcome.kind[0] for outcome in outcomes(reply, asked or question(), now=NOW))


def test_all_properties_are_asked_for_by_the_unique_one():
    """Each value once, as it was sent but for spaces around it; a record without one is left out."""
    asked = question({"email": " A@x.com ", "n": 1}, {"phone": "1"}, {"email": "", "n": 1}, {"email": "b@x.com"})
    assert json.loads(body_of(asked)) == {
        "idProperty": "email",
        "properties": ["email", "n", "phone"],
        "inputs": [{"id": "A@x.com"}, {"id": "b@x.com"}],
    }
    assert question({"phone": "1"}, {"email": None}).request is None


def test_no_value_is_asked_for_twice():
    """HubSpot would refuse the whole question."""
    asked = question({"email": "a@x.com"}, {"email": "A@X.com"}, {"email": "b@x.com"})
    assert len(json.loads(body_of(asked))["inputs"]) == 2
    assert kinds(answer(207, done([], [missing("a@x.com", "b@x.com")])), asked) == "uun"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (done([row(0), row(1), row(2)]), "www"),
        (done([row(2), row(0), row(1)]), "www"),
        (done([row(1)], [missing("a@x.com", "c@x.com")]), "nwn"),
        (done([], [missing("C@X.com", "a@x.com", "b@x.com")]), "nnn"),
        (done([row(0)], [missing("b@x.com"), missing("c@x.com", at="id")]), "wnn"),
        (done([row(0), row(1)]), "wwu"),
        (done([]), "uuu"),
        (done([row(0)], [], numErrors=2), "wuu"),
        (done([row(0)], [missing("b@x.com", category="VALIDATION_ERROR")]), "wuu"),
        (done([row(0)], [missing("b@x.com", at="email"), "b@x.com", None, {"category": "OBJECT_NOT_FOUND"}]), "wuu"),
        (done([row(0)], "b@x.com"), "wuu"),
        (done([row(0, n="7"), row(1), row(2)]), "uww"),
        (done([row(0, n=None), row(1), row(2)]), "uww"),
        (done([good("1", {"email": "a@x.com"}), row(1), row(2)]), "uww"),
        (done([row(0, gone="back"), row(1), row(2)]), "uww"),
        (done([row(0, email="A@X.COM"), row(1), row(2)]), "uww"),
        (done([row(0, email="other@x.com"), row(1), row(2)]), "uww"),
        (done([row(0, email=None), row(1), row(2)]), "uww"),
        (done([row(0), row(0), row(1), row(2)]), "uww"),
        (done([row(0), {**row(0), "id": "9"}, row(1), row(2)]), "uww"),
        (done([row(0), {**row(1), "id": "1"}, row(2)]), "uuw"),
        (done([row(0), row(1), row(2), good("9", {"email": "z@x.com", "n": "1"})]), "www"),
        (done([row(0), row(1)], [missing("a@x.com", "c@x.com")]), "uwn"),
        (done([{**row(0), "archived": True}, row(1), row(2)]), "uww"),
        (done([None, 7, {"id": 3}, {"properties": {"email": "b@x.com"}}, good("", {}), row(0)]), "wuu"),
        (done([{**row(0), "properties": None}, row(1), row(2)]), "uww"),
    ],
)
def test_only_what_an_answer_proves_is_told(reply, expected):
    """Written is what is there as it was sent, not written what is named as missing, and all else is unknown."""
    assert kinds(answer(207, reply)) == kinds(answer(200, reply)) == expected


def test_what_was_found_is_told_with_its_id_and_data():
    """As after a create; associations are not read, and said to be unchecked."""
    asked = question_of(items_of([create(RECORDS[0], associations=[LINK]), create(RECORDS[1])]), "email", "/read")
    linked, plain = outcomes(answer(200, done([row(1), row(0)])), asked, now=NOW)
    assert isinstance(linked, Written) and isinstance(plain, Written)
    assert (linked.record_id, plain.record_id, plain.data, plain.warnings) == ("1", "2", row(1), ())
    assert "associations could not be checked" in linked.warnings[0]


@pytest.mark.parametrize("status", [301, 302, 400, 401, 402, 403, 404, 407, 409, 522])
def test_a_refused_question_leaves_all_unknown(status):
    """Asking again is no use, and nothing says that the records are not there. The words are the code's."""
    reply = answer(status, bad("secret@x.com", "SOME_CODE", ids=["a@x.com"]))
    told = outcomes(reply, question(), now=NOW)
    assert [outcome.kind for outcome in told] == ["unknown"] * 3
    assert f"HTTP {status} (SOME_CODE)" in str(told[0]) and "secret" not in str(told[0])


def test_a_404_tells_of_those_that_it_names():
    """All others are unknown, and so are all if it names nobody."""
    assert kinds(answer(404, missing("a@x.com", "c@x.com"))) == "nun"
    assert kinds(answer(404, {"category": "X", "errors": [missing("b@x.com")]})) == "unu"
    assert kinds(answer(404, done([row(0)], [missing("b@x.com")]))) == "unu"
    assert kinds(answer(400, missing("a@x.com"))) == kinds(answer(404, missing())) == "uuu"


def test_when_the_calls_of_the_day_are_used_up_all_is_unknown():
    """Midnight is too far to wait for."""
    assert kinds(answer(429, {"policyName": "DAILY"})) == "uuu"


@pytest.mark.parametrize("status", [408, 423, 429, 477, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", b"<html>", {"status": "error"}, done([row(0)], [missing("b@x.com")])])
def test_trouble_that_passes_is_asked_about_again(status, body):
    """Whatever the body says."""
    with pytest.raises(Retry):
        outcomes(answer(status, body), question(), now=NOW)


@pytest.mark.parametrize(
    "reply",
    [
        answer(200),
        answer(200, b"<html>"),
        answer(207, []),
        answer(200, {}),
        answer(200, {"results": {"id": "1"}}),
        answer(200, done([row(0)], status="PROCESSING")),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again(reply):
    """A page of a proxy, one that is not ready."""
    with pytest.raises(Retry):
        outcomes(reply, question(), now=NOW)


def test_half_an_answer_is_asked_for_again():
    """And the reason says so."""
    with pytest.raises(Retry, match="broke off"):
        outcomes(Answer(200, {}, b"", "the answer broke off"), question(), now=NOW)


def test_only_creates_of_an_object_with_a_unique_property_can_be_verified():
    """Contacts have one in any account; others if they were named."""
    crm = hubspot(unique={"deals": "number", "contacts": "ref"})

    def verifiable(write: Write, destination: Any = crm) -> bool:
        return bool(destination.rules(destination.encode(write).lane).verifiable)

    assert verifiable(create(object="deals")) and verifiable(create()) and verifiable(create(object="0-1"))
    assert not any(map(verifiable, [create(object="tickets"), update("1"), upsert("a@x"), delete("1")]))
    assert verifiable(create(), hubspot()) and not verifiable(create(object="deals"), hubspot())


@pytest.mark.parametrize("object", ["companies", "Company", "0-2"])
def test_the_domain_of_companies_is_refused(object):
    """HubSpot lets two companies have one domain, so a lost call that is late would make a duplicate."""
    with pytest.raises(ValueError, match="several may share"):
        hubspot(unique={object: "domain"})


@given(TRUTHS, st.randoms(use_true_random=False))
def test_no_answer_makes_it_say_what_is_not_so(truths, dice):
    """Rows and errors in any order, twice, or left out: what is told is true, and what is shown faithfully is told."""
    sent = [{"email": f"{number}@x.com", "n": 1} for number in range(len(truths))]
    rows, lost = [], []
    for number, truth in enumerate(truths):
        times = {"faithful": 1, "twice": 2, "dropped": 0}[truth.shown]
        if truth.there == "nothing":
            lost += [f"{number}@x.com"] * times
        else:
            value = "1" if truth.there == "all" else "2"
            rows += [good(str(number), {"email": f"{number}@x.com", "n": value})] * times
    dice.shuffle(rows)
    dice.shuffle(lost)
    told = outcomes(answer(207, done(rows, [missing(*lost)])), question(*sent), now=NOW)
    for truth, outcome in zip(truths, told, strict=True):
        assert outcome.kind in (truth.kind, "unknown")
        assert truth.shown != "faithful" or outcome.kind == truth.kind
