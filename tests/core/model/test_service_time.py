"""How long a call usually takes, by its size; what is slow; and how many calls all lanes together may have out."""

from __future__ import annotations

from random import Random

import pytest

from batcher._core.model.concurrency import Allowance, ServiceTime, SharedAllowance
from batcher.outcomes import Retry
from tests.core.building import answer, dispatched, make_engine, numbered, submit


def test_it_learns_what_a_call_of_each_size_takes():
    """0.1 s and 2 ms a record, through noise of a tenth."""
    service, dice = ServiceTime(), Random(7)
    for _ in range(400):
        records = dice.randint(1, 100)
        service.note(records, (0.1 + 0.002 * records) * dice.uniform(0.9, 1.1))
    for records in (1, 50, 100):
        assert service.expected(records) == pytest.approx(0.1 + 0.002 * records, rel=0.15)


def test_a_full_batch_is_not_slow_because_it_is_full():
    """The signal is corrected for the size: large batches after small ones are no congestion."""
    service, dice = ServiceTime(), Random(7)
    slow = [service.note(n, (0.1 + 0.01 * n) * dice.uniform(0.95, 1.05)) for n in [1, 2, 3, 5, 8] * 10]
    slow += [service.note(100, (0.1 + 0.01 * 100) * dice.uniform(0.95, 1.05)) for _ in range(5)]
    assert not any(slow)


def test_a_call_that_takes_twice_as_long_as_usual_is_slow_once_it_is_known_what_is_usual():
    service, dice = ServiceTime(), Random(7)
    for call in range(30):
        assert not service.note(10, 0.2 * dice.uniform(0.9, 1.1)), call
    assert service.note(10, 0.4)
    assert not service.note(10, 0.25)
    new = ServiceTime()
    new.note(10, 0.1)
    assert not new.note(10, 99.0), "one call is no habit"


def test_what_stays_slow_becomes_usual():
    """A destination that has moved further away is not throttled for ever."""
    service = ServiceTime()
    for _ in range(40):
        service.note(10, 0.2)
    assert [service.note(10, 0.6) for _ in range(100)][-1] is False


def test_expected_is_never_below_zero():
    service = ServiceTime()
    assert service.expected(10) == 0
    for records, seconds in ((100, 1.0), (90, 0.1), (100, 1.0), (90, 0.1)):
        service.note(records, seconds)
    assert service.expected(1) == 0


def test_two_slow_calls_in_a_row_take_a_tenth_and_at_least_one():
    allowance = Allowance(20)
    for limit in (18, 16, 14, 12, 10, 9, 8):
        for _ in range(2):
            allowance.note_answer(allowance.changes, congested=False, slow=True)
        assert allowance.limit == limit


def test_one_slow_call_is_chance():
    allowance = Allowance(8)
    for slow in (True, False, True, False):
        allowance.note_answer(allowance.changes, congested=False, slow=slow)
    assert allowance.limit == 8


def test_a_slow_call_at_the_limit_is_no_reason_to_grow():
    allowance = Allowance(8)
    allowance.note_answer(0, congested=True)
    stamp = allowance.note_sent(4)
    allowance.note_answer(stamp, congested=False, slow=True)
    assert allowance.limit == 4
    allowance.note_answer(stamp, congested=False)
    assert allowance.limit == 5


def test_slowness_never_stops_a_lane():
    allowance = Allowance(1)
    for _ in range(9):
        allowance.note_answer(allowance.changes, congested=False, slow=True)
    assert allowance.limit == 1


def hear(shared: SharedAllowance, signs: str, out: int = 99) -> float:
    """A call of each lane, in turn: congested or not."""
    for lane, sign in enumerate(signs):
        stamp = shared.note_sent(out)
        shared.note_answer(lane, stamp, congested=sign == "x")
    return shared.limit


def test_one_broken_lane_does_not_cost_the_others_a_call():
    """P10: it is cut only if most lanes of a round trip met trouble."""
    shared = SharedAllowance(4)
    assert hear(shared, "x...") == 4
    assert hear(shared, "xx..") == 4
    assert hear(shared, "xxx.") == 2


def test_one_lane_alone_is_judged_by_its_own_limit():
    shared = SharedAllowance(4)
    for _ in range(20):
        shared.note_answer("only", shared.note_sent(4), congested=True)
    assert shared.limit == 4


def test_it_grows_again_by_one_a_round_trip_at_the_limit():
    shared = SharedAllowance(4)
    hear(shared, "xxxx")
    assert hear(shared, "..", out=1) == 2, "not at the limit"
    assert hear(shared, "..") == 3
    assert hear(shared, "...") == 4
    assert hear(shared, "....") == 4


def test_answers_from_before_a_change_say_nothing():
    shared = SharedAllowance(4)
    stamps = [shared.note_sent(4) for _ in range(8)]
    for lane, stamp in enumerate(stamps):
        shared.note_answer(lane, stamp, congested=True)
    assert shared.limit == 2


def test_a_destination_in_trouble_gets_fewer_calls_of_all_lanes():
    """Eight lanes, each with a call out, all throttled: then no more than half of the calls are out."""
    engine = make_engine(max_in_flight=8, max_records=1)
    for key in range(16):
        submit(engine, *numbered(3), key=key)
    batches = dispatched(engine)
    assert len(batches) == 8
    for batch in batches:
        answer(engine, batch, Retry("429", after=9, pause_lane=True), now=1.0)
    assert len(dispatched(engine, 1.0)) == 4


def test_slow_calls_take_from_the_limit_of_their_lane():
    """What ended well after long is a sign of congestion, too."""
    engine = make_engine(max_lane_in_flight=4, max_records=1, max_lane_records=500)
    submit(engine, *numbered(400))
    now = 0.0
    for seconds in [1.0] * 6 + [9.0]:
        batches = dispatched(engine, now)
        now += seconds
        for batch in batches:
            answer(engine, batch, ["ok"], now=now)
    assert engine.accumulator.lanes.by_key["contacts"].allowance.limit == 3
