"""Calls refused as a whole: whose culprit is looked for, and what becomes of groups."""

from __future__ import annotations

from typing import Any

import pytest

from batcher._core.batches import Batch
from batcher._core.engine import Engine
from batcher.events import FlushReason
from batcher.outcomes import (
    ErrorDetail,
    NotWritten,
    Refused,
    Rejected,
    Retry,
    RolledBack,
    Unknown,
    Written,
)
from batcher.policies import AutoBatchPolicy, LaneRules, Limits, RetryPolicy
from tests.core.building import (
    answer,
    answered,
    dispatched,
    fates,
    make_engine,
    numbered,
    one_batch,
    record,
    send,
    submit,
)

# Refused as a whole


def test_named_culprits_alone_are_rejected() -> None:
    """
    The rest goes again at once, in one call of its own.
    """
    engine, batch = answered(Refused("whole", {1: "bad"}), 3)
    assert fates(batch) == [None, Rejected("bad"), None]
    (again,) = dispatched(engine)
    assert (again.records, again.reason) == ([0, 2], FlushReason.ISOLATION)
    answer(engine, again, ["000", "002"])
    assert fates(batch) == [Written(data="000"), Rejected("bad"), Written(data="002")]


def test_all_are_named() -> None:
    """
    If every record is a culprit, there is no further call.
    """
    engine, batch = answered(Refused("whole", {0: "bad", 1: "worse"}))
    assert fates(batch) == [Rejected("bad"), Rejected("worse")]
    assert send(engine) == []


@pytest.mark.parametrize("nobody", [{2: "beyond"}, {-1: "before"}])
def test_names_that_mean_nobody(nobody: dict[int, object]) -> None:
    """
    An answer that names a position outside of the batch has named nobody.
    """
    engine, _ = answered(Refused("whole", nobody))
    assert send(engine) == [[0]]


def test_one_record_is_its_own_culprit() -> None:
    """
    Refused alone, a record is rejected with the errors of the call.
    """
    engine, batch = answered(Refused(["no", "never"]), 1)
    assert fates(batch) == [Rejected(["no", "never"])]
    assert send(engine) == []


def halve(culprits: set[int], calls: int = 50, count: int = 8) -> tuple[Batch, int]:
    """Refuse every call that carries a culprit; return the first batch and the number of calls after it."""
    engine = make_engine(max_records=8, max_bytes=100, retry=RetryPolicy(isolation_calls=calls))
    first = one_batch(engine, *numbered(count))
    answer(engine, first, Refused("no"))
    made = 0
    while batches := dispatched(engine):
        for batch in batches:
            made += 1
            bad = culprits & set(batch.records)
            answer(engine, batch, Refused("no") if bad else [f"{name}" for name in batch.records])
    return first, made


def test_the_culprit_is_found_by_halving() -> None:
    """
    One among eight costs five or six more calls; only the culprit is rejected. Its half is not tried as a whole once
    the other is known to be clean.
    """
    batch, calls = halve({5})
    assert calls == 5
    assert fates(batch) == [Rejected("no") if name == 5 else Written(data=f"{name}") for name in range(8)]


def test_odd_halves() -> None:
    """
    Three records are split into one and two.
    """
    engine, _ = answered(Refused("no"), 3)
    (first,) = dispatched(engine)
    assert first.records == [0]
    answer(engine, first, Refused("no"))
    assert send(engine) == [[1, 2]]


def test_all_are_culprits() -> None:
    """
    If every record is refused, every record is asked about once.
    """
    batch, calls = halve(set(range(8)))
    assert calls == 14
    assert fates(batch) == [Rejected("no")] * 8


def test_the_search_has_a_budget() -> None:
    """
    When it is spent, those not cleared are rejected, with a word that they may be innocent.
    """
    batch, calls = halve({0}, calls=5)
    doubt = Rejected("no", isolated=False)
    assert calls == 5
    assert fates(batch) == [Rejected("no"), doubt, *(Written(data=f"{name}") for name in range(2, 8))]


def test_a_budget_that_suffices_to_the_call() -> None:
    """
    The last call of the budget may be made.
    """
    batch, calls = halve({0}, calls=6)
    assert calls == 6
    assert fates(batch)[:2] == [Rejected("no"), Written(data="1")]


def test_no_budget_for_the_rest() -> None:
    """
    Also those left over after culprits were named cost a call; without one they are not cleared.
    """
    engine = make_engine(retry=RetryPolicy(isolation_calls=1))
    batch = one_batch(engine, *numbered(3))
    answer(engine, batch, Refused("no", {0: "bad"}))
    (again,) = dispatched(engine)
    answer(engine, again, Refused("no", {0: "bad, too"}))
    assert fates(batch) == [Rejected("bad"), Rejected("bad, too"), Rejected("no", isolated=False)]


def test_isolation_counts_as_attempts() -> None:
    """
    Every call that carried a record is counted.
    """
    engine, batch = answered(Refused("no"))
    (first,) = dispatched(engine)
    answer(engine, first, [Retry("busy", after=90)])
    assert fates(batch)[0] == NotWritten(
        "busy; to be sent again in 90 s, beyond the deadline of 60 s of the RetryPolicy", 2
    )


def test_a_record_that_expires_while_its_culprit_is_looked_for() -> None:
    """
    Its own deadline holds for the calls of the search as well.
    """
    engine = make_engine()
    batch = one_batch(engine, record(0, expires_at=3.0), record(1))
    engine.poll(3.0)
    answer(engine, batch, Refused("no"), now=4.0)

    assert send(engine, 4.0) == [[1]]
    assert fates(batch)[0] == NotWritten("its deadline passed", 1)


# Groups


def group_answered(verdicts: Any, count: int = 2, **options: Any) -> tuple[Engine, Batch]:
    engine = make_engine(**options)
    engine.submit_group(numbered(count), "contacts", 0.0)
    (batch,) = dispatched(engine)
    answer(engine, batch, verdicts)
    return engine, batch


def test_a_group_is_written() -> None:
    """
    A group that was written is written, each member with its own value.
    """
    assert fates(group_answered(["a", Written("b")])[1]) == [Written(data="a"), Written("b")]
    assert fates(group_answered(["a", "b"])[1]) == [Written(data="a"), Written(data="b")]


def test_a_group_is_refused() -> None:
    """
    The culprit gets its errors and the others are rolled back; there is no search.
    """
    engine, batch = group_answered(Refused("whole", {1: "bad"}))
    assert fates(batch) == [RolledBack((1,), "bad"), Rejected("bad")]
    assert send(engine) == []
    assert fates(group_answered(["a", Rejected("bad")])[1]) == [Written(data="a"), Rejected("bad")]


def test_a_group_that_is_not_written_is_not_rolled_back() -> None:
    """
    No member is at fault, so each of them is told why nothing was written, and the group does not go again.
    """
    engine, batch = group_answered([NotWritten("HTTP 401", 1)] * 2)
    assert fates(batch) == [NotWritten("HTTP 401", 1)] * 2
    assert send(engine, 90.0) == []


def test_a_group_is_retried_whole() -> None:
    """
    One member asks for a retry, the others say that nothing was kept: the group goes again, whole, once
    the longest wait is over.
    """
    engine, batch = group_answered([Retry("lock", after=1), Retry("lock", after=3)])
    assert send(engine, 2.5) == []
    assert send(engine, 3.0) == [[0, 1]]
    assert [entry.extras.attempts for entry in batch.entries] == [1, 1]
    engine, _ = group_answered([RolledBack((), "other"), Retry("lock")])
    assert send(engine) == [[0, 1]]


def test_a_group_of_which_something_was_kept_is_not_retried() -> None:
    """
    If a member was or may have been applied, each member gets what is known of it.
    """
    assert fates(group_answered(["a", Retry("lock")])[1]) == [Written(data="a"), NotWritten("lock", 1)]
    assert fates(group_answered([Unknown("x"), Retry("y", applied="maybe")])[1]) == [Unknown("x"), Unknown("y")]


def test_a_group_out_of_retries() -> None:
    """
    All members share the fate.
    """
    _, batch = group_answered([Retry("lock", after=90), Retry("lock")])
    assert (
        fates(batch)
        == [NotWritten("lock; to be sent again in 90 s, beyond the deadline of 60 s of the RetryPolicy", 1)] * 2
    )


def test_a_group_whose_call_raised() -> None:
    """
    A raise is unknown for all members; a raised Retry sends the group again whole.
    """
    error = OSError()
    assert fates(group_answered(error)[1]) == [Unknown(error)] * 2
    assert (
        fates(group_answered(ValueError("bad"), atomic=True)[1])
        == [RolledBack((), ErrorDetail("bad", code="ValueError"))] * 2
    )
    engine, _ = group_answered(Retry("busy"))
    (batch,) = dispatched(engine)
    assert (batch.records, batch.reason) == ([0, 1], FlushReason.GROUP)


def test_a_group_waits_as_long_as_one_member_must() -> None:
    """
    A member without a wait of its own does not shorten that of another.
    """
    engine, _ = group_answered([Retry("x"), Retry("y", after=0.5)])
    assert send(engine) == []
    assert send(engine, 0.5) == [[0, 1]]


def test_a_raise_is_not_a_refusal_unless_said_so() -> None:
    """
    Only who says that a raise applied nothing has it taken for a refusal.
    """
    engine = Engine(AutoBatchPolicy(), RetryPolicy(), Limits(), lambda key: LaneRules())
    batch = one_batch(engine, record())
    answer(engine, batch, ValueError("bad"))
    (fate,) = fates(batch)
    assert isinstance(fate, Unknown)


def test_a_group_with_a_culprit_is_not_retried() -> None:
    """
    Another try would end the same way: the culprit gets its error, and the others are rolled back.
    """
    engine, batch = group_answered([Rejected("bad"), Retry("lock")])
    assert fates(batch) == [Rejected("bad"), RolledBack((0,), "bad")]
    assert send(engine, 60.0) == []


def test_a_group_of_which_a_member_is_in_doubt() -> None:
    """
    With a culprit and a doubt, nobody claims that the rest was rolled back.
    """
    _, batch = group_answered([Rejected("bad"), Retry("lost", applied="maybe"), RolledBack((), "x")], count=3)
    assert fates(batch) == [Rejected("bad"), Unknown("lost"), RolledBack((0,), "bad")]


def test_a_group_pauses_its_lane() -> None:
    """
    The lane is paused if any member says so, for as long as the longest wait.
    """
    engine, _ = group_answered([Retry("x", after=1, pause_lane=True), Retry("y", after=3)])
    submit(engine, *numbered(3))
    assert send(engine, 2.5) == []
    assert sorted(send(engine, 3.0)) == [[0, 1], [0, 1, 2]]


def test_a_group_answered_with_exceptions() -> None:
    """
    A returned exception names a culprit in a group as it does elsewhere.
    """
    detail = ErrorDetail("bad", code="ValueError")
    _, batch = group_answered([ValueError("bad"), RolledBack((), "x")])
    assert fates(batch) == [Rejected(detail), RolledBack((0,), detail)]
