"""The retry budget: in trouble, a destination gets little more than it gets in good times."""

from __future__ import annotations

from batcher._core.budgets import RetryBudget
from batcher._core.states import State
from batcher.outcomes import Retry, Unknown
from batcher.policies import RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, submit


def test_there_is_a_floor_and_a_share_of_the_calls_of_the_last_ten_seconds():
    budget = RetryBudget(0.2, 1)
    assert budget.left(0.0) == 10
    for _ in range(50):
        budget.note_call(0.0)
    assert budget.left(0.0) == 20
    assert all(budget.spend(1.0) for _ in range(20))
    assert not budget.spend(1.0)
    assert budget.left(10.0) == -10, "the calls are forgotten"
    assert budget.next_at(10.0) == 11.0
    assert budget.left(11.0) == 10, "and so are the retries"


def test_without_any_retry_to_forget_it_is_looked_at_again():
    """Calls may come in the meantime."""
    budget = RetryBudget(0.2, 0)
    assert not budget.spend(0.0)
    assert budget.next_at(0.0) == 10.0


def test_a_retry_waits_for_the_budget():
    """Two a ten seconds are allowed: of three lanes whose call failed one waits, and is not forgotten."""
    engine = make_engine(retry=RetryPolicy(budget=0, budget_floor=0.2, backoff_base=1))
    for key in "abc":
        submit(engine, record(key), key=key)
    engine.flush(0.0)
    for batch in dispatched(engine):
        answer(engine, batch, Retry("busy"), jitter=1.0)

    assert sorted(batch.records[0] for batch in dispatched(engine, 1.0)) == ["a", "b"]
    plan = engine.poll(10.9)
    assert not plan.batches and plan.ask_again_at == 11.0
    assert [batch.records for batch in dispatched(engine, 11.0)] == [["c"]]


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


def test_many_calls_at_one_moment_take_one_slot():
    """And are forgotten together, not a moment too early."""
    budget = RetryBudget(0.0, 1)
    assert [budget.spend(at) for at in (0.0, 0.05, 0.2)] == [True] * 3
    assert budget.left(10.0) == 9
    assert budget.left(10.2) == 10
