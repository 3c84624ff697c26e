"""Calls that end badly: too late, or in a way that nobody foresaw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from batcher._core.batches import Batch
from batcher.outcomes import NotWritten, Refused, Retry, Unknown
from batcher.policies import RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, send, submit


def test_a_call_that_takes_too_long() -> None:
    """
    Its records are unknown at once; it keeps its slot until it has ended, and its answer changes nothing.
    """
    engine = make_engine(max_lane_in_flight=1)
    entries = submit(engine, *numbered(3), record("next"))
    (batch,) = dispatched(engine)
    engine.flush(0.0)
    error = TimeoutError()

    assert engine.give_up_on(batch, error, 60.0)
    assert not engine.give_up_on(batch, error, 61.0)
    assert [entry.verdict for entry in entries[:3]] == [Unknown(error)] * 3
    assert (engine.pending, engine.in_flight, batch.entries, batch.sent) == (1, 1, (), list(entries[:3]))
    assert send(engine, 60.0) == []
    answer(engine, batch, ["000", "001", "002"], now=61.0)
    assert [entry.verdict for entry in entries[:3]] == [Unknown(error)] * 3
    assert send(engine, 61.0) == [["next"]]


def test_the_lane_of_a_call_that_took_too_long() -> None:
    """
    It is kept as long as the call is out, and forgotten then.
    """
    engine = make_engine()
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    engine.give_up_on(batch, TimeoutError(), 60.0)
    assert list(engine.accumulator.lanes.by_key) == ["contacts"]
    answer(engine, batch, Refused("no"), now=61.0)
    assert engine.accumulator.lanes.by_key == {}


def test_giving_up_only_once() -> None:
    """
    A call that has ended cannot be given up on.
    """
    engine = make_engine()
    (entry, *_) = submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    answer(engine, batch, [1, 2, 3])
    assert not engine.give_up_on(batch, TimeoutError(), 60.0)
    assert entry.verdict == 1


def test_a_late_call_whose_records_may_go_again() -> None:
    """
    Under on_unknown="retry" they wait until it has ended, or they would be out twice.
    """
    engine = make_engine(retry=RetryPolicy(on_unknown="retry", deadline=900))
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    assert not engine.give_up_on(batch, TimeoutError(), 60.0)
    assert send(engine, 60.0) == []
    answer(engine, batch, TimeoutError(), now=61.0)
    assert send(engine, 61.0) == [[0, 1, 2]]


def test_a_group_whose_call_takes_too_long() -> None:
    """
    All members share the doubt; who waits for one of them goes when the call has ended, or it might be
    overtaken.
    """
    engine = make_engine()
    group, _ = engine.submit_group([record(identity="003"), record()], "contacts", 0.0)
    (batch,) = dispatched(engine)
    submit(engine, record("next", identity="003"), key="deals")
    assert engine.give_up_on(batch, TimeoutError(), 60.0)
    assert {member.verdict.kind for member in group.members} == {"unknown"}
    assert send(engine, 60.0) == []
    answer(engine, batch, [1, 2], now=61.0)
    assert send(engine, 61.0) == [["next"]]
    assert {member.verdict.kind for member in group.members} == {"unknown"}


def test_a_bug_leaves_nobody_without_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever goes wrong while an answer is applied: it is told, and all who were in flight are unknown.
    """
    engine = make_engine()
    first, second, third = submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    bug = RuntimeError("bug")

    def settle(batch: Batch, verdicts: Sequence[Any], now: float, jitter: float) -> None:
        engine.accumulator.settle(first, ["000"], now)
        raise bug

    monkeypatch.setattr(engine._settling, "settle", settle)
    with pytest.raises(RuntimeError, match="bug"):
        answer(engine, batch, [1, 2, 3])

    assert (first.verdict, second.verdict, third.verdict) == ("000", Unknown(bug), Unknown(bug))
    assert (engine.pending, engine.in_flight) == (0, 0)


class Touchy:
    """Equal to nothing, and loud about it."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("incomparable")


def test_an_identity_that_cannot_be_compared() -> None:
    """
    It fails its own submit, and leaves nothing half accepted.
    """
    engine = make_engine()
    submit(engine, record(identity=Touchy()))
    with pytest.raises(ArithmeticError):
        engine.submit(record(identity=Touchy()), "contacts", 0.0)
    with pytest.raises(ArithmeticError):
        engine.submit_group([record(), record(identity=Touchy())], "contacts", 0.0)
    assert (engine.pending, len(engine.accumulator.identities), len(engine.accumulator.admission)) == (1, 1, 0)


def test_given_up_while_waiting_for_the_next_try() -> None:
    """
    A withdrawn record of a wave that comes back is left out.
    """
    engine = make_engine()
    submit(engine, *numbered(3))
    (batch,) = dispatched(engine)
    answer(engine, batch, Retry("busy", after=3))
    for entry in batch.entries[:2]:
        assert engine.withdraw(entry, 1.0)
    assert [entry.verdict for entry in batch.entries[:2]] == [NotWritten("withdrawn by its caller", 1)] * 2
    assert send(engine, 3.0) == [[2]]
