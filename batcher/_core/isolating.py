"""Isolation: who is to blame for a call that was refused as a whole, found with few calls, and remembered.

Culprits that the answer names are settled, and the rest goes again together. A call that was too large goes again in
smaller batches, and the lane keeps to the smaller size. Otherwise the batch is halved until the culprit stands alone.
The second half waits for the first: if that is clean, the culprit is in the second, which need not be tried as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from batcher._core.accumulator import Accumulator
from batcher._core.batches import Batch
from batcher._core.model.budgets import SearchBudget
from batcher._core.model.entries import Entry
from batcher._core.model.sealed import Sealed
from batcher._core.timings import end_attempt, leaves_uncalled
from batcher._core.verdicts import named_among
from batcher.events import FlushReason
from batcher.outcomes import ErrorDetail, Outcome, Refused, Rejected
from batcher.policies import RetryPolicy

Settle: TypeAlias = Callable[[Sequence[Entry], Sequence[Any], float, float], None]


class Isolating:
    """Looks for culprits.

    :param settle: gives entries of one lane their fates
    """

    def __init__(self, accumulator: Accumulator, policy: RetryPolicy, settle: Settle) -> None:
        self._accumulator = accumulator
        self._policy = policy
        self._settle = settle

    def isolate(self, batch: Batch, refused: Refused, now: float, jitter: float) -> None:
        """Settle those who are known to be to blame, and send the others again in a way that tells more."""
        entries = batch.entries
        named = named_among(refused, len(entries))
        if len(entries) == 1:
            named = named or {0: refused.errors}
        self._blame({entries[index]: errors for index, errors in named.items()}, now, jitter)
        rest = [entry for index, entry in enumerate(entries) if index not in named]
        if not rest:
            return
        end_attempt(rest, now)
        if refused.too_large and not named:
            self._send_less(batch, now)
            return
        budget = batch.sealed.budget if batch.sealed is not None else None
        budget = budget or SearchBudget(self._policy.isolation_calls, refused.errors)
        self._try(batch, rest, budget, now, jitter, whole=bool(named))

    def go_on(self, batch: Batch, now: float, jitter: float) -> None:
        """Do what had to wait for the end of this call."""
        assert batch.sealed is not None
        clean = bool(batch.sent) and all(_is_fine(entry) for entry in batch.sent)
        if clean:
            self._accumulator.memory.acquit(batch.sent)
        sibling = batch.sealed.sibling
        if sibling is None:
            return
        self._accumulator.in_hand = sibling.entries
        rest = batch.lane.sealed.take_sibling(sibling)
        # Nobody has left meanwhile, so a clean half says that the culprit is in the other.
        proven = clean and len(batch.sent) == len(batch.sealed.entries) and len(rest) == len(sibling.entries)
        if rest:
            assert sibling.budget is not None
            self._try(batch, rest, sibling.budget, now, jitter, whole=not proven or len(rest) == 1)

    def _blame(self, culprits: dict[Entry, Sequence[ErrorDetail]], now: float, jitter: float) -> None:
        self._accumulator.memory.suspect(culprits, now)
        self._settle(list(culprits), [Rejected(errors) for errors in culprits.values()], now, jitter)

    def _send_less(self, batch: Batch, now: float) -> None:
        lane = batch.lane
        if all(entry.size for entry in batch.entries):  # else half of the bytes may be in all of the records again
            lane.fill_to(lane.queue.max_records, max(1, batch.size // 2))
        else:
            lane.fill_to(max(1, len(batch.entries) // 2), lane.queue.max_bytes)
        self._accumulator.memory.learn(lane, now)
        lane.queue.put_back(batch.entries)
        for entry in batch.entries:
            self._accumulator.watch_expiry(entry)

    def _try(
        self, batch: Batch, rest: Sequence[Entry], budget: SearchBudget, now: float, jitter: float, *, whole: bool
    ) -> None:
        """Send *rest* again, as a whole or the first half first, if there are calls left for it."""
        if not budget.spend(1):
            for entry in rest:
                leaves_uncalled(entry, batch.lane, now)
            fate = Rejected(budget.errors, isolated=False)
            self._settle(rest, [fate] * len(rest), now, jitter)
            return
        for entry in rest:
            entry.own_extras().budget = budget
        if whole:
            batch.lane.add_sealed(rest, now, FlushReason.ISOLATION, budget)
        else:
            middle = len(rest) // 2
            second = Sealed(rest[middle:], now, FlushReason.ISOLATION, budget)
            batch.lane.add_sealed(rest[:middle], now, FlushReason.ISOLATION, budget, second)
        for entry in rest:
            self._accumulator.watch_expiry(entry)


def _is_fine(entry: Entry) -> bool:
    fate = entry.fate()
    return isinstance(fate, Outcome) and fate.ok
