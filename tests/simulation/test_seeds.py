"""The simulator in CI: so many seeds, half of them on each loop, and every law after each of them."""

from __future__ import annotations

from functools import cache

import pytest

from tests.simulation.__main__ import play_all
from tests.simulation.plans import RECORDS
from tests.simulation.running import play
from tests.simulation.tallies import Tally

CHUNKS, SEEDS = 10, 30
_played: dict[int, Tally] = {}


@cache
def chunk(index: int) -> Tally:
    """Play a part of the seeds, once per session."""
    _played[index] = play_all(range(index * SEEDS, (index + 1) * SEEDS))
    return _played[index]


def played() -> Tally:
    """Return the tally of what has been played so far."""
    tally = Tally()
    for part in _played.values():
        tally.merge(part)
    return tally


@pytest.mark.parametrize("index", range(CHUNKS))
def test_every_law_holds_after_every_seed(index):
    """No record is lost, doubled or misattributed, and every promise is kept, whatever the provider does."""
    tally = chunk(index)
    assert not tally.complaints, "\n" + "\n".join(tally.complaints)
    assert tally.records >= RECORDS * SEEDS


def test_every_fault_and_every_premise_occurs():
    """A law whose premise never comes true is not tested, nor is a fault that never strikes."""
    for index in range(CHUNKS):
        chunk(index)
    assert played().never() == []


@pytest.mark.parametrize("seed", [3, 5, 13, 14])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_seed_is_played_the_same_way_again(seed, backend):
    """Or the command that a failure prints would show something else; and some seeds run on both loops."""
    first, again = play(seed, backend), play(seed, backend)
    assert not first.complaint()
    assert first.fates() == again.fates()
    assert first.journal.faults == again.journal.faults
    assert first.journal.premises == again.journal.premises
