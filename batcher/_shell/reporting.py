"""What the hook is told. It is called when the state is whole and everybody is woken, so it may come back in."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from batcher._core.batches import Batch
from batcher._core.breakers import Change
from batcher._core.model.entries import Entry
from batcher._core.verdicts import listed
from batcher._shell.hooks import capture_of, distinct, logger, tell
from batcher.events import Event, EventKind, Hook
from batcher.outcomes import Outcome, Refused, Retry, Unknown, describe_cause


class Reporter:
    """Makes events and gives them to the hook. What the hook raises is its own affair.

    Each batch that is told to be dispatched is told to be answered once.
    """

    __slots__ = ("_hook", "_links", "_out", "answers", "unseen")

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._links = capture_of(hook) is not None
        self._out: dict[Batch, None] = {}  # told to be dispatched and not yet answered
        # To be told at the end of a turn: calls, with their seconds and what they returned, or the exception that they
        # ended with; and outcomes that no caller sees.
        self.answers: deque[tuple[Batch, float, Any]] = deque()
        self.unseen: deque[Entry] = deque()

    def tell(self, dispatched: Sequence[Batch], breakers_moved: list[Change]) -> None:
        """Tell what has happened in a turn."""
        while self.answers:
            batch, seconds, answer = self.answers.popleft()
            self._answered(batch, seconds, *_failure(answer, len(batch.sent)))
        while breakers_moved:
            key, of_all, state = breakers_moved.pop(0)
            about: dict[str, Any] = {"scope": "destination"} if of_all else {"scope": "lane", "key": key}
            tell(self._hook, Event(kind=EventKind.BREAKER, state=state, **about))
        for batch in dispatched:
            self._dispatched(batch)
        while self.unseen:
            self._detached(self.unseen.popleft())

    def cut_off(self, now: float) -> None:
        """Tell that the batches still out were given up on, because the batcher ended."""
        for batch in list(self._out):
            self._answered(batch, now - batch.dispatched_at, "BatcherClosed", None)

    def _dispatched(self, batch: Batch) -> None:
        self._out[batch] = None
        event = Event(
            kind=EventKind.DISPATCHED,
            batch=batch.attempt.number,
            key=batch.lane.key,
            reason=batch.reason,
            records=len(batch.sent),
            size_bytes=batch.size,
            seconds=batch.dispatched_at - min(entry.accepted_at for entry in batch.sent),
            links=distinct([getattr(entry, "link", None) for entry in batch.sent]) if self._links else (),
        )
        tell(self._hook, event)

    def _answered(self, batch: Batch, seconds: float, failure: str | None, cause: str | None) -> None:
        try:
            del self._out[batch]
        except KeyError:
            return  # the hook ended the program in the middle of being told what leaves
        fates = [fate for entry in batch.sent if (fate := entry.fate()) is not None]
        event = Event(
            kind=EventKind.ANSWERED,
            batch=batch.attempt.number,
            key=batch.lane.key,
            records=len(batch.sent),
            size_bytes=batch.size,
            seconds=seconds,
            outcomes=Counter(fate.kind for fate in fates),
            retried=len(batch.sent) - len(fates),
            codes=_codes(fates),
            failure=failure,
            cause=cause,
        )
        tell(self._hook, event)

    def _detached(self, entry: Entry) -> None:
        if (fate := entry.fate()) is not None:
            outcomes, codes, key = {fate.kind: 1}, _codes((fate,)), entry.lane.key
            tell(self._hook, Event(kind=EventKind.DETACHED, key=key, records=1, outcomes=outcomes, codes=codes))


def log_left_over(cause: str, unknown: int, not_written: int) -> None:
    """Log how many records a batcher that ended early leaves behind; their callers are told one by one."""
    if unknown or not_written:
        logger.warning("%s: %d records are unknown, %d are not written", cause, unknown, not_written)


def _failure(answer: Any, records: int) -> tuple[str | None, str | None]:
    """Return the name of what a call as a whole ended with, None if it was answered record by record, and why."""
    if isinstance(answer, Retry) and isinstance(answer.cause, BaseException):
        answer = answer.cause
    if isinstance(answer, (Retry, Refused)):
        return type(answer).__name__, str(answer)  # words and codes: no payload by agreement
    if isinstance(answer, BaseException):
        return type(answer).__name__, None
    verdicts = listed(answer, records)  # as the engine read it
    if isinstance(verdicts, Unknown):
        return "UnusableAnswer", describe_cause(verdicts.cause)
    return None, next((str(verdict) for verdict in verdicts if issubclass(type(verdict), Retry)), None)


def _codes(fates: Sequence[Outcome]) -> tuple[str, ...]:
    codes = {error.code for fate in fates for error in getattr(fate, "errors", ()) if error.code is not None}
    return tuple(sorted(codes)[:10])
