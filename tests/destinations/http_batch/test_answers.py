"""HttpBatch: what each status means without a word of the user's, and what may come of the user's reading."""

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from batcher.destinations.http_batch import Answer, Call, details, failed_call
from batcher.outcomes import ErrorDetail, NotWritten, Refused, Rejected, Retry, Unknown, Written
from tests.destinations.http_batch.helpers import answer, call_of, read, refusal

MOVED = ErrorDetail("the API has moved: check base_url; redirects are not followed", "HTTP_301")
LATER = "Mon, 12 Jan 1970 13:47:00 GMT"  # 20 seconds after NOW


@pytest.mark.parametrize(
    ("status", "headers", "after", "pause_lane", "applied"),
    [
        (408, {}, None, False, "no"),
        (425, {"retry_after": "3"}, 3.0, False, "no"),
        (429, {}, None, True, "no"),
        (429, {"retry_after": "7"}, 7.0, True, "no"),
        (429, {"retry_after": LATER}, 20.0, True, "no"),
        (429, {"retry_after": "soon"}, None, True, "no"),
        (503, {"retry_after": "7"}, 7.0, True, "no"),
        (503, {"retry_after": "0"}, 0.0, True, "no"),
        (503, {}, None, True, "maybe"),
        (500, {}, None, False, "maybe"),
        (502, {"retry_after": "7"}, 7.0, False, "maybe"),
        (504, {}, None, False, "maybe"),
        (599, {}, None, False, "maybe"),
    ],
)
def test_p07_statuses_that_pass(status: int, headers: Any, after: Any, pause_lane: bool, applied: str) -> None:
    """Throttled is not applied, broken may be; the API's own time is kept."""
    retry = refusal(read, answer(status, {"message": "busy"}, **headers))

    assert isinstance(retry, Retry)
    assert (retry.after, retry.pause_lane, retry.applied) == (after, pause_lane, applied)
    assert str(retry) == f"HTTP {status}"


@pytest.mark.parametrize("status", [402, 403, 405, 415])
def test_what_each_record_would_meet_is_not_searched_for(status: int) -> None:
    """A missing right costs one call: all are rejected; of a group it is the call that is refused."""
    reply = answer(status, {"message": "no"})
    errors = (ErrorDetail("no", f"HTTP_{status}"),)

    assert read(reply) == [Rejected(errors)] * 2
    refused = refusal(read, reply, call=call_of(1, 2, all_or_none=True))
    assert isinstance(refused, Refused) and refused.errors == errors


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "HTTP 401: the service does not accept the credentials: check the headers, and auth= of the client"),
        (407, "HTTP 407: a proxy does not accept the credentials of the client: check its proxy"),
    ],
)
@pytest.mark.parametrize("all_or_none", [False, True])
def test_wrong_credentials_are_no_records_fault(status: int, words: str, all_or_none: bool) -> None:
    """No record is written, also of a group; the words say what to do, and nothing of what the answer quotes."""
    verdicts = read(answer(status, {"message": "the key s3cret"}), call=call_of(1, 2, all_or_none=all_or_none))

    assert verdicts == [NotWritten(words, attempts=1)] * 2


@pytest.mark.parametrize("status", [400, 404, 409, 410, 413, 422, 431, 499])
def test_p04_other_refusals_have_a_culprit(status: int) -> None:
    """Nothing was applied, and one record may be why: the batcher looks for it."""
    refused = refusal(read, answer(status, {"error": {"type": "INVALID", "message": "no"}}))

    assert isinstance(refused, Refused)
    assert refused.errors == (ErrorDetail("no", "INVALID"),)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, [Rejected(MOVED)] * 2),
        (307, [Rejected(attrs.evolve(MOVED, code="HTTP_307"))] * 2),
        (308, [Rejected(attrs.evolve(MOVED, code="HTTP_308"))] * 2),
        (300, [Unknown("HTTP 300")] * 2),
        (302, [Unknown("HTTP 302")] * 2),
        (303, [Unknown("HTTP 303")] * 2),
        (100, [Unknown("HTTP 100")] * 2),
        (600, None),
    ],
)
def test_other_statuses(status: int, expected: Any) -> None:
    """A moved API took nothing; what 303 took is anybody's guess."""
    if expected is None:
        assert refusal(read, answer(status)).applied == "maybe"
    else:
        assert read(answer(status)) == expected
    if status == 301:
        assert isinstance(refusal(read, answer(status), call=call_of(1, all_or_none=True)), Refused)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 207, 299])
def test_p07_a_success_that_broke_off_may_have_been_applied(status: int) -> None:
    """Nobody reads half an answer."""
    retry = refusal(read, Answer(status, flaw="the answer broke off"))

    assert isinstance(retry, Retry)
    assert (retry.applied, str(retry)) == ("maybe", f"HTTP {status}: the answer broke off")


def test_a_refusal_that_broke_off_is_a_refusal() -> None:
    """The status is enough, also where read() would have been asked."""
    assert isinstance(refusal(read, Answer(400, flaw="the answer broke off"), statuses={400}), Refused)


VERDICTS = [Written("1"), Rejected("no")]


@pytest.mark.parametrize("returned", [VERDICTS, tuple(VERDICTS)])
@pytest.mark.parametrize("status", [200, 201, 202, 204, 299, 400, 503])
def test_read_is_asked_of_successes_and_of_the_statuses_named(status: int, returned: Any) -> None:
    """It gets the answer and the call, and its verdicts stand."""
    seen: list[Any] = []

    def reader(reply: Answer, call: Call) -> Any:
        seen.append((reply, call))
        return returned

    reply, call = answer(status, {"a": 1}), call_of(1, 2)
    assert read(reply, reader, call, statuses={400, 503}) == VERDICTS
    assert seen == [(reply, call)]


def test_read_may_leave_a_status_to_its_default() -> None:
    """None means so where the status says something by itself; of a success it says nothing."""
    assert isinstance(refusal(read, answer(400), lambda *_: None, statuses={400}), Refused)
    (first, _) = read(answer(200), lambda *_: None, statuses={200})
    assert isinstance(first, Unknown)


@pytest.mark.parametrize("raised", [Retry("busy", 3.0), Refused("no", {0: "why"})])
def test_read_may_raise_the_verdict_of_the_call(raised: Any) -> None:
    """HTTP 200 with a failure in the body."""

    def reader(*_: Any) -> Any:
        raise raised

    assert refusal(read, answer(200), reader) is raised


@pytest.mark.parametrize(
    "verdict", [Written(), Rejected("x"), Retry("x"), Unknown("x"), NotWritten("x"), ValueError("x")]
)
def test_verdicts_of_every_kind_stand(verdict: Any) -> None:
    """Outcomes, Retry, and exceptions, which are rejections."""
    assert read(answer(200), lambda *_: [verdict, verdict]) == [verdict, verdict]


def lazy() -> Iterator[Any]:
    yield Written()
    yield Written()


@pytest.mark.parametrize(
    "returned",
    [
        pytest.param([], id="none"),
        pytest.param([Written()], id="too few"),
        pytest.param([Written()] * 3, id="too many"),
        pytest.param(None, id="nothing"),
        pytest.param("ww", id="a text"),
        pytest.param({0: Written(), 1: Written()}, id="a mapping"),
        pytest.param(lazy(), id="a generator"),
        pytest.param(Written(), id="one for all"),
        *(
            pytest.param([Written(), each], id=f"a value that is none: {each!r}")
            for each in (None, True, False, "written", 1, {"id": "1"}, Written, ValueError)
        ),
        pytest.param([Written(), KeyboardInterrupt()], id="a signal"),
    ],
)
def test_p02_a_reading_that_cannot_be_believed_makes_all_unknown(returned: Any) -> None:
    """A wrong count or a value that is no verdict: whose the others are, nobody knows."""
    verdicts = read(answer(200), lambda *_: returned)

    assert len(verdicts) == 2
    for verdict in verdicts:
        assert isinstance(verdict, Unknown)
        assert "read() returned" in str(verdict.cause)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a": 1, "a": 2}', b"[NaN]", b"\xff", b'{"a": 1'])
def test_p02_a_success_without_json_makes_all_unknown(body: bytes) -> None:
    """Whoever reads answer.json bravely gets what is right: unknown, with the reason as the cause."""
    first, second = read(answer(200, body), lambda reply, call: [Written(each) for each in reply.json])

    assert isinstance(first, Unknown) and isinstance(first.cause, ValueError)
    assert first == second


def test_json_is_read_once() -> None:
    """However often a function asks for it."""
    reply = answer(200, [1])
    assert reply.json is reply.json


NOTHING: list[Any] = [None, "", [], {}, 3, [None, 4]]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("taken", [("taken", "X", ())]),
        (["a", "b", "a"], [("a", "X", ()), ("b", "X", ())]),
        ({"message": "m", "code": "C"}, [("m", "C", ())]),
        ({"Message": "m", "Code": "AWS.SimpleQueueService", "Id": "0"}, [("m", "AWS.SimpleQueueService", ())]),
        ({"code": 1003, "message": "m"}, [("m", "1003", ())]),
        ({"type": "T", "reason": "r"}, [("r", "T", ())]),
        (
            {"error": "PermissionDenied", "details": "not yours"},
            [("PermissionDenied", "X", ()), ("not yours", "X", ())],
        ),
        ({"error": {"type": "T", "message": "m"}}, [("m", "T", ())]),
        (
            {"errors": [{"message": "m", "field": "email"}, {"title": "t", "fields": ["a", 1, "b"]}]},
            [("m", "X", ("email",)), ("t", "X", ("a", "b"))],
        ),
        ({"code": "OUTER", "errors": ["one"]}, [("the API gave no reason", "OUTER", ()), ("one", "OUTER", ())]),
        ({"errorCode": "E"}, [("the API gave no reason", "E", ())]),
        ({"code": "ada@example.com", "message": "m"}, [("m", "X", ())]),
        ({"code": "a" * 81, "message": "m"}, [("m", "X", ())]),
        ({"code": True, "message": ""}, [("the API gave no reason", "X", ())]),
        ({"message": {"text": "m"}}, [("the API gave no reason", "X", ())]),
        ({1: 2}, [("the API gave no reason", "X", ())]),
        ({"error": {"error": {"error": {"error": {"error": "deep"}}}}}, [("the API gave no reason", "X", ())]),
        *((each, [("the API gave no reason", "X", ())]) for each in NOTHING),
    ],
)
def test_what_apis_say_of_failures(said: Any, expected: Any) -> None:
    """The usual words for it; codes only if they look like codes, because they are shown."""
    found = details(said, "X")

    assert [(each.message, each.code, each.fields) for each in found] == expected


def test_details_have_a_code_of_their_own() -> None:
    """Where nothing is said."""
    assert details(None) == (ErrorDetail("the API gave no reason", "NO_REASON_GIVEN"),)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"no such table", "no such table"),
        (b"<html>Bad Request</html>", "the API gave no reason"),
        (b"", "the API gave no reason"),
        (b"\xff", "\ufffd"),
        (b"x" * 5000, "x" * 1000),
    ],
)
def test_refusals_in_plain_text(body: bytes, expected: str) -> None:
    """A sentence is shown to the record's own caller, a page of a proxy is not."""
    refused = refusal(read, answer(400, body))

    assert refused.errors == (ErrorDetail(expected, "HTTP_400"),)


@pytest.mark.parametrize(
    ("codes", "after"),
    [([606], 20.0), ([607, 606], 20.0), ([607], None), ([606, 1003], "refused"), ([1003], "refused"), ([], "refused")],
)
def test_a_failed_call_passes_or_is_refused(codes: list[int], after: Any) -> None:
    """As Marketo does it: HTTP 200, and codes of which some will pass. All must, or trying again is no use."""
    said = [{"code": str(code), "message": "m"} for code in codes]
    raised = refusal(failed_call, said, retry={"606": 20.0, "607": None})

    if after == "refused":
        assert isinstance(raised, Refused)
        assert [each.code for each in raised.errors] == ([str(code) for code in codes] or ["NO_REASON_GIVEN"])
    else:
        assert isinstance(raised, Retry)
        assert (raised.after, raised.pause_lane, raised.applied) == (after, True, "no")
        assert str(raised) == ", ".join(map(str, codes))


def test_a_failed_call_without_passing_codes() -> None:
    """Then every one of them is a refusal."""
    assert isinstance(refusal(failed_call, {"code": "606"}), Refused)
