"""The buffer of one key: what is due when, and what leaves together."""

from __future__ import annotations

import pytest

from batcher._core import batches
from batcher._core.model.entries import Group
from batcher._core.model.states import State
from batcher.events import FlushReason
from batcher.policies import LaneRules
from tests.core.building import make_lane, numbered, record
from tests.core.filling import add_sealed, cut, fill, forced, withdraw

# When it is due


def test_an_empty_lane_is_never_due() -> None:
    """
    Nothing buffered, nothing due; and a new lane is idle.
    """
    lane = make_lane()
    assert (lane.due_at(), lane.queue.count, lane.queue.size) == (None, 0, 0)
    assert lane.idle(0.0)


def test_the_destination_caps_the_policy() -> None:
    """
    A batch never holds more than policy and destination both allow.
    """
    tighter = make_lane(rules=LaneRules(max_records=2, max_bytes=9, all_or_none=False))
    wider = make_lane(rules=LaneRules(max_records=200, max_bytes=900))

    assert (tighter.queue.max_records, tighter.queue.max_bytes, tighter.rules.all_or_none) == (2, 9, False)
    assert (wider.queue.max_records, wider.queue.max_bytes, wider.rules.all_or_none) == (3, 10, True)


def test_the_first_record_fixes_the_delay() -> None:
    """
    A batch is due when its delay has passed since its first record; later ones do not change it.
    """
    lane = make_lane()
    fill(lane, record(delay=4.0), accepted_at=1.0)
    fill(lane, record(delay=0.5), record(delay=50.0), accepted_at=2.0)
    lane.queue.max_records = 9

    assert lane.due_at() == 5.0


def test_full_at_exactly_max_records() -> None:
    """
    A batch is due when it holds max_records: not one earlier, not one later.
    """
    lane = make_lane()
    fill(lane, *numbered(2))
    assert lane.due_at() == 5.0
    fill(lane, record(2))
    assert forced(lane)
    assert cut(lane) == ([0, 1, 2], FlushReason.RECORDS)


def test_full_at_exactly_max_bytes() -> None:
    """
    A batch that holds max_bytes is due, and one with a byte less is not.
    """
    lane = make_lane()
    fill(lane, record("a", size=6), record("b", size=3))
    assert lane.due_at() == 5.0
    withdraw(lane, lane.queue.entries[1])
    fill(lane, record("c", size=4))
    assert forced(lane)
    assert cut(lane) == (["a", "c"], FlushReason.BYTES)


def test_the_next_record_would_not_fit() -> None:
    """
    A batch leaves without the record that would exceed max_bytes; that one opens the next batch.
    """
    lane = make_lane()
    fill(lane, record("a", size=6), record("b", size=5), accepted_at=1.0)

    assert forced(lane)
    assert cut(lane) == (["a"], FlushReason.BYTES)
    assert (lane.due_at(), lane.queue.size, lane.queue.count) == (6.0, 5, 1)


def test_more_than_one_batch_is_waiting() -> None:
    """
    A lane that was held up sends full batches, and the rest keeps filling.
    """
    lane = make_lane()
    fill(lane, *numbered(7))

    assert cut(lane) == ([0, 1, 2], FlushReason.RECORDS)
    assert cut(lane) == ([3, 4, 5], FlushReason.RECORDS)
    assert lane.due_at() == 5.0
    assert cut(lane, now=5.0) == ([6], FlushReason.DELAY)


def test_reasons_in_order_of_weight() -> None:
    """
    A batch says why it left: full, forced, late, closing, or for the sake of an identity.
    """
    for prepare, now, closing, reason in (
        (lambda lane: lane.queue.force(FlushReason.FLUSH), 5.0, True, FlushReason.FLUSH),
        (lambda lane: None, 5.0, True, FlushReason.DELAY),
        (lambda lane: None, 4.5, True, FlushReason.CLOSING),
        (lambda lane: lane.expedite(lane.queue.entries[0], 1.0), 1.0, False, FlushReason.IDENTITY),
    ):
        lane = make_lane()
        fill(lane, record(0))
        prepare(lane)
        assert cut(lane, now, closing) == ([0], reason)


# Made due by hand


def test_forcing_covers_what_is_in() -> None:
    """
    What is buffered becomes due; what comes later is not.
    """
    lane = make_lane()
    fill(lane, *numbered(2))
    lane.queue.force(FlushReason.FLUSH)
    assert forced(lane)
    assert cut(lane) == ([0, 1], FlushReason.FLUSH)

    fill(lane, record("later"))
    assert lane.due_at() == 5.0


def test_forcing_an_empty_lane_does_nothing() -> None:
    """
    A flush leaves no trace in a lane that holds nothing.
    """
    lane = make_lane()
    lane.queue.force(FlushReason.FLUSH)
    assert lane.due_at() is None


def test_the_first_reason_stands() -> None:
    """
    A lane that was flushed and comes under pressure left because it was flushed; the newer records
    are due as well.
    """
    lane = make_lane(max_records=9)
    fill(lane, record(0))
    lane.queue.force(FlushReason.FLUSH)
    fill(lane, record(1))
    lane.queue.force(FlushReason.PRESSURE)
    lane.queue.force(FlushReason.CLOSING)

    assert cut(lane) == ([0, 1], FlushReason.FLUSH)
    assert lane.due_at() is None


def test_forced_records_beyond_one_batch_stay_due() -> None:
    """
    Forcing more than one batch makes all of them due, and nothing that comes after them.
    """
    lane = make_lane(max_records=2)
    fill(lane, *numbered(3))
    lane.queue.force(FlushReason.FLUSH)
    lane.queue.max_records = 2
    assert cut(lane) == ([0, 1], FlushReason.RECORDS)
    assert forced(lane)
    fill(lane, record("new"))
    lane.queue.max_records = 9
    assert cut(lane) == ([2, "new"], FlushReason.FLUSH)
    assert lane.due_at() is None


def test_forced_records_that_were_withdrawn() -> None:
    """
    Forcing is about the records that were in: if they are withdrawn, the next one keeps its own time.
    """
    lane = make_lane()
    first, second = fill(lane, *numbered(2))
    lane.queue.force(FlushReason.FLUSH)
    withdraw(lane, first, second)
    fill(lane, record("later"), accepted_at=1.0)

    assert lane.due_at() == 6.0


def test_a_forced_tombstone_in_the_middle() -> None:
    """
    Of three forced records the middle one is withdrawn: two leave, and a later one keeps its time.
    """
    lane = make_lane(max_records=9)
    entries = fill(lane, *numbered(3))
    lane.queue.force(FlushReason.FLUSH)
    withdraw(lane, entries[1])
    fill(lane, record("later"))
    lane.queue.max_records = 2

    assert cut(lane) == ([0, 2], FlushReason.RECORDS)
    assert (lane.due_at(), lane.queue.dead, lane.queue.count) == (5.0, 0, 1)


def test_expedited_up_to_a_record() -> None:
    """
    A expedited record leaves by its time with all that stand before it, whoever opened the batch.
    """
    lane = make_lane()
    _, second = fill(lane, record(0, delay=50.0), record(1))
    lane.expedite(second, 3.0)
    lane.expedite(second, 4.0)

    assert lane.due_at() == 3.0
    assert cut(lane, now=3.0) == ([0, 1], FlushReason.IDENTITY)
    fill(lane, record(2), accepted_at=3.0)
    assert lane.due_at() == 8.0, "it is not due for what has left"


def test_expediting_never_delays() -> None:
    """
    Hastened to a time after its own, a batch is due at its own.
    """
    lane = make_lane()
    (entry,) = fill(lane, record())
    lane.expedite(entry, 9.0)
    assert lane.due_at() == 5.0


def test_a_expedited_record_that_is_withdrawn() -> None:
    """
    The batch is no longer brought forward for a record that is gone.
    """
    lane = make_lane()
    _, second = fill(lane, record(0), record(1))
    lane.expedite(second, 3.0)
    withdraw(lane, second)
    assert lane.due_at() == 5.0


def test_a_expedited_record_beyond_the_batch() -> None:
    """
    A expedited record that did not fit keeps its time.
    """
    lane = make_lane(max_records=9)
    entries = fill(lane, *numbered(3))
    lane.expedite(entries[2], 3.0)
    lane.queue.max_records = 2
    cut(lane)
    assert lane.due_at() == 3.0


def test_a_sealed_batch_needs_no_expediting() -> None:
    """
    A part of a refused batch is due anyway: expediting its records leaves nothing behind.
    """
    lane = make_lane()
    entry = record(0)
    add_sealed(lane, entry)
    lane.expedite(entry, -1.0)
    assert cut(lane) == ([0], FlushReason.ISOLATION)
    assert lane.due_at() is None


# Coming again


def test_retried_records_go_to_the_front_in_order() -> None:
    """
    Records asked to come again stand in front, in their order, and share the batch with new ones.
    """
    lane = make_lane(max_records=9)
    fill(lane, record("new", size=1))
    back = [record("a", size=2), record("b", size=3)]
    for entry in back:
        entry.lane, entry.accepted_at, entry.state = lane, 0.0, State.BACKING_OFF
    lane.queue.put_back(back)

    assert (forced(lane), lane.queue.size, lane.queue.count) == (True, 6, 3)
    assert cut(lane) == (["a", "b", "new"], FlushReason.RETRY)
    assert lane.due_at() is None


def test_only_the_retried_ones_are_due() -> None:
    """
    A retried record makes nothing due that stands behind it in a later batch.
    """
    lane = make_lane(max_records=9)
    fill(lane, *numbered(2))
    back = record("back")
    back.lane, back.accepted_at, back.state = lane, 0.0, State.BACKING_OFF
    lane.queue.put_back([back])
    lane.queue.max_records = 2

    assert cut(lane) == (["back", 0], FlushReason.RECORDS)
    assert lane.due_at() == 5.0


def test_retried_in_front_of_forced() -> None:
    """
    Forced records stay due when retried ones go in front of them, and the first reason stands.
    """
    lane = make_lane(max_records=9)
    fill(lane, record("flushed"))
    lane.queue.force(FlushReason.FLUSH)
    back = record("back")
    back.lane, back.accepted_at, back.state = lane, 0.0, State.BACKING_OFF
    lane.queue.put_back([back])
    lane.queue.max_records = 1

    assert cut(lane) == (["back"], FlushReason.RECORDS)
    lane.queue.max_records = 9
    assert forced(lane)
    assert cut(lane) == (["flushed"], FlushReason.FLUSH)


# The rest


def test_when_a_lane_is_idle() -> None:
    """
    A lane holds something as long as it has a record, a call or a pause.
    """
    lane = make_lane()
    lane.pending = 1
    assert not lane.idle(0.0)
    lane.pending, lane.in_flight = 0, 1
    assert not lane.idle(0.0)
    lane.in_flight, lane.paused_until = 0, 3.0
    assert not lane.idle(2.5)
    assert lane.idle(3.0)


def test_what_is_buffered() -> None:
    """
    Bundles first, then singles, and nobody who was withdrawn.
    """
    lane = make_lane()
    first, second = fill(lane, *numbered(2))
    third = record("sealed")
    add_sealed(lane, third)
    withdraw(lane, first)
    assert list(lane.entries()) == [third, second]


def test_the_size_of_a_group() -> None:
    """
    A group fits up to the very limits, and is refused beyond them with figures.
    """
    lane = make_lane()
    assert lane.fits(Group([record(size=5), record(size=5), record()])) is None
    assert lane.fits(Group(numbered(4))) == "4 records exceed the 3 that one call may carry"
    assert lane.fits(Group([record(size=11)])) == "11 bytes exceed the 10 that one call may carry"


def test_what_is_not_buffered_does_not_leave() -> None:
    """
    A record in another state is a bug, and is found before anything is sent.
    """
    lane = make_lane()
    stray = record("stray")
    stray.state, stray.lane, stray.accepted_at = State.WAITING, lane, 0.0
    lane.queue.append(stray)
    stray.state = State.BACKING_OFF
    with pytest.raises(AssertionError, match="a record cannot move from BACKING_OFF to IN_FLIGHT"):
        batches.cut(lane, 0.0)
