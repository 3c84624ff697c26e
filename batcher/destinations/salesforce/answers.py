"""Salesforce's sObject Collections: what an answer means. Pure.

====================================  =================================================================
answer                                verdicts
====================================  =================================================================
2xx                                   what the results say; unknown if they are not complete
4xx with results                      the same, unless one of them succeeded
4xx of the call:
 ``REQUEST_LIMIT_EXCEEDED``, 429      nothing was applied, try again; the lane pauses
 ``UNABLE_TO_LOCK_ROW``, 420          nothing was applied, try again
 401, 407, ``INVALID_SESSION_ID``     not written: the credentials are refused, no record is at fault
 403, 404, 405, 410, 415,             rejected: each record would be, also alone
 ``INVALID_TYPE`` of the object
 400, 409, 414, 431 and others        refused as a whole: the batcher looks for the culprit
5xx                                   may have been applied, try again; after 503 the lane pauses
redirects                             301, 307, 308 rejected (the address is wrong), others unknown
anything else                         unknown
====================================  =================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import attrs

from batcher.destinations._http.answers import MOVED, Answer, Contradiction, json_of, refused, unauthorized, wait_of
from batcher.destinations._http.details import NO_REASON, detail_of, listed
from batcher.destinations.salesforce.matching import Result, check_order
from batcher.destinations.salesforce.requests import Item
from batcher.outcomes import ErrorDetail, Refused, Rejected, Retry, Unknown, Verdict, Written

_EXPIRED = "INVALID_SESSION_ID"
_SAME_FOR_EACH = frozenset({403, 404, 405, 410, 415})
# There is no such object. A call is of one, but a record may hold others, by a lookup.
_NO_SUCH_OBJECT = "INVALID_TYPE"
_TOO_MANY = 429
_CREDENTIALS = ("access token", "give one that has not ended, of a user who may use the API")
# The edge found no way to the instance.
_NO_WAY = 420
# The usage of the app alone, "per-app-api-usage", has a name that ends in the same way.
_USAGE = re.compile(r"(?:^|[\s,;])api-usage=(\d{1,18})/(\d{1,18})")
_LOCKED = "UNABLE_TO_LOCK_ROW"
_THROTTLED = "REQUEST_LIMIT_EXCEEDED"
# The word for a record that was fine itself.
_ROLLED_BACK = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
_PASSING = frozenset({_LOCKED, _THROTTLED, "SERVER_UNAVAILABLE", _ROLLED_BACK})
# What a trigger makes of trouble inside it.
_OF_A_TRIGGER = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
_CROWDED = "Too many SOQL queries"
# The names that errors have in results, in calls and in token requests.
_MESSAGES = ("message", "error_description")
_CODES = ("statusCode", "errorCode", "error")


@attrs.frozen
class ApiUsage:
    """What the org has used of its calls, by Salesforce's own count, which lags behind a little."""

    used: int
    """Calls of the last 24 hours, those of all other applications included."""
    allowed: int
    """Calls that 24 hours may have."""


def usage_of(answer: Answer) -> ApiUsage | None:
    """Return what the ``Sforce-Limit-Info`` of an answer says; None if it says nothing."""
    found = _USAGE.search(answer.headers.get("sforce-limit-info", ""))
    return None if found is None else ApiUsage(int(found[1]), int(found[2]))


def _holds_results(body: Any) -> bool:
    """Return whether *body* has results of records, and not errors of the call."""
    return isinstance(body, list) and any(isinstance(each, dict) and "success" in each for each in body)


def is_token_refused(answer: Answer) -> bool:
    """Return whether a new access token may help. Nothing was applied then."""
    if not 400 <= answer.status < 500:
        return False
    body = json_of(answer)
    if _holds_results(body):  # Salesforce looked at records, whatever it says of the token
        return False
    return answer.status == 401 or any(error.code == _EXPIRED for error in details_of(body))


def verdicts_of(answer: Answer, items: Sequence[Item], *, all_or_none: bool, now: float) -> list[Verdict]:
    """Return one verdict per item, or raise as :meth:`Destination.send` does.

    :param now: seconds since 1970, to which a time to come back is compared
    """
    status, body, count = answer.status, json_of(answer), len(items)
    good = 200 <= status < 300
    if good and answer.flaw is not None:
        raise Retry(f"HTTP {status}: {answer.flaw}", applied="maybe")
    if good and not isinstance(body, list):
        return [Unknown(f"HTTP {status} without a list of results")] * count
    if not good and not (400 <= status < 500 and _holds_results(body)):
        return _by_status(answer, body, items, all_or_none, now)
    try:
        if not good and any(isinstance(each, dict) and each.get("success") is True for each in body):
            raise Contradiction("the status says that the call failed, a result that it succeeded")
        return _verdicts_of_results(body, items, all_or_none)
    except Contradiction as contradiction:
        return [Unknown(f"HTTP {status}: {contradiction}")] * count


def check_passing(status: int, body: Any, after: float | None) -> None:
    """Return if trying again is no use.

    :param after: seconds, as the answer asks for
    :raises Retry: it may be
    """
    words = f"HTTP {status}"
    if status >= 500:
        raise Retry(words, after, pause_lane=status == 503, applied="maybe")
    later = _passing(details_of(body)) if status >= 400 else None
    if later is not None:
        raise Retry(f"{words}: {later}", after, later.pause_lane)
    if status in (_TOO_MANY, _NO_WAY):
        raise Retry(words, after, pause_lane=status == _TOO_MANY)


def _by_status(answer: Answer, body: Any, items: Sequence[Item], all_or_none: bool, now: float) -> list[Verdict]:
    status, words, count = answer.status, f"HTTP {answer.status}", len(items)
    check_passing(status, body, wait_of(answer, now))
    if status in MOVED:
        return [Rejected(ErrorDetail("the API has moved: check instance_url", words))] * count
    if is_token_refused(answer):
        return [unauthorized(status, *_CREDENTIALS)] * count
    errors = details_of(body) or (ErrorDetail(NO_REASON.message, f"HTTP_{status}"),)
    alike = status in _SAME_FOR_EACH or _knows_no_object(errors[0], items[0])
    return refused(status, errors, count, alike=alike, all_or_none=all_or_none, credentials=_CREDENTIALS)


def _knows_no_object(error: ErrorDetail, item: Item) -> bool:
    """Return whether the object of the call is what Salesforce does not know."""
    if error.code != _NO_SUCH_OBJECT or not item.piece.startswith(b"{"):  # of a delete there are ids only
        return False
    return f"'{json.loads(item.piece)['attributes']['type']}'" in error.message


def _verdicts_of_results(body: Sequence[Any], items: Sequence[Item], all_or_none: bool) -> list[Verdict]:
    """Return one verdict per item.

    :raises Contradiction: nothing in it can be trusted
    :raises Retry: the group is to be sent again later
    :raises Refused: the group was refused, and nothing of it was applied
    """
    results = [_result_of(each) for each in body]
    check_order(results, items)
    if all_or_none and not any(result.success for result in results):
        raise _refused_group(results)
    # If Salesforce kept a part of a group all the same, this says what happened.
    return [_verdict(item, result) for item, result in zip(items, results, strict=True)]


def _result_of(value: Any) -> Result:
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


def _verdict(item: Item, result: Result) -> Verdict:
    if result.success:
        data = None if result.created is None else {"created": result.created}
        # A record that was there keeps the id by which its caller knows it.
        return Written(item.record_id or result.record_id, data, [error.message for error in result.errors])
    return _passing(result.errors) or Rejected(result.errors or NO_REASON)


def _refused_group(results: Sequence[Result]) -> Refused | Retry:
    """Return why nothing of a group was applied: members that were only rolled back are not to blame."""
    blamed = {
        index: result.errors
        for index, result in enumerate(results)
        if any(error.code != _ROLLED_BACK for error in result.errors)
    }
    later = _passing([error for errors in blamed.values() for error in errors])
    if later is not None:
        return later
    culprits = {index: errors for index, errors in blamed.items() if _passing(errors) is None}
    said = [error for result in results for error in result.errors]
    return Refused(tuple(dict.fromkeys(said)) or NO_REASON, culprits)


def details_of(value: Any) -> tuple[ErrorDetail, ...]:
    """Return the errors of a result, a call or a token request; each of their members may be missing."""
    if isinstance(value, dict):  # some edges give one without a list around it
        value = [value]
    if not value:  # as in nearly every result
        return ()
    return tuple(detail_of(each, _MESSAGES, _CODES) for each in listed(value))


def _passing(errors: Sequence[ErrorDetail]) -> Retry | None:
    """Return when to try again if all of *errors* will pass; None if one stays, or if there is none."""
    reasons = [reason for error in errors if (reason := _reason(error)) is not None]
    if not reasons or len(reasons) < len(errors):
        return None
    return Retry(_THROTTLED, pause_lane=True) if _THROTTLED in reasons else Retry(reasons[0])


def _reason(error: ErrorDetail) -> str | None:
    if error.code in _PASSING:
        return error.code
    if _LOCKED in error.message:  # a trigger or a flow ran into the lock, and the code is theirs
        return _LOCKED
    return _CROWDED if error.code == _OF_A_TRIGGER and _CROWDED in error.message else None
