"""HubSpot: what the body of a call that was carried out says of each record."""

from typing import Any

import pytest

from batcher.destinations._http.answers import Answer
from batcher.outcomes import ErrorDetail, Rejected, Retry, Unknown, Written
from tests.destinations.hubspot.helpers import (
    TOKEN,
    answer,
    bad,
    create,
    delete,
    done,
    good,
    no,
    read,
    traced,
    update,
    upsert,
)

A, B, C = create({"email": "a@x"}), create({"email": "b@x"}), create({"email": "c@x"})
RA, RB, RC = good("1", {"email": "a@x"}), good("2", {"email": "b@x"}), good("3", {"email": "c@x"})
WA, WB, WC = Written("1", RA), Written("2", RB), Written("3", RC)
U1, U2, U3 = update("1"), update("2"), update("3")
R1, R2, R3 = good("1"), good("2"), good("3")
SA, SB, SC = upsert("A@x"), upsert("b@x"), upsert("c@x")
LIKE = create({"name": "x"})
GONE = bad("Could not get some CONTACT objects", "OBJECT_NOT_FOUND", ids=["2"])
W, GONE_TOO = Written(), no("Could not get some CONTACT objects", "OBJECT_NOT_FOUND")
NO_REASON = ErrorDetail("HubSpot gave no reason")


def echoed(result: dict[str, Any], trace: Any) -> dict[str, Any]:
    return {**result, "objectWriteTraceId": trace}


@pytest.mark.parametrize(
    ("writes", "body", "verdicts"),
    [
        # Creates, in random order: by trace id if HubSpot tells it, else by their data.
        ([A], done([RA]), [WA]),
        ([A], done([good("7", {"email": "rewritten"})]), [Written("7", good("7", {"email": "rewritten"}))]),
        ([A, B, C], done([RC, RA, RB]), [WA, WB, WC]),
        ([A, B], done([echoed(RB, "0"), echoed(RA, "1")]), [Written("2", echoed(RB, "0")),
                                                           Written("1", echoed(RA, "1"))]),
        ([A, B], done([echoed(RB, ["1"]), RA]), [WA, Written("2", echoed(RB, ["1"]))]),
        ([A, B, C], done([RC, RA], [traced(1)]), [WA, no(), WC]),
        ([A, B, C], done([RC], [traced(1), traced(0)]), [no(), no(), WC]),
        ([A, B, C], done([RC], [traced(0, 1)]), [no(), no(), WC]),
        ([A, B, C], done([RC], [traced(0, 1)], numErrors=2), [no(), no(), WC]),
        ([A, B], done([], [traced(1), traced(0)]), [no(), no()]),
        ([A, B], done([RB], [bad(objectWriteTraceId="0", existingId=["2"])]), [no(), WB]),
        ([A, B], {"results": [RB, RA]}, [WA, WB]),
        ([A, B], done([RB, RA], None, status=None, numErrors=None), [WA, WB]),
        ([A, B], done([RB, RA, RB]), [WA, WB]),
        # All were written, and whose id is whose is in doubt.
        ([LIKE, LIKE], done([good("1", {"name": "x"}), good("2", {"name": "x"})]), [W, W]),
        ([LIKE, LIKE, A], done([good("1", {"name": "x"}), RB, good("3")]), [W, W, W]),
        ([LIKE, A], done([good("9"), RA]), [W, W]),
        ([A, B], done([good("9"), RA]), [WA, Written("9", good("9"))]),
        ([A, B, C], done([good("7"), RA, good("8")]), [WA, W, W]),
        ([A, B], done([good("2", {"email": "a@x"}), RA]), [W, W]),
        # Updates, by id.
        ([U1, U2, U3], done([R3, R1, R2]), [Written("1", R1), Written("2", R2), Written("3", R3)]),
        ([U1, U2, U3], done([R3, R1], [GONE]), [Written("1", R1), GONE_TOO, Written("3", R3)]),
        ([U1, U2], done([R1], [bad(GONE["message"], "OBJECT_NOT_FOUND", id="2")]), [Written("1", R1), GONE_TOO]),
        # Merged into another record: the caller keeps its own id.
        ([U1, U2], done([good("99"), R1]), [Written("1", R1), Written("2", good("99"))]),
        ([U1, U2, U3], done([good("98"), R1, good("99")]), [Written("1", R1), Written("2"), Written("3")]),
        # Upserts, by what they match on, in whichever letters.
        ([SA, SB, SC], done([RC, RB, RA]), [WA, WB, WC]),
        ([SA, SB], done([good("1", {"email": " a@X"}), RB]), [Written("1", good("1", {"email": " a@X"})), WB]),
        ([SA, SB], done([RB], [traced(0)]), [no(), WB]),
        ([SA, SB], done([RB], [bad(ids=["a@X"])]), [no(), WB]),
        ([SA, SB], done([good("1", {"email": "new"}), RB]), [Written("1", good("1", {"email": "new"})), WB]),
        # Archives, which have no results.
        ([delete("1"), delete("2")], b"", [Written("1"), Written("2")]),
        ([delete("1"), delete("2")], {}, [Written("1"), Written("2")]),
        ([delete("1"), delete("2")], done(None, [GONE]), [Written("1"), GONE_TOO]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 201, 204, 207])
def test_each_record_gets_its_own(status: int, writes: Any, body: Any, verdicts: Any) -> None:
    """An id and data go to the record that they are certainly of, whatever the order; the status does not matter."""
    assert read(answer(status, body), writes) == verdicts


@pytest.mark.parametrize(
    ("writes", "body", "kinds"),
    [
        # Dropped without a word.
        ([A, B], done([]), [Unknown, Unknown]),
        ([A, B], done([RA]), [Unknown, Unknown]),
        ([A], done([]), [Unknown]),
        ([A, B, C], done([RC], [traced(1)]), [Unknown, Rejected, Unknown]),
        ([A, B], done([RA, RA]), [Unknown, Unknown]),
        ([A, B], done([echoed(RB, "1")]), [Unknown, Written]),
        ([U1, U2], done([R1]), [Written, Unknown]),
        ([U1, U2], done([]), [Unknown, Unknown]),
        ([U1, U2], done([echoed(R1, "0")]), [Written, Unknown]),
        ([SA, SB], done([good("1", {"email": "A@X "})]), [Written, Unknown]),
        ([SA, SB], done([RB]), [Unknown, Written]),
        # Too many, of others, or twice and different.
        ([A, B], done([RA, RB, RC]), [Unknown, Unknown]),
        ([A, B], done([RA, echoed(RB, "7")]), [Unknown, Unknown]),
        ([A, B], done([echoed(RA, "0"), echoed(RB, "0")]), [Unknown, Unknown]),
        ([A, B], done([echoed(RA, ["0", "1"]), RB]), [Unknown, Unknown]),
        ([A, B], done([RA, good("1", {"email": "z"}), RB, RC]), [Unknown, Unknown]),
        ([A, B], done([RA, good("1", {"email": "b@x"})]), [Unknown, Unknown]),
        ([U1, U2], done([R1, good("1", {"n": "2"}), R2]), [Unknown, Written]),
        ([U1, U2], done([R1, R2, R3]), [Written, Written]),
        ([U1, U1], done([R1]), [Unknown, Unknown]),
        ([SA, SB], done([RA, good("9", {"email": "a@x"})]), [Unknown, Unknown]),
        ([upsert("A@x"), upsert("a@X")], done([RA]), [Unknown, Unknown]),
        # An error and a result for one record.
        ([A, B], done([echoed(RA, "0"), RB], [traced(0)]), [Unknown, Unknown]),
        ([U1, U2], done([R1, R2], [GONE]), [Written, Unknown]),
        # Errors of nobody: the counts prove nothing then.
        ([A, B], done([RA], [bad()]), [Unknown, Unknown]),
        ([A, B], done([RA], [traced(7)]), [Unknown, Unknown]),
        ([A, B], done([RA, RB], [traced(7)]), [Unknown, Unknown]),
        ([A, B], done([RA, RB], [None]), [Unknown, Unknown]),
        ([A, B], done([RA], [traced(1), bad()]), [Unknown, Rejected]),
        ([A, B], done([RB], [bad(objectWriteTraceId=[0])]), [Unknown, Unknown]),
        ([A, B], done([RA], [bad(ids=["1"])]), [Unknown, Unknown]),
        ([U1, U2], done([R1], [bad(ids=[""])]), [Written, Unknown]),
        ([U1, U2], done([R1], [{**bad(), "context": "text"}]), [Written, Unknown]),
        ([U1, U2], done([R1], ["text"]), [Written, Unknown]),
        ([U1, U2, U3], done([R1], [bad(ids=["2", "8"])]), [Written, Rejected, Unknown]),
        ([A, B], done([RA, RB], None, numErrors=1), [Unknown, Unknown]),
        ([A, B], done([RA, RB], None, numErrors="1"), [Unknown, Unknown]),
        ([delete("1"), delete("2")], done(None, [bad()]), [Unknown, Unknown]),
        ([delete("1"), delete("2")], done(None, [GONE, bad()]), [Unknown, Rejected]),
        ([delete("1")], b"text", [Unknown]),
        # Not ended.
        ([A, B], done([RA, RB], None, status="PROCESSING"), [Unknown, Unknown]),
        ([U1, U2], done([R1], None, status="CANCELED"), [Written, Unknown]),
        ([delete("1")], done([], None, status="PENDING"), [Unknown]),
        # Malformed.
        ([A, B], b"", [Unknown, Unknown]),
        ([A, B], b"<html>", [Unknown, Unknown]),
        ([A, B], b"[" * 100_000, [Unknown, Unknown]),
        ([A, B], [RA, RB], [Unknown, Unknown]),
        ([A, B], {}, [Unknown, Unknown]),
        ([A, B], done({"0": RA, "1": RB}), [Unknown, Unknown]),
        ([A, B], done([RA, None]), [Unknown, Unknown]),
        ([A, B], done([RA, good(2)]), [Unknown, Unknown]),
        ([A, B], done([RA, good("")]), [Unknown, Unknown]),
        ([A, B], done([RA, RB, "text"]), [Unknown, Unknown]),
        ([SA, SB], done([{"id": "1", "properties": "text"}, {"id": "2"}]), [Written, Written]),
        ([SA, SB], done([good("9", {"email": 7}), RA]), [Written, Written]),
    ],
)
def test_what_is_not_certain_is_unknown(writes: Any, body: Any, kinds: Any) -> None:
    """Neither a result nor an error that is certainly of the record: nobody is told a guess."""
    assert [type(each) for each in read(answer(207, body), writes)] == kinds


def test_a_group_has_no_trace_ids() -> None:
    """Those in the answer are not of this call then; if HubSpot kept a part all the same, the outcomes say so."""
    results = [{**RB, "objectWriteTraceId": "0"}, {**RA, "objectWriteTraceId": "1"}]
    kinds = [type(each) for each in read(answer(207, done([RA], [traced(1)])), [A, B], all_or_none=True)]

    assert read(answer(201, done(results)), [A, B], all_or_none=True) == [
        Written("1", results[1]),
        Written("2", results[0]),
    ]
    assert kinds == [Unknown, Unknown]


@pytest.mark.parametrize(
    ("error", "details"),
    [
        (bad("m", "VALIDATION_ERROR"), [ErrorDetail("m", "VALIDATION_ERROR")]),
        (bad(None, None), [NO_REASON]),
        ({"message": "m", "errorType": "T"}, [ErrorDetail("m", "T")]),
        ({"message": 7, "category": "", "errors": "text"}, [NO_REASON]),
        (
            {
                "category": "VALIDATION_ERROR",
                "message": "m",
                "errors": [
                    {"message": "e", "code": "INVALID_EMAIL", "context": {"propertyName": ["email", 1]}},
                    {"message": "f", "context": "{a=b}"},
                    "text",
                ],
            },
            [
                ErrorDetail("m", "VALIDATION_ERROR"),
                ErrorDetail("e", "INVALID_EMAIL", ["email"]),
                ErrorDetail("f"),
            ],
        ),
    ],
)
def test_an_error_gives_its_words(error: Any, details: Any) -> None:
    """Every member of an error may be missing; what is there is kept, with that of the errors in it."""
    context = error.get("context", {}) | {"ids": ["2"]}
    (_, verdict) = read(answer(207, done([R1], [{**error, "context": context}])), [U1, U2])

    assert verdict == Rejected(details)


def test_several_errors_of_one_record_are_all_told() -> None:
    """None of them hides another."""
    verdicts = read(answer(207, done([RB], [traced(0), traced(0, message="b", category="X")])), [A, B])

    assert verdicts == [Rejected([ErrorDetail("taken", "CONFLICT"), ErrorDetail("b", "X")]), WB]


@pytest.mark.parametrize("status", [200, 201, 204, 207])
def test_an_answer_that_broke_off_may_have_been_a_success(status: int) -> None:
    """Its status alone does not tell what became of the records."""
    for write in (A, delete("1")):
        with pytest.raises(Retry, match="broke off") as caught:
            read(Answer(status, flaw="the answer broke off (ReadError)"), [write])
        assert caught.value.applied == "maybe"


def test_p13_outcomes_show_no_payload() -> None:
    """What is printed has codes and counts only."""
    reply = answer(207, done([good("1", {"k": TOKEN})], [bad(TOKEN, ids=["2"])]))

    assert TOKEN not in repr(reply) + repr(read(reply, [U1, U2]))
