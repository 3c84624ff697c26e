"""One structure for everything that happens at a time.

A binary heap with lazy deletion: what was rescheduled or dropped leaves a stale pair behind, which is
skipped when it surfaces, so a timer that fires late or twice finds nothing to do. The heap is rebuilt
when most of it is stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")  # hashable


class Deadlines(Generic[T]):
    """Items, each with at most one time."""

    __slots__ = ("_at", "_heap", "_sequence", "next_at")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._at: dict[T, tuple[float, int]] = {}
        self._sequence = 0
        self.next_at = inf
        """When to look again: never later than the earliest item."""

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[T]:
        return iter(self._at)

    @property
    def first(self) -> T:
        """The earliest item; there must be one."""
        return self._heap[0][2]

    def schedule(self, item: T, at: float) -> None:
        """Note that *item* wants attention at *at*. An earlier note stands: it will be looked at anyway."""
        known = self._at.get(item)
        if at == inf or (known is not None and known[0] <= at):
            return
        self._sequence += 1
        self._at[item] = (at, self._sequence)
        heappush(self._heap, (at, self._sequence, item))
        self._refresh()

    def drop(self, item: T) -> None:
        """Forget *item*, if it is known."""
        if self._at.pop(item, None) is not None:
            self._refresh()

    def pop_due(self, now: float) -> Iterator[T]:
        """Yield and forget the items whose time has come, earliest first."""
        while self.next_at <= now:
            _, _, item = heappop(self._heap)
            del self._at[item]
            self._refresh()
            yield item

    def _refresh(self) -> None:
        heap, current = self._heap, self._at
        if len(heap) > 2 * len(current) + 64:
            heap[:] = [entry for entry in heap if current.get(entry[2]) == entry[:2]]
            heapify(heap)
        while heap and current.get(heap[0][2]) != heap[0][:2]:
            heappop(heap)
        self.next_at = heap[0][0] if heap else inf
