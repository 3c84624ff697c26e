"""Places: who waits for one, who gets it, and what is sent to make room."""

from __future__ import annotations

import pytest

from batcher._core.engine import Engine
from batcher._core.model.entries import Lane
from batcher._core.model.states import State
from batcher._core.verbs import Verb
from batcher.events import FlushReason
from batcher.outcomes import NotWritten, Retry
from tests.core.building import answer, dispatched, make_engine, numbered, record, send, submit


def full() -> Engine:
    """An engine with two places, both taken by records of a half-filled batch."""
    engine = make_engine(max_pending_records=2, max_lane_records=2)
    submit(engine, *numbered(2), key="deals")
    return engine


def test_a_full_batcher() -> None:
    """
    Above the ceiling a record waits, and is not accepted yet.
    """
    engine = full()
    entry = record("waits")
    assert engine.submit(entry, "contacts", 0.0) is Verb.WAIT
    assert (entry.state, engine.pending, len(engine.accumulator.admission)) == (State.WAITING, 2, 1)


def test_half_filled_batches_make_room() -> None:
    """
    When places are short, batches that hold them leave without waiting for company.
    """
    engine = full()
    submit(engine, record("waits"))
    (batch,) = dispatched(engine)
    assert (batch.records, batch.reason) == ([0, 1], FlushReason.PRESSURE)

    answer(engine, batch, ["a", "b"], now=1.0)
    plan = engine.poll(1.0)
    assert [unit.members[0].record for unit in plan.admitted] == ["waits"]
    assert plan.admitted[0].members[0].accepted_at == 1.0
    assert engine.poll(1.0).ask_again_at == 6.0


def test_a_full_lane_presses_itself_only() -> None:
    """
    Somebody who waits for a full lane hurries nobody elsewhere.
    """
    engine = make_engine(max_pending_records=9, max_lane_records=2)
    submit(engine, record("other"), key="deals")
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    assert (batch.records, batch.reason) == ([0, 1], FlushReason.PRESSURE)


def test_a_plain_record_waits_for_its_full_lane() -> None:
    """
    The ceiling of a lane holds for records without size or identity as well.
    """
    engine = make_engine(max_pending_records=9, max_lane_records=2, max_records=1)
    submit(engine, *numbered(2))
    assert engine.submit(record(), "contacts", 0.0) is Verb.WAIT
    assert engine.submit(record(), "deals", 0.0) is Verb.DISPATCH


def test_a_full_batcher_presses_every_lane() -> None:
    """
    When all places are taken, all half-filled batches leave.
    """
    engine = make_engine(max_pending_records=2, max_lane_records=1)
    submit(engine, record("a"), key="a")
    submit(engine, record("b"), key="b")
    submit(engine, record("waits"), key="c")
    assert sorted(send(engine)) == [["a"], ["b"]]


def test_what_enters_under_pressure_leaves_at_once() -> None:
    """
    As long as others wait, nobody waits for company.
    """
    engine = full()
    waiting = submit(engine, *(record(f"w{each}") for each in range(3)))
    (batch,) = dispatched(engine)
    answer(engine, batch, ["a", "b"])
    plan = engine.poll(0.0)
    assert plan.admitted == list(waiting[:2])
    (batch,) = plan.batches
    assert (batch.records, batch.reason) == (["w0", "w1"], FlushReason.PRESSURE)
    answer(engine, batch, ["a", "b"])
    assert engine.poll(0.0).admitted == [waiting[2]]
    assert send(engine, 4.5) == [], "and the last one has all the time it wants"


def test_the_batcher_becomes_full_while_somebody_waits() -> None:
    """
    Whoever waited for a full lane, and then for a full batcher, is not forgotten: half-filled batches
    elsewhere make room.
    """
    engine = make_engine(max_pending_records=6, max_lane_records=3)
    submit(engine, *numbered(3), key="a")
    (batch,) = dispatched(engine)
    submit(engine, record("b"), record("b"), key="b")
    group, verb = engine.submit_group(numbered(2), "a", 0.0)
    assert verb is Verb.WAIT
    answer(engine, batch, ["ok", Retry("busy", after=2), Retry("busy", after=50)])
    newcomers = submit(engine, record("c"), record("d"), key="c")
    assert [entry.state for entry in newcomers] == [State.BUFFERED] * 2, "they pass, for the lane is full"
    (batch,) = dispatched(engine, 2.0)
    answer(engine, batch, ["ok"], now=2.0)

    assert [(each.records, each.reason) for each in dispatched(engine, 2.0)] == [
        (["b", "b"], FlushReason.PRESSURE),
        (["c", "d"], FlushReason.PRESSURE),
    ]
    assert group.state is State.WAITING


def test_a_freed_record_enters_a_lane_that_others_wait_for() -> None:
    """
    A record that waited for its identity waits for no company if others wait for its lane.
    """
    engine = make_engine(max_pending_records=20, max_lane_records=3)
    submit(engine, record("a", identity="003"), key="deals")
    (batch,) = dispatched(engine, 5.0)
    submit(engine, record("parked", identity="003", delay=500.0), now=5.0)
    engine.submit_group(numbered(3), "contacts", 5.0)
    answer(engine, batch, ["ok"], now=5.0)
    (batch,) = dispatched(engine, 5.0)
    assert (batch.records, batch.reason) == (["parked"], FlushReason.PRESSURE)


def test_a_cancelled_waiter() -> None:
    """
    Whoever stops waiting was never accepted, and those behind move up.
    """
    engine = full()
    first, second = submit(engine, record("first"), record("second"))
    (batch,) = dispatched(engine)
    assert engine.withdraw(first, 0.0)
    answer(engine, batch, ["a", "b"])
    plan = engine.poll(0.0)

    assert plan.admitted == [second]
    assert plan.settled == [first, *batch.entries]
    assert first.verdict == NotWritten("withdrawn by its caller")
    assert engine.accumulator.outcomes == {"written": 2}, "never accepted, never counted"


def test_the_last_waiter_takes_the_pressure_along() -> None:
    """
    When nobody waits any more, newcomers are not hurried; and the next one that waits presses again.
    """
    engine = full()
    (first,) = submit(engine, record("first"))
    (batch,) = dispatched(engine)
    engine.withdraw(first, 0.0)
    assert not engine.accumulator.admission.under_pressure
    answer(engine, batch, ["a", "b"])
    submit(engine, record("calm"), record("calm"))
    assert send(engine) == []
    submit(engine, record("waits"), key="deals")
    assert send(engine) == [["calm", "calm"]]


def test_a_lane_is_not_kept_for_a_waiter_that_left() -> None:
    """
    A cancelled waiter leaves no trace, not even the lane it waited for, nor a timer.
    """
    engine = full()
    (entry,) = submit(engine, record(expires_at=50.0))
    assert set(engine.accumulator.lanes.by_key) == {"deals", "contacts"}
    engine.withdraw(entry, 0.0)
    assert set(engine.accumulator.lanes.by_key) == {"deals"}
    assert len(engine.accumulator.scheduler.deadlines) == 1


def test_a_waiter_expires() -> None:
    """
    A record whose deadline passes while it waits for a place is not written.
    """
    engine = full()
    (entry,) = submit(engine, record(expires_at=3.0))
    engine.poll(0.0)
    plan = engine.poll(3.0)
    assert plan.settled == [entry]
    assert entry.verdict == NotWritten("its deadline passed")


def test_bytes_are_places_too() -> None:
    """
    The ceiling of bytes holds as that of records does, for groups as well.
    """
    engine = make_engine(max_pending_bytes=12, max_lane_bytes=12)
    submit(engine, record("a", size=9))
    waiting, verb = engine.submit_group([record("g", size=2), record("h", size=2)], "deals", 0.0)
    assert verb is Verb.WAIT
    (batch,) = dispatched(engine)
    answer(engine, batch, ["ok"])
    plan = engine.poll(0.0)
    assert plan.admitted == [waiting]
    assert [batch.records for batch in plan.batches] == [["g", "h"]]
    assert engine.accumulator.admission.pending_bytes == 4


def test_nobody_overtakes() -> None:
    """
    A record that would fit waits behind one that came first and does not, unless that one's lane is full.
    """
    engine = make_engine(max_pending_bytes=12, max_lane_bytes=12)
    submit(engine, record("a", size=9))
    submit(engine, record("large", size=5), key="deals")
    assert submit(engine, record("small", size=1), key="notes")[0].state is State.WAITING
    assert submit(engine, record("plain"), key="notes")[0].state is State.WAITING

    engine = make_engine(max_pending_records=9, max_lane_records=2)
    submit(engine, *numbered(3))
    assert submit(engine, record("plain"), key="notes")[0].state is State.BUFFERED


def test_a_newcomer_finds_a_place_that_has_just_expired() -> None:
    """
    What is due is served before new input: an expired record makes room for the one that comes.
    """
    engine = make_engine(max_pending_records=2, max_lane_records=2)
    submit(engine, record(expires_at=1.0), record())
    assert engine.submit(record("new"), "contacts", 1.0) is not Verb.WAIT
    assert engine.pending == 2


def test_pressing_every_lane_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While all places stay taken, a waiter more, less or admitted costs no walk over all lanes.
    """
    engine = make_engine(max_pending_records=50, max_lane_records=50, max_in_flight=1)
    for key in range(50):
        submit(engine, record(key), key=key)
    submit(engine, record("first"), key="waiters")
    assert engine.accumulator.admission.under_pressure

    looked_at: list[Lane] = []
    reschedule = engine.accumulator.scheduler.reschedule

    def count(lane: Lane, now: float) -> None:
        looked_at.append(lane)
        reschedule(lane, now)

    monkeypatch.setattr(engine.accumulator.scheduler, "reschedule", count)
    (batch,) = dispatched(engine)
    second, *_ = submit(engine, *(record(each) for each in range(5)), key="waiters")
    engine.withdraw(second, 0.0)
    answer(engine, batch, ["ok"])
    assert len(engine.poll(0.0).admitted) == 1
    submit(engine, record("last"), key="waiters")
    assert engine.accumulator.admission.under_pressure
    assert len(looked_at) < 25


def test_places_held_by_those_who_wait_for_another_lane() -> None:
    """
    When a full lane holds records that wait for their turn, the batches they wait for leave as well.
    """
    engine = make_engine(max_pending_records=20, max_lane_records=3)
    for name in ("ada", "bob", "eve"):
        submit(engine, record(f"first {name}", identity=name), key=name)
    submit(engine, record("ada", identity="ada", delay=90.0), record("bob", identity="bob", delay=90.0))
    engine.submit_group([record("eve", identity="eve")], "contacts", 0.0)
    submit(engine, record("elsewhere"), key="deals")
    assert send(engine) == [["first eve"]]
    submit(engine, record("waits"))

    assert sorted(send(engine)) == [["elsewhere"], ["first ada"], ["first bob"]]


def test_places_held_by_those_who_wait_no_more() -> None:
    """
    Once they have had their turn, a full lane presses itself only.
    """
    engine = make_engine(max_pending_records=20, max_lane_records=2)
    submit(engine, record("first", identity="ada"), record("second", identity="bob"), key="firsts")
    engine.flush(0.0)
    (batch,) = dispatched(engine)
    parked = submit(engine, record("ada", identity="ada"))
    group, _ = engine.submit_group([record("bob", identity="bob")], "contacts", 0.0)
    assert (parked[0].lane.parked, group.lane.parked) == (2, 2)
    answer(engine, batch, [1, 2])
    assert group.lane.parked == 0
    submit(engine, record("elsewhere"), key="deals")
    submit(engine, record("waits"))
    assert sorted(send(engine)) == [["ada"], ["bob"]]
