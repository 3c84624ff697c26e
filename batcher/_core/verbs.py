"""What the engine tells the shell to do."""

from __future__ import annotations

from enum import IntEnum
from math import inf
from typing import Final

from batcher._core.batches import Batch
from batcher._core.model.entries import Entry, Unit


class Verb(IntEnum):
    """What the shell must do after a submit."""

    NOTHING = 0
    """The record waits for company, and somebody will look in time."""
    CLOCK = 1
    """Look at ``next_at`` again: it may be earlier than before."""
    DISPATCH = 2
    """Poll at once."""
    WAIT = 3
    """Not accepted yet: a plan will name the unit among the admitted. Poll at once, too."""


class Plan:
    """What to do now. All of it has already happened as far as the engine is concerned."""

    __slots__ = ("admitted", "ask_again_at", "batches", "settled")

    def __init__(self, batches: list[Batch], settled: list[Entry], admitted: list[Unit], ask_again_at: float) -> None:
        self.batches = batches
        self.settled = settled
        self.admitted = admitted
        self.ask_again_at = ask_again_at


NO_PLAN: Final = Plan([], [], [], inf)
