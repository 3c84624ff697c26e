"""Submitting, polling and withdrawing: when a batch leaves, and with whom."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest

from batcher._core.model.states import State
from batcher._core.verbs import Verb
from batcher.errors import InvalidRecord
from batcher.events import FlushReason
from batcher.outcomes import Retry
from batcher.policies import LaneRules
from tests.core.building import answer, dispatched, make_engine, numbered, record, send, submit

# In


def test_the_record_that_fills_a_batch_dispatches_it() -> None:
    """
    A full batch leaves inside the submit that filled it, not at the next one.
    """
    engine = make_engine()
    verbs = [engine.submit(entry, "contacts", 0.0) for entry in numbered(3)]

    assert verbs == [Verb.CLOCK, Verb.NOTHING, Verb.DISPATCH]
    (batch,) = dispatched(engine)
    assert (batch.records, batch.reason, batch.dispatched_at) == ([0, 1, 2], FlushReason.RECORDS, 0.0)
    assert (engine.in_flight, engine.pending) == (1, 3)


def test_a_destination_may_allow_a_lane_one_call_at_a_time() -> None:
    """
    However many records are due, the next call of that lane waits for the end of the one that is out, whole batches
    and half-filled ones alike; other lanes do not wait.
    """
    engine = make_engine(rules_of=lambda key: LaneRules(max_in_flight=1 if key == "contacts" else 9))
    verbs = [engine.submit(entry, "contacts", 0.0) for entry in numbered(7)]
    assert verbs[2:] == [Verb.DISPATCH] + [Verb.NOTHING] * 4
    submit(engine, *numbered(6), key="leads")

    first, *others = dispatched(engine)
    assert first.records == [0, 1, 2]
    assert [batch.lane.key for batch in others] == ["leads", "leads"]
    assert send(engine, 5.0) == []  # although the rest is due by its delay, too
    answer(engine, first, [1, 2, 3], 5.0)
    (second,) = dispatched(engine, 5.0)
    assert second.records == [3, 4, 5]
    answer(engine, second, [1, 2, 3], 5.0)
    assert send(engine, 5.0) == [[6]]


def test_records_with_extras_fill_a_batch_too() -> None:
    """
    Records with sizes, identities or deadlines and plain ones fill the same batch.
    """
    engine = make_engine()
    entries = (record(0, identity="003"), record(1), record(2, size=1))
    verbs = [engine.submit(entry, "contacts", 0.0) for entry in entries]

    assert verbs == [Verb.CLOCK, Verb.NOTHING, Verb.DISPATCH]
    assert send(engine) == [[0, 1, 2]]


def test_a_lone_record_waits_exactly_its_delay() -> None:
    """
    One record leaves when its delay ends: not before, not after.
    """
    engine = make_engine()
    assert engine.submit(record(0), "contacts", 1.0) is Verb.CLOCK
    assert engine.next_at == 6.0
    assert send(engine, 5.5) == []
    plan = engine.poll(6.0)
    assert [batch.reason for batch in plan.batches] == [FlushReason.DELAY]
    assert plan.ask_again_at == inf


def test_a_delay_of_nothing_leaves_at_the_next_poll() -> None:
    """
    What is submitted in one turn of the loop shares a batch even without delay.
    """
    engine = make_engine(max_delay=0)
    assert engine.submit(record(0), "contacts", 1.0) is Verb.CLOCK
    assert engine.next_at == 1.0
    assert engine.submit(record(1), "contacts", 1.0) is Verb.NOTHING
    assert send(engine, 1.0) == [[0, 1]]


def test_one_record_per_batch() -> None:
    """
    With batches of one, every submit dispatches.
    """
    engine = make_engine(max_records=1)
    assert engine.submit(record(0), "contacts", 0.0) is Verb.DISPATCH
    assert send(engine) == [[0]]


def test_lanes_share_no_batch() -> None:
    """
    Records of different keys travel apart, each lane after its own delay.
    """
    engine = make_engine()
    submit(engine, record("a"), key="contacts")
    submit(engine, record("b"), key="deals", now=1.0)
    assert send(engine, 5.0) == [["a"]]
    assert send(engine, 6.0) == [["b"]]


def test_a_record_too_large_for_any_batch() -> None:
    """
    Refused at once with figures; nothing of it remains, not even its lane.
    """
    engine = make_engine()
    assert engine.submit(record(size=10), "contacts", 0.0) is Verb.DISPATCH
    with pytest.raises(
        InvalidRecord, match=r"^the record is too large: 11 bytes exceed the 10 that one call may carry$"
    ):
        engine.submit(record(size=11), "deals", 0.0)
    assert (engine.pending, list(engine.accumulator.lanes.by_key)) == (1, ["contacts"])


def test_a_record_too_large_for_the_batcher() -> None:
    """
    A record that would wait for a place for ever is refused at once.
    """
    engine = make_engine(max_lane_bytes=5)
    with pytest.raises(
        InvalidRecord, match=r"^the record is too large: 6 bytes exceed the 5 that may be pending in one lane$"
    ):
        engine.submit(record(size=6), "contacts", 0.0)
    assert (engine.pending, engine.accumulator.lanes.by_key) == (0, {})


def test_refusing_a_record_keeps_a_lane_that_is_used() -> None:
    """
    A refused record takes no other's lane along.
    """
    engine = make_engine()
    submit(engine, record())
    with pytest.raises(InvalidRecord):
        engine.submit(record(size=11), "contacts", 0.0)
    assert list(engine.accumulator.lanes.by_key) == ["contacts"]


def test_the_destination_caps_the_batch() -> None:
    """
    The lane's own ceiling fills a batch earlier.
    """
    engine = make_engine(rules_of=lambda key: LaneRules(max_records=2))
    submit(engine, *numbered(3))
    assert send(engine) == [[0, 1]]


# Out


def test_a_poll_changes_nothing_twice() -> None:
    """
    A timer that fires late or twice finds nothing to do.
    """
    engine = make_engine()
    submit(engine, *numbered(4))
    engine.poll(0.0)
    again = engine.poll(0.0)
    assert (again.batches, again.settled, again.admitted, again.ask_again_at) == ([], [], [], 5.0)


def test_no_more_calls_than_the_lane_may_have() -> None:
    """
    A lane with its calls out keeps filling; the end of a call sends what is due.
    """
    engine = make_engine(max_lane_in_flight=2)
    submit(engine, *numbered(8))
    first, second = dispatched(engine)
    assert [first.records, second.records] == [[0, 1, 2], [3, 4, 5]]
    assert engine.submit(record(8), "contacts", 0.0) is Verb.NOTHING
    assert send(engine) == []

    answer(engine, first, [1, 2, 3])
    assert send(engine) == [[6, 7, 8]]


def test_no_more_calls_than_the_batcher_may_have() -> None:
    """
    The lanes that had to wait send first when a call ends.
    """
    engine = make_engine(max_in_flight=2)
    for key in ("a", "b", "c"):
        submit(engine, *(record(key) for _ in range(3)), key=key)
    first, _ = dispatched(engine)
    assert first.records[0] == "a"
    assert engine.submit(record("c"), "c", 0.0) is Verb.NOTHING
    submit(engine, *(record("a") for _ in range(3)), key="a")

    answer(engine, first, [1, 2, 3])
    assert [records[0] for records in send(engine)] == ["c"]


def test_lanes_take_turns() -> None:
    """
    A lane with a long queue does not hold up another one: with one call at a time they alternate.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, *(record("busy") for _ in range(30)), key="busy")
    submit(engine, *(record("calm") for _ in range(6)), key="calm")
    sent = []
    while batches := dispatched(engine):
        (batch,) = batches
        sent.append(batch.lane.key)
        answer(engine, batch, [1, 2, 3])
    assert sent[:5] == ["busy", "calm", "busy", "calm", "busy"]
    assert Counter(sent) == {"busy": 10, "calm": 2}


def test_what_is_due_is_served_before_new_input() -> None:
    """
    A batch whose time has come goes before one that is filled at the same moment.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, record("late"), key="late")
    submit(engine, *numbered(3), key="full", now=5.0)
    assert send(engine, 5.0) == [["late"]]

    engine = make_engine(max_in_flight=1)
    submit(engine, record("late"), key="late")
    submit(engine, *(record(each, size=1) for each in range(3)), key="full", now=5.0)
    assert send(engine, 5.0) == [["late"]]


def test_a_lane_that_is_held_up_keeps_filling() -> None:
    """
    A due batch that a limit holds takes company along when it leaves.
    """
    engine = make_engine(max_lane_in_flight=1)
    submit(engine, *numbered(4))
    (first,) = dispatched(engine)
    engine.poll(5.0)
    submit(engine, record(4), now=6.0)
    answer(engine, first, [1, 2, 3], now=7.0)
    assert send(engine, 7.0) == [[3, 4]]


# Made due by hand


def test_a_flush_makes_all_due() -> None:
    """
    Everything accepted so far leaves, and what comes later does not.
    """
    engine = make_engine()
    submit(engine, record("a"), key="contacts")
    submit(engine, record("b"), key="deals")
    engine.flush(1.0)
    batches = dispatched(engine, 1.0)
    assert [(batch.records, batch.reason) for batch in batches] == [
        (["a"], FlushReason.FLUSH),
        (["b"], FlushReason.FLUSH),
    ]
    submit(engine, record("later"), now=1.0)
    assert send(engine, 1.0) == []


def test_a_flush_covers_what_waits_for_its_turn() -> None:
    """
    A record behind another one of its identity leaves the moment it may, and so does a group.
    """
    engine = make_engine()
    submit(engine, record("a", identity="003"), record("b", identity="003", delay=50.0))
    group, _ = engine.submit_group([record("g", identity="003")], "contacts", 0.0)
    assert group.state is State.PARKED
    engine.flush(0.0)
    for name, reason in (("a", FlushReason.FLUSH), ("b", FlushReason.FLUSH), ("g", FlushReason.GROUP)):
        (batch,) = dispatched(engine)
        assert (batch.records, batch.reason) == ([name], reason)
        answer(engine, batch, ["ok"])


def test_a_flush_overrides_no_pause_and_no_backoff() -> None:
    """
    It makes due, it does not force the gate.
    """
    engine = make_engine()
    submit(engine, record("a"), key="paused")
    submit(engine, record("b"), key="calm")
    engine.flush(0.0)
    paused, calm = dispatched(engine)
    answer(engine, paused, [Retry("x", after=4, pause_lane=True)])
    answer(engine, calm, [Retry("x", after=3)])
    submit(engine, record("new"), key="paused")
    engine.flush(0.0)

    assert send(engine) == []
    assert send(engine, 3.0) == [["b"]]
    assert send(engine, 4.0) == [["a", "new"]]


def test_the_last_of_many_makes_them_due() -> None:
    """
    When all of a submit_all are in, nobody waits for more.
    """
    engine = make_engine()
    _, last = submit(engine, *numbered(2))
    engine.complete(last, 0.0)
    (batch,) = dispatched(engine)
    assert (batch.records, batch.reason) == ([0, 1], FlushReason.SUBMIT_ALL)
    assert last.extras.force is None


def test_the_last_of_many_is_parked() -> None:
    """
    The ones before it leave at once, and it follows without further delay when its turn has come.
    """
    engine = make_engine()
    submit(engine, record("a", identity="003"), record("b"))
    (last,) = submit(engine, record("last", identity="003", delay=50.0))
    engine.complete(last, 0.0)
    (batch,) = dispatched(engine)
    assert batch.records == ["a", "b"]
    answer(engine, batch, [1, 2])
    (batch,) = dispatched(engine)
    assert (batch.records, batch.reason) == (["last"], FlushReason.SUBMIT_ALL)


def test_the_last_of_many_waits_for_a_place() -> None:
    """
    It leaves without further delay when it gets its place.
    """
    engine = make_engine(max_pending_records=2, max_lane_records=2)
    submit(engine, *numbered(2), key="deals")
    (batch,) = dispatched(engine, 5.0)
    (last,) = submit(engine, record("last"), now=5.0)
    engine.complete(last, 5.0)
    assert last.state is State.WAITING
    answer(engine, batch, [1, 2], now=5.0)
    plan = engine.poll(5.0)
    assert plan.admitted == [last]
    (batch,) = plan.batches
    assert (batch.records, batch.reason) == (["last"], FlushReason.SUBMIT_ALL)


def test_records_with_sizes_share_a_batch_without_delay() -> None:
    """
    Even without delay, what is submitted in one turn of the loop shares a batch.
    """
    engine = make_engine(max_delay=0)
    verbs = [engine.submit(record(each, size=1), "contacts", 0.0) for each in range(3)]
    assert verbs == [Verb.CLOCK, Verb.NOTHING, Verb.DISPATCH]
    assert send(engine) == [[0, 1, 2]]


@pytest.mark.parametrize("sizes", [(10,), (6, 4), (6, 5), (1, 1, 1)])
def test_what_is_due_is_served_before_a_batch_full_of_bytes(sizes: tuple[int, ...]) -> None:
    """
    A batch whose time has come goes before one that is filled at the same moment, by records or by bytes.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, record("late"), key="late")
    submit(engine, *(record("full", size=size) for size in sizes[:-1]), key="full", now=4.0)
    submit(engine, record("full", size=sizes[-1]), key="full", now=5.0)
    (batch,) = dispatched(engine, 5.0)
    assert batch.records == ["late"]
    answer(engine, batch, ["ok"], now=5.0)
    assert send(engine, 5.0)[0][0] == "full"


def test_what_is_due_is_served_before_a_group() -> None:
    """
    A group is due at once, but not before what was due already.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, record("late"), key="late")
    engine.submit_group([record("group")], "groups", 5.0)
    assert send(engine, 5.0) == [["late"]]


def test_while_no_call_may_leave_a_submit_asks_for_no_poll() -> None:
    """
    The end of a call will; a poll per record would cost more than the record.
    """
    engine = make_engine(max_in_flight=1)
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    verbs = [engine.submit(record(n, size=1), "contacts", 0.0) for n in range(9)]
    assert Verb.DISPATCH not in verbs
    answer(engine, batch, ["ok"] * 3)
    assert send(engine) == [[0, 1, 2]]
