"""How many calls may be out, of one lane and of all: as many as the destination stands.

Additive increase, multiplicative decrease: D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease Algorithms
for Congestion Avoidance in Computer Networks", 1989. One call more after a round trip at the limit; half of them after
a call that met a throttle, a lock or a timeout. Calls that began before the last change say nothing of what holds now.

A destination that slows down is a sign as well, though a weak one: a tenth less, after two slow calls in a row. What is
slow depends on how much a call carries, so each is compared with what a call of its size usually takes.
"""

from __future__ import annotations

from collections.abc import Hashable

# A call is slow if it takes longer than usual by that many mean deviations, as in the adaptive concurrency of Vector,
# and by half of the time. Of fewer calls than these nobody knows what is usual.
_DEVIATIONS = 2.5
_ENOUGH = 20
_MEMORY = 0.05  # what the last call weighs in the averages


class ServiceTime:
    """What a call with n records takes: ``a * n + b`` seconds, fitted to the calls so far, recent ones first."""

    __slots__ = ("_deviation", "_mean_records", "_mean_seconds", "_product", "_spread", "calls")

    def __init__(self) -> None:
        self.calls = 0
        self._mean_records = 0.0
        self._mean_seconds = 0.0
        self._spread = 0.0  # variance of the records
        self._product = 0.0  # covariance of records and seconds
        self._deviation = 0.0

    def expected(self, records: int) -> float:
        """Return the seconds that a call with so many records usually takes; 0 if none has ended yet."""
        # With a spread of less than a record, what looks like a slope is noise.
        slope = max(0.0, self._product / self._spread) if self._spread >= 1 else 0.0
        return max(0.0, self._mean_seconds + slope * (records - self._mean_records))

    def note(self, records: int, seconds: float) -> bool:
        """Learn from a call that ended well, and return whether it was slow."""
        excess = seconds - self.expected(records)
        enough = self.calls >= _ENOUGH
        slow = enough and excess > _DEVIATIONS * self._deviation and excess > 0.5 * self.expected(records)
        self.calls += 1
        weight = max(_MEMORY, 1 / self.calls)
        if self.calls > 1:
            self._deviation += weight * (abs(excess) - self._deviation)
        more_records, more_seconds = records - self._mean_records, seconds - self._mean_seconds
        self._mean_records += weight * more_records
        self._mean_seconds += weight * more_seconds
        self._spread = (1 - weight) * (self._spread + weight * more_records * more_records)
        self._product = (1 - weight) * (self._product + weight * more_records * more_seconds)
        return slow


class Allowance:
    """A limit between 1 and a ceiling; it begins at the ceiling."""

    __slots__ = ("_reached", "_slow", "ceiling", "changes", "limit")

    def __init__(self, ceiling: float) -> None:
        self.ceiling = ceiling
        self.limit = ceiling
        self.changes = 0
        self._reached = False  # since the last change
        self._slow = 0  # calls in a row

    def note_sent(self, out: int) -> int:
        """Note that a call has left, *out* being out now; return what to give back with its answer."""
        if out >= self.limit:
            self._reached = True
        return self.changes

    def note_answer(self, changes: int, *, congested: bool, slow: bool = False) -> None:
        """Learn from the end of a call.

        :param changes: what :meth:`note_sent` returned for it
        :param congested: whether it met a throttle, a lock or a timeout
        :param slow: whether it took much longer than a call of its size usually does
        """
        if changes != self.changes:
            return
        self._slow = self._slow + 1 if slow else 0
        if congested:
            self.change(max(1, self.limit // 2))
        elif self._slow >= 2:
            self.change(max(1, min(self.limit - 1, self.limit * 9 // 10)))
        elif self._reached and not slow and self.limit < self.ceiling:
            self.change(self.limit + 1)

    def begin_anew(self) -> None:
        """Allow one call, and grow from there."""
        self.change(1)

    def change(self, limit: float) -> None:
        """Allow so many from now on."""
        self.limit = limit
        self.changes += 1
        self._reached = False
        self._slow = 0


class SharedAllowance:
    """The limit of all lanes together. One broken lane is no sign that the destination has too much to do: it is cut
    only when most of the lanes heard in a round trip, and at least two of them, were congested.
    """

    def __init__(self, ceiling: float) -> None:
        self._allowance = Allowance(ceiling)
        self.limit = ceiling
        """Calls that may be out."""
        self._before: float | None = None  # the limit, while one call at a time is allowed
        self._heard: dict[Hashable, bool] = {}  # lane -> whether its last call was congested, in this round trip
        self._answers = 0

    def note_sent(self, out: int) -> int:
        """As :meth:`Allowance.note_sent`."""
        return self._allowance.note_sent(out)

    def note_answer(self, lane: Hashable, changes: int, *, congested: bool) -> None:
        """Learn from the end of a call of *lane*, once the round trip is over."""
        if changes != self._allowance.changes:
            return
        self._heard[lane] = congested
        self._answers += 1
        if self._answers < self._allowance.limit:
            return
        trouble = sum(self._heard.values())
        if not trouble or (trouble > 1 and 2 * trouble > len(self._heard)):
            self._allowance.note_answer(changes, congested=trouble > 0)
            self.limit = self._allowance.limit
        self._heard.clear()
        self._answers = 0

    def probe(self) -> None:
        """Allow one call at a time, until :meth:`resume`."""
        if self._before is None:
            self._before = self._allowance.limit
        self._set(1)

    def resume(self) -> None:
        """Allow as many as before :meth:`probe`, if that was called. Lanes that were in trouble begin with one each."""
        if self._before is not None:
            self._set(self._before)
            self._before = None

    def _set(self, limit: float) -> None:
        self._allowance.change(limit)
        self.limit = limit
        self._heard.clear()
        self._answers = 0
