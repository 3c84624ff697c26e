"""One structure for everything that happens at a time."""

from __future__ import annotations

from math import inf
from typing import Any

from batcher._core.model.deadlines import Deadlines


def deadlines_of(**times: float) -> Deadlines[Any]:
    deadlines: Deadlines[Any] = Deadlines()
    for item, at in times.items():
        deadlines.schedule(item, at)
    return deadlines


def test_nothing_to_wait_for() -> None:
    """
    Without items there is no time to look again.
    """
    deadlines: Deadlines[Any] = Deadlines()
    assert (len(deadlines), deadlines.next_at, list(deadlines.pop_due(1e9))) == (0, inf, [])


def test_items_come_earliest_first() -> None:
    """
    What is due comes in the order of its times; the same time, in the order noted.
    """
    deadlines = deadlines_of(late=3.0, early=1.0, later=3.0, never=9.0)

    assert list(deadlines.pop_due(3.0)) == ["early", "late", "later"]
    assert (len(deadlines), deadlines.next_at) == (1, 9.0)


def test_the_time_itself_is_due() -> None:
    """
    An item is due at its time, and not before.
    """
    deadlines = deadlines_of(item=5.0)

    assert list(deadlines.pop_due(4.5)) == []
    assert list(deadlines.pop_due(5.0)) == ["item"]
    assert list(deadlines.pop_due(5.0)) == [], "a timer that fires twice finds nothing to do"


def test_the_earlier_note_stands() -> None:
    """
    A later note for a known item changes nothing; an earlier one replaces it.
    """
    deadlines = deadlines_of(item=5.0)

    deadlines.schedule("item", 7.0)
    assert deadlines.next_at == 5.0
    deadlines.schedule("item", 2.0)
    assert (deadlines.next_at, len(deadlines)) == (2.0, 1)
    assert list(deadlines.pop_due(9.0)) == ["item"], "once"


def test_never_is_not_noted() -> None:
    """
    What never happens costs nothing.
    """
    deadlines = deadlines_of(item=inf)
    assert (len(deadlines), deadlines.next_at) == (0, inf)


def test_a_dropped_item_is_gone() -> None:
    """
    The next time is that of the next item, not of one that was dropped; dropping twice is fine.
    """
    deadlines = deadlines_of(first=1.0, second=2.0)

    deadlines.drop("first")
    deadlines.drop("first")

    assert (deadlines.next_at, len(deadlines)) == (2.0, 1)
    deadlines.drop("second")
    assert (deadlines.next_at, len(deadlines)) == (inf, 0)


def test_an_item_may_come_back() -> None:
    """
    An item that was dropped, or whose time came, can be noted anew, also for later.
    """
    deadlines = deadlines_of(item=1.0)

    deadlines.drop("item")
    deadlines.schedule("item", 4.0)
    assert deadlines.next_at == 4.0
    assert list(deadlines.pop_due(4.0)) == ["item"]
    deadlines.schedule("item", 6.0)
    assert deadlines.next_at == 6.0


def test_items_noted_while_others_are_served() -> None:
    """
    What becomes due while due items are being served is served with them.
    """
    deadlines = deadlines_of(first=1.0, third=3.0)

    seen = []
    for item in deadlines.pop_due(2.0):
        seen.append(item)
        if item == "first":
            deadlines.schedule("second", 2.0)

    assert seen == ["first", "second"]


def test_stale_notes_do_not_pile_up() -> None:
    """
    Dropping and rescheduling for ever holds no more than a few stale notes.
    """
    deadlines = deadlines_of(eternal=0.5)
    for turn in range(10_000):
        deadlines.schedule(turn, float(turn))
        deadlines.drop(turn)
        assert len(deadlines._heap) <= 2 * len(deadlines) + 65

    assert list(deadlines.pop_due(1e9)) == ["eternal"]


def test_the_rebuilt_heap_keeps_the_order() -> None:
    """
    Clearing out stale notes loses and reorders nothing.
    """
    deadlines: Deadlines[Any] = Deadlines()
    for number in range(300):
        deadlines.schedule(number, float((number * 7) % 300))
    for number in range(300):
        if number % 5:
            deadlines.drop(number)

    assert len(deadlines._heap) < 300
    assert list(deadlines.pop_due(300.0)) == sorted(range(0, 300, 5), key=lambda number: (number * 7) % 300)


def test_few_stale_notes_are_left_alone() -> None:
    """
    The heap is rebuilt when most of it is stale, not at every drop.
    """
    deadlines: Deadlines[Any] = Deadlines()
    for number in range(65):
        deadlines.schedule(number, float(number))
    for number in range(64, 0, -1):
        deadlines.drop(number)
    assert len(deadlines._heap) == 65

    deadlines.schedule("one", 70.0)
    deadlines.schedule("two", 71.0)
    for number in range(2):
        deadlines.schedule(f"more {number}", 72.0)
    assert (len(deadlines._heap), len(deadlines)) == (69, 5)
