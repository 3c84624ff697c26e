"""The life of a record. Every legal move stands in one table, in this file.

.. code-block:: text

    WAITING ----> PARKED ----> BUFFERED ----> IN_FLIGHT ----> SETTLED
       |                        ^  ^            |   |
       +------------------------+  +------------+   |      a half of a refused batch
                                ^                   v
                                +------------- BACKING_OFF

Every state may also move to SETTLED: withdrawn, expired, closed. From BUFFERED to BACKING_OFF moves a suspect in doubt
for which the search has no call left, before the destination is asked about it. The file does not know why a
record moves; that is the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from operator import attrgetter
from typing import Protocol


class State(IntEnum):
    """Where a record is. An IntEnum, because its members hash at C speed."""

    WAITING = 0
    """For a place; not accepted yet."""
    PARKED = 1
    """Accepted; behind an earlier write of the same identity, outside its lane."""
    BUFFERED = 2
    """In its lane."""
    IN_FLIGHT = 3
    """Cut into a batch and handed out."""
    BACKING_OFF = 4
    """Until its next attempt."""
    SETTLED = 5
    """It has its outcome."""


TRANSITIONS: dict[State, frozenset[State]] = {
    State.WAITING: frozenset({State.PARKED, State.BUFFERED, State.SETTLED}),
    State.PARKED: frozenset({State.BUFFERED, State.SETTLED}),
    State.BUFFERED: frozenset({State.IN_FLIGHT, State.BACKING_OFF, State.SETTLED}),
    State.IN_FLIGHT: frozenset({State.BUFFERED, State.BACKING_OFF, State.SETTLED}),
    State.BACKING_OFF: frozenset({State.BUFFERED, State.SETTLED}),
    State.SETTLED: frozenset(),
}


class Stateful(Protocol):
    """Anything with a place in its life."""

    state: State


_state_of = attrgetter("state")


def advance(entries: Sequence[Stateful], to: State) -> None:
    """Move all *entries* to the state *to*, or none.

    Checked once per distinct state, so a batch costs little more than one record.

    :raises AssertionError: an illegal move, which is a bug of this library
    """
    check(entries, to)
    for entry in entries:
        entry.state = to


def check(entries: Sequence[Stateful], to: State) -> None:
    """Raise unless all *entries* may move to the state *to*.

    :raises AssertionError: an illegal move, which is a bug of this library
    """
    for state in set(map(_state_of, entries)):
        if to not in TRANSITIONS[state]:
            raise AssertionError(f"a record cannot move from {state.name} to {to.name}")
