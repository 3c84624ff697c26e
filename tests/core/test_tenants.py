"""Weights: when there is not enough for all, each tenant gets its share, and idling earns nobody more (P10)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from batcher._core.engine import Engine
from batcher._core.fairness import FairQueue, Tenants
from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher.outcomes import Retry
from batcher.policies import Fairness, Quota
from tests.core.building import answer, dispatched, make_engine, make_lane, numbered, record, submit


def tenant_of(key: Any) -> str:
    return str(key)[0]


def make(**options: Any) -> Engine:
    """Two tenants: "a" has three lanes and "b" one; "b" weighs three times as much."""
    defaults = {"max_records": 1, "max_in_flight": 1, "fairness": Fairness(by=tenant_of, weights={"b": 3})}
    return make_engine(**{**defaults, **options})


def serve(engine: Engine, calls: int) -> Counter[str]:
    """Make that many calls, one after the other; return whose records they carried."""
    sent: Counter[str] = Counter()
    for _ in range(calls):
        (batch,) = dispatched(engine)
        sent[tenant_of(batch.lane.key)] += len(batch.entries)
        answer(engine, batch, ["ok"] * len(batch.entries))
    return sent


def test_calls_go_round_by_weight_whoever_has_more_lanes():
    engine = make()
    for key in ("a1", "a2", "a3", "b1"):
        submit(engine, *numbered(60), key=key)
    assert serve(engine, 40) == {"a": 10, "b": 30}


def test_it_is_records_that_count_and_not_calls():
    """A tenant whose batches are full pays for that."""
    engine = make(max_records=3, fairness=Fairness(by=tenant_of))
    submit(engine, *numbered(90), key="a1")
    for n in range(60):
        engine.submit_group([record(n)], "b1", 0.0)
    sent = serve(engine, 40)
    assert sent == {"a": 30, "b": 30}


def test_who_was_idle_does_not_catch_up():
    engine = make(fairness=Fairness(by=tenant_of))
    submit(engine, *numbered(200), key="a1")
    serve(engine, 100)
    submit(engine, *numbered(50), key="b1")
    assert serve(engine, 20) == {"a": 10, "b": 10}


def test_who_is_alone_gets_everything():
    engine = make()
    submit(engine, *numbered(9), key="a1")
    assert serve(engine, 9) == {"a": 9}


def test_without_a_function_each_lane_is_a_tenant():
    engine = make(fairness=Fairness(weights={"x": 2}))
    for key in "xy":
        submit(engine, *numbered(30), key=key)
    assert serve(engine, 15) == {"x": 10, "y": 5}


def test_places_go_to_who_holds_the_fewest_for_its_weight():
    """Not to who came first: a burst of one tenant does not shut the others out."""
    engine = make(max_pending_records=8, max_lane_records=8, max_in_flight=8, max_lane_in_flight=8)
    submit(engine, *numbered(8), key="a1")
    calls = dispatched(engine)
    waiting: list[Entry] = []
    for key in ("a1", "a2", "b1", "b1", "b1", "b1", "a1"):
        waiting += submit(engine, record(key), key=key)
    assert all(entry.state is State.WAITING for entry in waiting)
    let_in = []
    for call in calls[:6]:
        answer(engine, call, ["ok"])
        let_in += [unit.lane.key for unit in engine.poll(0.0).admitted if isinstance(unit, Entry)]
    assert let_in == ["b1", "b1", "b1", "b1", "a1", "a2"]


def test_within_a_tenant_places_go_by_order_of_arrival():
    engine = make(max_pending_records=2, max_lane_records=2, max_in_flight=2, max_lane_in_flight=2)
    submit(engine, *numbered(2), key="a1")
    calls = dispatched(engine)
    first, second = submit(engine, record(), key="a2") + submit(engine, record(), key="a3")
    for call, entry in zip(calls, (first, second), strict=True):
        answer(engine, call, ["ok"])
        assert engine.poll(0.0).admitted == [entry]


def test_a_tenant_holds_no_more_than_one_lane_may():
    """However many lanes it has: half of the batcher is left for others, also if nothing of it ever ends."""
    engine = make(max_pending_records=8, max_in_flight=8)
    dead = [entry for key in ("a1", "a2", "a3") for entry in submit(engine, *numbered(3), key=key)]
    for call in dispatched(engine):
        answer(engine, call, Retry("down", after=30))
    assert sum(entry.state is State.WAITING for entry in dead) == 5
    (alive,) = submit(engine, record(), key="b1")
    assert alive.state is not State.WAITING


def test_when_a_lane_has_room_again_the_others_of_its_tenant_may_come_in():
    engine = make(max_pending_records=8, max_in_flight=8, max_lane_in_flight=8)
    submit(engine, *numbered(4), key="a1")
    calls = dispatched(engine)
    (waiting,) = submit(engine, record(), key="a2")
    assert waiting.state is State.WAITING
    answer(engine, calls[0], ["ok"])
    assert engine.poll(0.0).admitted == [waiting]


def test_who_gives_up_waiting_does_not_stand_in_the_way():
    """Neither of his own lane, nor of the other lanes of his tenant."""
    engine = make(max_pending_records=4, max_in_flight=4, max_lane_in_flight=4)
    submit(engine, *numbered(2), key="a1")
    calls = dispatched(engine)
    first, second = submit(engine, record(), record(), key="a2")
    (third,) = submit(engine, record(), key="a3")
    assert engine.withdraw(first, 0.0)
    answer(engine, calls[0], ["ok"])
    assert engine.poll(0.0).admitted == [second]
    answer(engine, calls[1], ["ok"])
    assert engine.poll(0.0).admitted == [third]


def test_a_group_that_is_too_large_for_now_holds_up_no_single_record_of_its_tenant():
    engine = make(max_pending_records=8, max_in_flight=8, max_lane_in_flight=8, max_records=2)
    submit(engine, *numbered(4), key="a1")
    calls = dispatched(engine)
    group, _ = engine.submit_group(numbered(2), "a2", 0.0)
    (single,) = submit(engine, record(identity="x", delay=9.0), key="a3")
    assert (group.state, single.state) == (State.WAITING, State.WAITING)
    answer(engine, calls[0], ["ok", Retry("busy", after=9)])
    assert engine.poll(0.0).admitted == [single]
    answer(engine, calls[1], ["ok", "ok"])
    assert engine.poll(0.0).admitted == [group]


def test_a_lane_that_is_full_of_bytes_waits_for_its_own_and_not_for_its_tenant():
    engine = make(max_lane_bytes=10, max_in_flight=8)
    submit(engine, record(size=8), key="a1")
    (call,) = dispatched(engine)
    (waiting,) = submit(engine, record(size=5), key="a1")
    (other,) = submit(engine, record(size=5), key="a2")
    assert (waiting.state, other.state) == (State.WAITING, State.BUFFERED)
    answer(engine, call, ["ok"])
    assert engine.poll(0.0).admitted == [waiting]


def test_a_tenant_is_forgotten_with_its_last_lane():
    """P9: tenants that are gone cost nothing."""
    engine = make()
    submit(engine, record(), key="a1")
    submit(engine, record(), key="a2")
    assert engine.accumulator.scheduler.tenants is not None
    assert len(engine.accumulator.scheduler.tenants) == 1
    serve(engine, 2)
    assert not engine.accumulator.lanes.by_key
    assert not len(engine.accumulator.scheduler.tenants)


def test_an_error_of_the_function_is_the_submitters_and_leaves_nothing_behind():
    def by(key: str) -> str:
        raise LookupError(key)

    engine = make(fairness=Fairness(by=by))
    with pytest.raises(LookupError):
        submit(engine, record(), key="a1")
    assert not engine.accumulator.lanes.by_key

    engine = make(quotas=[Quota(per=1, calls=1, by=by)])
    with pytest.raises(LookupError):
        submit(engine, record(), key="a1")
    assert engine.accumulator.scheduler.tenants is not None
    assert not len(engine.accumulator.scheduler.tenants)


def test_a_queue_that_is_left_and_entered_again_does_not_grow():
    ready = FairQueue()
    tenants = Tenants(Fairness(), ready)
    lane = make_lane()
    tenants.enrol(lane)
    for _ in range(100):
        ready.add(lane)
        ready.add(lane)
        ready.discard(lane)
        ready.discard(lane)
    assert len(ready._heap) == 1
    assert (len(ready), list(ready), lane in ready) == (0, [], False)
    ready.add(lane)
    assert (list(ready), lane in ready) == ([lane], True)
    ready.clear()
    assert len(ready) == 0
    ready.add(lane)
    ready.note_sent(lane, 5)
    other = make_lane()
    other.key = "other"
    tenants.enrol(other)
    ready.add(other)
    assert [ready.take(), ready.take()] == [other, lane]


def test_an_abort_leaves_nobody_in_the_queue():
    engine = make()
    for key in ("a1", "a2", "b1"):
        submit(engine, *numbered(3), key=key)
    engine.poll(0.0)
    engine.abort(0.0, "the host was cancelled")
    engine.poll(0.0)
    assert not len(engine.accumulator.scheduler.ready)
    assert engine.pending == 0
