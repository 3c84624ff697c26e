"""The function destination: any async function that takes a batch. It is what ``Batcher(write)`` uses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from inspect import isawaitable
from typing import Any, TypeAlias, TypeVar

from batcher.outcomes import Outcome, Unknown, Verdict
from batcher.policies import LaneRules

R = TypeVar("R")
T = TypeVar("T")
WriteFunction: TypeAlias = Callable[[Any, list[R]], Awaitable[Sequence[T | Outcome | BaseException]]]
"""``async def write(key, records)``: one value of type T, outcome, exception or ``Retry`` per record."""

VerifyFunction: TypeAlias = Callable[[Any, list[R]], Awaitable[Sequence[T | Outcome]]]
"""``async def verify(key, records)``: per record what ``write`` would have returned, if it is there;
``NotWritten`` if it is not, ``Unknown`` if nobody knows."""


class Function:
    """Calls ``write(key, records)``. It encodes nothing and knows no limits of its own.

    A group gets a call of its own, but the function is not told: whoever submits groups has a function
    that applies each call as a whole or not at all.
    """

    def __init__(self, write: WriteFunction[Any, Any], ask: VerifyFunction[Any, Any] | None = None) -> None:
        self.write = write
        self.ask = ask

    def rules(self, lane: Hashable) -> LaneRules:
        """Return no limits beyond those of the policy."""
        return _NO_LIMITS if self.ask is None else _VERIFIABLE

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Make one call."""
        answer = self.write(lane, list(items))
        if not isawaitable(answer):
            # It has run already, so what it wrote is written; only the answer cannot be awaited.
            return [Unknown("the write function is not async: define it with 'async def'")] * len(items)
        return await answer

    async def verify(self, lane: Hashable, items: Sequence[Any]) -> Sequence[Outcome]:
        """Ask which items were applied."""
        assert self.ask is not None, "rules() says so"
        return await self.ask(lane, list(items))


_NO_LIMITS = LaneRules()
_VERIFIABLE = LaneRules(verifiable=True)
