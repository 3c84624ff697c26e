"""The life of a record, as a table."""

from __future__ import annotations

from itertools import product

import pytest

from batcher._core.model.entries import Entry
from batcher._core.model.states import TRANSITIONS, State, advance, check
from tests.core.building import record

LEGAL = {
    (State.WAITING, State.PARKED),
    (State.WAITING, State.BUFFERED),
    (State.PARKED, State.BUFFERED),
    (State.BUFFERED, State.IN_FLIGHT),
    (State.BUFFERED, State.BACKING_OFF),
    (State.IN_FLIGHT, State.BUFFERED),
    (State.IN_FLIGHT, State.BACKING_OFF),
    (State.BACKING_OFF, State.BUFFERED),
    *((state, State.SETTLED) for state in State if state is not State.SETTLED),
}


def in_state(state: State) -> Entry:
    entry = record()
    entry.state = state
    return entry


def test_the_table_covers_every_state() -> None:
    """
    Every state has its line, and a settled record has no way out.
    """
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.SETTLED] == frozenset()


@pytest.mark.parametrize(("origin", "to"), sorted(product(State, State)), ids=lambda state: state.name)
def test_only_legal_moves_are_made(origin: State, to: State) -> None:
    """
    What is drawn at the top of the module is possible, and nothing else is.
    """
    entry = in_state(origin)
    if (origin, to) in LEGAL:
        advance((entry,), to)
        assert entry.state is to
    else:
        with pytest.raises(AssertionError, match=f"^a record cannot move from {origin.name} to {to.name}$"):
            advance((entry,), to)
        assert entry.state is origin


def test_one_illegal_move_stops_all() -> None:
    """
    All records move, or none does.
    """
    buffered, settled = in_state(State.BUFFERED), in_state(State.SETTLED)

    with pytest.raises(AssertionError, match="from SETTLED to IN_FLIGHT"):
        advance((buffered, settled), State.IN_FLIGHT)

    assert buffered.state is State.BUFFERED


def test_checking_moves_nobody() -> None:
    """
    A check alone leaves the records where they are.
    """
    entry = in_state(State.IN_FLIGHT)

    check((entry,), State.SETTLED)

    assert entry.state is State.IN_FLIGHT
