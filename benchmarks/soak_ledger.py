"""What the callers of the soak were told, record by record, and whether the sandbox bears it out.

The records of a few seconds are a *round*, and of an object of their own. When nothing can happen to them any more they
are compared and forgotten: a soak of hours holds no more of them than one of minutes.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import attrs

from batcher.outcomes import Outcome

ABSENT, DELETED = -1, -2
_NAMES = {ABSENT: "absent", DELETED: "deleted"}
# Contradictions that are shown in full; there is one of them, or there are thousands.
_SHOWN = 20


@attrs.define
class Kept:
    """All that is known of one record."""

    number: int
    """Its name: the value of its field ``n``."""
    states: tuple[int, ...] = (ABSENT,)
    """What it may be: absent, deleted, or there with one of these values in its field ``v``."""
    id: str | None = None
    doubted: bool = False
    """An outcome was unknown: past it no order is promised."""

    def note(self, value: int, outcome: Outcome | None) -> None:
        """Note what a caller was told of a write that would make the record *value*; None if it did not wait."""
        if outcome is None or outcome.applied == "maybe":
            self.states = (*self.states, value)
            self.doubted = True
        elif outcome.applied == "yes":
            self.states = (*self.states, value) if self.doubted else (value,)


@attrs.define(eq=False)
class Round:
    """The records of a few seconds."""

    object: str
    records: dict[int, Kept] = attrs.field(factory=dict)
    busy: int = 0
    """Actions that write to these records at this moment."""
    quiet_since: float = 0.0

    @contextmanager
    def action(self) -> Iterator[None]:
        """While it lasts, the round is not compared."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self.quiet_since = time.monotonic()


class Ledger:
    """The rounds that are not compared yet, and what comparing brought to light.

    :param name: of objects, with a place for the number of the round
    :param settling: seconds after its last action in which the sandbox may still change the records of a round
    """

    def __init__(self, name: str, settling: float) -> None:
        self._name = name
        self.settling = settling
        self._numbers = count()
        self._turns = count()
        self.rounds: list[Round] = []
        self.compared = 0
        self.contradictions: list[str] = []
        self.contradicted = 0
        self.turn()

    def turn(self) -> None:
        """Begin a new round."""
        self.current = Round(self._name.format(next(self._turns)), quiet_since=time.monotonic())
        self.rounds.append(self.current)

    @property
    def held(self) -> int:
        """Records that are not compared yet."""
        return sum(len(each.records) for each in self.rounds)

    def new(self, among: Round) -> Kept:
        """Return a record that nobody has written yet."""
        kept = Kept(next(self._numbers))
        among.records[kept.number] = kept
        return kept

    def settled(self) -> list[Round]:
        """Return the rounds that can be compared."""
        last = time.monotonic() - self.settling
        return [each for each in self.rounds if each is not self.current and not each.busy and each.quiet_since < last]

    def compare(self, among: Round, rows: Iterable[Mapping[str, Any]]) -> None:
        """Compare what was told with what is there, and forget the round.

        :param rows: all records of its object, as the sandbox shows them
        """
        found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            found[int(row["fields"]["n"])].append(row)
        for kept in among.records.values():
            self._check(among.object, kept, found.pop(kept.number, []))
        for number in found:
            self.say(f"{among.object}: record {number} is there, and nobody has written it")
        self.compared += len(among.records)
        self.rounds.remove(among)

    def _check(self, object: str, kept: Kept, rows: list[Mapping[str, Any]]) -> None:
        which = f"{object}: record {kept.number}"
        states = [DELETED if row["archived"] else int(row["fields"]["v"]) for row in rows] or [ABSENT]
        if len(rows) > 1:
            self.say(f"{which} is there {len(rows)} times")
        for state in states:
            if state not in kept.states:
                told = " or ".join(map(_words, dict.fromkeys(kept.states)))
                self.say(f"{which} is {_words(state)}, and its caller was told: {told}")
        if rows and kept.id not in (None, *(row["id"] for row in rows)):
            self.say(f"{which} has another id than its caller was told")

    def say(self, contradiction: str) -> None:
        """Note something that must not be."""
        self.contradicted += 1
        if len(self.contradictions) < _SHOWN:
            self.contradictions.append(contradiction)


def _words(state: int) -> str:
    return _NAMES.get(state, f"there with {state}")
