"""The figures of the demo: what was measured while records were written."""

from __future__ import annotations

from collections import Counter

import attrs

from batcher.cli.demo.workload import Contact
from batcher.outcomes import Outcome, Rejected


@attrs.define(eq=False)
class Run:
    """What was measured while a workload was written."""

    records: int
    """Records to write."""
    calls: int = 0
    seconds: float = 0.0
    """From the first submit to the last outcome."""
    stored: int = 0
    """Records that the database holds in the end."""
    at_the_edge: int = 0
    """Records refused without any call; part of the rejected ones."""
    kinds: Counter[str] = attrs.field(factory=Counter, init=False)
    """Outcome kind to records."""
    waits: list[float] = attrs.field(factory=list, init=False)
    """Seconds that each caller waited, a group counting once per record."""
    examples: dict[str, tuple[Contact, str]] = attrs.field(factory=dict, init=False)
    """Outcome kind, or error code of a rejection, to a record and what its caller was told."""

    def wait(self, percent: float) -> float:
        """Return the wait that *percent* of the records did not exceed, in seconds (nearest rank)."""
        ranked = sorted(self.waits)
        return ranked[max(0, -int(-len(ranked) * percent // 100) - 1)]

    def settle(self, contact: Contact, outcome: Outcome, waited: float, told: object) -> None:
        """Take in the fate of one record."""
        self.kinds[outcome.kind] += 1
        self.waits.append(waited)
        name = outcome.errors[0].code or outcome.kind if isinstance(outcome, Rejected) else outcome.kind
        words = f"{type(told).__name__}: {told}" if isinstance(told, Exception) else repr(told)
        self.examples.setdefault(name, (contact, words))
