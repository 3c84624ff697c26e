"""P20: whoever runs in the middle of a step finds a whole state. ``python -m tests.interference`` plays more places."""

from __future__ import annotations

import sys
import warnings

import pytest

from tests.interference.intruders import INTRUDERS, RAISING
from tests.interference.playing import Backend, places, play_at

SAMPLE = 12  # places, of each intruder on each backend


@pytest.mark.parametrize("backend", ["asyncio", "trio", *(["eager"] if sys.version_info >= (3, 12) else [])])
@pytest.mark.parametrize("name", INTRUDERS)
def test_p20_nothing_that_runs_in_the_middle_of_a_step_does_harm(name: str, backend: Backend):
    """Nobody waits for ever, each is told the truth of his own record, and the batcher ends."""
    intrude = INTRUDERS[name]
    everywhere = places(backend, intrude)
    for at in everywhere[len(name) :: len(everywhere) // SAMPLE]:
        with warnings.catch_warnings():
            if intrude in RAISING:  # between making a coroutine and awaiting it
                warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
            play_at(at, backend, intrude)
