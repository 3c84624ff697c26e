"""Isolation: who is to blame for a call that was refused as a whole, found with few calls, and remembered.

Culprits that the answer names are settled, and the rest goes again together. A call that was too large goes again in
smaller batches, and the lane keeps to the smaller size. Otherwise the batch is halved until the culprit stands alone.
The second half waits for the first: if that is clean, the culprit is in the second, which need not be tried as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from batcher._core.house import House
from batcher._core.model.attempts import come_back, stay
from batcher._core.model.entries import Batch, Budget, Bundle, Entry
from batcher._core.verdicts import named_among
from batcher.outcomes import ErrorDetail, Outcome, Refused, Rejected
from batcher.policies import RetryPolicy

Settle: TypeAlias = Callable[[Sequence[Entry], Sequence[Any], float, float], None]


class Isolating:
    """Looks for culprits.

    :param settle: gives entries of one lane their fates
    """

    def __init__(self, house: House, policy: RetryPolicy, settle: Settle) -> None:
        self._house = house
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
        come_back(rest, now)
        if refused.too_large and not named:
            self._send_less(batch, now)
            return
        budget = batch.bundle.budget if batch.bundle is not None else None
        budget = budget or Budget(self._policy.isolation_calls, refused.errors)
        self._try(batch, rest, budget, now, jitter, whole=bool(named))

    def go_on(self, batch: Batch, now: float, jitter: float) -> None:
        """Do what had to wait for the end of this call."""
        assert batch.bundle is not None
        clean = bool(batch.sent) and all(_is_fine(entry) for entry in batch.sent)
        if clean:
            self._house.memory.acquit(batch.sent)
        sibling = batch.bundle.sibling
        if sibling is None:
            return
        rest = batch.lane.unshelve(sibling)
        # Nobody has left meanwhile, so a clean half says that the culprit is in the other.
        proven = clean and len(batch.sent) == len(batch.bundle.entries) and len(rest) == len(sibling.entries)
        if rest:
            assert sibling.budget is not None
            self._try(batch, rest, sibling.budget, now, jitter, whole=not proven or len(rest) == 1)

    def _blame(self, culprits: dict[Entry, Sequence[ErrorDetail]], now: float, jitter: float) -> None:
        self._house.memory.suspect(culprits, now)
        self._settle(list(culprits), [Rejected(errors) for errors in culprits.values()], now, jitter)

    def _send_less(self, batch: Batch, now: float) -> None:
        lane = batch.lane
        if all(entry.size for entry in batch.entries):  # else half of the bytes may be in all of the records again
            lane.fill_to(lane.max_records, max(1, batch.size // 2))
        else:
            lane.fill_to(max(1, len(batch.entries) // 2), lane.max_bytes)
        self._house.memory.learn(lane, now)
        lane.put_back(batch.entries)
        for entry in batch.entries:
            self._house.watch_expiry(entry)

    def _try(
        self, batch: Batch, rest: Sequence[Entry], budget: Budget, now: float, jitter: float, *, whole: bool
    ) -> None:
        """Send *rest* again, as a whole or the first half first, if there are calls left for it."""
        if not budget.spend(1):
            for entry in rest:
                stay(entry, batch.lane, now)
            fate = Rejected(budget.errors, isolated=False)
            self._settle(rest, [fate] * len(rest), now, jitter)
            return
        for entry in rest:
            entry.own_extras().budget = budget
        if whole:
            batch.lane.append_bundle(Bundle(rest, now, budget=budget))
        else:
            middle = len(rest) // 2
            second = Bundle(rest[middle:], now, budget=budget)
            batch.lane.append_bundle(Bundle(rest[:middle], now, budget=budget, sibling=second))
        for entry in rest:
            self._house.watch_expiry(entry)


def _is_fine(entry: Entry) -> bool:
    fate = entry.fate()
    return isinstance(fate, Outcome) and fate.ok
