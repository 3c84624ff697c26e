"""Sealed batches: entries that travel in a call of their own, which nobody joins.

A group, what is left of a refused batch, or what the destination is asked about. They are due at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from batcher._core.model.budgets import SearchBudget
from batcher._core.model.states import State, advance
from batcher.events import FlushReason


class Sealable(Protocol):
    """What a sealed batch needs of its entries."""

    state: State
    sealed: bool


E = TypeVar("E", bound=Sealable)


class Sealed(Generic[E]):
    """A batch that is made before it leaves."""

    __slots__ = ("budget", "due_at", "entries", "reason", "sibling")

    def __init__(
        self,
        entries: Sequence[E],
        due_at: float,
        reason: FlushReason,
        budget: SearchBudget | None = None,
        sibling: Sealed[E] | None = None,
    ) -> None:
        self.entries = entries
        self.due_at = due_at
        self.reason = reason  # GROUP, ISOLATION or VERIFY
        self.budget = budget  # of the search for a culprit among them
        self.sibling = sibling  # the other half of a refused batch: it waits for what becomes of this one

    def living(self) -> list[E]:
        """Return those that nobody has taken back."""
        return [entry for entry in self.entries if entry.state is State.BUFFERED]


class SealedQueue(Generic[E]):
    """The sealed batches of one lane, in order."""

    __slots__ = ("_batches", "_siblings", "was_last")

    def __init__(self) -> None:
        self._batches: deque[Sealed[E]] = deque()
        self._siblings: dict[Sealed[E], None] = {}  # those that wait for what becomes of the other half
        self.was_last = False  # the last batch that left the lane was sealed

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def first(self) -> Sealed[E]:
        """The next to leave; there must be one."""
        return self._batches[0]

    def add(self, batch: Sealed[E], *, first: bool = False) -> None:
        """Buffer the entries of a sealed batch; those of its sibling wait for what becomes of them."""
        for each in (batch, batch.sibling):
            if each is not None:
                # Those that waited for their sibling are buffered already.
                advance([entry for entry in each.entries if entry.state is not State.BUFFERED], State.BUFFERED)
                for entry in each.entries:
                    entry.sealed = True
        if batch.sibling is not None:
            self._siblings[batch.sibling] = None
        if first:
            self._batches.appendleft(batch)
        else:
            self._batches.append(batch)

    def take_sibling(self, sibling: Sealed[E]) -> list[E]:
        """Take out what is left of a half that waited for the other."""
        del self._siblings[sibling]
        return sibling.living()

    def trim(self) -> None:
        """Drop what has been taken back as a whole from the front."""
        while self._batches and not any(entry.state is State.BUFFERED for entry in self._batches[0].entries):
            sibling = self._batches.popleft().sibling
            if sibling is not None:  # nobody is left whose fate it waits for
                self._batches.append(sibling)
                del self._siblings[sibling]

    def take(self) -> Sealed[E]:
        """Take out the next one; there must be one."""
        batch = self._batches.popleft()
        for entry in batch.living():
            entry.sealed = False
        return batch

    def everything(self) -> Iterator[E]:
        """Yield all that is in there, in whatever state."""
        for batch in (*self._batches, *self._siblings):
            yield from batch.entries

    def living(self) -> Iterator[E]:
        """Yield what is buffered."""
        for batch in (*self._batches, *self._siblings):
            yield from batch.living()
