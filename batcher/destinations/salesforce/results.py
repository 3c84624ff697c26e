"""Salesforce's sObject Collections: the results of a call, and whose they are. Pure.

A result of a create names nothing that was sent. It belongs to a record by its position, because Salesforce answers in
the order of the request; so the list must be complete, and nothing in it may speak against that order:

* an update or delete that succeeded names the id that was sent at its position, and one that failed names no other
* no two results name one record

What speaks against it makes the whole batch unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from batcher.destinations.salesforce.requests import Item, same_id
from batcher.outcomes import ErrorDetail, Refused, Rejected, Retry, Verdict, Written

NO_REASON = ErrorDetail("the API gave no reason", "NO_REASON_GIVEN")
LOCKED = "UNABLE_TO_LOCK_ROW"
THROTTLED = "REQUEST_LIMIT_EXCEEDED"
# The word for a record that was fine itself.
_ROLLED_BACK = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
_PASSING = frozenset({LOCKED, THROTTLED, "SERVER_UNAVAILABLE", _ROLLED_BACK})
# What a trigger makes of trouble inside it.
_OF_A_TRIGGER = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
_CROWDED = "Too many SOQL queries"


class Contradiction(Exception):
    """The answer contradicts itself or the request. Its words are counts only."""


@attrs.frozen
class Result:
    """What Salesforce says of one record."""

    success: bool
    record_id: str | None
    created: bool | None
    errors: tuple[ErrorDetail, ...]


def holds_results(body: Any) -> bool:
    """Return whether *body* has results of records, and not errors of the call."""
    return isinstance(body, list) and any(isinstance(each, dict) and "success" in each for each in body)


def verdicts_of_results(body: Sequence[Any], items: Sequence[Item], all_or_none: bool) -> list[Verdict]:
    """Return one verdict per item.

    :raises Contradiction: nothing in it can be trusted
    :raises Retry: the group is to be sent again later
    :raises Refused: the group was refused, and nothing of it was applied
    """
    results = [_result(each) for each in body]
    _check(results, items)
    if all_or_none and not any(result.success for result in results):
        raise _refused_group(results)
    # If Salesforce kept a part of a group all the same, this says what happened.
    return [_verdict(item, result) for item, result in zip(items, results, strict=True)]


def _result(value: Any) -> Result:
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
        raise Contradiction("a result does not say whether it succeeded")
    record_id, created = value.get("id"), value.get("created")
    known = isinstance(record_id, str) and record_id != ""
    if value["success"] and not known:
        raise Contradiction("a result succeeded and names no record")
    return Result(
        value["success"],
        record_id if known else None,
        created if isinstance(created, bool) else None,
        details_of(value.get("errors")),
    )


def _check(results: Sequence[Result], items: Sequence[Item]) -> None:
    if len(results) != len(items):
        raise Contradiction(f"{len(results)} results for {len(items)} records")
    for item, result in zip(items, results, strict=True):
        named, sent = result.record_id, item.record_id
        if named is not None and sent is not None and same_id(named) != same_id(sent):
            raise Contradiction("a result names another record than the one at its position")
    ids = [same_id(result.record_id) for result in results if result.record_id is not None]
    if len(set(ids)) < len(ids):
        raise Contradiction(f"{len(ids)} results name {len(set(ids))} different records")


def _verdict(item: Item, result: Result) -> Verdict:
    if result.success:
        data = None if result.created is None else {"created": result.created}
        # A record that was there keeps the id by which its caller knows it.
        return Written(item.record_id or result.record_id, data, [error.message for error in result.errors])
    return passing(result.errors) or Rejected(result.errors or NO_REASON)


def _refused_group(results: Sequence[Result]) -> Refused | Retry:
    """Return why nothing of a group was applied: members that were only rolled back are not to blame."""
    blamed = {index: result.errors for index, result in enumerate(results) if _is_to_blame(result)}
    later = passing([error for errors in blamed.values() for error in errors])
    if later is not None:
        return later
    culprits = {index: errors for index, errors in blamed.items() if passing(errors) is None}
    said = [error for result in results for error in result.errors]
    return Refused(tuple(dict.fromkeys(said)) or NO_REASON, culprits)


def _is_to_blame(result: Result) -> bool:
    return any(error.code != _ROLLED_BACK for error in result.errors)


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


def details_of(value: Any) -> tuple[ErrorDetail, ...]:
    """Return the errors of a result, a call or a token request; each of their members may be missing."""
    if isinstance(value, dict):  # some edges give one without a list around it
        value = [value]
    return tuple(map(_detail, value)) if isinstance(value, list) else ()


def _detail(value: Any) -> ErrorDetail:
    if not isinstance(value, dict):
        return NO_REASON
    code = _text(value, "statusCode", "errorCode", "error")
    fields = value.get("fields")
    names = [each for each in fields if isinstance(each, str)] if isinstance(fields, list) else []
    message = _text(value, "message", "error_description")
    return ErrorDetail(message or NO_REASON.message, code or (None if message else NO_REASON.code), names)


def _text(value: dict[str, Any], *names: str) -> str | None:
    found = (value.get(name) for name in names)
    return next((each for each in found if isinstance(each, str) and each), None)
