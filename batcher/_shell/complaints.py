"""Complaints: a line for whatever is not written for a reason of the destination, once per kind and minute.

A line carries codes, statuses, names of classes, counts and times, never a payload. It is written where the hook is
told, outside of steps, because whoever handles it may submit to the very batcher that it is about.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import attrs

from batcher._core.batches import Batch
from batcher._core.breakers import Change
from batcher._core.model.breakers import Signal
from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher._shell.hooks import logger
from batcher.events import Hook
from batcher.outcomes import Cause, Outcome, Refused, Retry, describe_cause

# Seconds between two lines of one kind.
_MINUTE: Final = 60.0
# Kinds that are told apart in one minute, at most. Whoever makes up a reason for each record shares one line.
_MOST_KINDS: Final = 100
# Characters of a reason that a line shows, at most.
_LONGEST: Final = 200
_OTHERS: Final = "other"


@attrs.define
class _Kind:
    since: float  # when the last line was written
    suppressed: int = 0  # occasions since then


class Throttle:
    """Writes one line per kind and minute, and says in the next how many it has kept back.

    :param now: the clock of the batcher, in seconds
    :param to: where they go
    """

    def __init__(self, now: Callable[[], float], to: logging.Logger = logger) -> None:
        self._now = now
        self._to = to
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()  # the one that was written first in front

    def write(self, kind: Hashable, line: str) -> None:
        """Write *line*, if none of this *kind* was written in the last minute."""
        now = self._now()
        self._forget(now)
        if kind not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            kind = _OTHERS
        known = self._kinds.get(kind)
        if known is not None and now - known.since < _MINUTE:
            known.suppressed += 1
            return
        more = 0 if known is None else known.suppressed
        self._kinds[kind] = _Kind(now)
        self._kinds.move_to_end(kind)
        self._emit(f"{line} ({more} more like this since the last line)" if more else line)

    def finish(self) -> None:
        """Say how many lines were kept back and followed by none."""
        kept = sum(kind.suppressed for kind in self._kinds.values())
        self._kinds.clear()
        if kept:
            self._emit(f"{kept} more lines like these were kept back in the last minute")

    def _emit(self, line: str) -> None:
        with suppress(Exception):  # of a handler: its own affair, and there is nowhere left to tell
            self._to.warning("%s", line)

    def _forget(self, now: float) -> None:
        # Those with something kept back stay a while longer, so that it is said if it comes again.
        while self._kinds:
            kind = next(iter(self._kinds.values()))
            if now - kind.since < (10 * _MINUTE if kind.suppressed and len(self._kinds) < _MOST_KINDS else _MINUTE):
                return
            self._kinds.popitem(last=False)
            if kind.suppressed:
                self._emit(f"{kind.suppressed} more lines like one of {now - kind.since:.0f} s ago were kept back")


class Complaints:
    """Makes the lines of one batcher.

    :param now: its clock, in seconds
    :param sender: what it writes to: its class is named
    :param hook: if it is an :class:`EventLog`, or one of several is, calls and breakers are left to that
    :param later: has something called at the end of the turn
    """

    def __init__(
        self,
        now: Callable[[], float],
        sender: object,
        hook: Hook | None,
        later: Callable[[Callable[[], object]], object],
    ) -> None:
        self._now = now
        self._later = later
        self._names_objects = hasattr(sender, "encode")  # records and keys of a function are its user's own
        self._where = _name_of(sender)
        self._calls = not getattr(hook, "logs", False)
        self._throttle = Throttle(now)
        self.told: object = None  # the attempt that the last line about a call was of
        self.ended_by: str | None = None  # what is counted in a line of its own: why the batcher ended

    def call(self, batch: Batch, answer: Any, signal: Signal | None, backoff_at: float | None) -> None:
        """Complain of a call, if it did nobody any good.

        :param signal: what it says of the destination; None if it was over before
        :param backoff_at: when those that it did not settle go again
        """
        cause = _cause_of(answer, signal)
        if cause is None:
            if isinstance(answer, Exception) and not isinstance(answer, (Retry, Refused)):
                # Whoever applies all or nothing has refused, and the culprit is looked for: that is usual course.
                logger.debug(
                    "a call with %d records raised %s%s", len(batch.sent), type(answer).__name__, _place(answer)
                )
            return
        raised = cause is answer and getattr(answer, "__traceback__", None) is not None  # else it was cut off by us
        if not self._calls and not raised:
            return
        again, ended = 0, OrderedDict[str, int]()
        for entry in batch.sent:
            if entry.state is not State.SETTLED:
                again += 1
            elif (fate := entry.fate()) is not None:
                ended[fate.kind] = ended.get(fate.kind, 0) + 1
        now = self._now()
        parts = [f"{count} {kind}" for kind, count in ended.items()]
        if again:
            soon = "" if backoff_at is None else f" in {max(0.0, backoff_at - now):.3g} s"
            parts.append(f"{again} to be sent again{soon}")
        if batch.lane.paused_until > now:
            parts.append(f"the lane pauses for {batch.lane.paused_until - now:.3g} s")
        reason = _shown(cause)
        verb = f"raised {reason}{_place(cause)}" if raised else f"failed ({reason})"
        kind = ("call", self.about(batch.sent[0]), _short(reason), not again)
        self._write(kind, f"{kind[1]}: a call with {len(batch.sent)} records {verb}: {', '.join(parts)}")

    def breaker(self, change: Change, seconds: float) -> None:
        """Complain of a breaker that opens, and say when it is closed again."""
        if not self._calls or change.state == "half_open":
            return
        about = self._where if change.of_all else self._about(change.key)
        whose = "the destination" if change.of_all else "a lane"
        how_long = f": nothing is sent for {max(0.0, seconds):.3g} s" if change.state == "open" else ""
        kind = ("breaker", about, change.of_all, change.state)
        self._write(kind, f"{about}: the circuit breaker of {whose} is {change.state}{how_long}")

    def lost(self, entry: Entry, fate: Outcome, count: int, *, unseen: bool) -> None:
        """Complain of records that ended without a call that is complained of; or without anybody who sees it."""
        reason = _reason_of(fate)
        about = self.about(entry)
        seen = " and nobody awaits them" if unseen else ""
        kind = ("lost", about, fate.kind, _short(reason), unseen)
        self._write(kind, f"{about}: {count} records are {fate.kind.replace('_', ' ')}{seen} ({reason})")

    def has_told(self, entry: Entry) -> bool:
        """Return whether the last line about a call was about that of *entry*."""
        return self.told is not None and getattr(entry, "attempt", None) is self.told

    def finish(self) -> None:
        """Say what was kept back."""
        self._throttle.finish()

    def _write(self, kind: Hashable, line: str) -> None:
        self._later(partial(self._throttle.write, kind, line))

    def about(self, entry: Entry) -> str:
        """Return the destination, and the object that *entry* is one of, as far as it may be shown."""
        return self._about(entry.submitted)

    def _about(self, what: object) -> str:
        name = getattr(what, "object", None) if self._names_objects else None
        return f"{self._where}, {_printable(name)}" if isinstance(name, str) else self._where


def _name_of(sender: object) -> str:
    inner = getattr(sender, "inner", sender)  # the server wraps its destination
    return type(inner).__name__ if hasattr(inner, "encode") else "the write function"


def _cause_of(answer: Any, signal: Signal | None) -> Cause | None:
    """Return why a call did nobody any good; None if it did, or if a record of it was to blame."""
    if signal is None:
        return None
    if signal.failure is not None:
        return signal.failure
    if signal.congested and isinstance(
        answer, (list, tuple)
    ):  # some records were looked at; has it throttled the rest?
        return next((each.cause for each in answer if isinstance(each, Retry) and each.pause_lane), None)
    return None


def _reason_of(fate: Outcome) -> str:
    cause = getattr(fate, "cause", None)
    errors = getattr(fate, "errors", ())
    if errors or cause is None:
        codes = sorted({error.code or "no code" for error in errors})[:5]
        return _shown(", ".join(codes) or "no reason given")
    return _shown(cause)


def _shown(cause: Cause) -> str:
    return _printable(describe_cause(cause))


def _printable(words: str) -> str:
    words = words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."
    return words if words.isprintable() else ascii(words)  # a code is the provider's word


def _short(reason: str) -> str:
    """Return what reasons of one kind have in common: the figures stand behind."""
    return reason.partition(":")[0].partition(";")[0]


def _place(error: object) -> str:
    """Return where a write function raised. Not what it said, which may quote a payload."""
    trace = getattr(error, "__traceback__", None)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
