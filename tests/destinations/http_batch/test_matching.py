"""HttpBatch: for each form of answer, whose verdict is whose, and what is missing, double or malformed."""

from typing import Any

import pytest

from batcher.destinations.http_batch import all_but, by_key, by_lists, in_order, unprocessed
from batcher.outcomes import ErrorDetail, Outcome, Rejected, Retry, Unknown, Written
from tests.destinations.http_batch.helpers import call_of, fate, kinds

A, B, C = {"ok": "a"}, {"bad": "b"}, {"ok": "c"}
NO_LISTS: list[Any] = [None, {}, {"0": A}, "abc", 3, True]


def at(key: Any, entry: Any, name: str = "id") -> Any:
    return {name: key, **entry}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([A, B, C], "wrw", id="complete"),
        pytest.param([A, {"later": 1}, C], "waw", id="again"),
        pytest.param([A, B], "???", id="short"),
        pytest.param([A, B, C, C], "???", id="long"),
        pytest.param([], "???", id="empty"),
        pytest.param([A, {}, C], "w?w", id="an entry that says nothing"),
        pytest.param([A, None, "x"], "w??", id="entries that are none"),
        pytest.param([A, {"none": False}, C], "w?w", id="a plain value is no verdict"),
        *(pytest.param(each, "???", id=f"no list: {each!r}") for each in NO_LISTS),
    ],
)
def test_p02_in_order_is_complete_or_unknown(entries: Any, expected: str) -> None:
    """With one entry less or more nobody knows whose the others are; a bad entry costs its own record only."""
    verdicts = in_order(entries, call_of(0, 1, 2), fate)

    assert kinds(verdicts) == expected
    if expected == "wrw":
        assert verdicts == [Written("a"), Rejected("b"), Written("c")]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        pytest.param("xyz", "www", id="in order"),
        pytest.param("xzy", "???", id="shuffled"),
        pytest.param("xyy", "???", id="doubled"),
        pytest.param("xy", "???", id="short"),
    ],
)
def test_p02_in_order_may_look_whether_the_order_is_kept(ids: str, expected: str) -> None:
    """One entry that shows another record's id, and the order proves nothing any more."""
    call = call_of({"id": "x"}, {"id": "y"}, {"id": "z"}, type="update")
    entries = [{"ok": each} for each in ids]

    assert kinds(in_order(entries, call, fate, matches=lambda e, item: e["ok"] == item.record["id"])) == expected


@pytest.mark.parametrize("says", [None, 1, "yes"])
def test_p02_in_order_takes_only_yes_for_yes(says: Any) -> None:
    """What is not True, or cannot be compared, is no proof."""
    assert kinds(in_order([A, C], call_of(0, 1), fate, matches=lambda e, item: says)) == "??"
    assert kinds(in_order([A, C], call_of(0, 1), fate, matches=lambda e, item: e["absent"])) == "??"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([at("0", A), at("1", B), at("2", C)], "wrw", id="complete"),
        pytest.param([at("2", C), at("0", A), at("1", B)], "wrw", id="shuffled"),
        pytest.param([at(2, C), at(0, A), at(1, B)], "wrw", id="numbers"),
        pytest.param([at("0", A), at("2", C)], "w?w", id="short"),
        pytest.param([at("0", A), at("0", A), at("2", C)], "??w", id="doubled"),
        pytest.param([at("0", A), at("1", B), at("1", C), at("2", C)], "w?w", id="contradicting"),
        pytest.param([at("0", A), at("3", B), at("2", C)], "w?w", id="of another call"),
        pytest.param([at("0", A), B, at(None, B), at(True, B), at([1], B), at(1.0, B), at("2", C)], "w?w", id="no key"),
        pytest.param([None, "x", at("2", C)], "??w", id="no objects"),
        pytest.param([at("1", {}), at("2", {"none": 0})], "???", id="malformed"),
        pytest.param([], "???", id="empty"),
        *(pytest.param(each, "???", id=f"no list: {each!r}") for each in NO_LISTS),
    ],
)
def test_p02_by_key_each_record_stands_for_itself(entries: Any, expected: str) -> None:
    """A record that no entry names, or two, is unknown; the others are not touched by that."""
    assert kinds(by_key(entries, call_of(0, 1, 2), fate)) == expected


def test_p02_keys_are_numbers_and_texts_only() -> None:
    """A truth value that is written like a text is not that text."""
    assert kinds(by_key([{"k": True, **A}], call_of({"k": "True"}), fate, key="k", item_key="k")) == "?"
    assert kinds(by_key([{"k": "True", **A}], call_of({"k": True}), fate, key="k", item_key="k")) == "?"
    assert kinds(by_key([{"k": 7, **A}], call_of({"k": "7"}), fate, key="k", item_key="k")) == "w"


def test_by_key_gives_each_record_its_own() -> None:
    """Shuffled entries: the verdict and the id are those of the record that is named."""
    call = call_of({"email": "a"}, {"email": "b"}, {"email": "c"})
    entries = [{"who": "c", "ok": "3"}, {"who": "a", "ok": "1"}, {"who": "b", "bad": "no"}]

    assert by_key(entries, call, fate, key="who", item_key="email") == [Written("1"), Rejected("no"), Written("3")]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([{"email": "a"}, {"email": "b"}], "wr", id="distinct"),
        pytest.param([{"email": "a"}, {"email": "A"}, {"email": "b"}], "??r", id="two of one key"),
        pytest.param([{"email": "a"}, {"name": "b"}], "w?", id="a record without the key"),
        pytest.param([{"email": None}, {"email": "b"}], "?r", id="a record with an empty key"),
    ],
)
def test_p02_by_key_with_functions(records: list[Any], expected: str) -> None:
    """Keys may be normalised on both sides; records that are alike then are told apart by nothing."""
    verdicts = by_key(
        [{"mail": {"to": "A"}, **A}, {"mail": {"to": "B"}, **B}, {"mail": None, **A}],
        call_of(*records),
        fate,
        key=lambda entry: entry["mail"]["to"].lower(),
        item_key=lambda item: item.record["email"].lower(),
    )
    assert kinds(verdicts) == expected


@pytest.mark.parametrize(
    ("made", "failed", "expected"),
    [
        pytest.param([at("0", {"id": "0"})], [at("1", B)], "wr?", id="one missing"),
        pytest.param([at("2", {}), at("0", {})], [at("1", B)], "wrw", id="complete"),
        pytest.param([at("0", {}), at("1", {})], [at("1", B)], "w??", id="in both lists"),
        pytest.param(None, [at("1", B)], "?r?", id="one list is not there"),
        pytest.param("x", None, "???", id="no lists"),
    ],
)
def test_p02_by_lists_the_list_is_the_fate(made: Any, failed: Any, expected: str) -> None:
    """A record in two lists is unknown; nothing follows from a list that is missing."""
    verdicts = by_lists(call_of(0, 1, 2), (made, lambda entry: Written(entry["id"])), (failed, fate))

    assert kinds(verdicts) == expected


@pytest.mark.parametrize(
    ("errors", "failed", "expected"),
    [
        pytest.param([], None, "www", id="none"),
        pytest.param([], 0, "www", id="none, counted"),
        pytest.param([at(1, B, "index")], None, "wrw", id="one"),
        pytest.param([at(2, B, "index"), at(0, B, "index")], 2, "rwr", id="two, counted"),
        pytest.param([at(1, {"later": 1}, "index")], 1, "waw", id="again"),
        pytest.param([at(1, B, "index"), at(1, B, "index")], 1, "wrw", id="doubled"),
        pytest.param([at(1, B, "index"), at(1, {"later": 1}, "index")], 1, "w?w", id="contradicting"),
        pytest.param([at(1, {"later": 1}, "index"), at(1, {"later": 1}, "index")], 1, "waw", id="again, doubled"),
        pytest.param([at(1, B, "index")], 2, "?r?", id="one got lost"),
        pytest.param([at(0, B, "index"), at(1, B, "index")], 1, "rr?", id="one too many"),
        pytest.param([at(1, B, "index")], True, "?r?", id="no count"),
        pytest.param([at(1, B, "index"), at(7, B, "index")], None, "?r?", id="one of no record"),
        pytest.param([at(7, B, "index"), at(1, B, "index")], 2, "?r?", id="one of no record, first"),
        pytest.param([at(1, B, "index"), B], None, "?r?", id="one without a key"),
        pytest.param([None], None, "???", id="one that is none"),
        pytest.param([at(1, {}, "index")], 1, "w?w", id="malformed"),
        *(pytest.param(each, None, "???", id=f"no list: {each!r}") for each in NO_LISTS),
    ],
)
def test_p02_all_but_trusts_only_failures_that_are_all_named(errors: Any, failed: Any, expected: str) -> None:
    """If a failure may be anybody's, or one is missing by the answer's own count, the others are not called written."""
    assert kinds(all_but(errors, call_of(0, 1, 2), fate, failed=failed)) == expected


def test_p02_all_but_with_a_key_that_two_records_have() -> None:
    """The failure is that of one of the two, and nobody knows which: both are unknown, and all others."""
    call = call_of({"k": "x"}, {"k": "x"}, {"k": "y"})

    assert kinds(all_but([at("x", B, "k")], call, fate, key="k", item_key="k")) == "???"
    assert kinds(all_but([at("y", B, "k")], call, fate, key="k", item_key="k")) == "wwr"


def test_all_but_joins_the_errors_of_a_record() -> None:
    """One error per field is common; all of them reach the caller, each once."""
    errors = [{"index": 0, "bad": word} for word in ("one", "two", "one")]

    assert all_but(errors, call_of(0), fate) == [Rejected([ErrorDetail("one"), ErrorDetail("two")])]


@pytest.mark.parametrize(("type", "record_id"), [("create", None), ("upsert", None), ("update", "7"), ("delete", "7")])
def test_all_but_knows_the_id_that_a_record_was_sent_with(type: str, record_id: str | None) -> None:
    """An answer that says nothing of successes need not: updates and deletes name their record."""
    call = call_of({"id": "7"}, type=type)

    assert all_but([], call, fate) == [Written(record_id)]
    assert all_but([], call, fate, written=lambda item: Written(item.record["id"], "own")) == [Written("7", "own")]
    assert kinds(all_but([], call, fate, written=lambda item: item.record["absent"])) == "?"


@pytest.mark.parametrize(
    ("entries", "failed", "expected"),
    [
        pytest.param([], None, "www", id="all done"),
        pytest.param([{"index": 2}], None, "wwa", id="one left"),
        pytest.param([{"index": 2}, {"index": 2}], 1, "wwa", id="doubled"),
        pytest.param([{"index": 2}], 2, "??a", id="one got lost"),
        pytest.param([{"index": 2}, {"index": 3}], None, "??a", id="of no record"),
        pytest.param(None, None, "???", id="no list"),
    ],
)
def test_p02_unprocessed_goes_again_and_the_rest_is_written(entries: Any, failed: Any, expected: str) -> None:
    """What the API did not get to was not applied; what it does not list was, if all that it lists is known."""
    assert kinds(unprocessed(entries, call_of(0, 1, 2), failed=failed)) == expected


def test_unprocessed_says_when_to_try_again() -> None:
    """After the seconds given, the lane paused or not; each record has a verdict of its own."""
    first, second = unprocessed([{"k": 1}, {"k": 2}], call_of(1, 2), key="k", item_key="n", after=5.0)
    (calm,) = unprocessed([{"k": 1}], call_of(1), key="k", item_key="n", pause_lane=False)

    assert isinstance(first, Retry) and first is not second
    assert (first.after, first.pause_lane, first.applied) == (5.0, True, "no")
    assert (calm.after, calm.pause_lane) == (None, False)


def test_unprocessed_may_be_the_records_themselves() -> None:
    """As DynamoDB gives them back: recognised by whatever of theirs is their own."""
    call = call_of({"pk": "a", "v": 1}, {"pk": "b", "v": 2})
    left = [{"PutRequest": {"Item": {"pk": {"S": "b"}, "v": {"N": "2"}}}}]
    verdicts = unprocessed(left, call, key=lambda entry: entry["PutRequest"]["Item"]["pk"]["S"], item_key="pk")

    assert kinds(verdicts) == "wa"


def test_p13_what_a_fate_raises_is_the_cause_and_shows_no_payload() -> None:
    """The exception is there for whoever debugs the function; printed is its name."""

    def broken(entry: Any) -> Outcome:
        raise ValueError("ada@example.com")

    (verdict,) = in_order([A], call_of(0), broken)

    assert isinstance(verdict, Unknown) and isinstance(verdict.cause, ValueError)
    assert "ada" not in repr(verdict)
