"""How many calls of a lane may be out: fewer while the destination struggles, and then one more at a time."""

from __future__ import annotations

from typing import Any

import pytest

from batcher._core.batches import Batch
from batcher._core.engine import Engine
from batcher._core.model.concurrency import Allowance
from batcher.outcomes import Refused, Rejected, Retry, Written
from batcher.policies import LaneRules
from tests.core.building import answer, dispatched, make_engine, numbered, submit


def busy(ceiling: int = 4, **options: Any) -> tuple[Engine, list[Batch]]:
    """An engine with more to send than may be out, and the calls that are out."""
    engine = make_engine(max_lane_in_flight=ceiling, **options)
    submit(engine, *numbered(300))
    return engine, dispatched(engine)


def limit(engine: Engine) -> float:
    return engine.accumulator.lanes.by_key["contacts"].allowance.limit


def well(batch: Batch) -> list[Any]:
    return ["ok"] * len(batch.entries)


@pytest.mark.parametrize(
    "trouble",
    [
        Retry("429", after=0, pause_lane=True),
        TimeoutError(),
        OSError("reset"),
        [Retry("UNABLE_TO_LOCK_ROW"), "ok", "ok"],
    ],
)
def test_trouble_halves_the_calls_that_may_be_out(trouble):
    """A throttle, a timeout, a lock: less at once is more in the end."""
    engine, batches = busy()
    assert len(batches) == 4
    answer(engine, batches[0], trouble, now=1.0)
    assert limit(engine) == 2


@pytest.mark.parametrize("answered", [["ok"] * 3, [Rejected("taken"), Written("1"), "ok"], Refused("bad"), ["too few"]])
def test_a_refusal_or_a_bad_answer_is_no_congestion(answered):
    """It says something of records, and nothing of how much the destination has to do."""
    engine, batches = busy()
    answer(engine, batches[0], answered, now=1.0)
    assert limit(engine) == 4


def test_a_call_that_was_given_up_on_is_a_timeout():
    """When it ends at last, whatever it says."""
    engine, batches = busy()
    assert engine.give_up_on(batches[0], TimeoutError(), 60.0)
    answer(engine, batches[0], ["ok"] * 3, now=61.0)
    assert limit(engine) == 2


def test_one_round_trip_makes_one_change():
    """Four calls that meet the same throttle are one sign, not four."""
    engine, batches = busy()
    for batch in batches:
        answer(engine, batch, Retry("429", after=9), now=1.0)
    assert limit(engine) == 2


def test_it_grows_by_one_for_each_round_trip_at_the_limit_up_to_the_ceiling():
    """And not by one for each call."""
    engine, batches = busy()
    answer(engine, batches[0], Retry("429"), now=1.0)
    for batch in batches[1:]:
        answer(engine, batch, well(batch), now=1.0)
    seen = []
    for now in (1.0, 2.0, 3.0, 4.0, 5.0):
        out = dispatched(engine, now)
        seen.append(len(out))
        for batch in out:
            answer(engine, batch, well(batch), now=now + 1.0)
    assert seen == [2, 3, 4, 4, 4]


def test_it_does_not_grow_where_the_limit_was_not_reached():
    """Calls that were alone prove nothing of many at once."""
    allowance = Allowance(8)
    allowance.note_answer(allowance.note_sent(1), congested=True)
    for _ in range(9):
        allowance.note_answer(allowance.note_sent(3), congested=False)
    assert allowance.limit == 4
    allowance.note_answer(allowance.note_sent(4), congested=False)
    assert allowance.limit == 5


def test_the_limit_never_falls_below_one_call():
    """Or nobody would ever learn that the destination is well again."""
    allowance = Allowance(4)
    for _ in range(9):
        allowance.note_answer(allowance.note_sent(1), congested=True)
    assert allowance.limit == 1


def test_other_lanes_keep_their_calls():
    """One throttled tenant does not slow down another (P10)."""
    engine = make_engine(max_lane_in_flight=4)
    for key in ("a", "b"):
        submit(engine, *numbered(300), key=key)
    batches = {key: [each for each in dispatched(engine) if each.lane.key == key] for key in ("a",)}
    answer(engine, batches["a"][0], Retry("429", after=50, pause_lane=True), now=1.0)
    assert engine.accumulator.lanes.by_key["a"].allowance.limit == 2
    assert engine.accumulator.lanes.by_key["b"].allowance.limit == 4


def test_the_destination_may_set_a_lower_ceiling():
    """Whatever the policy says."""
    engine, batches = busy(rules_of=lambda key: LaneRules(max_in_flight=2))
    assert len(batches) == 2
    assert engine.accumulator.lanes.by_key["contacts"].allowance.ceiling == 2


def test_a_lane_that_may_have_fewer_calls_out_gives_up_its_turn() -> None:
    """
    It had its turn because all calls together were too many, and is cut meanwhile: the end of its call brings it back.
    """
    engine = make_engine(max_in_flight=2, max_lane_in_flight=3)
    submit(engine, *numbered(9))
    first, second = dispatched(engine)
    answer(engine, first, [Retry("busy", after=60), 1, 2])
    assert dispatched(engine) == []
    answer(engine, second, [3, 4, 5])
    assert [batch.records for batch in dispatched(engine)] == [[6, 7, 8]]
