"""HubSpot: what the statuses mean of calls that were not carried out."""

from datetime import UTC, datetime
from typing import Any

import pytest

from batcher.destinations._http.answers import Answer
from batcher.outcomes import ErrorDetail, NotWritten, Refused, Rejected, Retry, Unknown
from tests.destinations.hubspot.helpers import NOW, TOKEN, answer, bad, create, delete, meant, read, update, upsert

A, B, C = create({"email": "a@x"}), create({"email": "b@x"}), create({"email": "c@x"})
U1, U2, U3 = update("1"), update("2"), update("3")
SA, SB = upsert("A@x"), upsert("b@x")
TWICE = "Duplicate IDs found in batch input: [2]. IDs must be unique"
DUPLICATE = {
    "status": "error",
    "message": TWICE,
    "correlationId": "d1ace858",
    "context": {"ids": ["2"]},
    "category": "VALIDATION_ERROR",
}
INNER = {"message": "Email address x is invalid", "code": "INVALID_EMAIL", "context": {"propertyName": ["email"]}}
LATER = datetime.fromtimestamp(NOW + 90, UTC)


@pytest.mark.parametrize(
    ("status", "body", "errors"),
    [
        (409, bad("Contact already exists. Existing ID: 5551", "CONFLICT", existingId=["5551"]),
         [ErrorDetail("Contact already exists. Existing ID: 5551", "CONFLICT")]),
        (400, {"status": "error", "message": "Invalid input JSON on line 1, column 14: x"},
         [ErrorDetail("Invalid input JSON on line 1, column 14: x", "HTTP_400")]),
        (400, {"message": "Property values were not valid", "category": "VALIDATION_ERROR", "errors": [INNER, INNER]},
         [ErrorDetail("Property values were not valid", "VALIDATION_ERROR"),
          *[ErrorDetail("Email address x is invalid", "INVALID_EMAIL", ["email"])] * 2]),
        (400, DUPLICATE, [ErrorDetail(TWICE, "VALIDATION_ERROR")]),
        (400, b"", [ErrorDetail("HubSpot gave no reason", "HTTP_400")]),
        (400, b"<html>", [ErrorDetail("HubSpot gave no reason", "HTTP_400")]),
        (400, [], [ErrorDetail("HubSpot gave no reason", "HTTP_400")]),
        (400, {}, [ErrorDetail("HubSpot gave no reason", "HTTP_400")]),
        (413, {"message": ["no text"]}, [ErrorDetail("HubSpot gave no reason", "HTTP_413")]),
        (414, {"message": "m"}, [ErrorDetail("m", "HTTP_414")]),
        (418, {"message": "m", "category": "X", "context": {"ids": ["9"]}}, [ErrorDetail("m", "X")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("writes", [[A, B], [U1, U2], [SA, SB], [delete("1"), delete("2")]])
@pytest.mark.parametrize("group", [False, True])
def test_a_call_refused_as_a_whole(status: int, body: Any, errors: Any, writes: Any, group: bool) -> None:
    """
    Nothing was applied and no culprit is named: the batcher is asked to find it. Two records with one id are not
    culprits, since each of them is fine without the other.
    """
    with pytest.raises(Refused) as caught:
        read(answer(status, body), writes, group)

    assert list(caught.value.errors) == errors
    assert caught.value.named == {}


@pytest.mark.parametrize(
    ("writes", "body", "named"),
    [
        ([U1, U2, U3], bad("m", "X", ids=["2", "3", "9"]), {1: ("X",), 2: ("X",)}),
        ([U1, U2], bad("m", "X", id="2"), {1: ("X",)}),
        ([delete("1"), delete("2")], bad("m", "X", ids=["2"]), {1: ("X",)}),
        ([SA, SB], bad("m", "X", ids=["a@X"]), {0: ("X",)}),
        ([A, B], bad("m", "X", objectWriteTraceId=["1"]), {1: ("X",)}),
        ([A, B], bad("m", "X", ids=["1"]), {}),
        ([U1, U2], bad("m", "X", objectWriteTraceId=["1"]), {}),
        ([A, B, C], {"message": "m", "errors": [{"code": "Y", "context": {"objectWriteTraceId": ["0"]}},
                                              {"code": "Z", "context": {"objectWriteTraceId": ["2"]}}, None]},
         {0: ("Y",), 2: ("Z",)}),
    ],
)  # fmt: skip
def test_a_refusal_that_names_the_culprits(writes: Any, body: Any, named: Any) -> None:
    """They get their errors at once, and the search is spared."""
    with pytest.raises(Refused) as caught:
        read(answer(400, body), writes)

    assert {index: tuple(each.code for each in errors) for index, errors in caught.value.named.items()} == named


def test_a_group_is_not_blamed_by_trace_ids_that_it_did_not_send() -> None:
    """Positions that HubSpot was not told cannot be meant."""
    with pytest.raises(Refused) as caught:
        read(answer(400, bad("m", "X", objectWriteTraceId=["1"])), [A, B], all_or_none=True)

    assert caught.value.named == {}


WRONG_TOKEN = NotWritten(
    "HTTP 401: the service does not accept the access token: give a token that is valid for the account", attempts=1
)
WRONG_PROXY = NotWritten("HTTP 407: a proxy does not accept the credentials of the client: check its proxy", attempts=1)


@pytest.mark.parametrize(("status", "expected"), [(401, WRONG_TOKEN), (407, WRONG_PROXY)])
@pytest.mark.parametrize("all_or_none", [False, True])
def test_wrong_credentials_are_no_records_fault(status: int, expected: NotWritten, all_or_none: bool) -> None:
    """No record is written, also of a group; the words say what to do, and nothing of what the answer quotes."""
    reply = answer(status, {"message": "the token s3cret", "category": "INVALID_AUTHENTICATION"})

    assert read(reply, [A, B], all_or_none=all_or_none) == [expected] * 2


@pytest.mark.parametrize("status", [402, 403, 404, 405, 410, 301, 307, 308])
def test_a_refusal_that_each_record_would_meet(status: int) -> None:
    """A wrong scope or name costs one call, not a search for a culprit. A group is refused as one."""
    reply = answer(status, {"message": "no", "category": "MISSING_SCOPES"})
    (verdict, _) = verdicts = read(reply, [A, B])

    assert [type(each) for each in verdicts] == [Rejected, Rejected]
    assert verdict.isolated
    assert verdict.errors[0].code == ("MISSING_SCOPES" if status > 400 else f"HTTP_{status}")
    assert meant(reply, [A, B], all_or_none=True) == [Refused, Refused]


def test_an_object_that_the_account_does_not_have() -> None:
    """HubSpot has no code for it, only words. It costs one call, too."""
    reply = answer(400, {"status": "error", "message": "Unable to infer object type from: contcats"})

    assert [(type(each), each.isolated) for each in read(reply, [A, B])] == [(Rejected, True)] * 2
    assert meant(reply, [A, B], all_or_none=True) == [Refused, Refused]
    assert meant(answer(400, {"message": "Unable to do it"}), [A, B]) == [Refused, Refused]


@pytest.mark.parametrize("status", [100, 202, 206, 302, 303, 304, 522, 525, 526])
def test_a_status_that_says_nothing(status: int) -> None:
    """What no contract foresees, or what HubSpot says not to try again after an unclear end, is unknown."""
    assert read(answer(status, {"results": []}), [A, B]) == [Unknown(f"HTTP {status}")] * 2


ROLLING = {"errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING", "message": "limit"}
SECONDLY = {"errorType": "RATE_LIMIT", "policyName": "SECONDLY"}
INTERVAL = {"x_hubspot_ratelimit_interval_milliseconds": "2500"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "applied", "after", "pause"),
    [
        (429, ROLLING, {}, "no", 10.0, True),
        (429, SECONDLY, {}, "no", 1.0, True),
        (429, {"policyName": "secondly"}, {}, "no", 1.0, True),
        (429, {"policyName": "NEW"}, {}, "no", 10.0, True),
        (429, {"policyName": 7}, {}, "no", 10.0, True),
        (429, b"slow down", {}, "no", 10.0, True),
        (429, ROLLING, INTERVAL, "no", 2.5, True),
        (429, SECONDLY, {**INTERVAL, "retry_after": "4"}, "no", 4.0, True),
        (429, ROLLING, {"retry_after": "0"}, "no", 0.0, True),
        (429, ROLLING, {"x_hubspot_ratelimit_interval_milliseconds": "soon"}, "no", 10.0, True),
        (429, ROLLING, {"retry_after": LATER.strftime("%a, %d %b %Y %H:%M:%S GMT")}, "no", 90.0, True),
        # The day is named only if the limit that was met is.
        (429, ROLLING, {"x_hubspot_ratelimit_daily_remaining": "0"}, "no", 10.0, True),
        (429, b"", {"x_hubspot_ratelimit_daily_remaining": "1"}, "no", 10.0, True),
        (423, b"", {}, "no", 2.0, True),
        (423, b"", {"retry_after": "1"}, "no", 2.0, True),
        (423, b"", {"retry_after": "5"}, "no", 5.0, True),
        (477, b"", {"retry_after": "3600"}, "no", 3600.0, True),
        (477, b"", {}, "no", None, True),
        (408, b"", {}, "no", None, False),
        (425, b"", {"retry_after": "3"}, "no", 3.0, False),
        (500, {"message": "oops"}, {}, "maybe", None, False),
        (502, b"<html>", {}, "maybe", None, True),
        (503, b"", {"retry_after": "3"}, "maybe", 3.0, True),
        (504, b"", {}, "maybe", None, True),
        (521, b"", {}, "maybe", None, True),
        (523, b"", {}, "maybe", None, True),
        (524, b"", {}, "maybe", None, True),
        (599, b"", {}, "maybe", None, False),
    ],
)
@pytest.mark.parametrize("group", [False, True])
def test_trying_again_later(
    status: int, body: Any, headers: Any, applied: str, after: Any, pause: bool, group: bool
) -> None:
    """
    Throttled and locked is not applied, and pauses the lane for as long as HubSpot says; after a 5xx nobody knows.
    """
    with pytest.raises(Retry) as caught:
        read(answer(status, body, **headers), [A, B], group)

    retry = caught.value
    assert (retry.applied, retry.after, retry.pause_lane) == (applied, after, pause)
    assert str(retry) == f"HTTP {status}"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"policyName": "DAILY", "message": "You have reached your daily limit."}, {}),
        ({"policyName": "daily"}, {"retry_after": "30"}),
        ({"errorType": "RATE_LIMIT"}, {"x_hubspot_ratelimit_daily_remaining": "0"}),
        (b"", {"x_hubspot_ratelimit_daily_remaining": "0"}),
    ],
)
def test_the_limit_of_the_day_fails_at_once(body: Any, headers: Any) -> None:
    """Midnight in the time zone of the account is too far, and the caller is told so."""
    verdicts = read(answer(429, body, **headers), [A, B])

    assert [type(each) for each in verdicts] == [NotWritten, NotWritten]
    assert "daily limit" in verdicts[0].cause
    assert "midnight" in verdicts[0].cause
    assert verdicts[0].attempts == 1


def test_a_refusal_that_broke_off_is_a_refusal() -> None:
    """401 is 401 and 429 is 429, whatever was to follow."""
    flaw = "the answer broke off (ReadError)"

    assert read(Answer(401, flaw=flaw), [A]) == [WRONG_TOKEN]
    with pytest.raises(Retry, match="HTTP 429"):
        read(Answer(429, flaw=flaw), [A])
    with pytest.raises(Refused):
        read(Answer(400, flaw=flaw), [A])


def test_p13_a_refusal_shows_no_payload() -> None:
    """The words of HubSpot, which may quote a record, are in the message of the error and nowhere else."""
    with pytest.raises(Refused) as caught:
        read(answer(400, bad(TOKEN, "X", ids=["1"])), [U1])

    assert caught.value.errors[0].message == TOKEN
    assert TOKEN not in str(caught.value) + repr(caught.value)
