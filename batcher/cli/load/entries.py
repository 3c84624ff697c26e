"""The entries of a results file: outcomes as JSON objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from batcher.outcomes import Accepted, Cause, ErrorDetail, NotWritten, Outcome, Rejected, RolledBack, Unknown, Written

_VERSION: Final = 1
LEFT_OUT: Final = "not sent: the load stopped"
"""What is said of lines that a load took in, and took back when it stopped by itself."""
_NOT_AGAIN: Final = "not sent again: the load stopped"
# Codes of refusals that looked at no record: the key, the quota or the address is wrong. By status; in HubSpot's words;
# in Salesforce's; of whoever gives out tokens (RFC 6749, section 5.2, and what both add to it).
_OF_THE_CALL: Final = re.compile(
    r"HTTP[ _](30\d|40[1-5]|410)"
    r"|(INVALID|EXPIRED)_AUTHENTICATION|MISSING_SCOPES"
    r"|INVALID_SESSION_ID|API_DISABLED_FOR_ORG|API_CURRENTLY_DISABLED|UNSUPPORTED_API_VERSION|REQUEST_LIMIT_EXCEEDED"
    r"|NO_ACCESS_TOKEN|BAD_(AUTH|CLIENT|GRANT|REFRESH)_[A-Z]+"
    r"|invalid_(client|client_id|grant|request|scope)|unauthorized_client|unsupported_grant_type|inactive_(org|user)"
)
# Of a call with one record these may as well mean that the record is not there.
_OF_THE_RECORD: Final = re.compile(r"HTTP[ _](404|410)")


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


def is_in_vain(entry: Mapping[str, Any], *, one_by_one: bool = False) -> bool:
    """Return whether a line was sent and not written, for no fault of its own.

    :param one_by_one: its call carried no other line
    """
    if entry["outcome"] == Rejected.kind:
        codes = [error["code"] or "" for error in entry["errors"]]
        if one_by_one and any(map(_OF_THE_RECORD.fullmatch, codes)):
            return False
        return all(map(_OF_THE_CALL.fullmatch, codes))
    return entry["outcome"] in (NotWritten.kind, Unknown.kind)


def _to_error(cause: Cause) -> ErrorDetail:
    if isinstance(cause, str):
        return ErrorDetail(cause)
    return ErrorDetail(str(cause) or type(cause).__name__, code=type(cause).__name__)
