"""Who waits for whom: one queue per identity, shared by all lanes.

A unit (a record, or a group) may enter its lane only when it heads the queue of each of its
identities, and heads them until it is settled. So two writes of one identity are never in one batch
nor in flight at once, and go out in the order accepted, also across retries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator

from batcher._core.model.entries import Unit
from batcher._core.model.steady import look_up


class Identities:
    """The queues."""

    def __init__(self) -> None:
        # Units in order, the head first. OrderedDict, because taking a plain dict's first key again and
        # again walks over all that were deleted before it.
        self.queues: dict[Hashable, OrderedDict[Unit, None]] = {}

    def __len__(self) -> int:
        return len(self.queues)

    def check(self, unit: Unit) -> None:
        """Compare the identities of *unit* with those known: one that cannot be compared raises here, in time."""
        for identity in unit.identities:
            look_up(self.queues, identity)

    def join(self, unit: Unit) -> bool:
        """Queue *unit* up behind each of its identities; return whether it heads all of them."""
        heads = True
        for identity in unit.identities:
            queue = self.queues.setdefault(identity, OrderedDict())
            heads = heads and not queue
            queue[unit] = None
        return heads

    def leave(self, unit: Unit) -> list[Unit]:
        """Take *unit* out; return the units that now head all of their queues, in order."""
        freed: dict[Unit, None] = {}
        for identity in unit.identities:
            queue = self.queues[identity]
            was_head = next(iter(queue)) is unit
            del queue[unit]
            if not queue:
                del self.queues[identity]
            elif was_head:
                candidate = next(iter(queue))
                if self.heads(candidate):
                    freed[candidate] = None
        return list(freed)

    def heads(self, unit: Unit) -> bool:
        """Return whether *unit* heads the queue of each of its identities."""
        return all(next(iter(self.queues[identity])) is unit for identity in unit.identities)

    def ahead_of(self, newcomer: Unit) -> Iterator[Iterator[Unit]]:
        """Yield, for each queue that *newcomer* has just joined, what stands before it, nearest first."""
        for identity in newcomer.identities:
            ahead = iter(reversed(self.queues[identity]))
            assert next(ahead) is newcomer, "only the last one in may ask"
            yield ahead

    def units(self) -> Iterator[Unit]:
        """Yield every unit once per queue it stands in."""
        for queue in self.queues.values():
            yield from queue
