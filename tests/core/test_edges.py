"""Edges of pacing, budgets, breakers, shares and sizes: costs that stay flat, and memories that end."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from batcher._core.model.concurrency import ServiceTime
from batcher._core.model.states import State
from batcher.outcomes import NotWritten, Refused, Retry
from batcher.policies import BreakerPolicy, Fairness, LaneRules, Quota, RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, submit


@pytest.mark.parametrize("kind", ["full batch", "group"])
def test_retries_do_not_earn_the_budget_that_they_spend(kind: str) -> None:
    """A call made only to try again is no *other call*, be its batch full or a group."""
    engine = make_engine(retry=RetryPolicy(budget=1, budget_floor=0, backoff_base=0, breaker=None))
    if kind == "group":
        engine.submit_group(numbered(3), "contacts", 0.0)
    else:
        submit(engine, *numbered(3))
    calls = 0
    while calls < 50 and (batches := dispatched(engine)):
        calls += 1
        answer(engine, batches[0], Retry("down"))
    assert calls == 2  # one, and the one retry that it allows


@pytest.mark.parametrize("seed", range(5))
def test_calls_of_one_size_teach_nothing_of_other_sizes(seed: int) -> None:
    """However long all calls carry as many records, rounding errors are not taken for differences between them."""
    random, service = Random(seed), ServiceTime()
    service.note(1, 0.3)
    for _ in range(2000):
        service.note(100, 0.3 + random.uniform(-0.05, 0.05))
    assert 0.2 < service.expected(50) < 0.4  # 0, or
    assert service.expected(101) < 0.4  # thousands of years


def _lines(step: Callable[[], Any]) -> int:
    """Lines of Python that *step* runs: a cost that no other load on the machine changes."""
    lines = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    finally:
        sys.settrace(before)
    return lines


def _end_of_a_call(waiting: int) -> int:
    fairness = Fairness(by=lambda key: "acme")
    engine = make_engine(max_records=1, max_in_flight=1, max_lane_records=2, fairness=fairness)
    for index in range(2 + waiting):
        submit(engine, record(), key=index)
    (batch,) = dispatched(engine)
    return _lines(lambda: answer(engine, batch, ["written"]) or dispatched(engine))  # type: ignore[func-returns-value]


def test_the_end_of_a_call_costs_the_same_however_many_lanes_of_its_tenant_wait() -> None:
    """No step walks over those who wait for a place."""
    assert _end_of_a_call(waiting=400) < 3 * _end_of_a_call(waiting=10)


def test_a_ring_forgets_tenants_that_are_gone() -> None:
    """Keys that are gone cost nothing, also while no call may leave."""
    engine = make_engine(max_records=1, max_in_flight=1, fairness=Fairness())
    submit(engine, record(), key="busy")
    dispatched(engine)
    for index in range(1000):
        (entry,) = submit(engine, record(), key=index)
        engine.withdraw(entry, 0.0)
    assert len(engine.accumulator.scheduler.ready._heap) < 500  # type: ignore[union-attr]


def test_a_breaker_does_not_keep_what_an_exception_holds() -> None:
    """A breaker outlives its lane; it must not keep a traceback, and with it the records of a failed call."""

    class Payload:
        pass

    def fail(payload: Payload) -> OSError:
        try:
            raise OSError("reset")
        except OSError as error:
            return error

    payload = Payload()
    alive = weakref.ref(payload)
    engine = make_engine(max_records=1, retry=RetryPolicy(deadline=0))
    submit(engine, record())
    (batch,) = dispatched(engine)
    answer(engine, batch, fail(payload))
    dispatched(engine)
    del payload, batch
    gc.collect()
    assert not engine.pending
    assert alive() is None


def test_a_breaker_that_is_forgiven_is_not_counted_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """``open_breakers`` says 0 when all is well again, however many lanes have failed."""
    monkeypatch.setattr("batcher._core.breakers._MOST_LANES", 2)
    breaker = BreakerPolicy(failures=2, patience=1e9, cooldown=5)
    engine = make_engine(max_records=1, max_in_flight=9, retry=RetryPolicy(breaker=breaker, deadline=0))
    submit(engine, record(), record(), key="a")
    first, second = dispatched(engine)
    answer(engine, first, [NotWritten("revoked")])
    for key in "bc":
        submit(engine, record(), key=key)
        (batch,) = dispatched(engine)
        answer(engine, batch, [NotWritten("revoked")])
    answer(engine, second, [NotWritten("revoked")])  # its breaker was forgiven while this was out
    dispatched(engine, 0.0)
    for key in "abc":
        submit(engine, record(), key=key, now=100.0)
        (batch,) = dispatched(engine, 100.0)
        answer(engine, batch, ["written"], 100.0)
    assert engine.accumulator.breakers.open == 0


def test_calls_that_began_before_a_breaker_opened_are_no_probes() -> None:
    """The cooldown is doubled each time that a probe fares no better, and no probe has left."""
    breaker = BreakerPolicy(failures=1, patience=0, cooldown=5)
    engine = make_engine(max_records=1, max_lane_in_flight=4, retry=RetryPolicy(breaker=breaker, deadline=0))
    submit(engine, *numbered(3))
    for batch, now in zip(dispatched(engine), (0.0, 6.0, 17.0), strict=True):
        answer(engine, batch, OSError(), now)
    late = submit(engine, record(), now=22.5)  # 5.5 s after the last failure
    assert len(dispatched(engine, 22.5)) == 1, late[0].fate()


def test_questions_that_are_answered_do_not_close_the_breaker_of_writes_that_fail() -> None:
    """Where no write has come through for longer than the patience, callers are told."""
    breaker = BreakerPolicy(failures=5, patience=10)
    retry = RetryPolicy(on_unknown="verify", breaker=breaker, backoff_base=1, deadline=1000)
    engine = make_engine(max_records=1, retry=retry, rules_of=lambda key: LaneRules(verifiable=True))
    submit(engine, record())
    writes, now = 0, 0.0
    while now < 100 and engine.pending:
        for batch in dispatched(engine, now):
            writes += not batch.asks
            answer(engine, batch, [NotWritten("absent")] if batch.asks else TimeoutError(), now, jitter=1.0)
        now += 1
    assert writes < 50
    assert engine.accumulator.breakers.open


def test_a_call_that_is_too_large_is_not_made_again_as_it_was() -> None:
    """Also if all but one byte of it is in one record."""
    engine = make_engine(max_records=5)
    submit(engine, record("a", size=1), record("b"))
    engine.flush(0.0)
    calls = 0
    while calls < 20 and (batches := dispatched(engine)):
        calls += len(batches)
        for batch in batches:
            answer(engine, batch, Refused("413", too_large=True))
    assert calls == 3


def test_a_busy_lane_forgets_after_an_hour_how_small_its_calls_had_to_be() -> None:
    """A lane keeps to smaller calls for an hour, also if it was never empty meanwhile."""
    engine = make_engine(max_records=4, max_bytes=1000)
    submit(engine, *numbered(4))
    (batch,) = dispatched(engine)
    answer(engine, batch, Refused("413", too_large=True))
    out, now = dispatched(engine), 0.0
    while now < 7200:
        now += 60
        submit(engine, *numbered(4), now=now)
        new = dispatched(engine, now)
        for batch in out:
            answer(engine, batch, [1] * len(batch.entries), now)
        out = [*new, *dispatched(engine, now)]
    assert max(len(batch.entries) for batch in out) == 4


def test_a_budget_of_less_than_a_retry_in_ten_seconds_allows_one_in_a_while() -> None:
    """``budget_floor`` is retries a second: 0.05 are one in 20 seconds, not none ever."""
    retry = RetryPolicy(budget=0, budget_floor=0.05, backoff_base=0, breaker=None, deadline=1000)
    engine = make_engine(max_records=1, retry=retry)
    (entry,) = submit(engine, record())
    (batch,) = dispatched(engine)
    answer(engine, batch, Retry("down"))
    now = 0.0
    while now < 500 and not (again := dispatched(engine, now)):
        now += 10
    assert again, entry.fate()


def test_a_place_that_is_freed_because_a_quota_lasts_beyond_a_deadline_goes_to_who_waits_for_it() -> None:
    """Nobody waits in front of an open door, here until another lane's quota has room again."""
    engine = make_engine(max_pending_records=2, max_lane_records=2, quotas=[Quota(per=86_400, calls=1, by=str)])
    submit(engine, record())
    engine.flush(0.0)
    (batch,) = dispatched(engine)
    answer(engine, batch, ["written"])
    dispatched(engine)
    submit(engine, record("a", expires_at=50.0), record("b", expires_at=50.0))
    (waiter,) = submit(engine, record("waiter"), key="deals")
    plan = engine.poll(0.0)
    assert len(plan.settled) == 2
    assert waiter.state is not State.WAITING or plan.ask_again_at <= 0.0, plan.ask_again_at


def test_a_lane_that_is_emptied_while_a_quota_and_a_pause_hold_it_is_forgotten() -> None:
    """
    Of a key that is gone nothing stays, whatever kept its lane when the last record left.
    """
    engine = make_engine(retry=RetryPolicy(deadline=5), max_records=2, quotas=[Quota(per=10, calls=1)])
    entries = submit(engine, *numbered(4))
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("429", after=70, pause_lane=True), Retry("429", pause_lane=True)])
    engine.poll(0.0)
    for entry in entries[1:]:
        engine.withdraw(entry, 0.0)
    engine.poll(100.0)
    assert not engine.accumulator.lanes.by_key
