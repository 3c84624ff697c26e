"""Salvage: whoever is found, wherever he is, gets an outcome that is true."""

from __future__ import annotations

from batcher._core.engine import Engine
from batcher._core.model.entries import NOT_ACCEPTED, Entry
from batcher._core.model.states import State
from batcher.outcomes import NotWritten, Refused, Retry, Unknown, Written
from batcher.policies import RetryPolicy
from tests.core.building import answer, dispatched, make_engine, record, submit


def salvaged(engine: Engine, *entries: Entry) -> list[object]:
    """Salvage, and return the verdicts of *entries*, which must all have been found."""
    found = engine.salvage(9.0, "cut off")
    assert set(entries) <= set(found)
    assert len(found) == len(set(found))
    assert all(entry.state is State.SETTLED for entry in entries)
    assert engine.pending == 0
    return [entry.verdict for entry in entries]


def test_buffered_parked_and_in_groups():
    """Nothing of these has left."""
    engine = make_engine()
    first, second = record("first", identity="ada"), record("second", identity="ada")
    submit(engine, first, second, record("deadline", expires_at=50.0))
    members = [record("one"), record("two")]
    engine.submit_group(members, "contacts", 0.0)
    assert salvaged(engine, first, second, *members) == [NotWritten("cut off")] * 4
    assert engine.outcomes() == {"not_written": 5}


def test_a_call_that_is_out_may_have_been_applied_and_one_that_no_worker_has_taken_was_not():
    """Who was taken is unknown; who only was to be, is known not to be written."""
    engine = make_engine(max_records=1)
    begun, unbegun = submit(engine, record("begun"), record("unbegun"))
    one, other = dispatched(engine)
    assert (one.entries[0], other.entries[0]) == (begun, unbegun)
    one.begun = True
    assert salvaged(engine, begun, unbegun) == [Unknown("cut off"), NotWritten("cut off")]


def test_the_answer_that_was_being_read():
    """Its records are in flight, and the call is out no more."""
    engine = make_engine(max_records=1)
    (entry,) = submit(engine, record("a"))
    (batch,) = dispatched(engine)
    batch.begun = True
    engine.accumulator.answered = batch
    del engine.accumulator.in_flight[batch]
    assert salvaged(engine, entry) == [Unknown("cut off")]


def test_those_who_wait_for_another_try():
    """What the last call said of them holds: they were not applied; or they may have been."""
    engine = make_engine(max_records=2, retry=RetryPolicy(on_unknown="retry"))
    refused, doubtful = submit(engine, record("refused"), record("doubtful"))
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("no", after=5), Retry("maybe", after=5, applied="maybe")])
    verdicts = salvaged(engine, refused, doubtful)
    assert verdicts == [NotWritten("cut off", 1), Unknown("cut off")]


def test_both_halves_of_a_refused_batch():
    """The second waits for the first."""
    engine = make_engine(max_records=4)
    entries = submit(engine, *map(record, "abcd"))
    (batch,) = dispatched(engine)
    answer(engine, batch, Refused("who?"))
    assert salvaged(engine, *entries) == [NotWritten("cut off", 1)] * 4


def test_who_waits_for_a_place_was_never_accepted():
    """He is told that the batcher is closed, and may submit elsewhere."""
    engine = make_engine(max_pending_records=1, max_lane_records=1)
    submit(engine, record("a"))
    waits = record("b")
    engine.submit(waits, "contacts", 0.0)
    assert salvaged(engine, waits) == [NOT_ACCEPTED]
    assert engine.outcomes() == {"not_written": 1}


def test_who_has_just_been_taken_out_of_the_list_of_those_who_wait():
    """Between two places, too."""
    engine = make_engine(max_pending_records=1, max_lane_records=1)
    (first,) = submit(engine, record("a"))
    waits = record("b")
    engine.submit(waits, "contacts", 0.0)
    engine.accumulator.admission.release(first.lane, 1, 0)
    assert engine.accumulator.admission.next_admitted() is waits
    assert salvaged(engine, waits) == [NOT_ACCEPTED]


def test_those_in_hand_and_those_who_were_not_told_yet():
    """Who has his outcome keeps it, and is among those to be woken."""
    engine = make_engine(max_records=2)
    entries = submit(engine, record("a"), record("b"))
    (batch,) = dispatched(engine)
    answer(engine, batch, ["one", "two"])
    engine.poll(1.0)  # the plan that names them is not carried out
    (third,) = submit(engine, record("c"))
    taken, _ = third.lane.queue.take(9)
    assert taken == [third]
    assert salvaged(engine, *entries, third) == ["one", "two", NotWritten("cut off")]
    assert [entry.fate() for entry in entries] == [Written(data="one"), Written(data="two")]


def test_where_nothing_is_known_nobody_is_told_no():
    """In a child, say, whose parent may write what was only buffered."""
    engine = make_engine()
    (entry,) = submit(engine, record("a"))
    assert engine.salvage(9.0, "forked", maybe=True) == [entry]
    assert entry.verdict == Unknown("forked")
