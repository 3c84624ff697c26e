"""It ends: closing drains, aborting settles, and nothing is left."""

from __future__ import annotations

from math import inf

from batcher._core.engine import Engine
from batcher._core.model.entries import NOT_ACCEPTED
from batcher._core.model.states import State
from batcher._core.verbs import Verb
from batcher.events import FlushReason
from batcher.outcomes import NotWritten, Retry, Unknown
from batcher.policies import RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, send, submit


def assert_empty(engine: Engine) -> None:
    held = engine.accumulator
    assert (engine.pending, engine.in_flight, held.admission.pending_bytes) == (0, 0, 0)
    assert (len(held.admission), len(held.identities), len(held.scheduler.ready)) == (0, 0, 0)


def test_closing_makes_everything_due() -> None:
    """
    Nobody waits for company any more, also not those who are freed later.
    """
    engine = make_engine()
    submit(engine, record("a"), record("b", identity="003"), record("c", identity="003", delay=50.0))
    engine.close(1.0, until=31.0)
    (batch,) = dispatched(engine, 1.0)
    assert (batch.records, batch.reason) == (["a", "b"], FlushReason.CLOSING)
    answer(engine, batch, [1, 2], now=2.0)
    assert send(engine, 2.0) == [["c"]]


def test_the_gate_is_closed() -> None:
    """
    Whoever still waits for a place was never accepted.
    """
    engine = make_engine(max_pending_records=2, max_lane_records=2)
    submit(engine, *numbered(2), key="deals")
    (single,) = submit(engine, record("waits"))
    group, _ = engine.submit_group(numbered(2), "contacts", 0.0)
    engine.close(0.0, until=30.0)

    plan = engine.poll(0.0)
    assert plan.settled == [single, *group.members]
    assert {entry.verdict for entry in plan.settled} == {NOT_ACCEPTED}
    assert engine.accumulator.outcomes == {}
    assert [batch.records for batch in plan.batches] == [[0, 1]]


def test_a_retry_within_the_time_left() -> None:
    """
    Backoffs that end before the batcher does are waited for; the others are settled at once.
    """
    engine = make_engine()
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("x", after=30), Retry("x", after=30.5), Retry("x", after=50)])
    gone = batch.entries[2]
    engine.withdraw(gone, 0.0)
    engine.close(0.0, until=30.0)

    assert batch.entries[1].verdict == NotWritten("the batcher closed before its next try", 1)
    assert gone.verdict == NotWritten("withdrawn by its caller", 1)
    (batch,) = dispatched(engine, 30.0)
    assert batch.records == [0]
    answer(engine, batch, [Retry("x", after=0.5)], now=30.0)
    assert batch.entries[0].verdict == NotWritten(
        "x; to be sent again in 0.5 s, beyond the end of the batcher, which is closing", 2
    )
    assert_empty(engine)


def test_a_group_backing_off_beyond_the_end() -> None:
    """
    A group is settled whole.
    """
    engine = make_engine()
    group, _ = engine.submit_group(numbered(2), "contacts", 0.0)
    (batch,) = dispatched(engine)
    answer(engine, batch, Retry("x", after=50))
    engine.close(0.0, until=30.0)
    assert [member.state for member in group.members] == [State.SETTLED] * 2
    assert_empty(engine)


def test_a_pause_within_the_time_left() -> None:
    """
    A lane whose pause ends in time sends when it does.
    """
    engine = make_engine()
    submit(engine, *numbered(4))
    (batch,) = dispatched(engine)
    answer(engine, batch, [1, 2, Retry("x", after=30, pause_lane=True)])
    engine.close(0.0, until=30.0)
    assert engine.poll(0.0).ask_again_at == 5.0, "nothing to do then: an earlier note stands"
    assert send(engine, 29.5) == []
    assert send(engine, 30.0) == [[2, 3]]


def test_a_pause_beyond_the_end() -> None:
    """
    What a pause holds longer than the batcher lives is settled at once, group or not, also what comes to
    the lane later.
    """
    engine = make_engine(max_lane_in_flight=2)
    submit(engine, *numbered(2), record("elsewhere", identity="003"))
    submit(engine, record("single"), record("bound", identity="003"))
    (batch,) = dispatched(engine)
    engine.submit_group(numbered(2), "contacts", 0.0)
    (group,) = dispatched(engine)
    answer(engine, group, Retry("x", after=3, pause_lane=True))
    answer(engine, batch, [1, Retry("x", after=30.5, pause_lane=True), Retry("busy", after=1)])
    engine.close(0.0, until=30.0)

    plan = engine.poll(0.0)
    assert [entry.record for entry in plan.settled] == [0, 1, "single"]
    assert plan.settled[2].verdict == NotWritten("its lane is paused beyond the shutdown timeout", 0)
    plan = engine.poll(1.0)
    assert [entry.record for entry in plan.settled] == ["elsewhere", "bound"]
    plan = engine.poll(3.0)
    assert {entry.verdict for entry in plan.settled} == {
        NotWritten("its lane is paused beyond the shutdown timeout", 1)
    }
    assert_empty(engine)
    engine.poll(31.0)
    assert engine.accumulator.lanes.by_key == {}


def test_closing_respects_the_limits() -> None:
    """
    No more calls at once than ever; the rest follows.
    """
    engine = make_engine(max_lane_in_flight=1)
    submit(engine, *numbered(7))
    engine.close(0.0, until=30.0)
    sent = []
    while batches := dispatched(engine):
        (batch,) = batches
        sent.append(batch.records)
        answer(engine, batch, [0] * len(batch.entries))
    assert sent == [[0, 1, 2], [3, 4, 5], [6]]
    assert_empty(engine)


def test_abort_settles_everything() -> None:
    """
    Nothing more is sent: what a call carries is unknown, the rest is not written, and nobody is left out.
    """
    engine = make_engine(max_pending_records=12, max_lane_records=10, retry=RetryPolicy(on_unknown="retry"))
    backing = submit(engine, *numbered(3), key="backing")
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("x", after=9), Retry("lost", after=9, applied="maybe"), "ok"])
    flying = submit(engine, record(identity="003"), *numbered(2))
    dispatched(engine)
    parked = submit(engine, record(identity="003"), record(identity="003"))
    group, _ = engine.submit_group([record(identity="003"), record()], "contacts", 0.0)
    buffered = submit(engine, record())
    engine.abort(1.0, "the host was cancelled")

    cause = "the host was cancelled"
    assert [entry.verdict for entry in flying] == [Unknown(cause)] * 3
    for entry in (*parked, *group.members, *buffered):
        assert entry.verdict == NotWritten(cause, 0)
    assert [entry.verdict for entry in backing[:2]] == [
        NotWritten(cause, 1),
        Unknown(cause),
    ]
    assert_empty(engine)
    plan = engine.poll(1.0)
    assert (plan.batches, len(plan.settled)) == ([], 10)
    assert engine.accumulator.outcomes == {"written": 1, "unknown": 4, "not_written": 6}


def test_a_call_that_ends_after_abort() -> None:
    """
    An answer that comes too late changes no fate.
    """
    engine = make_engine()
    submit(engine, *numbered(6))
    group, _ = engine.submit_group(numbered(2), "contacts", 0.0)
    batches = dispatched(engine)
    assert len(batches) == 3
    engine.abort(0.0, "stop")
    engine.poll(0.0)
    for batch in batches:
        answer(engine, batch, ["ok"] * len(batch.entries))
        assert {entry.verdict for entry in batch.entries} == {Unknown("stop")}
    assert engine.poll(0.0).settled == []
    assert group.lane.in_flight == 0
    assert_empty(engine)


def test_abort_after_closing() -> None:
    """
    What is still out when the time is up is settled.
    """
    engine = make_engine(max_lane_in_flight=1)
    submit(engine, *numbered(4))
    engine.close(0.0, until=30.0)
    (batch,) = dispatched(engine)
    engine.abort(30.0, "out of time")
    assert [entry.verdict for entry in batch.entries] == [Unknown("out of time")] * 3
    assert_empty(engine)
    assert engine.poll(30.0).batches == []


def test_aborting_an_empty_engine() -> None:
    """
    There is nothing to settle, and nothing is sent afterwards either.
    """
    engine = make_engine()
    engine.abort(0.0, "stop")
    assert engine.poll(0.0).ask_again_at == inf
    assert_empty(engine)


def test_a_lane_paused_when_aborted_is_forgotten() -> None:
    """
    Even then, no lane outlives its pause.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, *numbered(4))
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("x", after=50, pause_lane=True), 1, 2])
    submit(engine, *numbered(3))
    engine.abort(0.0, "stop")
    engine.poll(5.0)
    engine.poll(50.0)
    assert (engine.accumulator.lanes.by_key, engine.next_at) == ({}, inf)


def test_a_submit_while_closing_leaves_at_once() -> None:
    """
    The shell lets nobody in; if somebody came in, he would not be forgotten.
    """
    engine = make_engine()
    engine.close(0.0, until=30.0)
    assert engine.submit(record("late", identity="003"), "contacts", 0.0) is Verb.DISPATCH
    assert send(engine) == [["late"]]


def test_abort_turns_waiters_away() -> None:
    """
    Whoever waits for a place when the host is cancelled was never accepted, and his lane is gone.
    """
    engine = make_engine(max_pending_records=2, max_lane_records=2)
    submit(engine, *numbered(2), key="deals")
    (entry,) = submit(engine, record("waits"))
    engine.abort(0.0, "stop")
    assert entry.verdict is NOT_ACCEPTED
    assert engine.accumulator.lanes.by_key == {}
    assert_empty(engine)


def test_a_plain_submit_while_closing_is_not_forgotten() -> None:
    """
    The same for a record without extras.
    """
    engine = make_engine()
    engine.close(0.0, until=30.0)
    engine.submit(record("late"), "contacts", 0.0)
    assert send(engine) == [["late"]]


def test_a_call_that_was_never_begun_when_aborted() -> None:
    """
    A batch that no worker has taken yet is known not to be applied, unless an earlier attempt may have been.
    """
    engine = make_engine(retry=RetryPolicy(on_unknown="retry"))
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    answer(engine, batch, [1, Retry("busy"), Retry("lost", applied="maybe")])
    submit(engine, *numbered(3), key="deals")
    group, _ = engine.submit_group(numbered(2), "notes", 0.0)
    again, out, unsent = sorted(dispatched(engine), key=lambda each: str(each.lane.key))
    engine.abort(0.0, "stop", (again, unsent))

    assert [entry.verdict for entry in again.entries] == [NotWritten("stop", 1), Unknown("stop")]
    assert [entry.verdict for entry in out.entries] == [Unknown("stop")] * 3
    assert [entry.verdict for entry in group.members] == [NotWritten("stop", 0)] * 2
    assert_empty(engine)
    assert engine.accumulator.lanes.by_key == {}


def test_abort_after_giving_up_on_a_call() -> None:
    """
    Who waits for a record of such a call is settled like everybody else.
    """
    engine = make_engine()
    submit(engine, record(identity="003"), *numbered(2))
    (batch,) = dispatched(engine)
    (entry,) = submit(engine, record("next", identity="003"))
    engine.give_up_on(batch, TimeoutError(), 60.0)
    engine.abort(61.0, "stop")
    assert entry.verdict == NotWritten("stop", 0)
    assert_empty(engine)
    answer(engine, batch, [1, 2, 3], now=62.0)
    assert engine.accumulator.lanes.by_key == {}


def test_a_pause_that_lasts_beyond_the_end() -> None:
    """
    What waits in a paused lane is told at once that there is no time for it.
    """
    engine = make_engine(retry=RetryPolicy(deadline=200))
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    buffered = submit(engine, record("ada"), record("bob"))
    engine.poll(0.0)
    answer(engine, batch, [Retry("429", after=100, pause_lane=True), 1, 2])
    engine.poll(0.0)
    engine.close(1.0, 31.0)
    engine.poll(1.0)
    assert [entry.fate() for entry in buffered] == [NotWritten("its lane is paused beyond the shutdown timeout")] * 2
