"""Which record is where, and the moves between the rooms."""

from __future__ import annotations

from math import inf

from batcher._core.accumulator import Accumulator, unit_of
from batcher._core.model.entries import Extras, Group
from batcher._core.model.states import State
from batcher._core.verbs import Verb
from batcher.events import FlushReason
from batcher.outcomes import NotWritten, Refused, Retry, Unknown
from batcher.policies import AutoBatchPolicy, LaneRules, Limits, RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, send, submit

POLICY = AutoBatchPolicy(max_records=3, max_bytes=10, max_delay=5)


# Lanes


def test_a_lane_comes_on_demand() -> None:
    """
    A lane is made for its key, with the policy's figures capped by those of the destination.
    """
    accumulator = Accumulator(
        POLICY, RetryPolicy(), Limits(), lambda key: LaneRules(max_records=2 if key == "deals" else 9)
    )
    deals, contacts = accumulator.lanes.open("deals", 0.0), accumulator.lanes.open("contacts", 0.0)

    assert (deals.key, deals.queue.max_records, deals.queue.max_bytes, deals.max_delay) == ("deals", 2, 10, 5.0)
    assert (contacts.queue.max_records, accumulator.lanes.by_key) == (3, {"deals": deals, "contacts": contacts})


def test_a_lane_goes_when_it_is_idle() -> None:
    """
    A lane that holds nothing is forgotten, so that keys that are gone cost nothing.
    """
    engine = make_engine()
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    assert list(engine.accumulator.lanes.by_key) == ["contacts"]
    answer(engine, batch, [1, 2, 3])

    assert (engine.accumulator.lanes.by_key, len(engine.accumulator.scheduler.deadlines)) == ({}, 0)


def test_a_paused_lane_is_kept_until_the_pause_is_over() -> None:
    """
    A pause outlives the records that met it, and is forgotten with its lane when it ends.
    """
    engine = make_engine(max_delay=0)
    submit(engine, record())
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("throttled", after=90, pause_lane=True)])
    assert engine.pending == 0

    assert engine.poll(0.0).ask_again_at == 90.0
    engine.poll(89.5)
    assert list(engine.accumulator.lanes.by_key) == ["contacts"]
    engine.poll(90.0)
    assert (engine.accumulator.lanes.by_key, engine.next_at) == ({}, inf)


def test_a_lane_with_calls_out_is_kept() -> None:
    """
    A call without pending records cannot be, but a lane with one of its two calls answered can.
    """
    engine = make_engine()
    submit(engine, *numbered(6))
    first, second = [*dispatched(engine), *dispatched(engine)]
    answer(engine, first, [1, 2, 3])
    assert list(engine.accumulator.lanes.by_key) == ["contacts"]
    answer(engine, second, [1, 2, 3])
    assert engine.accumulator.lanes.by_key == {}


def test_a_lane_in_which_somebody_waits_is_kept() -> None:
    """
    Whoever waits for a place must find the same lane that later records find.
    """
    engine = make_engine(max_pending_records=2, max_lane_records=2)
    submit(engine, *numbered(2), key="deals")
    assert engine.submit(record("waits"), "contacts", 0.0) is Verb.WAIT
    engine.accumulator.lanes.forget_if_idle(engine.accumulator.lanes.by_key["contacts"], 0.0)

    assert set(engine.accumulator.lanes.by_key) == {"deals", "contacts"}


def test_a_pause_noted_while_the_lane_had_something_earlier_to_do() -> None:
    """
    However a pause came about, its lane is forgotten when it is over.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, *numbered(4))
    (batch,) = dispatched(engine)
    (rest,) = submit(engine, record("rest", delay=1.0))
    engine.flush(0.0)
    answer(engine, batch, Retry("throttled", after=90, pause_lane=True))
    for unit in list(engine.accumulator.pending_units()):
        engine.withdraw(unit, 0.0)
    assert rest.state is State.SETTLED
    assert list(engine.accumulator.lanes.by_key) == ["contacts"]
    for now in (0.0, 5.0, 90.0):
        engine.poll(now)
    assert engine.accumulator.lanes.by_key == {}


# Parked behind an identity


def test_a_write_waits_for_its_predecessor() -> None:
    """
    Two writes of one identity are never out at once, whatever their lanes; the second goes when the first
    is settled.
    """
    engine = make_engine()
    _, second = submit(engine, record("update", identity="003"), key="updates") + submit(
        engine, record("delete", identity="003"), key="deletes"
    )
    assert second.state is State.PARKED
    engine.flush(0.0)
    (batch,) = dispatched(engine)
    assert batch.records == ["update"]
    answer(engine, batch, [Unknown("lost")])
    assert send(engine) == [["delete"]]


def test_what_waits_is_not_in_its_lane() -> None:
    """
    A parked record fills no batch, and nobody waits behind it.
    """
    engine = make_engine()
    submit(engine, *(record(number, identity="003") for number in range(4)), record("free"), record("free"))
    assert send(engine) == [[0, "free", "free"]]


def test_the_predecessor_is_brought_forward() -> None:
    """
    A hurried write makes the batch of its predecessor due with it, in whichever lane.
    """
    engine = make_engine()
    submit(engine, record("patient", identity="003"), key="updates")
    submit(engine, record("hurried", identity="003", delay=1.0), key="deletes", now=1.0)

    assert engine.next_at == 2.0
    (batch,) = dispatched(engine, 2.0)
    assert batch.records == ["patient"]
    answer(engine, batch, ["ok"], now=3.0)
    assert send(engine, 3.0) == [["hurried"]], "past its own time it waits for nobody"


def test_the_predecessor_did_not_open_its_batch() -> None:
    """
    The batch of a predecessor is brought forward even if that one, alone, would have been in time.
    """
    engine = make_engine()
    submit(engine, record("slow", delay=100.0), record("a", identity="003"), record("b", identity="003"))

    assert engine.next_at == 5.0
    (batch,) = dispatched(engine, 5.0)
    assert (batch.records, batch.reason) == (["slow", "a"], FlushReason.IDENTITY)


def test_a_patient_successor_hurries_nobody() -> None:
    """
    A predecessor that is due earlier anyway keeps its time.
    """
    engine = make_engine()
    submit(engine, record("a", identity="003"), record("b", identity="003", delay=50.0))
    assert engine.next_at == 5.0


def test_the_whole_queue_is_brought_forward() -> None:
    """
    The third write brings forward the second, which is not in its lane yet, and the first.
    """
    engine = make_engine()
    first, second, third = submit(
        engine,
        record(1, identity="003"),
        record(2, identity="003", delay=9.0),
        record(3, identity="003", delay=1.0),
    )
    assert (first.due_at, second.due_at, third.due_at) == (1.0, 1.0, 1.0)
    for number in (1, 2, 3):
        (batch,) = dispatched(engine, 1.0)
        assert batch.records == [number]
        answer(engine, batch, ["ok"], now=1.0)


def test_freed_records_keep_their_own_time() -> None:
    """
    A record that waited for its turn is due at its own time, whoever opened the batch it joins.
    """
    engine = make_engine(max_delay=20)
    submit(engine, record("first", identity="003", delay=0.0))
    (batch,) = dispatched(engine)
    submit(engine, record("second", identity="003", delay=9.0))
    submit(engine, record("opener"), now=1.0)
    answer(engine, batch, ["ok"], now=2.0)

    assert engine.poll(2.0).ask_again_at == 9.0
    (batch,) = dispatched(engine, 9.0)
    assert (batch.records, batch.reason) == (["opener", "second"], FlushReason.IDENTITY)


def test_a_predecessor_in_a_part_of_a_refused_batch() -> None:
    """
    A predecessor whose culprit is looked for is due anyway; hurrying it leaves nothing behind.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, record("a", identity="003"), record("b"), record("c"))
    (batch,) = dispatched(engine)
    engine.settle(batch, [Retry("busy")] * 3, 0.0, 0.0)
    (batch,) = dispatched(engine)
    answer(engine, batch, Refused("no"))
    submit(engine, record("hurried", identity="003", delay=0.0))
    sent = []
    while batches := dispatched(engine):
        for each in batches:
            sent.append(each.records)
            answer(engine, each, ["ok"] * len(each.entries))
    assert sent[0] == ["a"]
    assert sorted(sent[1:]) == [["b"], ["c"], ["hurried"]]


def test_a_group_behind_a_record() -> None:
    """
    A group waits for the predecessors of all its members, and hurries them: it never waits for company.
    """
    engine = make_engine()
    submit(engine, record("a", identity="003"), key="updates")
    submit(engine, record("b", identity="004"), key="deletes")
    group, verb = engine.submit_group([record("g", identity="003"), record("h", identity="004")], "contacts", 1.0)

    assert (group.state, verb) == (State.PARKED, Verb.CLOCK)
    assert engine.next_at == 1.0
    first, second = dispatched(engine, 1.0)
    assert [first.records, second.records] == [["a"], ["b"]]
    answer(engine, first, ["ok"], now=1.0)
    assert send(engine, 1.0) == []
    answer(engine, second, ["ok"], now=1.0)
    assert send(engine, 1.0) == [["g", "h"]]


def test_a_record_behind_a_group() -> None:
    """
    A record waits for a group as for any other write; the group needs no hurrying.
    """
    engine = make_engine()
    engine.submit_group([record("g", identity="003")], "contacts", 0.0)
    submit(engine, record("a", identity="003", delay=0.0))
    (batch,) = dispatched(engine)
    assert batch.records == ["g"]
    answer(engine, batch, ["ok"])
    assert send(engine) == [["a"]]


# The rest


def test_a_record_without_deadline_is_not_watched() -> None:
    """
    Only records with a deadline of their own cost a note.
    """
    accumulator = Accumulator(POLICY, RetryPolicy(), Limits(), lambda key: LaneRules())
    accumulator.watch_expiry(record())
    accumulator.watch_expiry(record(identity="003"))
    assert len(accumulator.scheduler.deadlines) == 0
    accumulator.watch_expiry(record(expires_at=3.0))
    assert accumulator.scheduler.deadlines.next_at == 3.0


def test_every_pending_unit_is_found() -> None:
    """
    In flight, buffered, backing off or parked: each once, those in flight first.
    """
    engine = make_engine(max_lane_in_flight=1)
    out, again = submit(engine, record("out"), record("again"), key="deals")
    engine.flush(0.0)
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("busy", after=9), Retry("busy", after=9)])
    flying = submit(engine, record(1, identity="003"), record(2), record(3))
    dispatched(engine)
    parked = submit(engine, record(4, identity="003"))
    buffered = submit(engine, record(5))
    group, _ = engine.submit_group([record(6, identity="004"), record(7, identity="005")], "contacts", 0.0)
    engine.withdraw(again, 0.0)

    assert list(engine.accumulator.pending_units()) == [*flying, group, *buffered, out, *parked]
    assert list(engine.pending_entries()) == [*flying, *group.members, *buffered, out, *parked]
    assert engine.pending == 8


def test_the_unit_of_a_record() -> None:
    """
    A record is its own unit, or stands for its group.
    """
    single, member = record(), record(identity="003")
    assert unit_of(single) is single
    group = Group([member])
    assert unit_of(member) is group
    assert Extras().group is None


def test_outcomes_are_counted_by_kind() -> None:
    """
    Each settled record counts once, whether its batch was settled in one piece or not.
    """
    engine = make_engine()
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    answer(engine, batch, ["a", NotWritten("no"), "c"])
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    answer(engine, batch, ["a", "b", "c"])
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    answer(engine, batch, [])

    assert engine.accumulator.outcomes == {"written": 5, "not_written": 1, "unknown": 3}


def test_bringing_forward_what_a_limit_holds() -> None:
    """
    A predecessor that is due and waits for a call to end needs no hurrying, and is not lost by it.
    """
    engine = make_engine(max_lane_in_flight=1)
    submit(engine, *numbered(3), record("a", identity="003"))
    (batch,) = dispatched(engine)
    engine.flush(0.0)
    engine.poll(0.0)
    submit(engine, record("b", identity="003", delay=0.0))
    assert send(engine) == []
    answer(engine, batch, [1, 2, 3])
    assert send(engine) == [["a"]]
