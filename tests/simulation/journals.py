"""What happened in one run, and what was wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs

from batcher import Outcome, Write
from batcher.timing import Timing


@attrs.define(eq=False, kw_only=True)
class Submission:
    """One record that a caller hands over, and all that becomes of it."""

    tag: int
    """Its number, which is also in the record itself."""
    write: Write
    tenant: int
    identity: tuple[Any, ...] | None
    bad: bool
    """The provider will refuse it."""
    parent: int | None
    """The row that the provider locks while it writes this record."""
    size: int
    verb: str = "submit"
    max_delay: float | None = None
    deadline: float | None = None
    gives_up_after: float | None = None
    """Seconds after which its caller is cancelled, or withdraws it."""
    fellows: tuple[Submission, ...] = ()
    """All members of its group, itself included; empty outside of a group."""

    order: int = -1
    """The how manieth it was to be handed over."""
    offered_at: float = -1.0
    accepted_at: float | None = None
    """None as long as it is not known to be accepted."""
    alone: bool = True
    """No earlier write of its identity was unsettled when it was handed over."""
    refused: str | None = None
    """Why it was not accepted."""
    outcome: Outcome | None = None
    told: int = 0
    """How often its caller heard of its fate."""
    told_at: float = -1.0
    own: bool = True
    """What its caller was told names this record."""
    cancelled_at: float | None = None
    detached: bool = False
    """A call carried it when its caller was cancelled."""
    withdrawn: bool = False
    """``withdraw()`` said so."""

    timing: Timing | None = None
    """Where its time went, as far as its caller can ask."""
    carried: int = 0
    """Calls that carried it."""
    asked: int = 0
    """Calls that asked what had become of it."""
    first_sent_at: float = -1.0
    out: int = 0
    """Calls that carry it, or ask about it, now."""
    doubted: bool = False
    """A call that carried it ended without saying what became of it."""
    absent: bool = False
    """The provider has been asked since, and does not hold it."""
    applied: int = 0
    """How often the provider wrote it."""
    applied_late: bool = False
    """One of these times after the call that carried it had ended."""

    @property
    def lane(self) -> tuple[Any, ...]:
        return (self.write.object, self.write.type, self.write.by)

    @property
    def create(self) -> bool:
        return self.write.type.value == "create"

    @property
    def open(self) -> bool:
        """Whether its caller may still hear of it."""
        return not self.told and self.refused is None and self.cancelled_at is None


class Journal:
    """Counts what occurred, and notes what was broken."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = float
        """The clock. Asking the loop for it by way of anyio costs ten times as much."""
        self.faults: Counter[str] = Counter()
        self.premises: Counter[str] = Counter()
        self.broken: list[tuple[str, str]] = []
        self.calls = 0
        self.detached = 0
        """Outcomes that the hook was told because nobody waited for them any more."""
        self.submissions: list[Submission] = []  # in the order in which they were handed over

    def met(self, premise: str, times: int = 1) -> None:
        """Count the premise of a law."""
        self.premises[premise] += times

    def struck(self, fault: str) -> None:
        """Count a fault."""
        self.faults[fault] += 1

    def breach(self, law: str, figures: str) -> None:
        """Note that a law was broken. It is no exception, for the library would take that for an answer."""
        self.broken.append((law, figures))

    def check(self, law: str, holds: object, figures: str) -> None:
        """Note a breach unless *holds*."""
        if not holds:
            self.breach(law, figures)
