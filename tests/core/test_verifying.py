"""After a lost answer the destination is asked what it holds, and only what is absent is sent again (P7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from batcher._core.batches import Batch
from batcher._core.engine import Engine
from batcher._core.model.entries import Entry
from batcher.events import FlushReason
from batcher.outcomes import Accepted, NotWritten, Refused, Rejected, Retry, RolledBack, Unknown, Written
from batcher.policies import LaneRules, RetryPolicy
from tests.core.building import answer, answered, dispatched, fates, make_engine, numbered

ABSENT = NotWritten("absent")
LOST = Retry("lost", applied="maybe")


def lost(count: int = 3, first: Any = LOST, **retry: Any) -> tuple[Engine, Batch, Batch]:
    """An engine whose first batch got *first* for an answer, that batch, and the question about it."""
    rules = LaneRules(verifiable=True)
    policy = RetryPolicy(on_unknown="verify", **retry)
    engine, batch = answered(first, count, retry=policy, rules_of=lambda key: rules)
    (question,) = dispatched(engine)
    return engine, batch, question


@pytest.mark.parametrize(
    "first",
    [
        LOST,
        OSError("reset"),
        TimeoutError(),
        [LOST, LOST, LOST],
        [Unknown("dropped"), Unknown("dropped"), KeyboardInterrupt()],
        [1, 2],
        None,
    ],
)
def test_every_kind_of_lost_answer_is_asked_about(first):
    """Raised, returned, miscounted or garbage: nothing is sent again before the destination has said what it holds."""
    _, batch, question = lost(first=first)

    assert question.asks and question.reason is FlushReason.VERIFY
    assert list(question.entries) == list(batch.entries)


def test_what_is_there_is_written_and_only_the_absent_is_sent_again():
    engine, batch, question = lost()
    answer(engine, question, [Written("7"), ABSENT, Unknown("another has this address")])
    (again,) = dispatched(engine)
    answer(engine, again, [Written("8")])

    assert not again.asks
    assert again.records == [1]
    assert fates(batch) == [Written("7"), Written("8"), Unknown("another has this address")]


def test_only_the_records_in_doubt_are_asked_about():
    """The others of the same call have their fate, or are sent again as ever."""
    _engine, batch, question = lost(first=[Written("1"), Unknown("dropped"), Rejected("bad")])

    assert question.records == [1]
    assert fates(batch) == [Written("1"), None, Rejected("bad")]


@pytest.mark.parametrize("told", [Retry("busy"), OSError("reset"), [1, 2], None, [Retry("busy")] * 3])
def test_a_question_that_is_not_answered_is_asked_again(told):
    engine, batch, question = lost()
    answer(engine, question, told)
    (second,) = dispatched(engine)

    assert second.asks
    assert list(second.entries) == list(batch.entries)


def test_whoever_gets_no_answer_in_time_is_unknown():
    """The deadline of the policy holds for questions, too."""
    engine, batch, question = lost(deadline=30)
    answer(engine, question, Retry("busy", after=31))

    assert kinds(batch.entries) == ["unknown"] * 3


def test_what_is_absent_when_the_time_is_over_is_unknown():
    """The lost call may still be carried out, and nobody will ask any more."""
    engine, batch, question = lost(count=1, deadline=30)
    answer(engine, question, [ABSENT], now=31.0)

    assert kinds(batch.entries) == ["unknown"]


@pytest.mark.parametrize("told", [Rejected("no"), RolledBack((), "no"), ValueError("no")])
def test_an_answer_that_says_nothing_of_presence_leaves_the_record_unknown(told):
    engine, batch, question = lost(count=1)
    answer(engine, question, [told])

    assert kinds(batch.entries) == ["unknown"]


@pytest.mark.parametrize("told", [Accepted("operation"), "a plain value"])
def test_any_success_is_told_as_it_is(told):
    engine, batch, question = lost(count=1)
    answer(engine, question, [told])

    assert batch.entries[0].verdict is told


@pytest.mark.parametrize(
    ("held", "fate"), [(Written("7"), Written("7")), (ABSENT, Rejected("taken")), (Unknown("?"), Unknown("?"))]
)
def test_a_refusal_after_a_doubt_is_asked_about(held, fate):
    """It may be refused as a duplicate of itself, because the lost call was carried out late. If it is absent still,
    it was refused for what it is."""
    engine, batch, question = lost(count=1)
    answer(engine, question, [ABSENT])
    (again,) = dispatched(engine)
    answer(engine, again, [Rejected("taken")])
    (second,) = dispatched(engine)
    answer(engine, second, [held])

    assert second.asks
    assert fates(batch) == [fate]


def test_a_refusal_of_the_whole_call_after_a_doubt_is_asked_about():
    engine, batch, question = lost(count=1)
    answer(engine, question, [ABSENT])
    (again,) = dispatched(engine)
    answer(engine, again, Refused("taken"))
    (second,) = dispatched(engine)
    answer(engine, second, [ABSENT])

    assert fates(batch) == [Rejected(Refused("taken").errors)]


def kinds(entries: Sequence[Entry]) -> list[str]:
    return [fate.kind for entry in entries if (fate := entry.fate()) is not None]


def group_in_doubt() -> tuple[Engine, list[Any], Batch]:
    rules = LaneRules(verifiable=True)
    engine = make_engine(retry=RetryPolicy(on_unknown="verify"), rules_of=lambda key: rules)
    members = numbered(2)
    engine.submit_group(members, "contacts", 0.0)
    (batch,) = dispatched(engine)
    answer(engine, batch, OSError("reset"))
    (question,) = dispatched(engine)
    return engine, members, question


def test_a_group_is_asked_about_as_a_whole_and_sent_again_as_one():
    engine, members, question = group_in_doubt()
    answer(engine, question, [ABSENT, ABSENT])
    (again,) = dispatched(engine)
    answer(engine, again, [Written("1"), Written("2")])

    assert question.asks and list(question.entries) == members
    assert again.group is not None and not again.asks
    assert [member.fate() for member in members] == [Written("1"), Written("2")]


@pytest.mark.parametrize("told", [[Retry("busy"), ABSENT], [ABSENT, Retry("busy")]])
def test_a_group_that_is_known_in_part_is_asked_about_again(told):
    engine, members, question = group_in_doubt()
    answer(engine, question, told)
    (second,) = dispatched(engine)

    assert second.asks and list(second.entries) == members


def test_a_group_of_which_a_part_is_there_is_told_what_happened():
    """The destination broke its own word; sending the rest would not mend it."""
    engine, members, question = group_in_doubt()
    answer(engine, question, [Written("1"), ABSENT])

    assert not dispatched(engine)
    assert [member.fate() for member in members] == [Written("1"), ABSENT]


@pytest.mark.parametrize("known", [Written("1"), "a plain value"])
def test_a_group_that_is_known_to_be_written_in_part_is_told_so(known):
    """A question that is never answered must not cost a caller the outcome that was known before."""
    rules = LaneRules(verifiable=True)
    engine = make_engine(retry=RetryPolicy(on_unknown="verify"), rules_of=lambda key: rules)
    members = numbered(2)
    engine.submit_group(members, "contacts", 0.0)
    (batch,) = dispatched(engine)
    answer(engine, batch, [known, Unknown("x")])

    assert not dispatched(engine, 60.0)
    assert members[0].verdict is known
    assert members[1].fate() == Unknown("x")


def test_a_group_refused_after_a_doubt_keeps_its_refusal_if_nothing_of_it_is_there():
    engine, members, question = group_in_doubt()
    answer(engine, question, [ABSENT, ABSENT])
    (again,) = dispatched(engine)
    answer(engine, again, Refused("bad", {0: "bad"}))
    (second,) = dispatched(engine)
    answer(engine, second, [ABSENT, ABSENT])

    assert second.asks
    assert kinds(members) == ["rejected", "rolled_back"]


def test_a_call_given_up_on_is_asked_about_once_it_has_ended():
    """Until then it may still be applied, and no question about it has an answer."""
    rules = LaneRules(verifiable=True)
    engine = make_engine(retry=RetryPolicy(on_unknown="verify"), rules_of=lambda key: rules)
    (entry,) = numbered(1)
    engine.submit(entry, "contacts", 0.0)
    engine.flush(0.0)
    (batch,) = dispatched(engine)

    assert not engine.give_up_on(batch, TimeoutError(), 1.0)
    assert not dispatched(engine, 1.0)
    answer(engine, batch, TimeoutError(), now=2.0)
    (question,) = dispatched(engine, 2.0)
    assert question.asks


@pytest.mark.parametrize("rules", [LaneRules(), LaneRules(idempotent=True, verifiable=True)])
def test_nobody_is_asked_where_that_is_impossible_or_needless(rules):
    """Where the destination cannot tell, the caller is told; where a second time does no harm, it is sent again."""
    engine, batch = answered(LOST, 1, retry=RetryPolicy(on_unknown="verify"), rules_of=lambda key: rules)
    batches = dispatched(engine)

    assert not any(each.asks for each in batches)
    assert bool(batches) == rules.idempotent
    assert (batch.entries[0].fate() is None) == rules.idempotent


def test_under_raise_nobody_is_asked():
    engine, batch = answered(LOST, 1, rules_of=lambda key: LaneRules(verifiable=True))

    assert not dispatched(engine)
    assert kinds(batch.entries) == ["unknown"]
