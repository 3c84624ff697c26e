"""How many calls of one lane may be out: as many as the destination stands.

Additive increase, multiplicative decrease: D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease Algorithms
for Congestion Avoidance in Computer Networks", 1989. One call more after a round trip at the limit; half of them after
a call that met a throttle, a lock or a timeout. Calls that began before the last change say nothing of what holds now.
"""

from __future__ import annotations


class Allowance:
    """The limit of one lane, between 1 and a ceiling; it begins at the ceiling."""

    __slots__ = ("_reached", "ceiling", "changes", "limit")

    def __init__(self, ceiling: float) -> None:
        self.ceiling = ceiling
        self.limit = ceiling
        self.changes = 0
        self._reached = False  # since the last change

    def note_sent(self, out: int) -> int:
        """Note that a call has left, *out* being out now; return what to give back with its answer."""
        if out >= self.limit:
            self._reached = True
        return self.changes

    def note_answer(self, changes: int, *, congested: bool) -> None:
        """Learn from the end of a call.

        :param changes: what :meth:`note_sent` returned for it
        :param congested: whether it met a throttle, a lock or a timeout
        """
        if changes != self.changes:
            return
        if congested:
            self._change(max(1, self.limit // 2))
        elif self._reached and self.limit < self.ceiling:
            self._change(self.limit + 1)

    def _change(self, limit: float) -> None:
        self.limit = limit
        self.changes += 1
        self._reached = False
