"""The entries of a results file: outcomes as JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from batcher.outcomes import Accepted, Cause, ErrorDetail, NotWritten, Outcome, Rejected, RolledBack, Unknown, Written

_VERSION: Final = 1
LEFT_OUT: Final = "not sent: the load stopped"
"""What is said of lines that a load took in, and took back when it stopped by itself."""
_NOT_AGAIN: Final = "not sent again: the load stopped"


def header_entry(load: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first entry of a results file: *load* is everything that line numbers depend on."""
    return {"batcher_results": _VERSION, **load}


def outcome_entry(line: int, outcome: Outcome, *, tried_before: bool = False) -> dict[str, Any]:
    """Return the entry that says what became of a line.

    :param tried_before: an earlier attempt of this line may have been applied. Then an outcome that
        applied nothing says nothing about the earlier attempt, and the entry says *maybe*.
    """
    applied = "maybe" if tried_before and outcome.applied == "no" else outcome.applied
    entry: dict[str, Any] = {"line": line, "outcome": outcome.kind, "applied": applied}
    match outcome:
        case Written(record_id, _, warnings):
            entry["id"] = record_id
            if warnings:
                entry["warnings"] = list(warnings)
        case Accepted(operation_id):
            entry["operation"] = operation_id
        case Rejected(errors) | RolledBack(_, errors):
            entry["errors"] = [attrs.asdict(error) for error in errors]
        case Unknown(cause) | NotWritten(cause):
            entry["errors"] = [attrs.asdict(_to_error(cause))]
    if isinstance(outcome, Rejected) and not outcome.isolated:
        entry["note"] = "refused with its whole call, perhaps because of another line"
    if applied != outcome.applied:
        entry["note"] = "an earlier attempt of this line may have been applied"
    return entry


def left_out(outcome: Outcome) -> Outcome:
    """Return what became of a line that the load itself withdrew, in words that name no caller."""
    match outcome:
        case NotWritten(attempts=attempts):
            return NotWritten(_NOT_AGAIN if attempts else LEFT_OUT, attempts)
        case Unknown():
            return Unknown(_NOT_AGAIN)
    return outcome


def _to_error(cause: Cause) -> ErrorDetail:
    if isinstance(cause, str):
        return ErrorDetail(cause)
    return ErrorDetail(str(cause) or type(cause).__name__, code=type(cause).__name__)
