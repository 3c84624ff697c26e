"""A record's own deadline: its batch leaves in time, and one that cannot make it is told at once."""

from __future__ import annotations

from typing import Any

import pytest

from batcher._core.engine import Engine
from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher.events import FlushReason
from batcher.outcomes import NotWritten, Retry
from batcher.policies import Quota, RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, submit


def paused(until: float, **options: Any) -> Engine:
    """An engine whose lane is paused, since 0.0."""
    engine = make_engine(retry=RetryPolicy(deadline=0), **options)
    submit(engine, record("first"))
    engine.flush(0.0)
    answer(engine, dispatched(engine)[0], Retry("429", after=until, pause_lane=True))
    engine.poll(0.0)
    return engine


def leaves_at(engine: Engine) -> tuple[float, FlushReason]:
    """Let time pass until something leaves."""
    for _ in range(9):
        at = engine.next_at
        for batch in dispatched(engine, at):
            return at, batch.reason
    raise AssertionError("nothing leaves")


def test_a_batch_leaves_in_time_for_the_deadline_of_the_record_that_opened_it():
    """Not after its delay of five seconds, when that would be too late."""
    engine = make_engine()
    submit(engine, record(expires_at=3.0))
    at, reason = leaves_at(engine)
    assert at == pytest.approx(2.99)
    assert reason is FlushReason.DEADLINE


def test_and_for_that_of_any_record_in_it():
    engine = make_engine()
    submit(engine, record(), record(expires_at=3.0))
    at, reason = leaves_at(engine)
    assert at == pytest.approx(2.99)
    assert reason is FlushReason.DEADLINE


def test_a_deadline_beyond_the_delay_changes_nothing():
    engine = make_engine()
    submit(engine, record(), record(expires_at=60.0))
    assert leaves_at(engine) == (5.0, FlushReason.DELAY)


def test_a_very_short_one_leaves_half_of_its_time_to_the_call():
    engine = make_engine()
    submit(engine, record(expires_at=0.01))
    assert leaves_at(engine)[0] == pytest.approx(0.005)


def test_the_time_that_calls_usually_take_is_left_for_the_call():
    """Twice that, so that most answers come in time."""
    engine = make_engine(max_records=2)
    submit(engine, *numbered(2))
    dispatched(engine)  # a call that stays out, so that the lane is not forgotten
    for now in range(30):
        submit(engine, *numbered(2), now=float(now))
        for batch in dispatched(engine, float(now)):
            answer(engine, batch, ["ok"] * 2, now=now + 0.5)
    submit(engine, record(expires_at=34.0), now=30.0)
    assert leaves_at(engine)[0] == pytest.approx(33.0)


def test_one_behind_an_earlier_write_of_the_same_record_brings_that_forward():
    engine = make_engine()
    submit(engine, record("a", identity="ada"))
    submit(engine, record("b", identity="ada", expires_at=2.0), key="deals")
    at, _ = leaves_at(engine)
    assert at == pytest.approx(1.99)


def fate(entry: Entry) -> Any:
    assert entry.state is State.SETTLED
    return entry.fate()


TOLD = NotWritten("its lane is paused beyond its deadline")


def test_who_arrives_in_a_lane_that_is_paused_beyond_its_deadline_is_told_at_once():
    engine = paused(10.0)
    late, fine = submit(engine, record(expires_at=9.0), record(expires_at=11.0), now=1.0)
    assert fate(late) == TOLD
    assert fine.state is State.BUFFERED


def test_who_waits_in_a_lane_is_told_when_it_is_paused_for_too_long():
    engine = make_engine(retry=RetryPolicy(deadline=0), max_lane_in_flight=1)
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    late, fine = submit(engine, record(expires_at=9.0), record(expires_at=11.0), now=1.0)
    parked, _ = submit(engine, record(identity="ada"), record(identity="ada", expires_at=5.0), now=1.0)
    answer(engine, batch, Retry("429", after=8.0, pause_lane=True), now=2.0)
    assert fate(late) == TOLD
    assert fine.state is State.BUFFERED
    assert engine.pending == 2
    assert parked.state is State.BUFFERED


def test_who_waits_for_a_quota_that_has_no_room_in_time_is_told():
    engine = make_engine(max_records=1, quotas=[Quota(per=60, calls=1)])
    submit(engine, record())
    dispatched(engine)
    late, fine = submit(engine, record(expires_at=59.0), record(expires_at=61.0))
    engine.poll(0.0)
    assert fate(late) == NotWritten("its quota is used up beyond its deadline")
    assert fine.state is State.BUFFERED


def test_one_that_is_in_a_call_is_not_told_anything_early():
    engine = make_engine(retry=RetryPolicy(deadline=0), max_records=1)
    one, other = submit(engine, record(expires_at=5.0), record())
    calls = dispatched(engine)
    answer(engine, calls[1], Retry("429", after=8.0, pause_lane=True))
    assert one.state is State.IN_FLIGHT
    assert other.state is State.SETTLED
    answer(engine, calls[0], ["ok"])
    assert one.verdict == "ok"


def test_a_group_is_told_as_a_whole():
    engine = paused(10.0)
    members = [record(n, expires_at=5.0) for n in range(2)]
    engine.submit_group(members, "contacts", 0.0)
    assert [fate(member) for member in members] == [TOLD, TOLD]
