"""What a destination promises: all that a Writer relies on to write. What else a place can do is its own affair."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

import attrs

from batcher.outcomes import Outcome, Verdict
from batcher.policies import LaneRules
from batcher.writes import Write


@attrs.define
class Prepared:
    """A write as the batcher carries it: named, encoded once, and weighed.

    Not frozen: one is made for every record, and that would take three times as long.
    """

    lane: Hashable
    """Writes may share a call only if these are equal. Everything that belongs to the call is part of it."""
    item: Any = attrs.field(repr=False)
    """What ``send()`` gets: the encoded record. It shares nothing mutable with the caller's record."""
    size_bytes: int
    """What the item adds to the body of a call, separators included."""
    identity: Hashable | None = attrs.field(default=None, repr=False)
    """Equal for two writes that touch the same remote record, in whichever lanes; None when unknown."""


class Destination(Protocol):
    """The place that takes batches and answers per record.

    ``encode()`` and ``rules()`` are pure and quick: no I/O, no clock. The HTTP destinations build
    ``send()`` from two more pure steps: what to request, and what the answer means.
    """

    def encode(self, write: Write) -> Prepared:
        """Validate what is special here, and encode. What holds everywhere has been checked.

        :raises InvalidRecord: it can never be written here; the message names fields, not values
        """

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call of this lane may carry."""

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Make one call and return one verdict per item, in the order of *items*.

        A verdict is given only if it is known to belong to that item; what cannot be correlated is
        :class:`~batcher.outcomes.Unknown`. With ``all_or_none`` the items are one group. Cancellation
        ends the call; it must not be swallowed.

        :raises Retry: the whole call is to be sent again later
        :raises Refused: the call was refused as a whole and nothing was applied
        :raises BatcherNotOpen: outside of ``async with``
        :raises Exception: anything else means that nobody knows what was applied
        """

    async def __aenter__(self) -> Self:
        """Open what calls need: clients, files, threads."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it again; no call is out any more."""


class Verifier(Protocol):
    """What a destination also has if some of its lanes are ``LaneRules(verifiable=True)``."""

    async def verify(self, lane: Hashable, items: Sequence[Any]) -> Sequence[Outcome]:
        """Find out which of *items* were applied by a call whose answer was lost. One call, which changes nothing.

        :returns: one outcome per item, in the order of *items*: ``Written`` if the destination holds it as it was
            sent, ``NotWritten`` if it is not there and may be sent again without the risk of a duplicate, even if the
            lost call is carried out late; ``Unknown`` if that cannot be told
        :raises Retry: nothing was learned; ask again later
        :raises Exception: the same
        """
