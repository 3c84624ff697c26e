"""What the model expects of the answer to a call: who goes again and when, and whom the destination is asked about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from math import inf
from typing import Any

from batcher._core.batches import Batch
from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher.outcomes import Outcome, Refused, Retry, RolledBack
from batcher.policies import RetryPolicy
from tests.core.machine.limits import rules_of


class Answers:
    """The part of the model that knows what answers mean."""

    now: float
    retry: RetryPolicy
    atomic: bool
    retries: Counter[Entry]
    expected: dict[Entry, float]
    paused_until: dict[Hashable, float]
    doubted: set[Entry]

    def _expect_retries(self, batch: Batch, answer: Any, jitter: float) -> None:
        reasons: list[Any] = []
        if batch.asks:
            reasons = self._reasons_to_ask_again(batch, answer)
        elif isinstance(answer, BaseException):
            refused = self.atomic and isinstance(answer, Exception) and not isinstance(answer, (Retry, TimeoutError))
            reason = answer if refused or isinstance(answer, (Retry, Refused)) else Retry(answer, applied="maybe")
            reasons = [reason] * len(batch.entries)
        elif isinstance(answer, list) and len(answer) == len(batch.entries):
            reasons = answer
            if batch.group is not None:
                reasons = [self._longest(answer)] * len(answer)
        reasons = reasons or [None] * len(batch.entries)
        for entry, reason in zip(batch.entries, reasons, strict=True):
            ceiling = min(self.retry.backoff_cap, self.retry.backoff_base * 2 ** self.retries[entry])
            at = self.now + max(jitter * ceiling, getattr(reason, "after", None) or 0.0)
            self.expected[entry] = at
            if isinstance(reason, Retry) and reason.pause_lane:
                key = batch.lane.key
                self.paused_until[key] = max(at, self.paused_until.get(key, -inf))

    def _asks(self, key: Hashable) -> bool:
        rules = rules_of(key)
        return self.retry.on_unknown == "verify" and rules.verifiable and not rules.idempotent

    def _reasons_to_ask_again(self, batch: Batch, answer: Any) -> list[Any]:
        if isinstance(answer, Retry):
            return [answer] * len(batch.entries)
        if batch.group is not None and isinstance(answer, list):
            first = next((verdict for verdict in answer if isinstance(verdict, Retry)), None)
            return [first] * len(batch.entries)
        return answer if isinstance(answer, list) and len(answer) == len(batch.entries) else []

    def _doubts(self, batch: Batch, answer: Any) -> list[Entry]:
        """The records that the destination is to be asked about now, unless they are settled."""
        if not self._asks(batch.lane.key):
            return []
        verdicts = [answer] * len(batch.entries)
        if batch.group is not None and isinstance(answer, list):
            verdicts = [self._longest(answer)] * len(batch.entries)
        elif isinstance(answer, list) and len(answer) == len(batch.entries):
            verdicts = answer
        return [
            entry
            for entry, verdict in zip(batch.entries, verdicts, strict=True)
            if batch.asks or not isinstance(verdict, Retry) or verdict.applied == "maybe"
        ]

    def _suspects_behind(self, batch: Batch, jitter: float) -> list[Entry]:
        """Suspects in doubt behind *batch* that are asked about now, because the search has no call left."""
        sibling = None if batch.sealed is None else batch.sealed.sibling
        entries = [] if sibling is None else [each for each in sibling.entries if each.state is State.BACKING_OFF]
        for entry in entries:
            assert entry.extras.maybe and self._asks(batch.lane.key), "a suspect without doubt is settled"
            ceiling = min(self.retry.backoff_cap, self.retry.backoff_base * 2 ** self.retries[entry])
            self.expected[entry] = self.now + jitter * ceiling
            self.retries[entry] += 1
        return entries

    def _longest(self, verdicts: Sequence[Any]) -> Retry | None:
        """Whether a group goes again, and when."""
        retries = [verdict for verdict in verdicts if isinstance(verdict, Retry)]
        rest = [verdict for verdict in verdicts if not isinstance(verdict, (Retry, RolledBack))]
        if not retries or rest or any(retry.applied == "maybe" for retry in retries):
            return None
        longest = max(retries, key=lambda retry: retry.after or 0.0)
        return Retry(longest.cause, longest.after, any(retry.pause_lane for retry in retries))

    def _check_answered(self, batch: Batch, answer: Any) -> None:
        for entry in batch.entries:
            assert entry.state is not State.IN_FLIGHT
            self.retries[entry] += entry.state is State.BACKING_OFF
        if batch.group is not None and batch.entries:
            assert len({entry.state for entry in batch.entries}) == 1, "settled in the same step"
        if isinstance(answer, list) and len(answer) == len(batch.entries):
            for entry, verdict in zip(batch.entries, answer, strict=True):
                if not isinstance(verdict, (Outcome, BaseException)):
                    assert batch.group is not None or entry.verdict is verdict, "its own fate"
        elif not isinstance(answer, BaseException):
            settled = [entry for entry in batch.entries if entry not in self.doubted]
            assert all(entry.verdict.kind == "unknown" for entry in settled)
