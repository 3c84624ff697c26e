"""After a call: who is settled, who goes again, and whose culprit is looked for."""

from __future__ import annotations

from typing import Any

import pytest

from batcher._core.model.states import State
from batcher.errors import RecordRejected
from batcher.events import FlushReason
from batcher.outcomes import (
    ErrorDetail,
    NotWritten,
    Refused,
    Rejected,
    Retry,
    Unknown,
    Written,
)
from batcher.policies import LaneRules, RetryPolicy
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

QUICK = RetryPolicy(deadline=60, backoff_base=2, backoff_cap=8)


# Plain answers


TOO_LATE = "; to be sent again in {} s, beyond the deadline of 60 s of the RetryPolicy"


def test_each_record_gets_its_own_value() -> None:
    """
    The item at its position is the fate of a record.
    """
    engine, batch = answered(("001", None))
    assert fates(batch) == [Written(data="001"), Written()]
    assert engine.poll(0.0).settled == list(batch.entries)
    assert engine.accumulator.outcomes == {"written": 2}


def test_one_bad_record_costs_nobody_else() -> None:
    """
    A batch may be written in part.
    """
    engine, batch = answered(["001", ValueError("bad")])
    assert fates(batch) == [Written(data="001"), Rejected(ErrorDetail("bad", code="ValueError"))]
    assert engine.accumulator.outcomes == {"written": 1, "rejected": 1}


@pytest.mark.parametrize("garbage", [["001"], ["001", "002", "003"], [], None, "ab", {"a": 1, "b": 2}, 7])
def test_an_answer_nobody_can_read(garbage: Any) -> None:
    """
    A wrong count or no list at all is unknown for all, and nothing is tried again on its own.
    """
    engine, batch = answered(garbage)
    assert {fate.kind for fate in fates(batch) if fate} == {"unknown"}
    assert "the write function returned" in str(batch.entries[0].verdict.cause)
    assert engine.poll(1e6).batches == []


def test_sizes_are_given_back() -> None:
    """
    Bytes are released with the records, whether all are settled at once or some.
    """
    engine = make_engine(max_delay=0)
    batch = one_batch(engine, record(0, size=3), record(1, size=4))
    answer(engine, batch, [1, Retry("later")])
    assert (engine.accumulator.admission.pending_bytes, batch.lane.pending_bytes) == (4, 4)
    (again,) = dispatched(engine)
    answer(engine, again, [1])
    assert (engine.accumulator.admission.pending_bytes, engine.pending) == (0, 0)


# Retries


def test_a_retried_record_comes_back_to_the_front() -> None:
    """
    It waits for its backoff, and shares its next batch with new ones; its neighbour is settled already.
    """
    engine, batch = answered(["001", Retry("busy")], retry=QUICK, jitter=0.5)
    assert [entry.state for entry in batch.entries] == [State.SETTLED, State.BACKING_OFF]
    submit(engine, record("new"))

    assert engine.next_at == 1.0
    assert send(engine, 0.5) == []
    (again,) = dispatched(engine, 1.0)
    assert (again.records, again.reason) == ([1, "new"], FlushReason.RETRY)


def test_the_backoff_doubles() -> None:
    """
    Each retry may wait twice as long as the one before, up to the cap.
    """
    engine = make_engine(retry=RetryPolicy(deadline=1000, backoff_base=2, backoff_cap=8))
    batch, now = one_batch(engine, record()), 0.0
    for delay in (2.0, 4.0, 8.0, 8.0):
        answer(engine, batch, [Retry("busy")], now, jitter=1.0)
        assert send(engine, now + delay - 0.5) == []
        now += delay
        (batch,) = dispatched(engine, now)
    assert (batch.entries[0].extras.retries, batch.entries[0].extras.attempts) == (4, 4)


def test_each_record_for_its_own_reason() -> None:
    """
    Retry-After belongs to the record that it was said of.
    """
    engine, _ = answered([Retry("busy", after=3), Retry("busy", after=1), Retry("busy", after=3)], 3)
    assert send(engine, 1.0) == [[1]]
    assert send(engine, 2.5) == []
    assert send(engine, 3.0) == [[0, 2]]


def test_a_batch_raised_as_retry() -> None:
    """
    Raised, Retry is for all of them.
    """
    engine, batch = answered(Retry("busy", after=2), 3)
    assert [entry.extras.attempts for entry in batch.entries] == [1, 1, 1]
    assert send(engine, 2.0) == [[0, 1, 2]]


def test_a_paused_lane() -> None:
    """
    A throttled lane sends nothing until then, not even what is new and full; other lanes go on.
    """
    engine, _ = answered([Retry("throttled", after=4, pause_lane=True), 1], max_delay=0)
    submit(engine, *numbered(3))
    submit(engine, record("elsewhere"), key="deals")

    assert send(engine) == [["elsewhere"]]
    assert send(engine, 3.5) == []
    assert send(engine, 4.0) == [[0, 0, 1], [2]]


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """
    The longest pause counts.
    """
    engine, _ = answered([Retry("a", after=4, pause_lane=True), Retry("b", after=1, pause_lane=True)])
    assert send(engine, 1.0) == []
    assert send(engine, 4.0) == [[0, 1]]


def test_a_pause_for_a_record_that_is_given_up() -> None:
    """
    The lane is paused even if this record is not tried again.
    """
    engine, batch = answered([Retry("throttled", after=90, pause_lane=True), 1])
    assert fates(batch)[0] == NotWritten(f"throttled{TOO_LATE.format(90)}", 1)
    submit(engine, *numbered(3))
    assert send(engine, 89.5) == []
    assert send(engine, 90.0) == [[0, 1, 2]]


def test_a_retry_past_the_deadline_fails_at_once() -> None:
    """
    Nobody waits for a try that will not be made.
    """
    _, batch = answered([Retry("busy", after=60), Retry("busy", after=60.5)])
    assert fates(batch) == [None, NotWritten(f"busy{TOO_LATE.format(60.5)}", 1)]


def test_why_it_was_to_be_sent_again_is_kept_no_longer_than_it_waits() -> None:
    """
    An exception holds its traceback, and with it the records of its call; receipts may be kept for ever.
    """
    error = OSError("reset")
    engine, batch = answered([Retry(error), 1])
    assert batch.entries[0].extras.last is error
    (again,) = dispatched(engine, 30.0)
    assert again.entries[0].extras.last is None


def test_the_last_attempt() -> None:
    """
    With two attempts allowed the second call is the last.
    """
    engine, batch = answered([Retry("busy"), 1], retry=RetryPolicy(max_attempts=2))
    (again,) = dispatched(engine)
    answer(engine, again, [Retry("still busy")])
    assert fates(batch)[0] == NotWritten("still busy", 2)


@pytest.mark.parametrize("retries", [[Retry("lost", applied="maybe")] * 2, Retry("lost", applied="maybe")])
def test_a_doubtful_record_is_not_sent_again(retries: Any) -> None:
    """
    By default a record that may have been applied is never sent again on its own.
    """
    engine, batch = answered(retries)
    assert fates(batch) == [Unknown("lost"), Unknown("lost")]
    assert engine.poll(1e6).batches == []


def test_a_doubtful_record_is_sent_again_on_request() -> None:
    """
    With on_unknown="retry" it is; and the doubt stays until a call says otherwise.
    """
    engine, batch = answered(
        [Retry("lost", applied="maybe"), Retry("busy")], retry=RetryPolicy(on_unknown="retry", max_attempts=2)
    )
    (again,) = dispatched(engine)
    assert [entry.extras.maybe for entry in batch.entries] == [True, False]
    answer(engine, again, [Retry("busy"), Retry("busy")])
    assert fates(batch) == [Unknown("busy"), NotWritten("busy", 2)]


def test_the_doubt_outlives_further_retries() -> None:
    """
    A record that may have been applied once stays doubtful, however clear the later refusals are.
    """
    engine, batch = answered([Retry("lost", applied="maybe"), 1], retry=RetryPolicy(on_unknown="retry", max_attempts=3))
    for _ in range(2):
        (again,) = dispatched(engine)
        answer(engine, again, [Retry("busy")])
    assert fates(batch)[0] == Unknown("busy")


# Raised


@pytest.mark.parametrize("error", [OSError("reset"), TimeoutError("late"), KeyboardInterrupt()])
def test_a_raise_is_unknown_for_all(error: BaseException) -> None:
    """
    Nobody knows how far the call came; it is not made again.
    """
    engine, batch = answered(error)
    assert fates(batch) == [Unknown(error), Unknown(error)]
    assert engine.poll(1e6).batches == []


def test_a_raise_may_be_tried_again_on_request() -> None:
    """
    With on_unknown="retry" a raise is a retry for all, with backoff.
    """
    engine, _ = answered(OSError("reset"), retry=RetryPolicy(on_unknown="retry", backoff_base=2), jitter=1.0)
    assert send(engine, 1.5) == []
    assert send(engine, 2.0) == [[0, 1]]


def test_an_atomic_write_that_raises_applied_nothing() -> None:
    """
    With atomic=True a raise is a refusal: the culprit is looked for, and the exception is its error.
    """
    engine, batch = answered(ValueError("bad"), atomic=True)
    (first,) = dispatched(engine)
    answer(engine, first, ValueError("bad"))
    (second,) = dispatched(engine)
    answer(engine, second, ["002"])
    assert fates(batch) == [Rejected(ErrorDetail("bad", code="ValueError")), Written(data="002")]


@pytest.mark.parametrize("error", [TimeoutError("late"), KeyboardInterrupt()])
def test_an_atomic_write_that_was_cut_short(error: BaseException) -> None:
    """
    Even an atomic write may have been applied when it timed out or was cancelled.
    """
    _, batch = answered(error, atomic=True)
    assert fates(batch) == [Unknown(error), Unknown(error)]


def test_an_exception_without_words_settles_its_batch() -> None:
    """
    Whatever is raised or returned, every record gets its fate.
    """

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    _, batch = answered([Unprintable(), "002"])
    assert fates(batch) == [Rejected(ErrorDetail("", code="Unprintable")), Written(data="002")]
    _, batch = answered(Unprintable(), 1, atomic=True)
    assert fates(batch) == [Rejected(ErrorDetail("", code="Unprintable"))]


# In doubt


def test_a_refusal_after_a_doubtful_attempt() -> None:
    """
    A record that may be there already is not known to be absent because it is refused now, perhaps as a
    duplicate of itself; a success is a success.
    """
    engine, batch = answered([Retry("lost", applied="maybe")] * 3, 3, retry=RetryPolicy(on_unknown="retry"))
    (again,) = dispatched(engine)
    answer(engine, again, [Rejected("duplicate"), NotWritten("no"), Written("003")])

    first, second, third = fates(batch)
    assert isinstance(first, Unknown)
    assert isinstance(first.cause, RecordRejected)
    assert first.cause.outcome == Rejected("duplicate")
    assert isinstance(second, Unknown)
    assert third == Written("003")


def test_a_refused_batch_after_a_doubtful_attempt() -> None:
    """
    The same if the call is refused as a whole.
    """
    engine, batch = answered(Retry("lost", applied="maybe"), 1, retry=RetryPolicy(on_unknown="retry"))
    (again,) = dispatched(engine)
    answer(engine, again, Refused("duplicate"))
    (fate,) = fates(batch)
    assert isinstance(fate, Unknown)


def test_where_a_second_time_does_no_harm_a_lost_answer_is_no_reason_to_give_up() -> None:
    """
    An update that may have been applied is sent again; a refusal that follows leaves it in doubt.
    """
    engine = make_engine(rules_of=lambda key: LaneRules(idempotent=True))
    (batch,) = [one_batch(engine, record("a"))]
    answer(engine, batch, OSError("reset"))
    (again,) = dispatched(engine, 0.0)
    assert again.records == ["a"]
    answer(engine, again, [Rejected("gone")])
    assert isinstance(again.entries[0].fate(), Unknown)


def test_a_late_call_of_such_a_lane_keeps_its_records_until_it_has_ended() -> None:
    """
    Or they would be out twice.
    """
    engine = make_engine(rules_of=lambda key: LaneRules(idempotent=True))
    batch = one_batch(engine, record("a"))
    assert not engine.give_up_on(batch, TimeoutError(), 60.0)
    assert batch.entries
