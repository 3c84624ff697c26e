"""A hook that logs: one line per event, codes and counts only."""

from __future__ import annotations

import logging
from typing import Any

from batcher.events import Event, EventKind, LaneLabel


class EventLog:
    """A hook that logs each event in one line: codes and counts, never payloads.

    Use it as ``on_event=EventLog()``, or next to others as ``on_event=[EventLog(), telemetry]``. Records that will be
    sent again, outcomes that a cancelled caller did not see, and circuit breakers that try are at least INFO; what is
    unknown or not written (a refused token, say), calls that failed as a whole, and breakers that open or close are at
    least WARNING; the rest has *level*. The lines that are written without any hook have the same levels; those about
    calls and breakers are left to this one, if there is one, so that nothing stands there twice.

    What a line says is also in attributes of its log record, as far as the event has it: ``batcher_event``,
    ``batcher_batch``, ``batcher_lane``, ``batcher_flush_reason``, ``batcher_records``, ``batcher_bytes``,
    ``batcher_seconds``, ``batcher_outcomes``, ``batcher_retried``, ``batcher_codes``, ``batcher_failure``,
    ``batcher_cause``, ``batcher_scope``, ``batcher_state``.

    :param logger: where to; by default the logger ``batcher.events``
    :param level: of what takes its usual course; by default DEBUG
    :param lane_label: returns what may be written of the key of a lane. Without it lanes are not named: a key may say
        more than a log should
    """

    logs = True  # calls and breakers, so that the lines written by default leave these to it

    def __init__(
        self, logger: logging.Logger | None = None, *, level: int = logging.DEBUG, lane_label: LaneLabel | None = None
    ) -> None:
        if logger is not None and not isinstance(logger, logging.Logger):
            raise TypeError(f"logger must be a logging.Logger, not {type(logger).__name__}")
        if not isinstance(level, int):
            raise TypeError(f"level must be a number such as logging.INFO, not {level!r}")
        if lane_label is not None and not callable(lane_label):
            raise TypeError(f"lane_label must be a function of a lane's key, not {type(lane_label).__name__}")
        self._logger = logger or logging.getLogger("batcher.events")
        self._level = level
        self._lane_label = lane_label

    def __call__(self, event: Event) -> None:
        """Log *event*."""
        level = max(self._level, _severity(event))
        if not self._logger.isEnabledFor(level):
            return
        fields = _fields(event)
        if self._lane_label is not None and event.scope != "destination":
            fields["lane"] = self._lane_label(event.key)
        line = _line(event, fields.get("lane"))
        if not line.isprintable():  # a code is the provider's word: no line break of its own making
            line = ascii(line)
        extra = {f"batcher_{name}": value for name, value in fields.items() if value is not None}
        self._logger.log(level, "%s", line, extra=extra)


def _severity(event: Event) -> int:
    lost = event.outcomes.get("unknown") or event.outcomes.get("not_written")
    if event.failure is not None or lost or event.state in ("open", "closed"):
        return logging.WARNING
    if event.retried or event.kind in (EventKind.DETACHED, EventKind.BREAKER):
        return logging.INFO
    return logging.DEBUG


def _fields(event: Event) -> dict[str, Any]:
    return {
        "event": event.kind.value,
        "batch": event.batch or None,
        "flush_reason": None if event.reason is None else event.reason.value,
        "records": event.records or None,
        "bytes": event.size_bytes or None,
        "seconds": event.seconds if event.batch else None,
        "outcomes": dict(event.outcomes) or None,
        "retried": event.retried or None,
        "codes": event.codes or None,
        "failure": event.failure,
        "cause": event.cause,
        "scope": event.scope,
        "state": event.state,
    }


def _line(event: Event, lane: str | None) -> str:
    batch = f"batch {event.batch}" if lane is None else f"batch {event.batch} of lane {lane}"
    match event.kind:
        case EventKind.DISPATCHED:
            reason = "" if event.reason is None else f" ({event.reason.value})"
            size = f", {event.size_bytes} bytes" if event.size_bytes else ""
            return f"{batch} left after {event.seconds:.3f} s{reason}: {event.records} records{size}"
        case EventKind.ANSWERED:
            ended = "was answered" if event.failure is None else f"failed ({_why(event)})"
            return f"{batch} {ended} after {event.seconds:.3f} s: {_counts(event)}"
        case EventKind.DETACHED:
            where = "" if lane is None else f" of lane {lane}"
            return f"a record{where} whose caller was cancelled met its outcome: {_counts(event)}"
        case EventKind.BREAKER:
            what = "the destination" if event.scope == "destination" else "a lane" if lane is None else f"lane {lane}"
            why = "" if event.cause is None else f", the last call: {event.cause}"
            return f"the circuit breaker of {what} is {str(event.state).replace('_', '-')}{why}"


def _why(event: Event) -> str:
    return str(event.failure) if event.cause is None else f"{event.failure}: {event.cause}"


def _counts(event: Event) -> str:
    counts = [f"{count} {outcome}" for outcome, count in event.outcomes.items()]
    if event.retried:
        why = "" if event.cause is None or event.failure is not None else f" ({event.cause})"
        counts.append(f"{event.retried} to be sent again{why}")
    if event.codes:
        counts[-1:] = [f"{counts[-1]}; codes {', '.join(event.codes)}"]
    return ", ".join(counts)
