"""Salesforce: what it says of what went wrong, and what of that will pass. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batcher.destinations._http.details import detail_of, listed
from batcher.outcomes import ErrorDetail, Retry

LOCKED = "UNABLE_TO_LOCK_ROW"
THROTTLED = "REQUEST_LIMIT_EXCEEDED"
# The word for a record that was fine itself.
ROLLED_BACK = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
_PASSING = frozenset({LOCKED, THROTTLED, "SERVER_UNAVAILABLE", ROLLED_BACK})
# What a trigger makes of trouble inside it.
_OF_A_TRIGGER = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
_CROWDED = "Too many SOQL queries"
# The names that errors have in results, in calls and in token requests.
_MESSAGES = ("message", "error_description")
_CODES = ("statusCode", "errorCode", "error")


def details_of(value: Any) -> tuple[ErrorDetail, ...]:
    """Return the errors of a result, a call or a token request; each of their members may be missing."""
    if isinstance(value, dict):  # some edges give one without a list around it
        value = [value]
    if not value:  # as in nearly every result
        return ()
    return tuple(detail_of(each, _MESSAGES, _CODES) for each in listed(value))


def passing(errors: Sequence[ErrorDetail]) -> Retry | None:
    """Return when to try again if all of *errors* will pass; None if one stays, or if there is none."""
    reasons = [reason for error in errors if (reason := _passing_reason(error)) is not None]
    if not reasons or len(reasons) < len(errors):
        return None
    return Retry(THROTTLED, pause_lane=True) if THROTTLED in reasons else Retry(reasons[0])


def _passing_reason(error: ErrorDetail) -> str | None:
    if error.code in _PASSING:
        return error.code
    if LOCKED in error.message:  # a trigger or a flow ran into the lock, and the code is theirs
        return LOCKED
    return _CROWDED if error.code == _OF_A_TRIGGER and _CROWDED in error.message else None
