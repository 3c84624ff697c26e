"""A destination that announces each call in the results file before it makes it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import TracebackType
from typing import Any, Self

import anyio.to_thread
import attrs

from batcher.cli._errors import CommandError
from batcher.destinations import Destination, Prepared
from batcher.outcomes import NotWritten, Verdict
from batcher.policies import LaneRules
from batcher.writes import Write


@attrs.frozen
class NumberedWrite(Write):
    """A write that knows the line it came from."""

    line: int = attrs.field(default=0, kw_only=True)
    """The line of the input file where the record begins."""


@attrs.define(eq=False)
class Marking:
    """Passes calls on to *inner*, once their line numbers are on disk.

    :param mark: writes down the line numbers and returns when they are safe; runs in a worker thread
    :param on_failure: told why *mark* failed. The call is not made then, and its records are not written
    """

    inner: Destination
    mark: Callable[[Sequence[int]], None]
    on_failure: Callable[[OSError], None]
    largest_call: int = attrs.field(default=0, init=False)
    """Lines of the largest call so far."""

    def encode(self, write: Write) -> Prepared:
        """Encode as *inner* does, and keep the number of the line."""
        assert isinstance(write, NumberedWrite), "only load() uses this destination, and numbers its writes"
        prepared = self.inner.encode(write)
        return attrs.evolve(prepared, item=(write.line, prepared.item))

    def rules(self, lane: Hashable) -> LaneRules:
        """Return those of *inner*."""
        return self.inner.rules(lane)

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Write the line numbers down, then make the call."""
        try:
            await anyio.to_thread.run_sync(self.mark, [line for line, _ in items])
        except OSError as error:
            self.on_failure(error)
            return [NotWritten("the results file could not be written")] * len(items)
        self.largest_call = max(self.largest_call, len(items))
        return await self.inner.send(lane, [item for _, item in items], all_or_none=all_or_none)

    async def __aenter__(self) -> Self:
        try:
            await self.inner.__aenter__()
        except Exception as error:
            raise CommandError(f"the destination cannot be opened: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.inner.__aexit__(kind, error, trace)
