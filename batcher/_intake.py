"""The intake: many records on their way in, as submit_all() hands them over.

Each lane takes what it has room for at once. Where it has none, the first record without a place waits for all of its
lane: a million of them hold up nobody for longer than one would, and their lanes do not hold up each other. Only where
records have identities does each queue for its own place: their order counts from when they were handed over.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from operator import attrgetter
from typing import Final

import anyio

from batcher._core.engine import Engine
from batcher._core.entries import Entry
from batcher._core.states import State
from batcher._crew import Crew
from batcher.errors import InvalidRecord
from batcher.outcomes import NotWritten, Outcome, Rejected

NO_PLACE: Final = NotWritten("the batcher closed while the record waited for a place")

_extras_of = attrgetter("extras")
_WINDOW = 1_000  # records offered at a time; behind a place that has become free there are rarely more


class Intake:
    """The records of one submit_all()."""

    def __init__(self, crew: Crew, engine: Engine) -> None:
        self._crew = crew
        self._engine = engine
        self._queues: dict[Hashable, list[Entry]] = {}  # of lanes without room; the first of each waits for a place
        self._last: dict[Hashable, Entry] = {}  # of each lane, of those that were taken
        self.taken: list[Entry] = []  # by the engine: accepted, or waiting for a place
        self.refused: dict[Entry, Outcome] = {}  # never taken

    def offer(self, key: Hashable, run: Sequence[Entry]) -> None:
        """Have the lane take what it has room for."""
        queue = self._queues.get(key)
        if any(extras.identity is not None for extras in set(map(_extras_of, run))):
            for entry in [*self._queues.pop(key, ())[1:], *run]:
                self._submit(key, entry)
        elif queue is not None:
            queue.extend(run)
        else:
            taken = self._take(key, run, 0)
            if taken < len(run):
                self._queues[key] = list(run[taken:])

    def complete(self) -> None:
        """Make due what the lanes have taken."""
        for last in self._last.values():
            self._engine.complete(last, self._crew.now())
        self._crew.turn()

    async def wait(self) -> None:
        """Wait until the others are taken, too."""
        if len(self._queues) > 1:
            async with anyio.create_task_group() as tasks:
                for key, queue in self._queues.items():
                    tasks.start_soon(self._feed, key, queue)
        else:
            for key, queue in self._queues.items():
                await self._feed(key, queue)

    async def _feed(self, key: Hashable, queue: Sequence[Entry]) -> None:
        """Offer *queue* place by place; its first record waits for one already."""
        first = 0
        while first < len(queue):
            await self._crew.place_for(queue[first])
            if not self._crew.takes_records:
                self.refused.update(dict.fromkeys(queue[first + 1 :], NO_PLACE))
                return
            first = self._take(key, queue, first + 1)
            if first == len(queue):
                self._engine.complete(self._last[key], self._crew.now())
            self._crew.turn()

    def _take(self, key: Hashable, entries: Sequence[Entry], first: int) -> int:
        """Submit *entries* from *first* on, and return which of them waits for a place; how many there are, if none."""
        while first < len(entries):
            window = entries[first : first + _WINDOW]
            count = self._engine.submit_many(window, key, self._crew.now())
            if count:
                self.taken += window[:count]
                self._last[key] = window[count - 1]
            for place, entry in enumerate(window[count:], first + count):
                if self._submit(key, entry):
                    return place
            first += len(window)
        return first

    def _submit(self, key: Hashable, entry: Entry) -> bool:
        """Submit one record, and return whether it has to wait for a place."""
        try:
            self._engine.submit(entry, key, self._crew.now())
        except InvalidRecord as error:
            self.refused[entry] = Rejected((error.detail,))
            return False
        self.taken.append(entry)
        self._last[key] = entry
        return entry.state is State.WAITING
