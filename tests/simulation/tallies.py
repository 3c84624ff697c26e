"""How often what occurred: every fault, and the premise of every law. What never occurs proves nothing."""

from __future__ import annotations

from collections import Counter

import attrs

from batcher.events import FlushReason
from tests.simulation.faults import FAULTS, OTHER_FAULTS
from tests.simulation.running import Result

BREAKER_STATES = ("open", "half_open", "closed")
PREMISES = (
    *(f"left because: {reason.value}" for reason in FlushReason),
    "told: written",
    "told: rejected",
    "told: rolled_back",
    "told: not_written",
    "told: unknown",
    "refused: Overloaded",
    "refused: BatcherClosed",
    "refused: InvalidRecord",
    "refused: InvalidGroup",
    "P3: nothing held a record back",
    "P3: a batch was full",
    "P4: a culprit was found",
    "P4: a search ran out of calls",
    "P5: a group travelled",
    "P5: a group was rolled back",
    "P6: a write waited for its predecessor",
    "P6: the last write of a row was known",
    "P7: told unknown, and it is there",
    "P7: told unknown, and it is not there",
    "P7: told not written after calls",
    "P7: a create was sent again, as the policy allows",
    "P7: a create was sent again, after the provider was asked",
    "P7: asked, and it is there",
    "P7: asked, and it is not there",
    "P7: a create was doubled, as the policy allows",
    "P7: what does no harm twice was sent again",
    "P8: withdraw() said True",
    "P8: a caller gave up",
    "P8: a call carried what its caller gave up",
    "P8: an outcome that nobody waited for was observed",
    "P9: a submit waited for a place",
    "P9: a lane held most of its places",
    "P9: a tenant held most of its places",
    "P10: others were sick, and places free",
    "P11: the writer was left in mid-storm (leaves)",
    "P11: the writer was left in mid-storm (raises)",
    "P11: the writer was left in mid-storm (cancelled)",
    "P11: the time to drain was up",
    "flush: records were open",
    "pause: a call came after a pause that was asked for",
    *(f"timing: {part}" for part in ("identity", "window", "quota", "pause", "breaker", "slot", "retry")),
    *(f"breaker: of a {scope}, {state}" for scope in ("lane", "destination") for state in BREAKER_STATES),
    "breaker: told at once",
    "breaker: a lane that had not failed tried early",
    "breaker: told at once, because of the destination",
    "budget: told that it is used up",
    "budget: it was used up",
    "quota: a stated one was used up",
    "deadline: a record expired unsent",
)


@attrs.define
class Tally:
    """What occurred in several runs."""

    seeds: int = 0
    records: int = 0
    accepted: int = 0
    calls: int = 0
    by_backend: Counter[str] = attrs.field(factory=Counter)
    faults: Counter[str] = attrs.field(factory=lambda: Counter(dict.fromkeys((*FAULTS, *OTHER_FAULTS), 0)))
    premises: Counter[str] = attrs.field(factory=lambda: Counter(dict.fromkeys(PREMISES, 0)))
    complaints: list[str] = attrs.field(factory=list)

    def add(self, result: Result) -> None:
        """Count one run."""
        self.seeds += 1
        self.records += result.offered
        self.accepted += result.accepted
        self.calls += result.calls
        self.by_backend[result.plan.backend] += 1
        self.faults.update(result.journal.faults)
        self.premises.update(result.journal.premises)
        if result.journal.broken:
            self.complaints.append(result.complaint())

    def merge(self, other: Tally) -> None:
        """Count the runs of another tally."""
        self.seeds += other.seeds
        self.records += other.records
        self.accepted += other.accepted
        self.calls += other.calls
        self.by_backend.update(other.by_backend)
        self.faults.update(other.faults)
        self.premises.update(other.premises)
        self.complaints += other.complaints

    def never(self) -> list[str]:
        """Return what did not occur, although it is to occur, and what occurred under a name that nobody listed."""
        counts = {**self.faults, **self.premises}
        strangers = [name for name in counts if name not in (*FAULTS, *OTHER_FAULTS, *PREMISES)]
        return [name for name, count in counts.items() if not count] + [f"unlisted: {name}" for name in strangers]

    def __str__(self) -> str:
        loops = ", ".join(f"{count} on {name}" for name, count in sorted(self.by_backend.items()))
        sums = f"{self.records:,} records, {self.accepted:,} accepted, {self.calls:,} calls"
        head = f"{self.seeds:,} seeds ({loops}): {sums}"
        rows = [("fault", self.faults), ("premise of a law", self.premises)]
        lines = [f"{title:<60}{'occurred':>12}\n" + _rows(counts) for title, counts in rows]
        return "\n".join([head, *lines])


def _rows(counts: Counter[str]) -> str:
    return "\n".join(f"  {name:<58}{count:>12,}" for name, count in counts.items())
