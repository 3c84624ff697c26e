"""What is worth remembering for an hour: how much a lane can carry, and which records made calls fail."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

from batcher._core.model.entries import Entry, Lane

HOUR = 3600.0
# Things that are remembered at most, of each kind; beyond that the oldest is forgotten.
_MOST = 10_000


class Memory:
    """Outlives the lanes, which are forgotten when they hold nothing."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[Hashable, tuple[float, float, float]] = OrderedDict()  # records, bytes, until when
        self._suspects: OrderedDict[Hashable, float] = OrderedDict()  # identity -> until when

    def learn(self, lane: Lane, now: float) -> None:
        """Remember what batches of *lane* are filled to."""
        lane.small_until = now + HOUR
        self._sizes[lane.name] = lane.queue.max_records, lane.queue.max_bytes, lane.small_until
        self._sizes.move_to_end(lane.name)
        _keep_in_bounds(self._sizes)

    def apply(self, lane: Lane, now: float) -> None:
        """Have a new lane keep to what was learned."""
        if lane.name in self._sizes:
            max_records, max_bytes, until = self._sizes[lane.name]
            if until <= now:
                del self._sizes[lane.name]
            else:
                lane.fill_to(max_records, max_bytes)
                lane.small_until = until

    def suspect(self, culprits: Iterable[Entry], now: float) -> None:
        """Remember who made a call fail, as far as they have a name."""
        for entry in culprits:
            if entry.extras.identity is not None:
                self._suspects[entry.extras.identity] = now + HOUR
                self._suspects.move_to_end(entry.extras.identity)
        _keep_in_bounds(self._suspects)

    def acquit(self, entries: Iterable[Entry]) -> None:
        """Forget what was held against those who have done well."""
        if self._suspects:
            for entry in entries:
                self._suspects.pop(entry.extras.identity, None)

    def suspects(self, entry: Entry, now: float) -> bool:
        """Return whether *entry* had better travel alone."""
        return bool(self._suspects) and self._suspects.get(entry.extras.identity, now) > now


def _keep_in_bounds(known: OrderedDict[Hashable, Any]) -> None:
    while len(known) > _MOST:
        known.popitem(last=False)
