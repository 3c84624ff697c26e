"""Ampersand: every form of answer, and what it means."""

from datetime import UTC, datetime
from typing import Any

import pytest

from batcher.destinations._http.answers import Answer
from batcher.outcomes import Accepted, ErrorDetail, NotWritten, Refused, Rejected, Retry, Unknown, Written
from tests.destinations.ampersand.helpers import (
    BAD,
    KEY,
    LINK,
    NIL,
    NO_REASON,
    NOW,
    answer,
    counted,
    create,
    delete,
    good,
    no,
    read,
    update,
)

A, B, C = create({"email": "a@x"}), create({"email": "b@x"}), create({"email": "c@x"})
EA, EB, EC = {"email": "a@x"}, {"email": "b@x"}, {"email": "c@x"}
U1, U2, U3 = update("1"), update("2"), update("3")
SF15, SF18 = "003xx0000000001", "003xx0000000001AAB"
REMARK = "Association type 1 is unknown"
NOT_ALONE = ErrorDetail("the API gave no reason for this record alone; those of the call follow", "NO_REASON_GIVEN")
GONE = "The record with ID 003 was not found"
W, W1, W2, W3 = Written(), Written("1"), Written("2"), Written("3")
NOT_WHOSE = "the API reports errors in this call, perhaps about the associations of this record, without saying whose"


def single(result: Any, errors: Any = None, **more: Any) -> dict[str, Any]:
    body = {"operationId": "op", "result": result, **more}
    return body if errors is None else body | {"errors": errors}


def linked(write: Any) -> Any:
    return type(write)(write.object, write.type, write.record, associations=[LINK])


@pytest.mark.parametrize(
    ("status", "body", "writes", "verdict"),
    [
        (200, single(good("003", {"email": "a@x"})), [A], Written("003", {"email": "a@x"})),
        (200, single(good()), [A], Written(None)),
        (200, single(good("")), [A], Written(None)),
        (200, single(good(7)), [A], Written(None)),  # type: ignore[arg-type]  # what no schema allows
        (200, single(good("other")), [U1], Written("1")),
        (200, single(good()), [delete("9")], Written("9")),
        (200, {"operationId": "op"}, [delete("9")], Written("9")),
        (200, single(good("1"), [{"message": REMARK}]), [A], Written("1", None, [REMARK])),
        (200, single(good("1"), None, warnings=[{"message": "w"}, {}]), [A],
         Written("1", None, ["w", NO_REASON.message])),
        (200, counted(1, 0, [good("1")]), [A], Written("1")),
        (200, single(BAD), [A], Rejected(NO_REASON)),
        (422, single(BAD, [{"message": GONE}]), [U1], no(GONE)),
        (422, single(BAD, [{}]), [A], Rejected(NO_REASON)),
        (422, single(BAD, [None, 3]), [A], Rejected([NO_REASON, NO_REASON])),
        (422, single(BAD, ["words"]), [A], no("words")),
        (422, single({"success": False, "errors": [{"statusCode": "BAD", "fields": ["n", 1]}]}), [A],
         Rejected(ErrorDetail(NO_REASON.message, "BAD", ["n"]))),
        (422, {"operationId": NIL, "errors": [{"message": "error writing account: bad request: No such column"}]}, [A],
         no("error writing account: bad request: No such column")),
        (422, {"operationId": NIL}, [A], Rejected(NO_REASON)),
        (422, counted(0, 1, [BAD], ["taken"]), [A], no("taken")),
        (422, counted(0, 1, None, ["taken"]), [A], no("taken")),
    ],
)  # fmt: skip
def test_one_record_gets_what_its_answer_says(status: int, body: Any, writes: Any, verdict: Any) -> None:
    """With one record in the call, the answer is about that record."""
    assert read(answer(status, body), writes) == [verdict]


@pytest.mark.parametrize(
    ("status", "body", "writes"),
    [
        (200, b"", [A]),
        (200, b"<html>", [A, B]),
        (200, b"[" * 100_000, [A]),
        (200, b'"text"', [A]),
        (204, b"", [delete("1")]),
        (422, single(good("1")), [A]),
        (200, single(good("1")), [A, B]),
        (200, single({"recordId": "1"}), [A]),
        (200, single({"success": 1}), [A]),
        (200, single([]), [A]),
        (200, {"operationId": "op"}, [A]),
        (200, {"operationId": "op", "errors": [{}]}, [delete("1")]),
        (200, {"operationId": ""}, [delete("1")]),
        (200, counted(2, 0, [{"recordId": "1"}, good("2")]), [A, B]),
        (200, counted(1, 0), [A, B]),
        (200, counted(3, 0), [A, B]),
        (200, counted(3, -1), [A, B]),
        (200, counted(2, 1), [A, B]),
        (200, counted(0, 3), [A, B]),
        (200, counted(True, 1), [A, B]),
        (200, {"operationId": "op", "results": [good("1"), good("2")]}, [A, B]),
        (200, {"operationId": "op", "successCount": 2}, [A, B]),
        (200, counted(0, 2, [good("1")]), [A, B]),
        (200, counted(2, 0, [BAD]), [A, B]),
        (200, counted(1, 1, [good("1"), good("2")]), [A, B]),
        (200, counted(2, 0, [good("1"), good("1")]), [A, B]),
        (200, counted(2, 0, [good("1"), good("2"), good("3")]), [A, B]),
    ],
)
@pytest.mark.parametrize("provider", [None, "salesforce", "hubspot"])
def test_what_contradicts_itself_is_unknown(status: int, body: Any, writes: Any, provider: Any) -> None:
    """Counts against results, one id twice, no success, no JSON: nobody is told anything."""
    verdicts = read(answer(status, body), writes, provider)

    assert [type(each) for each in verdicts] == [Unknown] * len(writes)


ALL_THREE = [Written(None)] * 3


@pytest.mark.parametrize(
    ("provider", "body", "writes", "verdicts"),
    [
        # All were written: certain from the counts. Ids only where they are certain too.
        ("salesforce", counted(3, 0, [good("1"), good("2"), good("3")]), [A, B, C], [W1, W2, W3]),
        ("salesforce", counted(3, 0, [good("1"), good(), good("3")]), [A, B, C], [W1, W, W3]),
        ("salesforce", counted(3, 0, [good("2"), good("3")]), [A, B, C], ALL_THREE),
        ("salesforce", counted(3, 0), [A, B, C], ALL_THREE),
        ("salesforce", counted(3, 0, [good("3", EC), good("1", EA), good("2", EB)]), [A, B, C],
         [Written("1", EA), Written("2", EB), Written("3", EC)]),
        (None, counted(3, 0, [good("1"), good("2"), good("3")]), [A, B, C], ALL_THREE),
        (None, counted(3, 0), [A, B, C], ALL_THREE),
        ("hubspot", counted(3, 0, [good("3", EC), good("1", EA)]), [A, B, C],
         [Written("1", EA), W, Written("3", EC)]),
        (None, counted(2, 0, [good("2", EB), good("1", EA)]), [A, B], [Written("1", EA), Written("2", EB)]),
        ("hubspot", counted(2, 0, [good("1", EA), good("2", EA)]), [A, B], [W] * 2),
        ("hubspot", counted(2, 0, [good("1", EA), good("2", EA)]), [A, A], [W] * 2),
        ("hubspot", counted(2, 0, [good("1", "text"), good("2", {"n": 1})]), [A, B], [W] * 2),
        # Updates: the id is the caller's own.
        (None, counted(3, 0, [good("3"), good("1", {"n": "1"})]), [U1, U2, U3],
         [Written("1", {"n": "1"}), W2, W3]),
        ("hubspot", counted(2, 0), [U1, U2], [W1, W2]),
        ("hubspot", counted(2, 0, [good("8"), good("9")]), [U1, U2], [W1, W2]),
        ("salesforce", counted(2, 0, [good(SF18), good("2")]), [update(SF15), U2], [Written(SF15), W2]),
        ("salesforce", counted(1, 1, [BAD, good("1")]), [U1, U2], [W1, Rejected(NO_REASON)]),
        (None, counted(1, 1, [{"success": False, "recordId": "1"}, good("2")], ["gone"]), [U1, U2],
         [no("gone"), W2]),
        (None, counted(1, 1, [BAD, good("2")], ["gone"]), [U1, U2], [no("gone"), W2]),
        # A part failed.
        ("salesforce", counted(1, 1, [BAD, good("2")]), [A, B], [Rejected(NO_REASON), W2]),
        ("salesforce", counted(1, 1, [BAD, good("2")], ["taken"]), [A, B], [no("taken"), W2]),
        ("salesforce", counted(1, 1, [{"success": False, "errors": [{"message": "own"}]}, good("2")], ["call"]), [A, B],
         [no("own"), W2]),
        ("salesforce", counted(1, 2, [BAD, BAD, good("3")], ["x", "y"]), [A, B, C],
         [Rejected([NOT_ALONE, *no("x", "y").errors])] * 2 + [W3]),
        ("hubspot", counted(2, 1, [good("3", EC), good("1", EA)], ["taken"]), [A, B, C],
         [Written("1", EA), no("taken"), Written("3", EC)]),
        # All failed, each by itself.
        (None, counted(0, 2, [BAD, BAD]), [A, B], [Rejected(NO_REASON)] * 2),
        ("salesforce", counted(0, 2, [BAD, BAD], ["x"]), [A, B], [Rejected([NOT_ALONE, *no("x").errors])] * 2),
    ],
)  # fmt: skip
def test_each_record_of_a_batch_gets_its_own(provider: Any, body: Any, writes: Any, verdicts: Any) -> None:
    """An id, data or an error goes to a record only if they are certainly its own. The status does not matter."""
    assert read(answer(200, body), writes, provider) == verdicts
    assert read(answer(422, body), writes, provider) == verdicts


@pytest.mark.parametrize(
    ("provider", "body", "kinds"),
    [
        (None, counted(1, 1, [good("1"), BAD]), [Unknown, Unknown]),
        ("hubspot", counted(1, 1, [good("1"), BAD]), [Unknown, Unknown]),
        ("salesforce", counted(1, 1, [good("1")]), [Unknown, Unknown]),
        ("hubspot", counted(1, 1, [good("1", EC), BAD]), [Unknown, Unknown]),
        ("hubspot", counted(1, 1, [good("1"), {**BAD, "data": EA}]), [Unknown, Unknown]),
        ("salesforce", counted(1, 1), [Unknown, Unknown]),
        ("hubspot", counted(2, 1, [good("1", EA), BAD]), [Written, Unknown, Unknown]),
    ],
)
def test_who_failed_is_not_guessed(provider: Any, body: Any, kinds: Any) -> None:
    """If the answer does not say which record failed, those that remain are unknown."""
    verdicts = read(answer(200, body), [A, B, C][: len(kinds)], provider)

    assert [type(each) for each in verdicts] == kinds


@pytest.mark.parametrize(
    ("body", "writes", "warnings"),
    [
        (counted(2, 0, None, [REMARK]), [linked(U1), U2], [(REMARK,), ()]),
        (counted(2, 0, None, [REMARK]), [linked(U1), linked(U2)], [(REMARK,), (REMARK,)]),
        (counted(2, 0, None, [REMARK]), [U1, U2], [(REMARK,), (REMARK,)]),
        (counted(2, 0, None, []), [linked(U1), U2], [(), ()]),
        (counted(2, 1, [good("1"), good("2")], [REMARK, "x"]), [linked(U1), U2, U3], [(NOT_WHOSE,), ()]),
        (counted(2, 1, [good("1"), good("2")]), [linked(U1), U2, U3], [(), ()]),
    ],
)
def test_a_warning_is_carried(body: Any, writes: Any, warnings: Any) -> None:
    """
    An association that failed after its record was written is told to those whose it can be, in words if no other
    record failed.
    """
    verdicts = read(answer(200, body), writes, "hubspot")

    assert [each.warnings for each in verdicts if isinstance(each, Written)] == warnings


@pytest.mark.parametrize(
    "body",
    [
        counted(0, 2, None, ["Contact already exists"]),
        counted(0, 2, [BAD], ["Contact already exists"]),
        {"operationId": NIL, "errors": [{"message": "Contact already exists"}]},
        single(BAD, [{"message": "Contact already exists"}]),
    ],
)
@pytest.mark.parametrize("all_or_none", [False, True])
def test_a_call_that_failed_as_a_whole_is_refused(body: Any, all_or_none: bool) -> None:
    """Nothing was applied and nobody is named: the batcher is asked to find the culprit."""
    with pytest.raises(Refused) as caught:
        read(answer(422, body), [A, B], "hubspot", all_or_none=all_or_none)

    assert caught.value.errors == no("Contact already exists").errors
    assert caught.value.named == {}


def test_a_group_names_its_culprits() -> None:
    """Members that were only rolled back are not blamed; without any reason nobody is."""
    rolled_back = {"success": False, "errors": [{"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK", "message": "r"}]}
    culprit = {"success": False, "errors": [{"statusCode": "INVALID_FIELD", "message": "m", "fields": ["n"]}]}
    with pytest.raises(Refused) as caught:
        read(answer(200, counted(0, 3, [rolled_back, culprit, BAD])), [A, B, C], "salesforce", all_or_none=True)

    assert caught.value.named == {1: (ErrorDetail("m", "INVALID_FIELD", ["n"]),)}
    assert caught.value.errors == (NO_REASON,)


def test_a_group_of_which_a_part_was_kept_says_so() -> None:
    """What the provider did counts, not what it was asked to do."""
    body = counted(1, 1, [good("1"), BAD])

    assert read(answer(200, body), [A, B], "salesforce", all_or_none=True) == [Written("1"), Rejected(NO_REASON)]


@pytest.mark.parametrize(
    ("words", "provider", "applied", "pause"),
    [
        ("error writing account: server error: 500", None, "maybe", False),
        ("error writing account: retryable error: 404", None, "maybe", False),
        ("error writing account: unable to lock row: busy", "salesforce", "no", False),
        ("error writing account: request limit exceeded: all used", "salesforce", "no", True),
        ("error writing contact: request limit exceeded: all used", "hubspot", "maybe", True),
        ("error writing contact: request limit exceeded", None, "maybe", True),
    ],
)
@pytest.mark.parametrize("writes", [[A], [A, B]])
def test_passing_trouble_of_the_provider(words: str, provider: Any, applied: str, pause: bool, writes: Any) -> None:
    """The class of an error says whether to try again, and whether the provider may have applied something."""
    with pytest.raises(Retry) as caught:
        read(answer(422, {"operationId": NIL, "errors": [{"message": words}]}), writes, provider)

    assert (caught.value.applied, caught.value.pause_lane) == (applied, pause)
    assert words not in str(caught.value)


def test_trouble_that_each_record_would_meet_is_not_searched_for_culprits() -> None:
    """A provider that knows the customer no longer refuses every record alike; only a group is refused as one."""
    message = "error writing account: access token invalid: expired"
    reply = answer(422, {"operationId": NIL, "errors": [{"message": message}]})

    assert read(reply, [A, B]) == [no(message)] * 2
    with pytest.raises(Refused):
        read(reply, [A, B], all_or_none=True)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ({"operationId": "op"}, Accepted("op")),
        ({"operationId": "op", "results": None}, Accepted("op")),
        (counted(2, 0), Written()),
    ],
)
def test_an_asynchronous_request_is_accepted(body: Any, verdict: Any) -> None:
    """The service took the records over; if it wrote them at once, that is told."""
    assert read(answer(200, body), [A, B], asynchronous=True) == [verdict, verdict]


@pytest.mark.parametrize("operation_id", [NIL, "", None, 7])
def test_an_acceptance_without_a_handle_is_unknown(operation_id: Any) -> None:
    """The nil id names no operation."""
    (verdict,) = read(answer(200, {"operationId": operation_id}), [A], asynchronous=True)

    assert isinstance(verdict, Unknown)


@pytest.mark.parametrize(
    ("status", "body", "errors"),
    [
        (400, b"required field not found", [ErrorDetail("required field not found", "HTTP_400")]),
        (400, b'"quoted"', [ErrorDetail("quoted", "HTTP_400")]),
        (400, b"x" * 2000, [ErrorDetail("x" * 1000, "HTTP_400")]),
        (400, b"<html>proxy</html>", [ErrorDetail("the API gave no reason", "HTTP_400")]),
        (400, b"", [ErrorDetail("the API gave no reason", "HTTP_400")]),
        (400, {}, [ErrorDetail("the API gave no reason", "HTTP_400")]),
        (413, {"title": "Too large", "causes": ["c", 1]},
         [ErrorDetail("Too large", "HTTP_413"), ErrorDetail("c", "HTTP_413")]),
        (409, {"detail": "d", "title": "t", "retryable": False}, [ErrorDetail("d", "HTTP_409")]),
        (418, {"message": "m", "errors": ["e"]}, [ErrorDetail("m", "HTTP_418"), ErrorDetail("e")]),
    ],
)  # fmt: skip
def test_a_refusal_by_the_service_gives_its_words(status: int, body: Any, errors: Any) -> None:
    """Plain text, problem+json and a proxy's page: nothing was applied, and what was said is kept."""
    with pytest.raises(Refused) as caught:
        read(answer(status, body), [A, B])

    assert list(caught.value.errors) == errors


WRONG_KEY = NotWritten(
    "HTTP 401: the service does not accept the API key: give an api_key that is valid for the project", attempts=1
)
WRONG_PROXY = NotWritten("HTTP 407: a proxy does not accept the credentials of the client: check its proxy", attempts=1)


@pytest.mark.parametrize(("status", "expected"), [(401, WRONG_KEY), (407, WRONG_PROXY)])
@pytest.mark.parametrize("all_or_none", [False, True])
def test_wrong_credentials_are_no_records_fault(status: int, expected: NotWritten, all_or_none: bool) -> None:
    """No record is written, also of a group; the words say what to do, and nothing of what the answer quotes."""
    assert read(answer(status, {"detail": "the key s3cret"}), [A, B], all_or_none=all_or_none) == [expected] * 2


@pytest.mark.parametrize("status", [402, 403, 404, 405, 410, 301, 307, 308])
def test_a_refusal_that_each_record_would_meet(status: int) -> None:
    """A missing right, a wrong name or address costs one call, not a search for a culprit."""
    verdicts = read(answer(status, {"detail": "no"}), [A, B])

    assert [type(each) for each in verdicts] == [Rejected, Rejected]
    assert all(each.isolated for each in verdicts)


@pytest.mark.parametrize("status", [100, 302, 303, 304])
def test_a_status_that_says_nothing(status: int) -> None:
    """What no contract foresees is unknown."""
    assert read(answer(status, b""), [A, B]) == [Unknown(f"HTTP {status}")] * 2


LATER = datetime.fromtimestamp(NOW + 90, UTC)


@pytest.mark.parametrize(
    ("status", "body", "headers", "applied", "after", "pause"),
    [
        (429, {"retryAfter": LATER.isoformat()}, {}, "no", 90.0, True),
        (429, {"retryAfter": LATER.isoformat().replace("+00:00", "Z")}, {"retry_after": "5"}, "no", 90.0, True),
        (429, {"retryAfter": LATER.replace(tzinfo=None).isoformat()}, {}, "no", 90.0, True),
        (429, {"retryAfter": "1970-01-01T00:00:00Z"}, {}, "no", 0.0, True),
        (429, {"retryAfter": "soon"}, {"retry_after": "7"}, "no", 7.0, True),
        (429, {"retryAfter": 5}, {"retry_after": "9" * 400}, "no", None, True),
        (429, b"slow down", {"retry_after": LATER.strftime("%a, %d %b %Y %H:%M:%S GMT")}, "no", 90.0, True),
        (429, b"", {"x_amp_retry_after": LATER.strftime("%a, %d %b %Y %H:%M:%S UTC")}, "no", 90.0, True),
        (503, {"retryAfter": LATER.isoformat()}, {}, "no", 90.0, True),
        (503, b"", {"retry_after": "3"}, "no", 3.0, True),
        (503, b"", {}, "maybe", None, True),
        (408, b"", {}, "no", None, False),
        (425, b"", {}, "no", None, False),
        (409, {"retryable": True, "retryAfter": LATER.isoformat()}, {}, "no", 90.0, False),
        (500, {"retryable": True}, {}, "maybe", None, False),
        (500, b"oops", {}, "maybe", None, False),
        (502, b"<html>", {"retry_after": "1"}, "maybe", 1.0, False),
    ],
)
def test_trying_again_later(status: int, body: Any, headers: Any, applied: Any, after: Any, pause: bool) -> None:
    """Throttled is not applied, and pauses the lane; trouble inside may have come after the write."""
    with pytest.raises(Retry) as caught:
        read(answer(status, body, **headers), [A, B])

    retry = caught.value
    assert (retry.applied, retry.after, retry.pause_lane) == (applied, after, pause)


def test_trouble_that_will_not_pass_is_unknown() -> None:
    """A failure inside of which the service says that trying again is no use is not tried again, under any policy."""
    assert read(answer(500, {"retryable": False}), [A, B]) == [Unknown("HTTP 500")] * 2


@pytest.mark.parametrize("status", [200, 422])
def test_an_answer_that_broke_off_may_have_been_a_success(status: int) -> None:
    """Its status alone does not tell what became of the records."""
    with pytest.raises(Retry, match="broke off") as caught:
        read(Answer(status, flaw="the answer broke off (ReadError)"), [A])

    assert caught.value.applied == "maybe"


def test_a_refusal_that_broke_off_is_a_refusal() -> None:
    """401 is 401, whatever was to follow."""
    (verdict,) = read(Answer(401, flaw="the answer broke off (ReadError)"), [A])

    assert verdict == WRONG_KEY


def test_answers_and_items_show_no_payload() -> None:
    """P13: what is printed has codes and counts only."""
    shown = repr(answer(400, {"detail": KEY}, secret=KEY)) + repr(read(answer(200, single(good("1", {"k": KEY}))), [A]))

    assert KEY not in shown
