"""What a fault does to single records of a request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Self

import attrs

from batcher.sandbox._calls import Refused
from batcher.sandbox._faults import Fault, FaultKind, Faults


@attrs.frozen
class Strikes:
    """What befalls records, by their index."""

    errors: Mapping[int, Refused] = attrs.field(factory=dict)
    """Why a record is refused."""
    dropped: Collection[int] = ()
    """Records that have no part in the answer."""
    skipped: Collection[int] = ()
    """Those of them that are not even looked at."""

    @classmethod
    def of(cls, fault: Fault | None, faults: Faults, count: int, errors: Mapping[int, Refused]) -> Self:
        """Return what befalls *count* records, of which some are refused with *errors*."""
        dropped = faults.pick(fault, count, FaultKind.DROP)
        return cls(errors, dropped, () if fault is None or fault.applied else dropped)

    def check(self, index: int) -> None:
        """Refuse a record that is to be refused.

        :raises Refused: it is
        """
        if index in self.errors:
            raise self.errors[index]
