"""After a call: who is settled, who goes again, and whose culprit is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batcher._core.accumulator import Accumulator, unit_of
from batcher._core.batches import Backoff, Batch
from batcher._core.doubts import leaves_doubt
from batcher._core.isolating import Isolating
from batcher._core.model.breakers import GOOD, Signal
from batcher._core.model.entries import Entry, Group, Lane, Unit
from batcher._core.model.states import State, advance
from batcher._core.retries import asks, given_up, may_ask, may_try_again, retry_at, too_late
from batcher._core.timings import end_attempt
from batcher._core.verdicts import (
    detail_of,
    doubted,
    is_doubtful,
    kept_nothing,
    listed,
    plain,
    read,
    refused_group,
    settled_group,
    sign_of,
    verified,
)
from batcher.events import FlushReason
from batcher.outcomes import NotWritten, Outcome, Refused, Rejected, Retry, RolledBack, Unknown
from batcher.policies import RetryPolicy


class Settling:
    """Applies the answers of calls."""

    def __init__(self, accumulator: Accumulator, policy: RetryPolicy, atomic: bool) -> None:
        self._accumulator = accumulator
        self._scheduler = accumulator.scheduler
        self._policy = policy
        self._atomic = atomic
        self._isolating = Isolating(accumulator, policy, self._settle)

    def settle(self, batch: Batch, answer: Any, now: float, jitter: float) -> Signal:
        """Apply what a call returned, or the exception that it raised; return what it says of the destination."""
        try:
            return self._settled(batch, answer, now, jitter)
        finally:
            if batch.sealed is not None:
                self._isolating.go_on(batch, now, jitter)

    def _settled(self, batch: Batch, answer: Any, now: float, jitter: float) -> Signal:
        if not batch.entries:
            return Signal(congested=True, failure=TimeoutError())  # a call that was given up on
        if batch.asks:
            return self._verified(batch, answer, now, jitter)
        if isinstance(answer, BaseException):
            return self._failed(batch, answer, now, jitter)
        verdicts = listed(answer, len(batch.entries))
        if isinstance(verdicts, Unknown):
            count_attempt(batch.entries)
            self._settle(batch.entries, [verdicts] * len(batch.entries), now, jitter)
            return Signal(failure=verdicts.cause)
        if plain(verdicts):
            self._accumulator.settle_all(batch.lane, batch.entries, verdicts, batch.size, now)
            return GOOD
        if batch.group is not None:
            self._answered_group(batch.group, verdicts, now, jitter)
        else:
            self._answered(batch, verdicts, now, jitter)
        return sign_of(verdicts)

    def _settle(self, entries: Sequence[Entry], fates: Sequence[Any], now: float, jitter: float) -> None:
        """Settle entries of one lane, or ask the destination about those in doubt, where it can tell."""
        if entries and asks(self._policy, entries[0].lane):
            entries, fates = self._ask_about_doubts(entries, fates, now, jitter)
        fates = [doubted(fate) if entry.extras.maybe else fate for entry, fate in zip(entries, fates, strict=True)]
        self._settle_as_told(entries, fates, now)

    def _settle_as_told(self, entries: Sequence[Entry], fates: Sequence[Any], now: float) -> None:
        if entries:
            self._accumulator.failed = True
            self._accumulator.settle_all(entries[0].lane, entries, fates, sum(entry.size for entry in entries), now)

    def _ask_about_doubts(
        self, entries: Sequence[Entry], fates: Sequence[Any], now: float, jitter: float
    ) -> tuple[list[Entry], list[Any]]:
        """Send a question about those in doubt, and return the others.

        A group is in doubt as a whole; but not one that was written in part, for that is known and is told.
        """
        doubts: dict[Unit, Retry] = {}
        written: set[Unit] = set()
        for entry, fate in zip(entries, fates, strict=True):
            if is_doubtful(fate, maybe=entry.extras.maybe):
                doubts[unit_of(entry)] = Retry(doubted(fate).cause, applied="maybe")
            elif not isinstance(fate, Outcome) or fate.ok:
                written.add(unit_of(entry))
        doubts = {unit: doubt for unit, doubt in doubts.items() if unit not in written}
        clear: list[tuple[Entry, Any]] = []
        for entry, fate in zip(entries, fates, strict=True):
            if unit_of(entry) not in doubts:
                clear.append((entry, fate))
            elif isinstance(fate, Outcome) and fate.applied == "no":
                entry.extras.refusal = fate
        self._again(list(doubts), list(doubts.values()), now, jitter)
        return [entry for entry, _ in clear], [fate for _, fate in clear]

    def _failed(self, batch: Batch, error: BaseException, now: float, jitter: float) -> Signal:
        count_attempt(batch.entries)
        if not isinstance(error, (Retry, Refused)):
            # Also whoever applies all or nothing cannot know what became of a call whose answer was lost.
            if self._atomic and isinstance(error, Exception) and not leaves_doubt(error):
                error = Refused(detail_of(error))
            else:
                error = Retry(error, applied="maybe")
        if isinstance(error, Retry):
            self._again(list(dict.fromkeys(map(unit_of, batch.entries))), [error], now, jitter)
        elif batch.group is not None:
            self._settle(batch.entries, refused_group(batch.group, error), now, jitter)
        else:
            self._isolating.isolate(batch, error, now, jitter)
        return Signal(congested=True, failure=error.cause) if isinstance(error, Retry) else GOOD

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
        self._settle(settled, fates, now, jitter)
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
            self._settle(group.members, settled_group(group, fates), now, jitter)

    def _again(self, units: Sequence[Unit], retries: Sequence[Retry], now: float, jitter: float) -> None:
        """Send *units* again later, each for its own reason or all for the one given; or give up on them."""
        accumulator, policy = self._accumulator, self._policy
        reasons = retries if len(retries) == len(units) else list(retries) * len(units)
        waves: dict[float, list[Unit]] = {}
        for unit, retry in zip(units, reasons, strict=True):
            at = retry_at(policy, retry, unit.members[0].extras.retries, now, jitter)
            if retry.pause_lane:
                self._scheduler.pause(unit.lane, at, now)
            if not self._goes_again(unit, retry, at):
                why = too_late(policy, unit, retry, now, self._scheduler.closes_at)
                self._settle_as_told(unit.members, [given_up(member, retry, why) for member in unit.members], now)
                continue
            for member in unit.members:
                member.extras.retries += 1
                member.extras.last = retry.cause
                member.extras.maybe = member.extras.maybe or retry.applied == "maybe"
            advance(unit.members, State.BACKING_OFF)
            waves.setdefault(at, []).append(unit)
        for at, wave in waves.items():
            backoff = Backoff(wave[0].lane, at, wave)
            accumulator.backoffs[backoff] = None
            self._scheduler.deadlines.schedule(backoff, at)

    def _goes_again(self, unit: Unit, retry: Retry, at: float) -> bool:
        """Return whether a call at *at* carries *unit* again, or asks about it."""
        policy, closes_at = self._policy, self._scheduler.closes_at
        doubtful = retry.applied == "maybe" and not policy.sends_again(idempotent=unit.lane.rules.idempotent)
        if doubtful and asks(policy, unit.lane):
            for member in unit.members:
                member.extras.asks = True
        if unit.members[0].extras.asks:
            return may_ask(policy, unit, at, closes_at)
        return not doubtful and may_try_again(policy, unit, at, closes_at)

    def _verified(self, batch: Batch, answer: Any, now: float, jitter: float) -> Signal:
        """Apply what the destination says it holds: settle that, send again what is absent, or ask once more."""
        told = dict(zip(batch.entries, verified(answer, len(batch.entries)), strict=True))
        absent: list[Unit] = []
        ask_again: dict[Unit, Retry] = {}
        units = dict.fromkeys(map(unit_of, batch.entries))
        for unit in units:
            fates = [told[member] for member in unit.members]
            retry = next((fate for fate in fates if isinstance(fate, Retry)), None)
            if retry is not None:
                ask_again[unit] = Retry(retry.cause, retry.after, retry.pause_lane, applied="maybe")
            elif all(isinstance(fate, NotWritten) for fate in fates):
                absent.append(unit)
            else:
                self._settle_as_told(unit.members, fates, now)
        self._send_absent(batch.lane, absent, now)
        self._again(list(ask_again), list(ask_again.values()), now, jitter)
        if ask_again and len(ask_again) == len(units):
            return Signal(congested=True, failure=next(iter(ask_again.values())).cause)
        return Signal(congested=True) if ask_again else GOOD

    def _send_absent(self, lane: Lane, units: Sequence[Unit], now: float) -> None:
        """Send again what the destination does not hold; what it has refused since stays refused."""
        singles: list[Entry] = []
        for unit in units:
            refusals = [member.extras.refusal for member in unit.members]
            for member in unit.members:
                member.extras.asks, member.extras.refusal = False, None
            if None not in refusals:
                self._settle_as_told(unit.members, refusals, now)
            elif not may_try_again(self._policy, unit, now, self._scheduler.closes_at):
                late = Retry("the destination does not hold it, and there is no time for another try")
                self._settle_as_told(unit.members, [given_up(member, late) for member in unit.members], now)
            elif isinstance(unit, Group):
                end_attempt(unit.members, now)
                lane.add_sealed(unit.members, now, FlushReason.GROUP, first=True)
            else:
                singles.append(unit)
        end_attempt(singles, now)
        lane.queue.put_back(singles)


def count_attempt(entries: Sequence[Entry]) -> None:
    """Note that a call has carried *entries*; only needed for those that may go again."""
    for entry in entries:
        entry.own_extras().attempts += 1
