"""The windows of auto-batched writes: who shares a window, and so an operation and a call."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias

import attrs

from batcher._core.model.deadlines import Deadlines
from batcher.destinations import Destination, Prepared
from batcher.outcomes import Verdict
from batcher.policies import LaneRules
from batcher.server._operations import Operation, Operations
from batcher.server._requests import Installation, WriteRequest
from batcher.writes import Write, WriteType

Key: TypeAlias = tuple[Installation, str, WriteType, tuple[tuple[str, str], ...]]


def key_of(request: WriteRequest) -> Key:
    """Return what writes must have in common to share a window."""
    return request.installation, request.object, request.type, request.headers


@attrs.define(eq=False)
class Window:
    """Records that came within the delay of the first of them."""

    operation: Operation
    closes_at: float
    """On the clock of the event loop: the delay of the record that opened it, whatever later ones ask for."""


class Windows:
    """The open window of each key. A window that is full or whose time has passed takes no more records.

    :param max_records: that one window takes
    """

    def __init__(self, operations: Operations, max_records: int) -> None:
        self._operations = operations
        self._max_records = max_records
        self._open: dict[Hashable, Window] = {}
        self._closings: Deadlines[Hashable] = Deadlines()

    def find(self, key: Key, now: float) -> Window | None:
        """Return the window that a record may join now."""
        self.close_due(now)
        return self._open.get(key)

    def open(self, key: Key, closes_at: float) -> Window:
        """Open a window, and the operation of all who will join it."""
        installation, name, _, _ = key
        operation = self._operations.begin(installation, name, is_batch=True, takes_more=True, unseen=True)
        window = self._open[key] = Window(operation, closes_at)
        self._closings.schedule(key, closes_at)
        return window

    def join(self, key: Key, window: Window) -> int:
        """Take a record in, and return its index in the operation."""
        index = window.operation.join()
        if index + 1 == self._max_records:
            self._closings.drop(key)
            self._close(key, 0.0)
        return index

    def close_due(self, now: float) -> None:
        """Close the windows whose time has passed. No timer does it: whoever wants to know comes here first."""
        for key in self._closings.pop_due(now):
            self._close(key, now - self._open[key].closes_at)

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def _close(self, key: Hashable, ago: float) -> None:
        operation = self._open.pop(key).operation
        operation.takes_more = False
        self._operations.end_if_done(operation, ago)


@attrs.frozen
class WindowedWrite(Write):
    """A write that waits for company in a window."""

    window: Key = attrs.field(kw_only=True)


@attrs.frozen
class _WindowLane:
    """A lane of its own for the records of windows: those who do not wait for company do not wait with them."""

    window: Key
    lane: Hashable

    @property
    def object(self) -> str:
        """What its writes are about: log lines name it."""
        return self.window[1]


@attrs.frozen
class WindowedDestination:
    """Passes writes on to *inner*, the ones of windows in lanes of their own.

    One Writer carries them all, and so keeps the writes of one record in order, whether they wait in a window or not.
    """

    inner: Destination

    def encode(self, write: Write) -> Prepared:
        """Have the destination encode it."""
        prepared = self.inner.encode(write)
        if isinstance(write, WindowedWrite):
            return attrs.evolve(prepared, lane=_WindowLane(write.window, prepared.lane))
        return prepared

    def rules(self, lane: Hashable) -> LaneRules:
        """Return the rules of the destination."""
        return self.inner.rules(_inner(lane))

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Have the destination make the call."""
        return await self.inner.send(_inner(lane), items, all_or_none=all_or_none)

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.inner.__aexit__(kind, error, trace)


def _inner(lane: Hashable) -> Hashable:
    return lane.lane if isinstance(lane, _WindowLane) else lane
