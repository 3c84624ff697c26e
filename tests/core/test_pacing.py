"""Quotas: no more calls and records than they allow, in any window, and nobody waits longer than they demand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from math import inf
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from batcher._core.engine import Engine
from batcher._core.model.meters import Meter
from batcher._core.verbs import Verb
from batcher.outcomes import NotWritten, Retry
from batcher.policies import Quota
from tests.core.building import answer, dispatched, make_engine, numbered, record, send, submit


def paced(*quotas: Quota, **options: Any) -> Engine:
    """An engine with batches of three, which leave at once."""
    return make_engine(**{"max_delay": 0.0, "max_lane_in_flight": 99, **options, "quotas": quotas})


def calls(engine: Engine, now: float) -> int:
    return len(engine.poll(now).batches)


def fill(engine: Engine, batches: int, now: float = 0.0, key: Hashable = "contacts") -> None:
    submit(engine, *numbered(3 * batches), key=key, now=now)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(1, 4),
    st.sampled_from([inf, 5, 9]),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), max_size=40),
)
def test_in_any_window_a_meter_lets_no_more_pass_than_its_quota(most, most_records, arrivals):
    """Also across slots, and whoever comes at the first possible moment."""
    quota = Quota(per=2, calls=most, records=most_records)
    meter, now, passed = Meter(quota, "m"), 0.0, []
    for wait, records in arrivals:
        now = max(now + wait, meter.free_at(records, now + wait))
        meter.note(records, now)
        passed.append((now, records))
    for end, _ in passed:
        window = [records for at, records in passed if at <= end < at + 2]
        assert len(window) <= most
        assert sum(window) <= most_records


def test_a_meter_frees_a_call_exactly_one_window_after_it_was_made():
    """Not earlier, which would break the quota, and not later, which would waste it."""
    meter = Meter(Quota(per=10, calls=2), "m")
    for at in (0.0, 3.0):
        assert meter.free_at(1, at) == at
        meter.note(1, at)
    assert meter.free_at(1, 4.0) == 10.0
    meter.note(1, 10.0)
    assert meter.free_at(1, 10.0) == 13.0
    assert meter.empty_at() == 20.0


def test_a_meter_of_a_long_window_stays_small():
    """A daily quota of a million calls is kept in a thousand slots; joined calls count until their last is out."""
    meter = Meter(Quota(per=86_400, calls=1_000_000), "m")
    for second in range(86_400):
        meter.note(1, float(second))
    assert len(meter._slots) <= 1001
    assert meter.free_at(1, 86_399.0) == 86_399.0
    joined = Meter(Quota(per=1000, calls=2), "m")
    joined.note(1, 0.0)
    joined.note(1, 0.5)
    assert joined.free_at(1, 1.0) == 1000.5


def test_the_quota_outranks_the_delay_and_the_batch_keeps_filling():
    """A due batch without a call left waits for one, and takes along what comes meanwhile."""
    engine = paced(Quota(per=10, calls=1))
    submit(engine, record("a"))
    assert send(engine, 0.0) == [["a"]]
    submit(engine, record("b"), now=1.0)
    assert send(engine, 1.0) == []
    assert engine.next_at == 10.0
    submit(engine, record("c"), now=9.0)
    assert send(engine, 9.999) == []
    assert send(engine, 10.0) == [["b", "c"]]


def test_a_full_batch_waits_too_and_leaves_one_by_one():
    """Nothing is sent in a burst when the window opens."""
    engine = paced(Quota(per=10, calls=2))
    fill(engine, 5)
    assert [calls(engine, at) for at in (0.0, 5.0, 10.0, 15.0, 20.0)] == [2, 0, 2, 0, 1]


def test_records_are_limited_as_well_as_calls():
    """A call waits until all of its records have room; no call carries more than the quota ever allows."""
    engine = paced(Quota(per=10, records=4))
    submit(engine, *numbered(3), record("d"))
    assert [batch.records for batch in dispatched(engine)] == [[0, 1, 2], ["d"]]
    fill(engine, 1)
    assert calls(engine, 0.0) == 0
    assert engine.next_at == 10.0
    assert calls(engine, 10.0) == 1
    small = paced(Quota(per=10, records=2))
    fill(small, 1)
    assert send(small, 0.0) == [[0, 1]]
    assert send(small, 10.0) == [[2]]


def test_several_quotas_hold_at_once():
    """Two calls in a second, and three in ten."""
    engine = paced(Quota(per=1, calls=2), Quota(per=10, calls=3))
    fill(engine, 9)
    assert [calls(engine, at) for at in (0.0, 1.0, 2.0, 9.0, 10.0, 11.0, 20.0)] == [2, 1, 0, 0, 2, 1, 2]


def test_lanes_of_one_group_share_a_quota_and_others_do_not_feel_it():
    """A tenant with two lanes has one quota; its neighbour has one of its own (P10)."""
    engine = paced(Quota(per=10, calls=1, by=lambda key: key[0]))
    for key in (("ada", 1), ("ada", 2), ("bob", 1)):
        submit(engine, record(key), key=key)
    assert send(engine, 0.0) == [[("ada", 1)], [("bob", 1)]]
    assert send(engine, 10.0) == [[("ada", 2)]]


def test_held_lanes_take_turns():
    """The lane that has waited for longest goes first, however much the others have."""
    engine = paced(Quota(per=10, calls=1))
    fill(engine, 3, key="a")
    fill(engine, 1, key="b")
    order = [engine.poll(at).batches[0].lane.key for at in (0.0, 10.0, 20.0, 30.0)]
    assert order == ["a", "a", "b", "a"] or order == ["a", "b", "a", "a"]


def test_a_newcomer_does_not_overtake_those_who_are_held():
    """Even if it comes at the very moment at which the window opens."""
    engine = paced(Quota(per=10, calls=1))
    submit(engine, record(1), key="a")
    assert send(engine) == [[1]]
    submit(engine, record(2), key="b", now=1.0)
    assert send(engine, 1.0) == []
    submit(engine, record(3), key="c", now=10.0)
    assert send(engine, 10.0) == [[2]]
    assert send(engine, 20.0) == [[3]]


def test_retries_and_the_search_for_culprits_are_metered():
    """A provider counts every call, whatever it is for."""
    engine = paced(Quota(per=100, calls=2))
    submit(engine, record("a"))
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("busy")])
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("busy")])
    assert calls(engine, 50.0) == 0
    assert engine.next_at == 60.0 or engine.next_at == 100.0


def test_a_flush_overrides_no_quota():
    """It makes due what may go, and no more may go."""
    engine = paced(Quota(per=10, calls=1), max_delay=5.0)
    submit(engine, record("a"))
    engine.flush(0.0)
    assert calls(engine, 0.0) == 1
    submit(engine, record("b"), now=1.0)
    engine.flush(1.0)
    assert calls(engine, 1.0) == 0
    assert calls(engine, 10.0) == 1


def test_a_lane_whose_records_are_withdrawn_lets_the_next_one_go():
    """It has nothing to send any more, and holds up nobody."""
    engine = paced(Quota(per=10, calls=1))
    submit(engine, record(1), key="a")
    assert send(engine) == [[1]]
    (gone,) = submit(engine, record(2), key="b", now=1.0)
    send(engine, 1.0)
    submit(engine, record(3), key="c", now=2.0)
    send(engine, 2.0)
    assert engine.withdraw(gone, 3.0)
    assert send(engine, 10.0) == [[3]]


def test_closing_gives_up_what_its_quota_holds_for_too_long():
    """Known not to be applied, and told at once: the rest drains within the quota."""
    engine = paced(Quota(per=10, calls=1))
    submit(engine, record(1))
    assert send(engine) == [[1]]
    (in_time,) = submit(engine, record(2), key="b", now=1.0)
    (too_late,) = submit(engine, record(3), key="c", now=1.0)
    assert send(engine, 1.0) == []
    engine.close(2.0, 12.0)
    assert send(engine, 2.0) == []
    assert send(engine, 10.0) == [[2]]
    assert in_time.fate() is None
    assert too_late.fate() == NotWritten("its quota is used up beyond the shutdown timeout", 0)


def test_closing_before_any_quota_is_free_settles_at_once():
    """Nobody waits for the end of the shutdown timeout to learn what is known already."""
    engine = paced(Quota(per=100, calls=1))
    submit(engine, record(1))
    assert send(engine) == [[1]]
    (late,) = submit(engine, record(2), now=1.0)
    send(engine, 1.0)
    engine.close(2.0, 32.0)
    engine.poll(2.0)
    assert isinstance(late.fate(), NotWritten)


def test_a_quota_outlives_the_lanes_that_used_it_and_is_forgotten_after_its_window():
    """A lane that comes back meets what is left of its quota; keys that are gone cost nothing."""
    engine = paced(Quota(per=10, calls=1, by=str))
    submit(engine, record(1), key="a")
    (batch,) = dispatched(engine)
    answer(engine, batch, ["ok"])
    assert not engine.accumulator.lanes.by_key and len(engine.accumulator.scheduler.pacing) == 1
    submit(engine, record(2), key="a", now=5.0)
    assert send(engine, 5.0) == []
    (batch,) = dispatched(engine, 10.0)
    answer(engine, batch, ["ok"], now=11.0)
    engine.poll(20.0)
    assert not len(engine.accumulator.scheduler.pacing) and engine.next_at == inf


def test_a_paused_lane_gives_its_turn_away():
    """A pause and a quota at once: the pause of one lane costs no other lane its call."""
    engine = paced(Quota(per=10, calls=2))
    submit(engine, record(1), record(2), record(3), record(4), key="a")
    one, two = dispatched(engine)
    answer(engine, one, [Retry("throttled", after=50, pause_lane=True)] * 3, now=1.0)
    answer(engine, two, ["ok"], now=1.0)
    submit(engine, record(5), key="b", now=2.0)
    assert send(engine, 2.0) == []
    assert send(engine, 10.0) == [[5]]


@pytest.mark.parametrize("group", [False, True])
def test_a_group_is_metered_whole(group):
    """It is never split to fit."""
    engine = paced(Quota(per=10, records=3))
    submit(engine, record("a"))
    assert send(engine) == [["a"]]
    members = numbered(3)
    if group:
        engine.submit_group(members, "contacts", 1.0)
    else:
        submit(engine, *members, now=1.0)
    assert send(engine, 1.0) == []
    assert send(engine, 10.0) == [[0, 1, 2]]


def test_a_held_lane_that_has_less_to_send_than_before_goes_as_soon_as_that_fits():
    """A withdrawn record frees those that it was to travel with."""
    engine = paced(Quota(per=10, records=4))
    submit(engine, *numbered(3))
    assert send(engine) == [[0, 1, 2]]
    one, two, _ = submit(engine, record("a"), record("b"), record("c"), now=1.0)
    assert send(engine, 1.0) == []
    assert engine.withdraw(one, 2.0) and engine.withdraw(two, 2.0)
    assert send(engine, 2.0) == [["c"]]


def test_a_small_group_goes_in_front_of_held_records_if_it_fits():
    """What is held holds up nothing that the quota has room for in the same lane."""
    engine = paced(Quota(per=10, records=4))
    submit(engine, *numbered(3))
    assert send(engine) == [[0, 1, 2]]
    submit(engine, record("a"), record("b"), now=1.0)
    assert send(engine, 1.0) == []
    _, verb = engine.submit_group([record("c")], "contacts", 1.0)
    assert verb is Verb.DISPATCH
    assert send(engine, 1.0) == [["c"]]


def test_what_is_held_when_the_batcher_fills_up_is_due_once_it_may_go():
    """Others wait for the places that it holds, so it does not wait for company again (B11)."""
    engine = paced(Quota(per=10, records=4), max_delay=50.0, max_pending_records=6, max_lane_records=6)
    submit(engine, *numbered(3))
    assert send(engine) == [[0, 1, 2]]
    submit(engine, *numbered(3), now=1.0)
    assert send(engine, 1.0) == []
    assert engine.submit(record("late"), "deals", 2.0) is Verb.WAIT
    engine.poll(2.0)
    assert engine.accumulator.admission.under_pressure
    assert send(engine, 10.0) == [[0, 1, 2]]


def test_a_small_call_does_not_overtake_a_large_one_that_is_held():
    """Or a lane with full batches would wait for ever beside lanes with small ones."""
    engine = paced(Quota(per=10, records=4))
    submit(engine, *numbered(3), key="a")
    assert send(engine) == [[0, 1, 2]]
    submit(engine, *numbered(3), key="b", now=1.0)
    assert send(engine, 1.0) == []
    submit(engine, record("small"), key="c", now=2.0)
    assert send(engine, 2.0) == []
    assert send(engine, 10.0) == [[0, 1, 2], ["small"]]


def test_a_meter_that_is_forgotten_takes_no_successor_along():
    """Its last lane went before anybody looked at its timer; a lane that came meanwhile stays metered."""
    engine = paced(Quota(per=10, calls=1))
    submit(engine, record("a"))
    (batch,) = dispatched(engine)
    answer(engine, batch, [0])
    (held,) = submit(engine, record("b"), now=1.0)
    assert send(engine, 1.0) == []
    assert engine.withdraw(held, 10.0)
    submit(engine, record("c"), key="c", now=10.0)
    assert send(engine, 10.0) == [["c"]]
    submit(engine, record("d"), key="d", now=10.0)
    assert send(engine, 10.0) == []


@pytest.mark.parametrize("wrong", [KeyError, list])
def test_a_key_that_no_quota_can_place_is_refused_each_time(wrong):
    """Its lane does not slip in without a meter the second time, and nothing of it stays behind."""

    def by(key: Hashable) -> Any:
        if wrong is KeyError:
            raise KeyError(key)
        return wrong()

    engine = paced(Quota(per=10, calls=1), Quota(per=10, calls=1, by=by))
    for _ in range(2):
        with pytest.raises((KeyError, TypeError)):
            submit(engine, record("a"))
        assert send(engine) == []
        assert not engine.accumulator.lanes.by_key
        assert not len(engine.accumulator.scheduler.pacing)


@pytest.mark.parametrize("most", [1, 8])
def test_a_lane_under_two_quotas_gets_its_turn_beside_others_that_never_stop(most):
    """A quota of all and one of each customer: the turn is kept on the way from one to the other, so nobody starves."""
    quotas = [Quota(per=1, calls=1), Quota(per=2, calls=1, by=lambda key: key[0])]
    engine = paced(*quotas, max_in_flight=most, max_lane_in_flight=4, max_pending_records=10_000)
    keys = ["aa", "ab", "ba", "bb", "cc"]
    for key in keys:
        fill(engine, 40, key=key)
    sent: Counter[Hashable] = Counter()
    now = 0.0
    while now <= 99:
        while batches := dispatched(engine, now):
            for batch in batches:
                sent[batch.lane.key] += 1
                answer(engine, batch, [0] * 3, now)
        now = engine.next_at
    assert sum(sent.values()) == 100
    assert min(sent[key] for key in keys) >= 19
