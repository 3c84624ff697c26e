"""The function destination: any async function that takes a batch. It is what ``Batcher(write)`` uses."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from inspect import isawaitable
from typing import Any, TypeAlias, TypeVar

from batcher._core.verdicts import named_among, plain, read
from batcher.outcomes import Outcome, Refused, Retry, Unknown, Verdict
from batcher.policies import LaneRules

logger = logging.getLogger("batcher")

R = TypeVar("R")
T = TypeVar("T")
WriteFunction: TypeAlias = Callable[[Any, list[R]], Awaitable[Sequence[T | Outcome | BaseException]]]
"""``async def write(key, records)``: one value of type T, outcome, exception or ``Retry`` per record."""

VerifyFunction: TypeAlias = Callable[[Any, list[R]], Awaitable[Sequence[T | Outcome]]]
"""``async def verify(key, records)``: per record what ``write`` would have returned, if it is there;
``NotWritten`` if it is not, ``Unknown`` if nobody knows."""


_WRITE, _VERIFY = "the write function", "verify()"


class Function:
    """Calls ``write(key, records)``. It encodes nothing and knows no limits of its own.

    A group gets a call of its own, but the function is not told: whoever submits groups has a function
    that applies each call as a whole or not at all.
    """

    def __init__(self, write: WriteFunction[Any, Any], ask: VerifyFunction[Any, Any] | None = None) -> None:
        self.write = write
        self.ask = ask
        self._rules = LaneRules(verifiable=ask is not None)
        self._complained = False

    def rules(self, lane: Hashable) -> LaneRules:
        """Return no limits beyond those of the policy."""
        return self._rules

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Make one call."""
        answer: Any = self.write(lane, list(items))
        if not isawaitable(answer):
            return _not_async(_WRITE, len(items))
        try:
            answer = await answer
        except Refused as refused:
            self._check_names(refused, len(items))
            raise
        if all_or_none:
            _check_whole(answer, len(items))
        checked: Sequence[Verdict] = answer
        return checked

    async def verify(self, lane: Hashable, items: Sequence[Any]) -> Sequence[Outcome]:
        """Ask which items were applied."""
        assert self.ask is not None, "rules() says so"
        answer: Any = self.ask(lane, list(items))
        if not isawaitable(answer):
            return _not_async(_VERIFY, len(items))
        checked: Sequence[Outcome] = await answer
        return checked

    def _check_names(self, refused: Refused, count: int) -> None:
        # Once: whoever makes this mistake makes it in every call, and no outcome tells of it.
        nobody = len(refused.named) - len(named_among(refused, count))
        if nobody and not self._complained:
            self._complained = True
            logger.warning(
                "%s raised Refused(named=...) with %d positions that are none of the batch (a call with %d records; "
                "such trouble is not logged again)",
                _WRITE,
                nobody,
                count,
            )


def _not_async(who: str, count: int) -> list[Unknown]:
    # It has run already, so what it wrote is written; only the answer cannot be awaited.
    return [Unknown(f"{who} is not async: define it with 'async def'")] * count


def _check_whole(answer: Any, count: int) -> None:
    """Log if an all-or-none group was written in part: a promise is broken, and only the outcomes would say so."""
    if not isinstance(answer, (list, tuple)) or len(answer) != count or plain(answer):
        return
    fates = [read(verdict) for verdict in answer]
    written = sum(not isinstance(fate, Retry) and (not isinstance(fate, Outcome) or fate.ok) for fate in fates)
    if 0 < written < len(fates):
        logger.warning(
            "an all-or-none group was written in part, %d of its %d records: the write function must apply the call of "
            "a group as a whole, or raise Refused",
            written,
            len(fates),
        )
