"""Taking back, expiring, and what it costs to have many of everything."""

from __future__ import annotations

from math import inf
from typing import Literal

import pytest

from batcher._core.model.states import State
from batcher._core.verbs import Verb
from batcher.outcomes import NotWritten, Retry, Unknown
from batcher.policies import RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, send, submit

# Withdrawn, expired


def test_withdrawn_while_buffered() -> None:
    """
    A record that no call carries can be taken back: it is not written, its place is free, its batchmates
    never notice.
    """
    engine = make_engine()
    first, second = submit(engine, record(0, size=4), record(1))
    assert engine.withdraw(first, 0.0)

    assert first.fate() == NotWritten("withdrawn by its caller", 0)
    plan = engine.poll(0.0)
    assert (plan.settled, engine.pending, engine.accumulator.admission.pending_bytes) == ([first], 1, 0)
    assert send(engine, 5.0) == [[1]]
    assert second.state is State.IN_FLIGHT


def test_withdrawn_only_once() -> None:
    """
    What is settled stays settled, and what a call carries runs to its end.
    """
    engine = make_engine()
    entries = submit(engine, *numbered(4))
    (batch,) = dispatched(engine)
    assert engine.withdraw(entries[3], 0.0)
    assert not engine.withdraw(entries[3], 0.0)
    assert not engine.withdraw(entries[0], 0.0)
    answer(engine, batch, ["000", "001", "002"])
    assert not engine.withdraw(entries[0], 0.0)
    assert entries[0].verdict == "000"


def test_the_impatient_one_behind_a_withdrawn_opener() -> None:
    """
    When the record that opened a batch is withdrawn, the next one's own delay counts.
    """
    engine = make_engine()
    opener, _ = submit(engine, record("opener", delay=100.0), record("next", delay=1.0))
    assert engine.poll(0.0).ask_again_at == 100.0
    engine.withdraw(opener, 0.0)
    assert engine.poll(0.0).ask_again_at == 1.0
    assert send(engine, 1.0) == [["next"]]


def test_withdrawn_while_parked() -> None:
    """
    Whoever waits behind it moves up.
    """
    engine = make_engine()
    _, second, _ = submit(engine, *(record(each, identity="003") for each in range(3)))
    assert second.lane.parked == 2
    assert engine.withdraw(second, 0.0)
    assert second.lane.parked == 1
    for name in (0, 2):
        (batch,) = dispatched(engine, 5.0)
        assert batch.records == [name]
        answer(engine, batch, ["ok"], now=5.0)
    assert len(engine.accumulator.identities) == 0


def test_a_withdrawn_head_lets_the_next_one_in() -> None:
    """
    The successor of a withdrawn record leaves at its own time.
    """
    engine = make_engine()
    first, _ = submit(engine, record(0, identity="003"), record(1, identity="003"))
    engine.withdraw(first, 1.0)
    assert engine.poll(1.0).ask_again_at == 5.0
    assert send(engine, 5.0) == [[1]]


@pytest.mark.parametrize(
    ("applied", "fate"),
    [("no", NotWritten("withdrawn by its caller", 1)), ("maybe", Unknown("withdrawn by its caller"))],
)
def test_withdrawn_while_backing_off(applied: Literal["no", "maybe"], fate: object) -> None:
    """
    No further attempt is made; it is not written, unless the one that was made may have done it.
    """
    engine = make_engine(retry=RetryPolicy(on_unknown="retry"))
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("x", after=3, applied=applied), Retry("y", after=3), 1])
    assert engine.withdraw(batch.entries[0], 1.0)

    assert batch.entries[0].fate() == fate
    assert send(engine, 3.0) == [[1]]
    assert not engine.accumulator.backoffs


def test_withdrawn_before_a_poll() -> None:
    """
    A batch that was due and is withdrawn before anybody polled does not leave.
    """
    engine = make_engine()
    entries = submit(engine, *numbered(3))
    engine.withdraw(entries[0], 0.0)
    assert send(engine) == []
    assert send(engine, 5.0) == [[1, 2]]

    engine = make_engine()
    for entry in submit(engine, *numbered(3)):
        engine.withdraw(entry, 0.0)
    assert send(engine, 5.0) == []


def test_a_record_expires() -> None:
    """
    At its deadline a record is not sent any more; batchmates are.
    """
    engine = make_engine()
    (late,) = submit(engine, record("late", expires_at=5.0))
    submit(engine, record("other"))
    assert send(engine, 5.0) == [["other"]]
    assert late.fate() == NotWritten("its deadline passed", 0)


def test_a_record_in_flight_does_not_expire() -> None:
    """
    Once a call carries it, its fate is the call's.
    """
    engine = make_engine()
    (entry,) = submit(engine, record(expires_at=3.0))
    engine.flush(0.0)
    (batch,) = dispatched(engine)
    engine.poll(3.0)
    answer(engine, batch, ["001"], now=4.0)
    assert entry.verdict == "001"
    assert len(engine.accumulator.scheduler.deadlines) == 0


def test_the_last_record_expires_in_the_submit_of_the_next() -> None:
    """
    A newcomer that finds its lane just emptied does not lose it: both find the same lane.
    """
    engine = make_engine()
    submit(engine, record("old", expires_at=1.0))
    (new,) = submit(engine, record("new", identity="003"), now=1.0)

    assert engine.accumulator.lanes.by_key == {"contacts": new.lane}
    engine.flush(1.0)
    assert send(engine, 1.0) == [["new"]]


# Flat cost


def test_parked_records_cost_their_lane_nothing() -> None:
    """
    A thousand writes of one record stand outside of the lane: no dispatch walks over them.
    """
    engine = make_engine(max_delay=0)
    submit(engine, *(record(each, identity="003") for each in range(1000)))
    for _ in range(3):
        (batch,) = dispatched(engine)
        assert batch.lane.queue.count == 0
        answer(engine, batch, ["ok"])
        assert batch.lane.queue.count == 1


def test_idle_lanes_cost_nothing() -> None:
    """
    A thousand keys that came and went leave no lane, no timer and no turn behind.
    """
    engine = make_engine(max_records=1)
    for key in range(1000):
        submit(engine, record(), key=key)
        (batch,) = dispatched(engine)
        answer(engine, batch, ["ok"])
    assert (
        len(engine.accumulator.lanes.by_key),
        len(engine.accumulator.scheduler.deadlines),
        len(engine.accumulator.scheduler.ready),
    ) == (0, 0, 0)
    assert len(engine.accumulator.scheduler.deadlines._heap) < 100


def test_one_timer_for_many_backoffs() -> None:
    """
    Records that come again at the same time share one note.
    """
    engine = make_engine(max_records=100)
    submit(engine, *numbered(100))
    (batch,) = dispatched(engine)
    answer(engine, batch, Retry("busy", after=3))
    assert len(engine.accumulator.backoffs) == 1
    assert len(engine.accumulator.scheduler.deadlines) <= 2, "one for the backoff, and a stale one of the lane"


def test_a_withdrawn_record_does_not_count_as_filling() -> None:
    """
    The submit that fills a batch is the one that makes it whole, whoever was withdrawn before.
    """
    engine = make_engine()
    _, second = submit(engine, *numbered(2))
    engine.withdraw(second, 0.0)
    verbs = [engine.submit(entry, "contacts", 0.0) for entry in numbered(2)]
    assert verbs == [Verb.NOTHING, Verb.DISPATCH]


def test_a_settled_record_is_no_longer_watched() -> None:
    """
    The timer of a deadline ends with the record.
    """
    engine = make_engine()
    submit(engine, record(expires_at=50.0))
    (batch,) = dispatched(engine, 5.0)
    answer(engine, batch, ["ok"], now=5.0)
    assert (len(engine.accumulator.scheduler.deadlines), engine.next_at) == (0, inf)


def test_the_last_record_expires_in_the_submit_that_fills_a_batch() -> None:
    """
    The same if the newcomer alone makes a batch due.
    """
    engine = make_engine()
    submit(engine, record("old", expires_at=1.0))
    (new,) = submit(engine, record("new", size=10), now=1.0)
    assert engine.accumulator.lanes.by_key == {"contacts": new.lane}
    assert send(engine, 1.0) == [["new"]]


def test_a_due_lane_of_which_all_is_withdrawn() -> None:
    """
    Its turn comes, and there is nothing to send; the call that it has out is not disturbed.
    """
    engine = make_engine(max_in_flight=1)
    entries = submit(engine, *numbered(6))
    (batch,) = dispatched(engine)
    for entry in entries[3:]:
        engine.withdraw(entry, 0.0)
    submit(engine, *numbered(3), key="deals")
    answer(engine, batch, [1, 2, Retry("busy", after=1)])
    assert send(engine) == [[0, 1, 2]]


def test_a_due_lane_that_is_paused_before_its_turn() -> None:
    """
    A batch that was due and waited for a call to end waits for the pause that this call brought.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, *numbered(6))
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("throttled", after=4, pause_lane=True), 1, 2])
    assert send(engine) == []
    assert send(engine, 4.0) == [[0, 3, 4]]


def test_a_lane_that_was_emptied_has_no_turn() -> None:
    """
    A lane of which everything is withdrawn is forgotten at once, due or not.
    """
    engine = make_engine()
    entries = (*submit(engine, *numbered(3)), *submit(engine, record(), key="deals"))
    assert (len(engine.accumulator.scheduler.ready), len(engine.accumulator.scheduler.filling)) == (1, 1)
    for entry in entries:
        engine.withdraw(entry, 0.0)
    assert (
        len(engine.accumulator.scheduler.ready),
        len(engine.accumulator.scheduler.filling),
        len(engine.accumulator.lanes.by_key),
    ) == (0, 0, 0)
