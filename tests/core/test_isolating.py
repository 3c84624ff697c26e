"""Isolation: who makes a call fail is found with few calls, stands alone before it is rejected, is remembered (P4)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from batcher._core.batches import Batch
from batcher._core.engine import Engine
from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher.events import FlushReason
from batcher.outcomes import NotWritten, Outcome, Refused, Rejected, Retry, Unknown, Written
from batcher.policies import LaneRules, Quota, RetryPolicy
from tests.core.building import answer, dispatched, fates, make_engine, numbered, one_batch, record, send, submit


def refuse(engine: Engine, first: Batch, bad: set[Any]) -> list[list[Any]]:
    """Refuse every call that carries a culprit; return what the calls after the first carried."""
    answer(engine, first, Refused("no"))
    calls = []
    while batches := dispatched(engine):
        for batch in batches:
            calls.append(batch.records)
            answer(engine, batch, Refused("no") if bad & set(batch.records) else ["ok"] * len(batch.entries))
    return calls


def search(bad: set[int], count: int, calls: int = 999) -> tuple[Batch, list[list[Any]]]:
    engine = make_engine(max_records=count, max_bytes=999, retry=RetryPolicy(isolation_calls=calls))
    first = one_batch(engine, *numbered(count))
    return first, refuse(engine, first, bad)


@pytest.mark.parametrize(("bad", "mean"), [(1, 10.6), (2, 19), (5, 39), (10, 65), (25, 115)])
def test_culprits_among_a_hundred_are_found_with_few_calls(bad, mean):
    """On average over places. The last call of each carries nothing else: nobody is rejected by inference."""
    dice, made = Random(7), 0
    for _ in range(40):
        culprits = set(dice.sample(range(100), bad))
        first, calls = search(culprits, 100)
        made += len(calls)
        assert [fate == Rejected("no") for fate in fates(first)] == [n in culprits for n in range(100)]
        assert all([n] in calls for n in culprits)
    assert made / 40 <= mean


def test_a_half_is_not_tried_as_a_whole_when_the_other_was_clean():
    _, calls = search({6}, 8)
    assert calls == [[0, 1, 2, 3], [4, 5], [6], [7]]


def test_the_second_half_is_tried_as_a_whole_when_the_first_was_refused():
    _, calls = search({0, 7}, 8)
    assert calls[1:3] == [[0, 1], [4, 5, 6, 7]]


def after_the_first_half(told: Any, **policy: Any) -> tuple[Engine, Batch, list[Entry]]:
    """Eight records refused, and the first four of them answered; the second four wait for that."""
    engine = make_engine(max_records=8, retry=RetryPolicy(backoff_base=4, **policy))
    first = one_batch(engine, *numbered(8))
    answer(engine, first, Refused("no"))
    (half,) = dispatched(engine)
    answer(engine, half, told, jitter=1.0)
    return engine, half, list(first.entries[4:])


@pytest.mark.parametrize(
    "told", [Retry("busy"), OSError("reset"), ["ok", "ok", "ok", Rejected("bad")], ["ok"], [Retry("busy")] * 4]
)
def test_without_a_clean_half_nothing_is_inferred(told):
    """The other half is tried as a whole: its culprit may have been in the first."""
    engine, _, _ = after_the_first_half(told)
    assert send(engine) == [[4, 5, 6, 7]]


def test_nothing_is_inferred_if_a_suspect_has_left():
    """The culprit may have been the one that was withdrawn, in either half."""
    engine = make_engine(max_records=8)
    first = one_batch(engine, *numbered(8))
    answer(engine, first, Refused("no"))
    engine.withdraw(first.entries[1], 0.0)
    (half,) = dispatched(engine)
    answer(engine, half, ["ok"] * 3)
    assert send(engine) == [[4, 5, 6, 7]]

    engine = make_engine(max_records=8)
    first = one_batch(engine, *numbered(8))
    answer(engine, first, Refused("no"))
    (half,) = dispatched(engine)
    engine.withdraw(first.entries[5], 0.0)
    answer(engine, half, ["ok"] * 4)
    assert send(engine) == [[4, 6, 7]]


def test_a_half_that_was_withdrawn_whole_sets_the_other_free():
    """Nobody is left whose fate it could wait for."""
    engine = make_engine(max_records=4)
    first = one_batch(engine, *numbered(4))
    answer(engine, first, Refused("no"))
    for entry in first.entries[:2]:
        engine.withdraw(entry, 0.0)
    assert send(engine) == [[2, 3]]


def test_a_half_that_was_withdrawn_while_it_waited_is_gone():
    engine, half, rest = make_engine(max_records=4), None, None
    first = one_batch(engine, *numbered(4))
    answer(engine, first, Refused("no"))
    (half,) = dispatched(engine)
    rest = first.entries[2:]
    for entry in rest:
        assert engine.withdraw(entry, 0.0)
    answer(engine, half, ["ok"] * 2)
    assert send(engine) == []
    assert not engine.accumulator.lanes.by_key


def test_a_call_given_up_on_sets_the_other_half_free():
    """When it has ended, as it keeps its slot until then."""
    engine = make_engine(max_records=4)
    first = one_batch(engine, *numbered(4))
    answer(engine, first, Refused("no"))
    (half,) = dispatched(engine)
    engine.give_up_on(half, TimeoutError(), 1.0)
    assert send(engine, 1.0) == []
    answer(engine, half, TimeoutError(), now=2.0)
    assert send(engine, 2.0) == [[2, 3]]


def test_an_abort_settles_both_halves():
    engine = make_engine(max_records=4)
    first = one_batch(engine, *numbered(4))
    answer(engine, first, Refused("no"))
    dispatched(engine)
    engine.abort(0.0, "the host was cancelled")
    assert {entry.state for entry in first.entries} == {State.SETTLED}
    assert engine.pending == 0


def test_suspects_that_come_again_share_no_call_with_others():
    """After a throttle they go on where they were, with the same call budget: nobody new pays for them."""
    engine, half, _ = after_the_first_half(Retry("busy"))
    (rest,) = dispatched(engine)
    answer(engine, rest, ["ok"] * 4)
    submit(engine, *numbered(2), now=4.0)
    (again,) = dispatched(engine, 4.0)

    assert again.records == [0, 1, 2, 3]
    assert again.reason is FlushReason.ISOLATION
    assert again.entries[0].extras.budget is half.entries[0].extras.budget


def test_every_call_of_the_search_counts_against_the_quota():
    """Two calls a minute: the search takes its time."""
    engine = make_engine(max_records=4, quotas=[Quota(per=60, calls=2)])
    first = one_batch(engine, *numbered(4))
    answer(engine, first, Refused("no"))
    (half,) = dispatched(engine)
    answer(engine, half, Refused("no"))
    assert dispatched(engine, 59.0) == []
    assert len(dispatched(engine, 60.0)) == 2


# Too large


def test_a_call_that_was_too_large_goes_again_in_smaller_ones_and_so_do_those_after_it():
    """Nobody is blamed, and the next batch is not too large again."""
    engine = make_engine(max_records=8)
    first = one_batch(engine, *numbered(8))
    answer(engine, first, Refused("413", too_large=True))
    calls = dispatched(engine)
    assert [batch.records for batch in calls] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    for batch in calls:
        answer(engine, batch, ["ok"] * 4)
    submit(engine, *numbered(4))
    assert send(engine) == [[0, 1, 2, 3]]


def test_where_bytes_are_counted_the_bytes_are_halved():
    engine = make_engine(max_records=8, max_bytes=80)
    first = one_batch(engine, *(record(n, size=10) for n in range(8)))
    answer(engine, first, Refused("413", too_large=True))
    assert send(engine) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert engine.accumulator.lanes.by_key["contacts"].queue.max_bytes == 40


def test_what_one_record_may_have_is_not_halved():
    """A record of the size that the destination allows is never refused here because a full call was too large."""
    engine = make_engine(max_records=8, max_bytes=80)
    first = one_batch(engine, *(record(n, size=10) for n in range(8)))
    answer(engine, first, Refused("413", too_large=True))
    engine.poll(0.0)
    (large,) = submit(engine, record("large", size=80))
    assert large.state is State.BUFFERED
    group, _ = engine.submit_group([record(n, size=30) for n in range(2)], "contacts", 0.0)
    assert group.state is State.BUFFERED


def test_a_single_record_that_is_too_large_is_rejected():
    engine = make_engine()
    batch = one_batch(engine, record())
    answer(engine, batch, Refused("413", too_large=True))
    assert fates(batch) == [Rejected("413")]


def test_culprits_that_are_named_are_settled_although_the_call_was_too_large():
    engine = make_engine()
    batch = one_batch(engine, *numbered(3))
    answer(engine, batch, Refused("413", {1: "too long"}, too_large=True))
    assert fates(batch) == [None, Rejected("too long"), None]
    assert send(engine) == [[0, 2]]


def test_the_size_is_remembered_for_an_hour_when_the_lane_is_forgotten():
    engine = make_engine(max_records=8)
    first = one_batch(engine, *numbered(8))
    answer(engine, first, Refused("413", too_large=True))
    for batch in dispatched(engine):
        answer(engine, batch, ["ok"] * 4)
    assert not engine.accumulator.lanes.by_key

    submit(engine, *numbered(8), now=3599.0)
    calls = dispatched(engine, 3599.0)
    assert [len(batch.entries) for batch in calls] == [4, 4]
    for batch in calls:
        answer(engine, batch, ["ok"] * 4, now=3600.0)
    submit(engine, *numbered(8), now=3600.0)
    assert [len(each) for each in send(engine, 3600.0)] == [8]


# Remembered culprits


def poison(engine: Engine, now: float = 0.0) -> Batch:
    """A batch in which the record named "ada" is to blame."""
    submit(engine, record("ada", identity="ada"), record("bob"), now=now)
    engine.flush(now)
    (batch,) = dispatched(engine, now)
    answer(engine, batch, Refused("no", {0: "bad"}), now=now)
    (rest,) = dispatched(engine, now)
    answer(engine, rest, ["ok"], now=now)
    return batch


def test_a_record_that_made_a_call_fail_travels_alone_for_an_hour():
    """Its next write costs a call, and not the search in a batch of a hundred."""
    engine = make_engine()
    poison(engine)
    submit(engine, record("bob"), record("ada", identity="ada"), now=1.0)
    (alone,) = dispatched(engine, 1.0)
    assert alone.records == ["ada"] and alone.reason is FlushReason.ISOLATION
    answer(engine, alone, Refused("still bad"), now=1.0)
    assert fates(alone) == [Rejected("still bad")]

    submit(engine, record("ada", identity="ada"), now=3601.0)
    engine.flush(3601.0)
    assert send(engine, 3601.0) == [["bob", "ada"]]


def test_one_that_does_well_is_no_suspect_any_more():
    engine = make_engine()
    poison(engine)
    submit(engine, record("ada", identity="ada"), now=1.0)
    (alone,) = dispatched(engine, 1.0)
    answer(engine, alone, [Written("1")], now=1.0)
    submit(engine, record("ada", identity="ada"), record("bob"), now=2.0)
    engine.flush(2.0)
    assert send(engine, 2.0) == [["ada", "bob"]]


@pytest.mark.parametrize("told", [[Rejected("bad")], [Unknown("?")]])
def test_one_that_does_not_stays_one(told):
    engine = make_engine()
    poison(engine)
    submit(engine, record("ada", identity="ada"), now=1.0)
    (alone,) = dispatched(engine, 1.0)
    answer(engine, alone, told, now=1.0)
    submit(engine, record("ada", identity="ada"), record("bob"), now=2.0)
    assert send(engine, 2.0) == [["ada"]]


def test_suspects_and_sizes_are_bounded(monkeypatch):
    """P9: ten thousand of each are remembered, the latest."""
    monkeypatch.setattr("batcher._core.memory._MOST", 2)
    engine = make_engine(max_records=1)
    for name in ("ada", "bob", "eve"):
        batch = one_batch(engine, record(name, identity=name))
        answer(engine, batch, Refused("no"))
    memory = engine.accumulator.memory
    assert [memory.suspects(record(identity=name), 1.0) for name in ("ada", "bob", "eve")] == [False, True, True]
    assert not memory.suspects(record(), 1.0)


def test_a_size_that_was_learned_again_is_not_the_oldest(monkeypatch):
    """P9: what is forgotten beyond the bound is what was learned longest ago."""
    monkeypatch.setattr("batcher._core.memory._MOST", 2)
    engine = make_engine(max_records=8)
    lanes = {key: engine.accumulator.lanes.open(key, 0.0) for key in "abc"}
    for key in "abac":
        lanes[key].fill_to(4, 10)
        engine.accumulator.memory.learn(lanes[key], 0.0)
    sizes = [
        engine.accumulator.lanes.open(key, 1.0).queue.max_records
        for key in ("a", "b", "c")
        if engine.accumulator.lanes.by_key.pop(key)
    ]
    assert sizes == [4, 8, 4]


def test_an_outcome_of_every_suspect_is_known_in_the_end():
    """Conservation, with everything that can happen to the halves."""
    dice = Random(3)
    for _ in range(200):
        engine = make_engine(max_records=8, retry=RetryPolicy(isolation_calls=dice.randint(1, 9), deadline=0))
        first = one_batch(engine, *numbered(8))
        answer(engine, first, Refused("no"))
        while batches := dispatched(engine):
            for batch in batches:
                if dice.random() < 0.2:
                    engine.withdraw(dice.choice(first.entries), 0.0)
                told = dice.choice([Refused("no"), Refused("no", {0: "bad"}), ["ok"] * len(batch.entries), OSError()])
                answer(engine, batch, told)
        assert all(isinstance(fate, Outcome) for fate in fates(first))
        assert engine.pending == 0 and not engine.accumulator.lanes.by_key


def test_a_suspect_in_doubt_is_asked_about_when_the_search_has_no_call_left():
    """It was sent again after a lost answer, and shares a batch with a culprit: it may be there already."""
    rules = LaneRules(verifiable=True)
    policy = RetryPolicy(on_unknown="verify", isolation_calls=1, backoff_base=0)
    engine = make_engine(retry=policy, rules_of=lambda key: rules)
    batch = one_batch(engine, *numbered(2))
    answer(engine, batch, OSError("reset"))
    (question,) = dispatched(engine)
    answer(engine, question, [NotWritten("absent")] * 2)
    (again,) = dispatched(engine)
    answer(engine, again, Refused("no"))
    (half,) = dispatched(engine)
    answer(engine, half, ["ok"])
    (second,) = dispatched(engine)
    assert second.asks and second.records == [1]
    answer(engine, second, [NotWritten("absent")])
    assert fates(batch) == [Written(data="ok"), Rejected("no", isolated=False)]
