"""Counts calls and times waits."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import attrs

from benchmarks.contestants import Submit


@attrs.define
class Tally:
    """What one batcher did."""

    waits: list[float] = attrs.field(factory=list)
    calls: int = 0

    async def write(self, key: Any, items: list[Any]) -> list[Any]:
        """Answer at once, and count."""
        self.calls += 1
        return items

    async def timed(self, submit: Submit, number: int) -> None:
        """Submit, and note how long it took."""
        began = perf_counter()
        await submit(number)
        self.waits.append(perf_counter() - began)

    @property
    def calls_per_1000(self) -> float:
        """What 1,000 records would have cost."""
        return self.calls * 1000 / len(self.waits)
