"""A destination of many moods: whatever can become of a record becomes of some, by what the records themselves say."""

from collections.abc import Hashable, Sequence
from typing import Any, Self

from batcher.destinations import Prepared
from batcher.outcomes import ErrorDetail, NotWritten, Refused, Rejected, Retry, RolledBack, Unknown, Verdict, Written
from batcher.policies import LaneRules
from batcher.writes import Write

BAD = ErrorDetail("the value is taken", "DUPLICATE_VALUE", ["email"])
MOODS = ("fine", "echoed", "nameless", "warned", "bad", "unnamed", "unknown", "lost", "late", "exploded", "rolled_back")


class Moody:
    """Takes everything, associations and headers too. The field ``mood`` of a record, one of ``MOODS``, is its fate."""

    def __init__(self) -> None:
        self.written = 0

    def encode(self, write: Write) -> Prepared:
        return Prepared((write.object, write.type.value, tuple(sorted(write.headers.items()))), write, 10)

    def rules(self, lane: Hashable) -> LaneRules:
        return LaneRules(max_records=100)

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        verdicts = [self._verdict(write) for write in items]
        bad = {index: each.errors for index, each in enumerate(verdicts) if isinstance(each, Rejected)}
        if all_or_none and bad:
            raise Refused([error for errors in bad.values() for error in errors], bad)
        return verdicts

    def _verdict(self, write: Write) -> Verdict:
        self.written += 1
        name = str(write.record.get("id", self.written))
        fates: dict[Any, Verdict] = {
            "echoed": Written(name, dict(write.record)),
            "nameless": Written(),
            "warned": Written(name, warnings=["the associations were not made"]),
            "bad": Rejected([BAD]),
            "unnamed": Rejected([]),
            "unknown": Unknown("the answer was lost"),
            "lost": Retry("the connection broke", applied="maybe"),
            "late": NotWritten("the provider is away", attempts=1),
            "exploded": ValueError("as a function of somebody else may"),
            "rolled_back": RolledBack((), [BAD]),
        }
        return fates.get(write.record.get("mood"), Written(name))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None
