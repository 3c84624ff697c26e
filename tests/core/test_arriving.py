"""Many records at once: taken in as far as nothing is to be looked at for each."""

from __future__ import annotations

from typing import Any

import pytest

from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher.events import FlushReason
from batcher.policies import Fairness
from tests.core.building import dispatched, make_engine, record, submit


def numbered(count: int, **options: Any) -> list[Entry]:
    return [record(number, **options) for number in range(count)]


def test_all_are_taken_in_and_leave_in_their_order() -> None:
    """
    Full batches leave at once, as many as may be out; the rest waits for more, or for the call that completes it.
    """
    engine = make_engine(max_lane_in_flight=2)
    entries = numbered(8)
    assert engine.submit_many(entries, "contacts", 1.0) == 8

    assert all(entry.state is State.BUFFERED and entry.accepted_at == 1.0 for entry in entries)
    assert (engine.pending, entries[0].lane.pending) == (8, 8)
    first, second = dispatched(engine, 1.0)
    assert (first.records, second.records) == ([0, 1, 2], [3, 4, 5])
    engine.settle(first, [0, 1, 2], 1.0, 0.5)
    assert dispatched(engine, 1.0) == []
    engine.complete(entries[-1], 1.0)
    (last,) = dispatched(engine, 1.0)
    assert (last.records, last.reason) == ([6, 7], FlushReason.SUBMIT_ALL)


def test_the_first_one_sets_the_clock() -> None:
    """
    What fills no batch is due after the delay, like a record that came alone.
    """
    engine = make_engine()
    engine.submit_many(numbered(2), "contacts", 1.0)
    assert engine.next_at == 6.0
    assert [batch.records for batch in dispatched(engine, 6.0)] == [[0, 1]]


def test_they_stand_behind_those_who_came_before() -> None:
    """
    A half-filled batch is filled up first, and what has become due leaves before them.
    """
    engine = make_engine()
    submit(engine, record("due"), key="deals")
    submit(engine, record("ada"), now=1.0)
    engine.submit_many(numbered(2), "contacts", 5.0)
    assert [batch.records for batch in dispatched(engine, 5.0)] == [["due"], ["ada", 0, 1]]


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        ({"max_pending_records": 5, "max_lane_records": 7}, 4),
        ({"max_lane_records": 3}, 2),
        ({"max_lane_records": 1}, 0),
        ({"max_pending_records": 7, "max_lane_records": 7}, 6),
        ({"max_pending_records": 6, "max_lane_records": 6}, 5),
    ],
)
def test_no_more_than_there_are_places(limits: dict[str, Any], taken: int) -> None:
    """
    The others are left as they were, for submit() to make them wait.
    """
    engine = make_engine(**limits)
    submit(engine, record("ada"))
    entries = numbered(6)
    assert engine.submit_many(entries, "contacts", 0.0) == taken
    assert engine.pending == taken + 1
    assert not any(hasattr(entry, "state") for entry in entries[taken:])


def test_none_overtakes_one_that_waits() -> None:
    """
    As long as somebody waits for a place, each has to look whether it comes first.
    """
    engine = make_engine(max_pending_records=8, max_lane_records=1)
    submit(engine, record("ada"), record("waits"))
    assert engine.submit_many(numbered(2), "deals", 0.0) == 0


def test_tenants_are_looked_at_one_by_one() -> None:
    """
    Where places are shared out, each record is held against its tenant.
    """
    engine = make_engine(max_lane_records=4, fairness=Fairness(by=lambda key: "all"))
    assert engine.submit_many(numbered(2), "contacts", 0.0) == 0


def test_one_with_an_identity_among_them() -> None:
    """
    It may have to wait for another write, so they come one by one.
    """
    engine = make_engine()
    assert engine.submit_many([record(), record(identity="003")], "contacts", 0.0) == 0
    assert engine.pending == 0


@pytest.mark.parametrize(
    ("sizes", "limits", "taken"),
    [
        ([3, 3, 4], {}, 3),
        ([10, 10], {}, 2),
        ([3, 11], {}, 0),  # fits no batch
        ([6, 6], {"max_pending_bytes": 12, "max_lane_bytes": 12}, 2),
        ([6, 7], {"max_pending_bytes": 12, "max_lane_bytes": 12}, 0),
        ([6, 7], {"max_lane_bytes": 12}, 0),
    ],
)
def test_bytes(sizes: list[int], limits: dict[str, Any], taken: int) -> None:
    """
    All of them or none, where their bytes are counted; and what they take is held.
    """
    engine = make_engine(max_records=10, **limits)
    entries = [record(size=size) for size in sizes]
    assert engine.submit_many(entries, "contacts", 0.0) == taken
    assert engine.accumulator.admission.pending_bytes == (sum(sizes) if taken else 0)
    if taken:
        lane = entries[0].lane
        assert (lane.pending_bytes, lane.queue.size) == (sum(sizes), sum(sizes))
        assert all(batch.size <= 10 for batch in dispatched(engine))


def test_none_at_all() -> None:
    """
    Nothing comes of nothing.
    """
    engine = make_engine()
    assert engine.submit_many([], "contacts", 0.0) == 0
    assert not engine.accumulator.lanes.by_key
