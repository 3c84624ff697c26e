"""What a verdict means."""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import AsyncIterator
from typing import Any

import pytest

from batcher._core.model.entries import NOT_ACCEPTED, Group
from batcher._core.verdicts import (
    detail_of,
    doubted,
    kept_nothing,
    listed,
    named_among,
    plain,
    read,
    refused_group,
    settled_group,
)
from batcher.errors import RecordError, RecordRejected, error_for
from batcher.outcomes import (
    Accepted,
    ErrorDetail,
    NotWritten,
    Refused,
    Rejected,
    Retry,
    RolledBack,
    Unknown,
    Written,
)
from tests.core.building import numbered


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def each() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        *((None, ""), (7, ""), ("ab", ""), (b"ab", ""), (bytearray(b"ab"), ""), (memoryview(b"ab"), "")),
        *((iter("ab"), "; use list(...)"), ({1: 2}.values(), "; use list(...)")),
        ({1: 2, 3: 4}, "; if its keys are the records, return [answer[record] for record in records]"),
        *((each, "; it has no order, so build a list in the order of the records") for each in ({1, 2}, {1: 2}.keys())),
        (each(), "; return [item async for item in ...]"),
    ],
)
def test_an_answer_that_is_no_list(answer: Any, hint: str) -> None:
    """
    Text, mappings and iterators belong to no record; the problem is told by type and not by content, and the way out
    gives no record what belongs to another.
    """
    name = type(answer).__name__
    words = f"the write function returned {name}, not a list with one item per record{hint}"
    assert listed(answer, 2) == Unknown(words)


@pytest.mark.parametrize("answer", [[1, 2], (1, 2), deque([1, 2]), range(1, 3)])
def test_any_sequence_will_do(answer: Any) -> None:
    """
    One item per record, in whatever sequence.
    """
    assert listed(answer, 2) == [1, 2]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_count(count: int) -> None:
    """
    Too few and too many are equally useless: nobody knows whose verdict is whose.
    """
    assert listed([None] * count, 2) == Unknown(f"the write function returned {count} items for 2 records")


def test_a_sequence_that_cannot_be_read() -> None:
    """
    A lazy sequence that fails while it is read is as good as no answer.
    """

    class Lazy(UserList[int]):
        def __iter__(self) -> Any:
            raise OSError("decoding")

    fate = listed(Lazy([1, 2]), 2)
    assert isinstance(fate, Unknown)
    assert isinstance(fate.cause, OSError)


@pytest.mark.parametrize(
    "verdict",
    [
        *(Rejected("no"), Unknown("lost"), NotWritten("no"), RolledBack((), "no"), Retry("later")),
        *(ValueError(), KeyboardInterrupt(), Refused("no"), Retry, Written),
    ],
)
def test_not_all_plain(verdict: Any) -> None:
    """
    One verdict that is more than a value or a success, and the answer must be interpreted.
    """
    assert plain([1, "two", None, object(), Written("001"), Accepted("op")])
    assert plain([])
    assert not plain([1, verdict, 3])


@pytest.mark.parametrize(
    "verdict",
    [None, 0, {"id": "001"}, Written("001"), Accepted("op"), Rejected("no"), NotWritten("no"), Retry("later")],
)
def test_read_as_it_is(verdict: Any) -> None:
    """
    Values, outcomes and retries mean what they say.
    """
    assert read(verdict) is verdict


def test_an_exception_means_rejected() -> None:
    """
    A returned exception is that record's rejection, and its cause.
    """
    error = ValueError("bad email")
    fate = read(error)

    assert fate == Rejected(ErrorDetail("bad email", code="ValueError"))
    assert fate.cause is error
    assert fate.isolated


@pytest.mark.parametrize(
    "error", [TimeoutError(), ConnectionResetError(), ExceptionGroup("two", [ValueError(), OSError()])]
)
def test_an_exception_that_says_that_the_answer_was_lost(error: Exception) -> None:
    """
    Such a one refuses nothing: its record is in doubt, as a whole call is that raises it.
    """
    fate = read(error)

    assert isinstance(fate, Retry)
    assert (fate.cause, fate.applied) == (error, "maybe")


def test_an_exception_without_words() -> None:
    """
    An exception that cannot be printed costs nobody but its own record anything.
    """
    assert detail_of(Unprintable()) == ErrorDetail("", code="Unprintable")
    assert read(Unprintable()) == Rejected(ErrorDetail("", code="Unprintable"))


def test_refused_for_one_record() -> None:
    """
    Refused, returned for one record, is its rejection.
    """
    assert read(Refused(["no", "never"])) == Rejected(["no", "never"])


def test_our_own_errors_carry_their_outcome() -> None:
    """
    An error of another batcher, passed on, means its outcome.
    """
    outcome = Rejected("taken")
    error = error_for(outcome)
    assert isinstance(error, RecordRejected)
    assert read(error) is outcome
    assert read(error_for(RolledBack((1,), "other"))) == Rejected("other")


def test_rolled_back_exists_only_in_groups() -> None:
    """
    For a single record it means rejected.
    """
    assert read(RolledBack((0,), ["no"])) == Rejected(["no"])


@pytest.mark.parametrize("leak", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_an_exit_says_nothing_about_a_record(leak: BaseException) -> None:
    """
    A cancellation or an exit that leaked into a verdict means unknown.
    """
    fate = read(leak)
    assert isinstance(fate, Unknown)
    assert fate.cause is leak


def test_named_culprits_are_positions() -> None:
    """
    What is no position in the call is ignored, and the others come in order.
    """
    named: dict[Any, object] = {2: "c", 0: "a", 3: "beyond", -1: "before"}
    refused = Refused("no", named)

    assert named_among(refused, 3) == {0: (ErrorDetail("a"),), 2: (ErrorDetail("c"),)}
    assert list(named_among(refused, 3)) == [0, 2]


def test_a_refused_group_with_culprits() -> None:
    """
    Members that the answer names get their own errors; the rest is rolled back because of them.
    """
    group = Group(numbered(4))
    fates = refused_group(group, Refused("whole", {3: "three", 1: ["one", "uno"]}))

    rest = RolledBack((1, 3), ["one", "uno", "three"])
    assert fates == [rest, Rejected(["one", "uno"]), rest, Rejected("three")]


@pytest.mark.parametrize("named", [None, {9: "nobody"}])
def test_a_refused_group_without_culprits(named: dict[int, object] | None) -> None:
    """
    If the answer names no member, all are rolled back with the errors of the call.
    """
    assert refused_group(Group(numbered(2)), Refused("whole", named)) == [RolledBack((), "whole")] * 2


def settled(*fates: Any) -> list[Any]:
    return settled_group(Group(numbered(len(fates))), fates)


def test_an_answered_group_with_culprits() -> None:
    """
    Members said to be rolled back learn of whom, and one that was to be retried is rolled back as well.
    """
    told = RolledBack((), "dunno")
    rest = RolledBack((1, 2), ["bad", "taken"])
    assert settled(told, Rejected("bad"), Rejected("taken"), told, Retry("lock")) == [
        rest,
        Rejected("bad"),
        Rejected("taken"),
        rest,
        rest,
    ]


def test_an_answered_group_without_culprits() -> None:
    """
    If nobody is named, the destination's own words stand.
    """
    told = RolledBack((), "limit")
    assert settled(told, told) == [told, told]
    assert settled(told, Retry("lock")) == [told, NotWritten("lock", 0)]


def test_a_group_of_which_a_part_was_kept() -> None:
    """
    If the destination kept a part of a group all the same, the outcomes say so.
    """
    assert settled(Written("1"), "plain", Rejected("no"), RolledBack((), "x"), Retry("lock")) == [
        Written("1"),
        "plain",
        Rejected("no"),
        RolledBack((2,), "no"),
        NotWritten("lock", 0),
    ]


@pytest.mark.parametrize(
    ("fate", "nothing"),
    [
        (Retry("later"), True),
        (RolledBack((), "x"), True),
        (Rejected("no"), True),
        (Retry("lost", applied="maybe"), False),
        (Unknown("lost"), False),
        (Written(), False),
        ("plain", False),
    ],
)
def test_whether_a_group_may_go_again(fate: Any, nothing: bool) -> None:
    """
    A group goes again only if no member can have been applied.
    """
    assert kept_nothing([Retry("later"), fate]) is nothing
    assert kept_nothing([fate, Retry("later")]) is nothing


def test_an_outcome_nobody_knows() -> None:
    """
    An outcome of somebody's own making cannot be trusted to say what happened.
    """
    assert read(NOT_ACCEPTED) == Unknown("the write function returned NotAccepted, which is no outcome of this library")


@pytest.mark.parametrize("forgotten", [Retry, Written, ValueError, KeyboardInterrupt])
def test_a_class_instead_of_an_instance(forgotten: type) -> None:
    """
    Two forgotten parentheses are not taken for a value.
    """
    assert read(forgotten) == Unknown(
        f"the write function returned the class {forgotten.__name__}, not an instance of it"
    )
    assert read(int) is int


@pytest.mark.parametrize("fate", [Rejected("no"), NotWritten("no"), RolledBack((), "no")])
def test_a_failure_in_doubt(fate: Any) -> None:
    """
    After a doubtful attempt a failure is unknown, and its cause is the failure.
    """
    doubt = doubted(fate)
    assert isinstance(doubt, Unknown)
    assert isinstance(doubt.cause, RecordError)
    assert doubt.cause.outcome is fate


@pytest.mark.parametrize("fate", [Written(), Unknown("lost"), Accepted("op"), "plain"])
def test_no_doubt(fate: Any) -> None:
    """
    What is not known to be absent stays what it is.
    """
    assert doubted(fate) is fate
