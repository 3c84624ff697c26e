"""The retry budget: in trouble, a destination gets little more than it gets in good times."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest

from batcher._core.model.budgets import RetryBudget
from batcher._core.model.states import State
from batcher.outcomes import Retry, Unknown
from batcher.policies import RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, submit


def test_there_is_a_floor_and_a_share_of_the_calls_of_the_last_ten_seconds():
    budget = RetryBudget(0.2, 2)
    assert budget.left(0.0) == 2
    for _ in range(50):
        budget.note_call(0.0)
    assert budget.left(0.0) == 12
    assert all(budget.spend(0.0) for _ in range(5))
    assert budget.left(9.9) == 7
    assert budget.left(10.0) == 2, "what the calls have left is forgotten"


def test_the_floor_comes_bit_by_bit_and_no_more_is_kept_than_a_second_brings():
    """Ten seconds' worth at once is a herd every ten seconds."""
    budget = RetryBudget(0.0, 2)
    assert [budget.spend(at) for at in (0.0, 0.0, 0.0, 0.4, 0.5, 0.9, 1.0)] == [True, True, False] + [False, True] * 2
    assert budget.next_at(1.0) == 1.5
    assert budget.next_at(1.3) == 1.5
    assert [budget.spend(99.0) for _ in range(3)] == [True, True, False]


def test_what_the_calls_have_left_is_spent_first_for_it_expires():
    budget = RetryBudget(0.5, 1)
    budget.note_call(0.0)
    budget.note_call(5.0)
    assert budget.spend(6.0)
    assert budget.left(6.0) == 1
    budget.note_call(6.0)
    assert budget.spend(6.0)
    assert budget.left(6.0) == 0.5, "one was taken of both"
    assert budget.next_at(6.0) == 6.5


def test_calls_expire_one_by_one_and_those_that_are_spent_only_once():
    """The oldest are spent first; those of a tenth of a second count as one, as long as any of them does."""
    budget = RetryBudget(0.5, 0)
    for at in (0.0, 0.05, 0.05, 1.0, 1.0, 2.0):
        budget.note_call(at)
    assert budget.left(2.0) == 3
    assert budget.spend(2.0)
    assert [budget.left(at) for at in (2.0, 10.0, 11.0, 12.0)] == [2, 1.5, 0.5, 0]


def test_tenths_make_a_whole():
    """Rounding costs nobody his turn, whatever the clock says: ten calls and a tenth of each allow one retry."""
    budget = RetryBudget(0.1, 0)
    for _ in range(10):
        budget.note_call(0.0)
    assert budget.spend(0.0)
    assert not budget.spend(0.0)
    budget = RetryBudget(0.0, 3)
    now, looks = 1e6 / 3, 0
    while now < 1e6 / 3 + 100:
        if not budget.spend(now):
            now, looks = budget.next_at(now), looks + 1
    assert looks == pytest.approx(300, abs=3), "each look finds one"


@pytest.mark.parametrize(("share", "floor", "at"), [(0.2, 0, 1.0), (0, 0, inf), (0, 0.05, 20.0), (0.2, 0.05, 1.0)])
def test_when_to_ask_again(share, floor, at):
    """Calls may bring something any moment; else it is known. A floor of 0.05 a second is one in 20 seconds."""
    budget = RetryBudget(share, floor)
    assert budget.spend(0.0) == (floor > 0)
    assert not budget.spend(0.0)
    assert budget.next_at(0.0) == at


def test_a_timer_is_not_worth_less_than_a_hundredth_of_a_second():
    budget = RetryBudget(0, 1_000_000)
    assert all(budget.spend(0.0) for _ in range(1_000_000))
    assert budget.next_at(0.0) == 0.01


@pytest.mark.parametrize(("share", "floor"), [(inf, 0), (0, inf), (inf, inf)])
def test_it_may_be_endless(share, floor):
    budget = RetryBudget(share, floor)
    budget.note_call(0.0)
    assert all(budget.spend(float(now)) for now in (0, 0, 1, 9))


def test_a_retry_waits_for_the_budget():
    """One in five seconds is allowed: of three lanes whose call failed two wait in turn, and are not forgotten."""
    engine = make_engine(retry=RetryPolicy(budget=0, budget_floor=0.2, backoff_base=1))
    for key in "abc":
        submit(engine, record(key), key=key)
    engine.flush(0.0)
    for batch in dispatched(engine):
        answer(engine, batch, Retry("busy"), jitter=1.0)

    assert [batch.records for batch in dispatched(engine, 1.0)] == [["a"]]
    for key, at in (("b", 6.0), ("c", 11.0)):
        plan = engine.poll(at - 0.1)
        assert not plan.batches and plan.ask_again_at == at
        assert [batch.records for batch in dispatched(engine, at)] == [[key]]


def test_a_herd_comes_back_one_after_the_other():
    """All failed at once; ten a second may try again, so ten a second do, and not a hundred in every tenth second."""
    engine = make_engine(retry=RetryPolicy(budget=0, backoff_base=1), max_records=1, max_in_flight=99)
    for key in range(99):
        submit(engine, record(key), key=key)
    for batch in dispatched(engine):
        answer(engine, batch, Retry("locked"), jitter=1.0)
    came: Counter[int] = Counter()
    while (now := engine.next_at) < inf:
        for batch in dispatched(engine, now):
            came[int(now + 1e-6)] += 1
            answer(engine, batch, ["ok"], now=now)
    assert came[1] == 19, "ten that were left, and one each tenth of a second"
    assert [came[second] for second in range(2, 9)] == [10] * 7


def test_a_look_costs_the_same_however_many_wait(monkeypatch):
    """Whoever waits has a turn: only the first looks whether there is anything left."""
    asked = 0

    def spend(self: RetryBudget, now: float) -> bool:
        nonlocal asked
        asked += 1
        return original(self, now)

    original = RetryBudget.spend
    monkeypatch.setattr(RetryBudget, "spend", spend)
    engine = make_engine(retry=RetryPolicy(budget=0, backoff_base=1), max_records=1, max_in_flight=500)
    for key in range(500):
        submit(engine, record(key), key=key)
    for batch in dispatched(engine):
        answer(engine, batch, Retry("locked"), jitter=1.0)
    engine.poll(1.0)
    assert asked <= 510
    before = asked
    for _ in range(100):
        assert len(dispatched(engine, engine.next_at)) == 1
    assert asked - before <= 210


def test_who_waits_for_it_is_told_at_his_deadline():
    """Each at his own, also if they failed in one call: a token that comes too late helps nobody."""
    engine = make_engine(retry=RetryPolicy(budget=0, budget_floor=0.1, backoff_base=1, deadline=9))
    submit(engine, record("other"), key="other")
    (early,) = submit(engine, record("early"))
    (late,) = submit(engine, record("late"), now=1.0)
    engine.flush(1.0)
    for batch in dispatched(engine, 1.0):
        answer(engine, batch, Retry("busy"), now=1.0, jitter=1.0)
    (batch,) = dispatched(engine, 2.0)
    answer(engine, batch, ["ok"], now=2.0)
    engine.poll(2.0)
    assert [entry.state for entry in (early, late)] == [State.SETTLED] * 2, "the next one comes at 12"
    assert str(late.fate()) == "NotWritten(cause='the retry budget is used up; the last: busy', attempts=1)"


def test_whoever_might_still_get_one_waits_until_his_deadline():
    """Calls may bring a token any moment. Those who failed in one call wait for their own deadlines."""
    engine = make_engine(retry=RetryPolicy(budget=0.5, budget_floor=0, backoff_base=1, deadline=9), max_records=2)
    early, late = (*submit(engine, record()), *submit(engine, record(), now=1.0))
    (batch,) = dispatched(engine, 1.0)
    answer(engine, batch, Retry("busy"), now=1.0, jitter=1.0)
    seen = []
    for now in (2.0, 8.0, 9.0, 9.5, 10.0):
        assert not dispatched(engine, now)
        seen.append([entry.state is State.SETTLED for entry in (early, late)])
    assert seen == [[False, False]] * 2 + [[True, False]] * 2 + [[True, True]]
    assert not engine.accumulator.backoffs and engine.next_at == inf


def test_who_is_told_leaves_the_queue():
    """Nothing of it is kept until those before it have had their turn (P9)."""
    engine = make_engine(retry=RetryPolicy(budget=0.4, budget_floor=0, backoff_base=1, deadline=9), max_records=1)
    submit(engine, record(), key="later")
    submit(engine, record(), key="sooner", now=1.0)
    later, sooner = dispatched(engine, 1.0)
    answer(engine, later, Retry("busy"), now=1.0, jitter=1.0)
    answer(engine, sooner, Retry("busy"), now=1.0, jitter=0.0)
    assert not dispatched(engine, 1.0) and not dispatched(engine, 2.0)
    engine.poll(9.5)
    assert [backoff.lane.key for backoff in engine.accumulator.backoffs] == ["sooner"]


def test_a_call_that_leaves_brings_the_next_one_back_soon():
    engine = make_engine(retry=RetryPolicy(budget=1, budget_floor=0, backoff_base=1), max_records=1)
    for key in "ab":
        submit(engine, record(key), key=key)
    for batch in dispatched(engine):
        answer(engine, batch, Retry("busy"), jitter=1.0)
    assert len(dispatched(engine, 1.0)) == 2
    for batch in list(engine.accumulator.in_flight):
        answer(engine, batch, Retry("busy"), now=1.0, jitter=0.0)
    assert not dispatched(engine, 1.5)
    submit(engine, record("c"), key="c", now=1.5)
    assert [batch.records for batch in dispatched(engine, 1.5)] == [["c"]]
    assert engine.next_at == 2.5
    assert len(dispatched(engine, 2.5)) == 1


def test_who_cannot_wait_for_it_is_told():
    """Not applied, or unknown, as the case is."""
    engine = make_engine(retry=RetryPolicy(budget=0, budget_floor=0, backoff_base=1, on_unknown="retry", deadline=9))
    sure, maybe = submit(engine, *numbered(2))
    engine.flush(0.0)
    (batch,) = dispatched(engine)
    answer(engine, batch, [Retry("busy"), Retry("lost", applied="maybe")], jitter=1.0)
    engine.poll(1.0)

    assert str(sure.fate()) == "NotWritten(cause='the retry budget is used up; the last: busy', attempts=1)"
    assert maybe.fate() == Unknown("the retry budget is used up; the last: lost")
    assert engine.pending == 0


def test_calls_that_are_no_retries_fill_it():
    engine = make_engine(retry=RetryPolicy(budget=0.5, budget_floor=0, backoff_base=1), max_records=1)
    entries = submit(engine, *numbered(2))
    first, second = dispatched(engine)
    answer(engine, first, Retry("busy"), jitter=1.0)
    answer(engine, second, ["ok"])

    assert len(dispatched(engine, 1.0)) == 1, "two calls allow one retry"
    assert entries[0].state is State.IN_FLIGHT


def test_what_nobody_waits_for_any_more_costs_no_budget():
    engine = make_engine(retry=RetryPolicy(budget=0, budget_floor=0.1, backoff_base=1))
    for key in "ab":
        submit(engine, record(key), key=key)
    engine.flush(0.0)
    first, second = dispatched(engine)
    answer(engine, first, Retry("busy"), jitter=1.0)
    answer(engine, second, Retry("busy"), jitter=1.0)
    engine.withdraw(first.entries[0], 0.5)

    assert [batch.records for batch in dispatched(engine, 1.0)] == [["b"]]
