"""Who may enter a full batcher, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from batcher._core.admission import Admission
from batcher._core.model.entries import Entry, Group, Lane, Unit
from batcher.policies import Limits
from tests.core.building import make_lane, record


def make_admission(**limits: Any) -> Admission:
    return Admission(Limits(**{"max_pending_records": 4, "max_lane_records": 2, "max_pending_bytes": 20, **limits}))


def waiter(admission: Admission, lane: Lane, size: int = 0, count: int = 1) -> Unit:
    unit: Unit = record(size=size) if count == 1 else Group([record(size=size) for _ in range(count)])
    unit.lane = lane
    admission.enqueue(unit)
    return unit


def admitted(admission: Admission) -> list[Unit]:
    return list(iter(admission.next_admitted, None))


def test_an_empty_has_room() -> None:
    """
    Nobody waits for nothing.
    """
    admission, lane = make_admission(), make_lane()
    assert not admission.must_wait(lane, 2, 10)
    assert (len(admission), admission.waiting(lane), admission.is_full) == (0, False, False)
    assert admission.next_admitted() is None
    assert admission.fast_until == 4


@pytest.mark.parametrize(("count", "size", "room"), [(2, 10, True), (3, 0, False), (0, 11, False)])
def test_the_ceilings_of_a_lane(count: int, size: int, room: bool) -> None:
    """
    A lane holds up to exactly its ceilings of records and bytes, which are half of the batcher's bytes here.
    """
    admission, lane = make_admission(), make_lane()
    assert admission.lane_has_room(lane, count, size) is room
    assert admission.must_wait(lane, count, size) is not room

    admission.hold(lane, 1, 4)
    assert not admission.lane_has_room(lane, 2, 0)
    assert not admission.lane_has_room(lane, 0, 7)
    assert admission.lane_has_room(lane, 1, 6)


@pytest.mark.parametrize(("count", "size", "room"), [(4, 20, True), (5, 0, False), (0, 21, False)])
def test_the_ceilings_of_the_batcher(count: int, size: int, room: bool) -> None:
    """
    The batcher holds up to exactly its ceilings, whatever the lanes have room for.
    """
    admission = make_admission(max_lane_records=100, max_lane_bytes=100)
    assert admission.has_room(count, size) is room
    assert admission.must_wait(make_lane(), count, size) is not room

    admission.hold(make_lane(), 3, 12)
    assert not admission.has_room(2, 0)
    assert not admission.has_room(0, 9)
    assert admission.has_room(1, 8)


def test_the_impossible_is_refused_with_figures() -> None:
    """
    What fits under no ceiling, however empty the batcher, is refused; the figure named is the one that binds.
    """
    admission = make_admission()
    assert admission.impossible(2, 10) is None
    assert admission.impossible(3, 0) == "3 records exceed the 2 that may be pending in one lane"
    assert admission.impossible(1, 11) == "11 bytes exceed the 10 that may be pending in one lane"

    narrow = make_admission(max_lane_records=9, max_lane_bytes=99)
    assert narrow.impossible(4, 20) is None
    assert narrow.impossible(5, 0) == "5 records exceed the 4 that may be pending in one lane"
    assert narrow.impossible(1, 21) == "21 bytes exceed the 20 that may be pending in one lane"


def test_holding_and_releasing() -> None:
    """
    What is settled gives its place back, in the batcher and in its lane.
    """
    admission, lane, other = make_admission(), make_lane(), make_lane()
    admission.hold(lane, 2, 7)
    admission.hold(other, 1, 3)
    assert (admission.pending, admission.pending_bytes) == (3, 10)
    assert (lane.pending, lane.pending_bytes, other.pending, other.pending_bytes) == (2, 7, 1, 3)

    admission.release(lane, 1, 4)
    assert (admission.pending, admission.pending_bytes, lane.pending, lane.pending_bytes) == (2, 6, 1, 3)


def test_in_order_of_arrival() -> None:
    """
    Whoever came first goes in first, one for each place that becomes free.
    """
    admission, lane = make_admission(), make_lane()
    admission.hold(lane, 2, 0)
    first, second, third = (waiter(admission, lane) for _ in range(3))
    assert len(admission) == 3
    assert list(admission.waiters()) == [first, second, third]
    assert admitted(admission) == []

    admission.release(lane, 1, 0)
    assert admitted(admission) == [first]
    admission.release(lane, 2, 0)
    assert admitted(admission) == [second, third]
    assert (len(admission), admission.waiting(lane), lane.pending, admission.pending) == (0, False, 2, 2)


def test_a_full_lane_holds_up_nobody_else() -> None:
    """
    Waiters of a full lane are set aside; those of other lanes go in, though they came later.
    """
    admission, full, free = make_admission(), make_lane(), make_lane()
    admission.hold(full, 2, 0)
    admission.hold(free, 2, 0)
    stuck, lucky = waiter(admission, full), waiter(admission, free)

    admission.release(free, 1, 0)
    assert admitted(admission) == [lucky]
    assert list(admission.waiters()) == [stuck]
    admission.release(full, 1, 0)
    assert admitted(admission) == [stuck]


def test_across_lanes_in_order_of_arrival() -> None:
    """
    With room in several lanes the one who came first goes first, whichever lane became free first.
    """
    admission, one, two = make_admission(), make_lane(), make_lane()
    admission.hold(one, 2, 0)
    admission.hold(two, 2, 0)
    first, second, third = waiter(admission, one), waiter(admission, two), waiter(admission, one)

    admission.release(two, 1, 0)
    admission.release(one, 2, 0)
    assert admitted(admission) == [first, second, third]


def test_nobody_overtakes_a_waiter() -> None:
    """
    A newcomer waits while anybody waits for the same lane, or for a place in the batcher.
    """
    admission, one, two = make_admission(max_lane_bytes=20), make_lane(), make_lane()
    admission.hold(one, 1, 15)
    waiter(admission, two, size=6)

    assert admission.is_full
    assert admission.must_wait(two, 1, 0), "behind one of its own lane"
    assert admission.must_wait(one, 1, 0), "though it would fit: somebody came first"
    assert admission.must_wait(make_lane(), 1, 0)


def test_a_newcomer_passes_those_of_a_full_lane() -> None:
    """
    Somebody who waits for a full lane keeps nobody out of another one.
    """
    admission, full = make_admission(), make_lane()
    admission.hold(full, 2, 0)
    waiter(admission, full)

    assert not admission.is_full
    assert not admission.must_wait(make_lane(), 1, 0)
    assert admission.must_wait(full, 0, 0)


def test_a_group_waits_for_room_for_all() -> None:
    """
    A group goes in whole; smaller ones behind it do not pass.
    """
    admission, lane = make_admission(), make_lane()
    admission.hold(lane, 2, 0)
    group, single = waiter(admission, lane, count=2), waiter(admission, lane)

    admission.release(lane, 1, 0)
    assert admitted(admission) == []
    admission.release(lane, 1, 0)
    assert admitted(admission) == [group]
    assert lane.pending == 2
    admission.release(lane, 2, 0)
    assert admitted(admission) == [single]


def test_a_cancelled_waiter_leaves_no_trace() -> None:
    """
    Whoever stops waiting is forgotten, and those behind move up: from the front, the middle or the end.
    """
    admission, lane = make_admission(), make_lane()
    admission.hold(lane, 2, 0)
    first, second, third, fourth = (waiter(admission, lane) for _ in range(4))

    admission.remove(first)
    admission.remove(third)
    assert len(admission) == 2
    admission.release(lane, 2, 0)
    assert admitted(admission) == [second, fourth]
    assert not admission.queues
    assert not admission._heads or admission._first() is None


def test_the_small_one_behind_a_large_one_that_left() -> None:
    """
    When a large waiter gives up, a smaller one behind it goes in at once if the lane has room.
    """
    admission, lane = make_admission(), make_lane()
    admission.hold(lane, 1, 0)
    group, single = waiter(admission, lane, count=2), waiter(admission, lane)
    assert admitted(admission) == []

    admission.remove(group)
    assert admitted(admission) == [single]


def test_newcomers_look_closer_only_while_somebody_waits() -> None:
    """
    The quick way in is shut as long as anybody waits, and open again when the last one is gone.
    """
    admission, lane = make_admission(), make_lane()
    admission.hold(lane, 2, 0)
    first, second = waiter(admission, lane), waiter(admission, lane)

    assert admission.fast_until == 0
    admission.remove(first)
    assert admission.fast_until == 0
    admission.remove(second)
    assert admission.fast_until == 4


def test_the_is_full_for_somebody_whose_lane_has_room() -> None:
    """
    Only then do the half-filled batches of other lanes stand in the way.
    """
    admission, lane = make_admission(), make_lane()
    admission.hold(make_lane(), 2, 0)
    admission.hold(make_lane(), 2, 0)
    waiter(admission, lane)

    assert admission.is_full
    assert admission.next_admitted() is None
    admission.hold(lane, 2, 0)
    assert not admission.is_full


def test_the_cost_of_a_release_is_flat() -> None:
    """
    A thousand settled records in a lane where others wait leave a handful of notes, not a thousand.
    """
    admission, lane = make_admission(max_lane_records=2), make_lane()
    admission.hold(lane, 2, 0)
    entries: list[Entry] = []
    for _ in range(1000):
        unit = waiter(admission, lane)
        assert isinstance(unit, Entry)
        entries.append(unit)
    for entry in entries:
        admission.release(lane, 1, 0)
        assert admitted(admission) == [entry]
        assert len(admission._heads) < 5
