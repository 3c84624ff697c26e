"""The simulator in CI: so many seeds, half of them on each loop, and every law after each of them."""

from __future__ import annotations

from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

import pytest

from tests.simulation.__main__ import play_all
from tests.simulation.plans import RECORDS
from tests.simulation.running import play
from tests.simulation.tallies import Tally

CHUNKS, SEEDS = 10, 15


@cache
def parts() -> list[Future[Tally]]:
    """Begin to play all seeds, in processes of their own: where coverage is measured it takes three times as long."""
    pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    futures = [pool.submit(play_all, range(index * SEEDS, (index + 1) * SEEDS)) for index in range(CHUNKS)]
    pool.shutdown(wait=False)  # its processes end when all is played
    return futures


def played() -> Tally:
    """Return the tally of what has been played so far."""
    tally = Tally()
    for part in parts() if parts.cache_info().currsize else ():
        tally.merge(part.result())
    return tally


@pytest.mark.parametrize("index", range(CHUNKS))
def test_every_law_holds_after_every_seed(index):
    """No record is lost, doubled or misattributed, and every promise is kept, whatever the provider does."""
    tally = parts()[index].result()
    assert not tally.complaints, "\n" + "\n".join(tally.complaints)
    assert tally.records >= RECORDS * SEEDS


def test_every_fault_and_every_premise_occurs():
    """A law whose premise never comes true is not tested, nor is a fault that never strikes."""
    assert len(parts()) == CHUNKS
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
