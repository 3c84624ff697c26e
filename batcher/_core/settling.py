"""After a call: who is settled, who goes again, and whose culprit is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batcher._core.entries import Backoff, Batch, Budget, Bundle, Entry, Group, Unit
from batcher._core.house import House, unit_of
from batcher._core.retries import given_up, may_try_again, retry_at
from batcher._core.states import State, advance
from batcher._core.verdicts import (
    detail_of,
    doubted,
    is_timeout,
    kept_nothing,
    listed,
    named_among,
    plain,
    read,
    refused_group,
    settled_group,
)
from batcher.outcomes import Refused, Rejected, Retry, RolledBack, Unknown
from batcher.policies import RetryPolicy


class Settling:
    """Applies the answers of calls to the house."""

    def __init__(self, house: House, policy: RetryPolicy, atomic: bool) -> None:
        self._house = house
        self._policy = policy
        self._atomic = atomic

    def settle(self, batch: Batch, answer: Any, now: float, jitter: float) -> bool:
        """Apply what a call returned, or the exception that it raised; return whether there is a sign of congestion.

        Whoever asks to be sent something again, or does not answer at all, has too much to do.
        """
        if isinstance(answer, BaseException):
            return self._failed(batch, answer, now, jitter)
        verdicts = listed(answer, len(batch.entries))
        if isinstance(verdicts, Unknown):
            self._settle(batch.entries, [verdicts] * len(batch.entries), now)
        elif plain(verdicts):
            self._house.settle_all(batch.lane, batch.entries, verdicts, batch.size, now)
            return False
        elif batch.group is not None:
            self._answered_group(batch.group, verdicts, now, jitter)
        else:
            self._answered(batch, verdicts, now, jitter)
        return not isinstance(verdicts, Unknown) and any(isinstance(verdict, Retry) for verdict in verdicts)

    def _settle(self, entries: Sequence[Entry], fates: Sequence[Any], now: float) -> None:
        if entries:
            size = sum(entry.size for entry in entries)
            fates = [doubted(fate) if entry.extras.maybe else fate for entry, fate in zip(entries, fates, strict=True)]
            self._house.settle_all(entries[0].lane, entries, fates, size, now)

    def _failed(self, batch: Batch, error: BaseException, now: float, jitter: float) -> bool:
        count_attempt(batch.entries)
        if not isinstance(error, (Retry, Refused)):
            if self._atomic and isinstance(error, Exception) and not is_timeout(error):
                error = Refused(detail_of(error))
            else:
                error = Retry(error, applied="maybe")
        if isinstance(error, Retry):
            self._again(list(dict.fromkeys(map(unit_of, batch.entries))), [error], now, jitter)
        elif batch.group is not None:
            self._settle(batch.entries, refused_group(batch.group, error), now)
        else:
            self._isolate(batch, error, now)
        return isinstance(error, Retry)

    def _answered(self, batch: Batch, verdicts: Sequence[Any], now: float, jitter: float) -> None:
        count_attempt(batch.entries)
        settled, fates, again, retries = [], [], [], []
        for entry, verdict in zip(batch.entries, verdicts, strict=True):
            fate = read(verdict)
            if isinstance(fate, Retry):
                again.append(entry)
                retries.append(fate)
            else:
                settled.append(entry)
                fates.append(fate)
        self._settle(settled, fates, now)
        self._again(again, retries, now, jitter)

    def _answered_group(self, group: Group, verdicts: Sequence[Any], now: float, jitter: float) -> None:
        count_attempt(group.members)
        fates = [verdict if isinstance(verdict, RolledBack) else read(verdict) for verdict in verdicts]
        retries = [fate for fate in fates if isinstance(fate, Retry)]
        blamed = any(isinstance(fate, Rejected) for fate in fates)  # then another try would end the same way
        if retries and not blamed and kept_nothing(fates):
            longest = max(retries, key=lambda retry: retry.after or 0.0)
            pause = any(retry.pause_lane for retry in retries)
            self._again([group], [Retry(longest.cause, longest.after, pause)], now, jitter)
        else:
            self._settle(group.members, settled_group(group, fates), now)

    def _again(self, units: Sequence[Unit], retries: Sequence[Retry], now: float, jitter: float) -> None:
        """Send *units* again later, each for its own reason or all for the one given; or give up on them."""
        house, policy = self._house, self._policy
        reasons = retries if len(retries) == len(units) else list(retries) * len(units)
        waves: dict[float, list[Unit]] = {}
        for unit, retry in zip(units, reasons, strict=True):
            at = retry_at(policy, retry, unit.members[0].extras.retries, now, jitter)
            if retry.pause_lane:
                house.pause(unit.lane, at)
            too_doubtful = retry.applied == "maybe" and not policy.sends_again(idempotent=unit.lane.idempotent)
            if too_doubtful or not may_try_again(policy, unit, at, house.closes_at):
                self._settle(unit.members, [given_up(member, retry) for member in unit.members], now)
                continue
            for member in unit.members:
                member.extras.retries += 1
                member.extras.maybe = member.extras.maybe or retry.applied == "maybe"
            advance(unit.members, State.BACKING_OFF)
            waves.setdefault(at, []).append(unit)
        for at, wave in waves.items():
            backoff = Backoff(wave[0].lane, at, wave)
            house.backoffs[backoff] = None
            house.deadlines.schedule(backoff, at)

    def _isolate(self, batch: Batch, refused: Refused, now: float) -> None:
        """Settle the culprits that the answer names and send the rest again; or look for them by halving."""
        entries = batch.entries
        named = named_among(refused, len(entries))
        self._settle([entries[index] for index in named], [Rejected(errors) for errors in named.values()], now)
        rest = [entry for index, entry in enumerate(entries) if index not in named]
        if not rest:
            return
        if len(entries) == 1:
            self._settle(rest, [Rejected(refused.errors)], now)
            return
        budget = batch.bundle.budget if batch.bundle is not None else None
        budget = budget or Budget(self._policy.isolation_calls)
        middle = len(rest) // 2
        parts = [rest] if named else [rest[:middle], rest[middle:]]
        if not budget.spend(len(parts)):
            self._settle(rest, [Rejected(refused.errors, isolated=False)] * len(rest), now)
            return
        for part in parts:
            batch.lane.append_bundle(Bundle(part, now, budget=budget))
            for entry in part:
                self._house.watch_expiry(entry)


def count_attempt(entries: Sequence[Entry]) -> None:
    """Note that a call has carried *entries*; only needed for those that may go again."""
    for entry in entries:
        entry.own_extras().attempts += 1
