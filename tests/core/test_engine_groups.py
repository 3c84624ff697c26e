"""All or none: groups are admitted, sent, retried and withdrawn whole, or refused in words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher._core.verbs import Verb
from batcher.errors import InvalidGroup
from batcher.events import FlushReason
from batcher.outcomes import NotWritten, Retry, Unknown
from batcher.policies import LaneRules, RetryPolicy
from tests.core.building import answer, dispatched, make_engine, numbered, record, send, submit


def test_a_group_leaves_at_once_and_alone() -> None:
    """
    A group waits for no company, and takes none along.
    """
    engine = make_engine()
    submit(engine, record("single"))
    group, verb = engine.submit_group(numbered(2), "contacts", 0.0)

    assert verb is Verb.DISPATCH
    (batch,) = dispatched(engine)
    assert (batch.records, batch.reason, batch.group) == ([0, 1], FlushReason.GROUP, group)
    assert send(engine, 5.0) == [["single"]]


def test_a_group_of_a_full_batch() -> None:
    """
    A group may hold exactly what one call may carry.
    """
    engine = make_engine()
    engine.submit_group([record(0, size=4), record(1, size=6), record(2)], "contacts", 0.0)
    assert send(engine) == [[0, 1, 2]]
    assert engine.accumulator.admission.pending_bytes == 10


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (numbered(4), "the group is too large: 4 records exceed the 3 that one call may carry"),
        ([record(size=6), record(size=5)], "the group is too large: 11 bytes exceed the 10 that one call may carry"),
        (numbered(3), "the group is too large: 3 records exceed the 2 that may be pending in one lane"),
        ([record(size=9)], "the group is too large: 9 bytes exceed the 8 that may be pending in one lane"),
    ],
    ids=["records", "bytes", "pending records", "pending bytes"],
)
def test_a_group_that_is_too_large(members: Sequence[Entry], words: str) -> None:
    """
    Refused at once with the rule and the figures; nothing is accepted, and it is never split.
    """
    engine = make_engine(max_lane_records=2, max_lane_bytes=8)
    with pytest.raises(InvalidGroup, match=f"^{words}; a group is never split$"):
        engine.submit_group(members, "contacts", 0.0)
    assert (engine.pending, engine.accumulator.lanes.by_key) == (0, {})


def test_a_destination_that_cannot() -> None:
    """
    Where a call is not all or none, a group is refused, with the way out.
    """
    engine = make_engine(rules_of=lambda key: LaneRules(all_or_none=False))
    with pytest.raises(
        InvalidGroup,
        match=r"^this destination cannot apply these writes all or none: submit them without all_or_none$",
    ):
        engine.submit_group(numbered(2), "contacts", 0.0)
    assert engine.accumulator.lanes.by_key == {}


def test_one_identity_twice() -> None:
    """
    Two writes of one record cannot be in one call, so they cannot be in one group.
    """
    engine = make_engine()
    with pytest.raises(InvalidGroup, match=r"^two writes of the group touch the same record: merge them into one$"):
        engine.submit_group([record(identity="003"), record(), record(identity="003")], "contacts", 0.0)
    assert (len(engine.accumulator.identities), engine.pending) == (0, 0)


def test_refusing_a_group_keeps_a_lane_that_is_used() -> None:
    """
    A refused group takes no other's lane along, and the next one finds it.
    """
    engine = make_engine()
    (single,) = submit(engine, record())
    with pytest.raises(InvalidGroup):
        engine.submit_group(numbered(4), "contacts", 0.0)
    group, _ = engine.submit_group(numbered(1), "contacts", 0.0)
    assert group.lane is single.lane is group.members[0].lane


def test_a_group_is_admitted_whole() -> None:
    """
    A group waits until there is room for all of it.
    """
    engine = make_engine(max_pending_records=3, max_lane_records=3)
    submit(engine, *numbered(3), key="deals")
    (batch,) = dispatched(engine)
    group, verb = engine.submit_group(numbered(2), "contacts", 0.0)
    assert (verb, group.state) == (Verb.WAIT, State.WAITING)

    answer(engine, batch, ["ok", "ok", Retry("busy", after=9)])
    plan = engine.poll(0.0)
    assert plan.admitted == [group]
    assert [each.records for each in plan.batches] == [[0, 1]]


def test_a_group_comes_back_in_front() -> None:
    """
    A retried group goes before one that came later; single records that are due have their turn.
    """
    engine = make_engine(max_lane_in_flight=1)
    first, _ = engine.submit_group([record("first")], "contacts", 0.0)
    (batch,) = dispatched(engine)
    engine.submit_group([record("second")], "contacts", 0.0)
    submit(engine, *numbered(3))
    answer(engine, batch, Retry("busy"))

    for expected in ([0, 1, 2], ["first"], ["second"]):
        (batch,) = dispatched(engine)
        assert batch.records == expected
        answer(engine, batch, ["ok"] * len(batch.entries))
    assert first.state is State.SETTLED


def test_groups_and_singles_come_back_in_order() -> None:
    """
    Groups that come again at the same time keep their order.
    """
    engine = make_engine(max_lane_in_flight=4)
    for name in ("g", "h"):
        engine.submit_group([record(name)], "contacts", 0.0)
    one, two = dispatched(engine)
    answer(engine, one, Retry("busy", after=3))
    answer(engine, two, Retry("busy", after=4))
    assert send(engine, 3.0) == [["g"]]
    assert send(engine, 4.0) == [["h"]]


def test_a_group_is_withdrawn_whole() -> None:
    """
    Buffered, parked, waiting or backing off: all members are taken back, none leaves.
    """
    engine = make_engine(max_lane_in_flight=1)
    submit(engine, *numbered(3))
    (busy,) = dispatched(engine)
    group, _ = engine.submit_group([record("a", identity="003"), record("b")], "contacts", 0.0)
    parked, _ = engine.submit_group([record("c", identity="003"), record("d")], "contacts", 0.0)
    assert (group.state, parked.state) == (State.BUFFERED, State.PARKED)

    assert engine.withdraw(parked, 0.0)
    assert engine.withdraw(group, 0.0)
    assert [member.fate() for member in (*group.members, *parked.members)] == [
        NotWritten("withdrawn by its caller", 0)
    ] * 4
    answer(engine, busy, [1, 2, 3])
    assert send(engine, 9.0) == []
    assert (engine.pending, len(engine.accumulator.identities), engine.accumulator.lanes.by_key) == (0, 0, {})


def test_a_group_is_withdrawn_while_it_waits_for_a_place() -> None:
    """
    Nothing of it was accepted.
    """
    engine = make_engine(max_pending_records=2, max_lane_records=2)
    submit(engine, record(), key="deals")
    group, _ = engine.submit_group(numbered(2), "contacts", 0.0)
    assert engine.withdraw(group, 0.0)
    assert engine.poll(0.0).settled == group.members
    assert len(engine.accumulator.admission) == 0


def test_a_group_is_withdrawn_while_backing_off() -> None:
    """
    No further attempt; what may have been applied is unknown.
    """
    engine = make_engine(retry=RetryPolicy(on_unknown="retry"))
    group, _ = engine.submit_group(numbered(2), "contacts", 0.0)
    (batch,) = dispatched(engine)
    assert not engine.withdraw(group, 0.0)
    answer(engine, batch, Retry("lost", after=3, applied="maybe"))
    assert engine.withdraw(group, 1.0)
    assert [member.verdict for member in group.members] == [Unknown("withdrawn by its caller")] * 2
    assert send(engine, 3.0) == []


def test_a_group_expires_whole() -> None:
    """
    Past its deadline no member is sent.
    """
    engine = make_engine(max_lane_in_flight=1)
    submit(engine, *numbered(3))
    dispatched(engine)
    group, _ = engine.submit_group([record(expires_at=3.0), record(expires_at=3.0)], "contacts", 0.0)
    plan = engine.poll(3.0)
    assert plan.settled == group.members
    assert group.members[1].verdict == NotWritten("its deadline passed")
