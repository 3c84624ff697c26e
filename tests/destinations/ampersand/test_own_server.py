"""Ampersand: what only the server of this library says of a record that was not written, and what it means."""

from typing import Any

import pytest

from batcher.outcomes import ErrorDetail, Refused, Rejected, Retry, Unknown, Written
from tests.destinations.ampersand.helpers import BAD, answer, counted, create, good, read, update

A, B, C = create({"email": "a@x"}), create({"email": "b@x"}), create({"email": "c@x"})
TAKEN = {"message": "taken", "code": "DUPLICATE_VALUE", "fields": ["email"]}
TAKEN_DETAIL = ErrorDetail("taken", "DUPLICATE_VALUE", ["email"])


def failed(outcome: str, *errors: dict[str, Any]) -> dict[str, Any]:
    return {"success": False, "data": {"outcome": outcome, "applied": "no", "errors": list(errors)}}


def told(body: dict[str, Any], writes: list[Any], provider: Any = "salesforce", **options: Any) -> Any:
    try:
        return read(answer(422, body), writes, provider, **options)
    except (Retry, Refused) as error:
        return error


def test_each_record_of_a_batch_gets_its_own_errors() -> None:
    """The hosted service has no place for them; here nobody has to guess which reason is whose."""
    other = {"message": "no record has this id", "code": "NOT_FOUND"}
    results = [failed("rejected", TAKEN), good("7"), failed("rejected", other)]
    verdicts = told(counted(1, 2, results, ["taken", "no record has this id"]), [A, B, C])
    assert verdicts == [
        Rejected(TAKEN_DETAIL),
        Written("7"),
        Rejected(ErrorDetail("no record has this id", "NOT_FOUND")),
    ]


def test_a_record_of_which_the_server_does_not_know_is_no_refusal() -> None:
    """It may have been applied: sent again only if the caller allowed it."""
    unknown, bad = failed("unknown", {"message": "look"}), failed("rejected", TAKEN)
    written, doubtful, refused = told(counted(1, 2, [good("7"), unknown, bad]), [A, B, C])
    assert (written, refused) == (Written("7"), Rejected(TAKEN_DETAIL))
    assert isinstance(doubtful, Retry) and doubtful.applied == "maybe"
    single = told({"operationId": "op", "errors": [{"message": "look"}], "result": unknown}, [A])
    assert isinstance(single, Retry) and single.applied == "maybe"


def test_a_record_that_was_not_written_for_no_fault_of_its_own_is_sent_again() -> None:
    """The server ran out of time; the record did nothing wrong, and nothing of it was applied."""
    late = failed("not_written", {"message": "late"})
    written, again = told(counted(1, 1, [good("7"), late]), [A, B])
    assert written == Written("7")
    assert isinstance(again, Retry) and again.applied == "no"
    single = told({"operationId": "op", "errors": [{"message": "late"}], "result": late}, [A])
    assert isinstance(single, Retry) and single.applied == "no"


@pytest.mark.parametrize(("outcome", "applied"), [("unknown", "maybe"), ("not_written", "no")])
def test_a_group_with_such_a_record_is_not_refused(outcome: str, applied: str) -> None:
    """A group of which one member is in doubt is in doubt as a whole."""
    verdict = told(counted(0, 2, [failed(outcome), failed("rolled_back")]), [A, B], all_or_none=True)
    assert isinstance(verdict, Retry) and verdict.applied == applied


def test_a_member_that_was_rolled_back_is_no_culprit() -> None:
    """Only the one that was refused itself is named."""
    others = {"message": "record was not processed due to other records failures", "code": "ROLLED_BACK"}
    results = [failed("rolled_back", others), failed("rejected", TAKEN)]
    verdict = told(counted(0, 2, results, ["taken"]), [A, B], all_or_none=True)
    assert isinstance(verdict, Refused) and verdict.named == {1: (TAKEN_DETAIL,)}


@pytest.mark.parametrize("outcome", ["unknown", "not_written"])
def test_where_position_is_not_trusted_one_doubt_makes_all_failures_doubtful(outcome: str) -> None:
    """Nobody knows which of the failed ones it is."""
    verdicts = told(counted(0, 2, [failed(outcome), failed("rejected", TAKEN)]), [A, B], None)
    assert [type(verdict) for verdict in verdicts] == [Unknown, Unknown]


def test_doubts_about_others_do_not_reach_a_record_that_is_named() -> None:
    """An update that the answer names was written; the rest stay in doubt."""
    results = [good("1"), failed("unknown"), failed("rejected", TAKEN)]
    verdicts = told(counted(1, 2, results), [update("1"), update("2"), update("3")], None)
    assert verdicts[0] == Written("1")
    assert [type(verdict) for verdict in verdicts[1:]] == [Unknown, Unknown]


@pytest.mark.parametrize("data", [{"outcome": ["odd"]}, {"outcome": "exploded"}, {"errors": "none"}, {}, "text", 5])
def test_data_of_another_make_is_a_refusal_like_any_other(data: Any) -> None:
    """A provider may return what it likes for a record that it refused."""
    results = [{**BAD, "data": data}, good("7")]
    refused, written = told(counted(1, 1, results, ["taken"]), [A, B])
    assert refused == Rejected(ErrorDetail("taken"))
    assert written == Written("7")
