"""Salesforce: every form of answer, and what it means."""

from typing import Any

import pytest

from batcher.destinations._http.answers import Answer
from batcher.destinations.salesforce.answers import ApiUsage, is_token_refused, usage_of
from batcher.outcomes import ErrorDetail, NotWritten, Refused, Rejected, Retry, Unknown, Written
from tests.destinations.salesforce.helpers import (
    HIDDEN,
    LOCKED,
    NO_REASON,
    ROLLED_BACK,
    TOKEN,
    TRIGGER,
    answer,
    bad,
    create,
    delete,
    fault,
    good,
    no,
    read,
    sf_id,
    update,
    upsert,
)

A, B, C = create({"LastName": "a"}), create({"LastName": "b"}), create({"LastName": "c"})
U1, U2, U3 = update(1), update(2), update(3)
D1, D2 = delete(1), delete(2)
X, Y = upsert("x"), upsert("y")
W1, W2, W3 = Written(sf_id(1)), Written(sf_id(2)), Written(sf_id(3))
MADE, FOUND = {"created": True}, {"created": False}


def short(number: int, **more: Any) -> dict[str, Any]:
    return good(number, **more) | {"id": sf_id(number, 15)}


@pytest.mark.parametrize(
    ("body", "writes", "verdicts"),
    [
        # All good: create, update, upsert, delete.
        ([good(1), good(2)], [A, B], [W1, W2]),
        ([good(1), good(2)], [U1, U2], [W1, W2]),
        ([good(1, created=True), good(2, created=False)], [X, Y], [Written(sf_id(1), MADE), Written(sf_id(2), FOUND)]),
        ([good(1, created="yes")], [X], [W1]),
        ([good(1), good(2)], [D1, D2], [W1, W2]),
        # The caller's own way to write an id stays, whichever Salesforce uses.
        ([good(1)], [update(1, length=15)], [Written(sf_id(1, 15))]),
        ([short(1)], [U1], [W1]),
        # A remark on a record that was written.
        ([good(1, errors=[{"message": "a duplicate was allowed"}])], [A],
         [Written(sf_id(1), warnings=["a duplicate was allowed"])]),
        ([good(1, errors=None)], [A], [W1]),
        # A part failed. Failed creates name no record; failed updates may.
        ([bad("DUPLICATES_DETECTED"), good(2)], [A, B], [no("DUPLICATES_DETECTED"), W2]),
        ([good(1), bad("ENTITY_IS_DELETED", "m", 2), bad("MISSING_ARGUMENT")], [U1, U2, U3],
         [W1, no("ENTITY_IS_DELETED"), no("MISSING_ARGUMENT")]),
        ([bad("DUPLICATE_VALUE", "m", 7), good(2, created=True)], [X, Y],
         [no("DUPLICATE_VALUE"), Written(sf_id(2), MADE)]),
        ([bad("STRING_TOO_LONG", "m", None, "Name", "City")], [A], [no("STRING_TOO_LONG", "m", "Name", "City")]),
        # Members that are missing, or something else.
        ([{"success": False}], [A], [Rejected(NO_REASON)]),
        ([{"success": False, "errors": "x"}], [A], [Rejected(NO_REASON)]),
        ([{"success": False, "errors": ["x"]}], [A], [Rejected(NO_REASON)]),
        ([{"success": False, "errors": [{}]}], [A], [Rejected(NO_REASON)]),
        ([{"success": False, "errors": [{"statusCode": "S", "fields": None}]}], [A],
         [Rejected(ErrorDetail(NO_REASON.message, "S"))]),
        ([{"success": False, "errors": [{"message": "m", "fields": ["n", 1]}]}], [A],
         [Rejected(ErrorDetail("m", None, ["n"]))]),
        ([{"success": False, "id": 7, "errors": [{"message": "m", "statusCode": 7}]}], [U1],
         [Rejected(ErrorDetail("m"))]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 201])
def test_each_record_gets_the_result_at_its_position(status: int, body: Any, writes: Any, verdicts: Any) -> None:
    """Only ``success`` says whether a write stuck, and each record of a whole answer has its own."""
    assert read(answer(status, body), writes) == verdicts


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("body", "writes"),
    [
        ([good(1)], [A, B]),
        ([good(1), good(2), good(3)], [A, B]),
        ([good(1), good(1)], [A, B]),
        ([good(1), short(1)], [A, B]),
        ([good(1), good(1)], [X, Y]),
        ([good(1), bad("X", "m", 1)], [X, Y]),
        ([good(2), good(1)], [U1, U2]),
        ([good(2), good(1)], [D1, D2]),
        ([good(1), good(7)], [U1, U2]),
        ([good(1) | {"id": f"{sf_id(1, 15)}A"}, good(2)], [U1, U2]),
        ([bad("X", "m", 2), bad("X", "m", 1)], [U1, U2]),
        ([{"success": True, "errors": []}], [A]),
        ([{"success": True, "id": "", "errors": []}], [A]),
        ([{"success": True, "id": 7}], [A]),
        ([{"success": True, "errors": []}, good(2)], [U1, U2]),
        ([{"id": sf_id(1)}, good(2)], [A, B]),
        ([{"success": "true", "id": sf_id(1)}], [A]),
        ([{"success": 1, "id": sf_id(1)}], [A]),
        ([None, good(2)], [A, B]),
        ([[good(1)], good(2)], [A, B]),
        ([*fault("UNKNOWN_EXCEPTION"), good(2)], [A, B]),
    ],
)
@pytest.mark.parametrize("all_or_none", [False, True])
def test_p02_what_contradicts_itself_or_the_request_is_unknown(
    status: int, body: Any, writes: Any, all_or_none: bool
) -> None:
    """Too few, too many, out of order, one id twice, no success, no id: then nobody is told anything."""
    verdicts = read(answer(status, body), writes, all_or_none)

    assert [type(each) for each in verdicts] == [Unknown] * len(writes)
    assert all(str(each.cause).startswith(f"HTTP {status}: ") for each in verdicts)


@pytest.mark.parametrize("status", [400, 403, 409])
def test_p02_a_success_under_the_status_of_a_refusal_is_unknown(status: int) -> None:
    """Status and result contradict each other; refusing all of them would be a guess."""
    for body in ([good(1), bad("X", "m", 2)], [good(1), good(2)]):
        for all_or_none in (False, True):
            verdicts = read(answer(status, body), [U1, U2], all_or_none)
            assert [type(each) for each in verdicts] == [Unknown, Unknown]
    assert read(answer(status, [bad("X"), bad("Y")]), [U1, U2]) == [no("X"), no("Y")]


def test_a_list_of_no_results_is_none() -> None:
    """Records were sent, so an empty list lacks all of their results."""
    assert read(answer(200, []), [A, B]) == [Unknown("HTTP 200: 0 results for 2 records")] * 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b'[{"success":true,"id":"003A","id":"003B"}]',
        b"\xff",
        b'"text"',
        b"null",
        {"id": sf_id(1), "success": True, "errors": []},
        {},
    ],
)
@pytest.mark.parametrize("status", [200, 204])
def test_a_success_without_a_list_of_results_is_unknown(status: int, body: Any) -> None:
    """Nothing, a page, no JSON, JSON with two ids in one result, an object: the status alone proves nothing."""
    assert read(answer(status, body), [A, B]) == [Unknown(f"HTTP {status} without a list of results")] * 2


@pytest.mark.parametrize(
    ("result", "words", "pause"),
    [
        (bad(LOCKED), LOCKED, False),
        (bad(TRIGGER, HIDDEN), LOCKED, False),
        (bad("CANNOT_EXECUTE_FLOW_TRIGGER", HIDDEN), LOCKED, False),
        (bad(TRIGGER, "System.LimitException: Too many SOQL queries: 101"), "Too many SOQL queries", False),
        (bad("REQUEST_LIMIT_EXCEEDED"), "REQUEST_LIMIT_EXCEEDED", True),
        (bad("SERVER_UNAVAILABLE"), "SERVER_UNAVAILABLE", False),
        (bad(ROLLED_BACK), ROLLED_BACK, False),
        ({"success": False, "errors": [*bad(LOCKED)["errors"], *bad("REQUEST_LIMIT_EXCEEDED")["errors"]]},
         "REQUEST_LIMIT_EXCEEDED", True),
        (bad(LOCKED, "m", 2), LOCKED, False),
    ],
)  # fmt: skip
def test_passing_trouble_of_one_record_is_tried_again_for_it_alone(result: Any, words: str, pause: bool) -> None:
    """A locked row, also in the words of a trigger or a flow: nothing was applied, and its neighbours are settled."""
    first, second, third = read(answer(200, [good(1), result, good(3)]), [U1, U2, U3])

    assert (first, third) == (W1, W3)
    assert (str(second), second.after, second.pause_lane, second.applied) == (words, None, pause, "no")


@pytest.mark.parametrize(
    "errors",
    [
        [*bad(LOCKED)["errors"], *bad("INVALID_FIELD")["errors"]],
        bad("STRING_TOO_LONG", "Too many SOQL queries")["errors"],
        bad(TRIGGER, "validation failed")["errors"],
        bad("INSUFFICIENT_ACCESS_OR_READONLY")["errors"],
    ],
)
def test_trouble_that_stays_is_not_tried_again(errors: Any) -> None:
    """One error that stays is enough to refuse a record."""
    (verdict,) = read(answer(200, [{"success": False, "errors": errors}]), [A])

    assert isinstance(verdict, Rejected)
    assert len(verdict.errors) == len(errors)


@pytest.mark.parametrize(
    ("status", "body", "errors"),
    [
        (400, fault("REQUIRED_FIELD_MISSING", "At least 1 record is required"),
         [ErrorDetail("At least 1 record is required", "REQUIRED_FIELD_MISSING")]),
        (400, fault("JSON_PARSER_ERROR"), [ErrorDetail("m", "JSON_PARSER_ERROR")]),
        (400, fault("INVALID_FIELD")[0], [ErrorDetail("m", "INVALID_FIELD")]),
        (400, [*fault("A"), *fault("B")], [ErrorDetail("m", "A"), ErrorDetail("m", "B")]),
        (400, [], [ErrorDetail(NO_REASON.message, "HTTP_400")]),
        (400, b"<html>", [ErrorDetail(NO_REASON.message, "HTTP_400")]),
        (400, b"", [ErrorDetail(NO_REASON.message, "HTTP_400")]),
        (400, ["text"], [NO_REASON]),
        (400, {}, [NO_REASON]),
        (409, fault("CONFLICT"), [ErrorDetail("m", "CONFLICT")]),
        (414, b"<html>", [ErrorDetail(NO_REASON.message, "HTTP_414")]),
        (431, b"", [ErrorDetail(NO_REASON.message, "HTTP_431")]),
        (422, b"", [ErrorDetail(NO_REASON.message, "HTTP_422")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("writes", [[A], [A, B]])
def test_p04_a_refusal_of_the_call_starts_the_search_for_its_culprit(
    status: int, body: Any, errors: Any, writes: Any
) -> None:
    """Nothing was applied; one malformed record may be the reason, and no record is named."""
    for all_or_none in (False, True):
        with pytest.raises(Refused) as caught:
            read(answer(status, body), writes, all_or_none)
        assert (list(caught.value.errors), caught.value.named) == (errors, {})


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, fault("INVALID_SESSION_ID", "session s3cret"), "HTTP 401: the service does not accept the access token"),
        (401, b"", "HTTP 401: the service does not accept the access token"),
        (403, fault("INVALID_SESSION_ID"), "HTTP 403: the service does not accept the access token"),
        (407, b"", "HTTP 407: a proxy does not accept the credentials of the client: check its proxy"),
    ],
)
@pytest.mark.parametrize("all_or_none", [False, True])
def test_wrong_credentials_are_no_records_fault(status: int, body: Any, words: str, all_or_none: bool) -> None:
    """No record is written, also of a group; the words say what to do, and nothing of what the answer quotes."""
    way_out = "" if status == 407 else ": give one that has not ended, of a user who may use the API"

    assert read(answer(status, body), [A, B], all_or_none) == [NotWritten(words + way_out, attempts=1)] * 2


@pytest.mark.parametrize("status", [403, 404, 405, 410, 415])
def test_a_refusal_that_each_record_would_meet(status: int) -> None:
    """No right, a wrong name, a retired version: one call and no search for a culprit. A group is refused as one."""
    errors = fault("INSUFFICIENT_ACCESS", "insufficient access rights")

    verdicts = read(answer(status, errors), [A, B])
    assert verdicts == [no("INSUFFICIENT_ACCESS", "insufficient access rights")] * 2
    with pytest.raises(Refused):
        read(answer(status, errors), [A, B], all_or_none=True)


def test_an_object_that_the_org_does_not_have() -> None:
    """
    It costs one call and no search for a culprit, unless the answer may be about an object that one record looks up.
    """
    errors = fault("INVALID_TYPE", "sObject type 'Contact' is not supported. Append the '__c' if it is a custom one.")
    verdicts = read(answer(400, errors), [A, B])
    assert [(type(each), each.isolated) for each in verdicts] == [(Rejected, True)] * 2
    with pytest.raises(Refused):
        read(answer(400, errors), [A, B], all_or_none=True)
    for other in (
        fault("INVALID_TYPE", "sObject type 'Acount' is not supported."),
        fault("INVALID_FIELD", "'Contact'"),
    ):
        with pytest.raises(Refused):
            read(answer(400, other), [A, B])
    with pytest.raises(Refused):
        read(answer(400, errors), [delete(1), delete(2)])


@pytest.mark.parametrize("status", [301, 307, 308])
def test_an_address_that_has_moved(status: int) -> None:
    """Redirects are not followed: the token belongs to the address that was given."""
    assert [type(each) for each in read(answer(status, b""), [A, B])] == [Rejected, Rejected]


@pytest.mark.parametrize("status", [100, 300, 302, 303, 304])
def test_a_status_that_says_nothing(status: int) -> None:
    """What no contract foresees is unknown."""
    assert read(answer(status, [good(1), good(2)]), [A, B]) == [Unknown(f"HTTP {status}")] * 2


@pytest.mark.parametrize(
    ("status", "body", "headers", "applied", "after", "pause"),
    [
        (403, fault("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), {}, "no", None, True),
        (403, fault("REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded."), {}, "no", None, True),
        (403, fault("REQUEST_LIMIT_EXCEEDED")[0], {"retry_after": "7"}, "no", 7.0, True),
        (429, b"", {}, "no", None, True),
        (420, b"<html>", {}, "no", None, False),
        (400, fault(LOCKED), {}, "no", None, False),
        (503, fault("SERVER_UNAVAILABLE"), {}, "maybe", None, True),
        (503, b"", {"retry_after": "3"}, "maybe", 3.0, True),
        (500, fault("UNKNOWN_EXCEPTION"), {}, "maybe", None, False),
        (500, [good(1), good(2)], {}, "maybe", None, False),
        (502, b"<html>", {}, "maybe", None, False),
        (504, b"", {"retry_after": "soon"}, "maybe", None, False),
    ],
)
def test_trying_again_later(status: int, body: Any, headers: Any, applied: Any, after: Any, pause: bool) -> None:
    """Throttled is not applied, and pauses the lane; trouble inside may have come after the write."""
    for all_or_none in (False, True):
        with pytest.raises(Retry) as caught:
            read(answer(status, body, **headers), [A, B], all_or_none)
        retry = caught.value
        assert (retry.applied, retry.after, retry.pause_lane) == (applied, after, pause)
        assert "Limit exceeded" not in str(retry)


def test_an_answer_that_broke_off_may_have_been_a_success() -> None:
    """Its status alone does not tell what became of the records; a refusal is one all the same."""
    with pytest.raises(Retry, match="broke off") as caught:
        read(Answer(200, flaw="the answer broke off (ReadError)"), [A])
    assert caught.value.applied == "maybe"
    with pytest.raises(Refused):
        read(Answer(400, flaw="the answer broke off (ReadError)"), [A])


@pytest.mark.parametrize(
    ("status", "body", "expired"),
    [
        (401, fault("INVALID_SESSION_ID"), True),
        (401, b"", True),
        (403, fault("INVALID_SESSION_ID"), True),
        (403, fault("REQUEST_LIMIT_EXCEEDED"), False),
        (400, b"<html>", False),
        (401, [good(1)], False),
        (403, [*fault("INVALID_SESSION_ID"), bad()], False),
        (500, fault("INVALID_SESSION_ID"), False),
        (200, fault("INVALID_SESSION_ID"), False),
    ],
)
def test_when_a_new_token_may_help(status: int, body: Any, expired: bool) -> None:
    """By the status or by the word; never after an answer under which something may have been applied."""
    assert is_token_refused(answer(status, body)) is expired


@pytest.mark.parametrize(
    ("field", "usage"),
    [
        ("api-usage=18/5000", ApiUsage(18, 5000)),
        ("api-usage=10018/100000, per-app-api-usage=17/250(appName=a)", ApiUsage(10018, 100000)),
        ("per-app-api-usage=17/250(appName=a); api-usage=18/5000", ApiUsage(18, 5000)),
        ("per-app-api-usage=17/250(appName=a)", None),
        ("api-usage=many", None),
        ("", None),
    ],
)
def test_the_usage_of_the_org_is_read(field: str, usage: ApiUsage | None) -> None:
    """The org's own figures, not those of one app."""
    assert usage_of(answer(200, [], sforce_limit_info=field)) == usage
    assert usage_of(answer(200, [])) is None


def test_answers_show_no_payload() -> None:
    """P13: what is printed has codes and counts only."""
    shown = repr(answer(400, fault("X", TOKEN), secret=TOKEN)) + repr(read(answer(200, [bad("X", TOKEN)]), [A]))

    assert TOKEN not in shown
