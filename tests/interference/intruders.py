"""Who interferes."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Final

from batcher import BatcherError
from tests.interference.play import Alarm, Play


def submit(play: Play) -> None:
    """A finalizer submits: it has something to say of what is gone."""
    play.submit_nowait(play.stranger())


def fill(play: Play) -> None:
    """It submits so much that batches leave, and places are taken."""
    for _ in range(4):
        play.submit_nowait(play.stranger(), key="a")


def withdraw(play: Play) -> None:
    """A signal handler takes back what was submitted."""
    for receipt in list(play.receipts):
        try:
            receipt.withdraw()
        except BatcherError:
            return


def cancel(play: Play) -> None:
    """A caller is cancelled."""
    if play.scope is not None:
        play.scope.cancel()


class _Finalized:
    def __init__(self, play: Play) -> None:
        self._play = play
        self._self = self  # a cycle: only the collector finds it

    def __del__(self) -> None:
        submit(self._play)
        withdraw(self._play)


def collect(play: Play) -> None:
    """The garbage collector runs a finalizer."""
    _Finalized(play)
    gc.collect(0)


def alarm(play: Play) -> None:
    """The handler of a signal raises."""
    raise Alarm


def interrupt(play: Play) -> None:
    """Somebody presses Ctrl-C where nobody keeps it from interrupting."""
    raise KeyboardInterrupt


def close(play: Play) -> None:
    """Coroutines that wait for their records are collected."""
    play.close_by_hand()


INTRUDERS: Final[dict[str, Callable[[Play], Any]]] = {
    each.__name__: each for each in (submit, fill, withdraw, cancel, collect, close, alarm, interrupt)
}
RAISING: Final = frozenset({alarm, interrupt})
