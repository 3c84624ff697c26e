"""The buffer of one key: what travels apart, and what was withdrawn."""

from __future__ import annotations

import pytest

from batcher._core import batches
from batcher.events import FlushReason
from tests.core.building import make_lane, numbered, record
from tests.core.filling import add_sealed, cut, fill, forced, withdraw

# Bundles


def test_a_group_travels_alone() -> None:
    """
    A group has a call of its own, also when others are buffered.
    """
    lane = make_lane()
    fill(lane, record("single"), accepted_at=1.0)
    add_sealed(lane, record("g1", size=2), record("g2", size=3), due_at=1.0, group=True)

    assert lane.due_at() == 1.0
    lane.due_at()
    batch = batches.cut(lane, 1.0)
    assert (batch.records, batch.size, batch.reason) == (["g1", "g2"], 5, FlushReason.GROUP)
    assert batch.group is not None
    assert list(batch.group.members) == batch.entries
    assert not any(entry.extras.sealed for entry in batch.entries)
    assert (lane.due_at(), lane.queue.count, lane.queue.size) == (6.0, 1, 0)


def test_sealed_batches_in_their_order() -> None:
    """
    Bundles leave in the order added, except those put first.
    """
    lane = make_lane()
    for name, first in (("second", False), ("third", False), ("first", True)):
        add_sealed(lane, record(name), first=first)

    assert [cut(lane)[0] for _ in range(3)] == [["first"], ["second"], ["third"]]


def test_a_sealed_batch_goes_first() -> None:
    """
    A sealed batch is due at once, so it goes before singles that may wait, however long they have been there.
    """
    lane = make_lane()
    fill(lane, record("single"))
    add_sealed(lane, record("one"), due_at=4.0)
    add_sealed(lane, record("two"), due_at=4.0)

    assert lane.due_at() == 4.0
    for name in ("one", "two"):
        assert cut(lane, now=4.0) == ([name], FlushReason.ISOLATION)
    assert lane.due_at() == 5.0


def test_sealed_batches_and_due_singles_take_turns() -> None:
    """
    Neither a row of sealed batches nor a long queue holds up the other.
    """
    lane = make_lane()
    fill(lane, *numbered(7))
    for name in ("one", "two", "three"):
        add_sealed(lane, record(name))

    order = [["one"], [0, 1, 2], ["two"], [3, 4, 5], ["three"]]
    assert [cut(lane)[0] for _ in order] == order
    add_sealed(lane, record("four"))
    assert cut(lane)[0] == ["four"], "a single that may wait has no turn"
    add_sealed(lane, record("five"), due_at=5.0)
    assert cut(lane, now=5.0)[0] == [6], "at its time it has"


def test_a_sealed_batch_of_which_some_were_withdrawn() -> None:
    """
    Of a part of a refused batch only those leave that are still wanted.
    """
    lane = make_lane()
    gone, kept = record("gone", size=1), record("kept", size=2)
    add_sealed(lane, gone, kept)
    withdraw(lane, gone)

    assert (lane.queue.dead, lane.queue.size, lane.queue.count) == (0, 0, 0), (
        "sealed ones are not counted among the singles"
    )
    assert list(lane.entries()) == [kept]
    assert cut(lane) == (["kept"], FlushReason.ISOLATION)


def test_a_sealed_batch_that_was_withdrawn_whole() -> None:
    """
    What nobody wants any more makes nothing due.
    """
    lane = make_lane()
    gone = [record("a"), record("b")]
    add_sealed(lane, *gone)
    add_sealed(lane, record("c"), due_at=3.0)
    withdraw(lane, *gone)

    assert lane.due_at() == 3.0
    assert cut(lane, now=3.0) == (["c"], FlushReason.ISOLATION)
    assert lane.due_at() is None


# Tombstones


def test_a_withdrawn_opener() -> None:
    """
    When the first record is withdrawn, the batch is that of the second.
    """
    lane = make_lane()
    first, _ = fill(lane, record(0, size=4), record(1, delay=7.0, size=2))
    withdraw(lane, first)

    assert (lane.due_at(), lane.queue.count, lane.queue.size, lane.queue.dead) == (7.0, 1, 2, 0)
    assert cut(lane, now=7.0) == ([1], FlushReason.DELAY)


def test_withdrawn_records_do_not_fill_a_batch() -> None:
    """
    Withdrawn records count neither as records nor as bytes.
    """
    lane = make_lane()
    _, second = fill(lane, record(0, size=4), record(1, size=5))
    withdraw(lane, second)
    fill(lane, record(2, size=5))
    assert lane.due_at() == 5.0
    fill(lane, record(3))
    assert forced(lane)
    assert cut(lane) == ([0, 2, 3], FlushReason.RECORDS)
    assert (lane.queue.dead, lane.queue.size) == (0, 0)


@pytest.mark.parametrize(("withdrawn", "left"), [(17, 17), (18, 0)])
def test_tombstones_are_cleared_when_they_prevail(withdrawn: int, left: int) -> None:
    """
    Withdrawing costs the same in a queue of any length: tombstones go when they outnumber the living.
    """
    lane = make_lane(max_records=100)
    entries = fill(lane, *numbered(withdrawn + 1))
    withdraw(lane, *entries[1:])
    assert lane.queue.dead == left
    assert list(lane.entries()) == [entries[0]]


def test_clearing_out_is_rare() -> None:
    """
    A thousand withdrawals among a thousand living records walk over the queue a few times, not a thousand.
    """
    lane = make_lane(max_records=10_000)
    entries = fill(lane, *numbered(1000))
    queues = set()
    for entry in entries[:0:-1]:
        withdraw(lane, entry)
        queues.add(id(lane.queue))
    assert len(queues) < 12
    assert list(lane.entries()) == [entries[0]]


def test_clearing_out_keeps_what_was_forced() -> None:
    """
    After tombstones were cleared away, the forced records are due and the others are not.
    """
    lane = make_lane(max_records=100)
    entries = fill(lane, *numbered(20))
    lane.queue.force(FlushReason.FLUSH)
    later = fill(lane, record("later"), accepted_at=1.0)
    withdraw(lane, *entries[1:])
    assert lane.queue.dead == 0

    lane.queue.max_records = 1
    assert cut(lane) == ([0], FlushReason.RECORDS)
    assert list(lane.entries()) == list(later)
    lane.queue.max_records = 100
    assert lane.due_at() == 6.0


def test_forced_tombstones_at_the_front() -> None:
    """
    Of three forced records the first two are withdrawn: the third is still due, a later one is not.
    """
    lane = make_lane(max_records=9)
    entries = fill(lane, *numbered(3))
    lane.queue.force(FlushReason.FLUSH)
    fill(lane, record("later"), record("latest"))
    withdraw(lane, entries[0])
    assert forced(lane)
    withdraw(lane, entries[1])
    assert forced(lane)
    lane.queue.max_records = 1
    assert cut(lane) == ([2], FlushReason.RECORDS)
    lane.queue.max_records = 9
    assert lane.due_at() == 5.0


def test_the_only_forced_record_is_withdrawn() -> None:
    """
    Nothing is left that was forced.
    """
    lane = make_lane()
    (first,) = fill(lane, record(0))
    lane.queue.force(FlushReason.FLUSH)
    fill(lane, record(1))
    withdraw(lane, first)
    assert lane.due_at() == 5.0


def test_one_forced_record_of_two_is_withdrawn() -> None:
    """
    The other one is due, and nothing after it.
    """
    lane = make_lane(max_records=9)
    first, _ = fill(lane, *numbered(2))
    lane.queue.force(FlushReason.FLUSH)
    fill(lane, record("later"))
    withdraw(lane, first)
    assert forced(lane)
    lane.queue.max_records = 1
    assert cut(lane) == ([1], FlushReason.RECORDS)
    lane.queue.max_records = 9
    assert lane.due_at() == 5.0
