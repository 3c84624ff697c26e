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

from batcher._retry_after import retry_after
from batcher.destinations._http.answers import TOO_LARGE, UNAUTHORIZED, Answer, json_of, unauthorized
from batcher.destinations.salesforce.requests import Item
from batcher.destinations.salesforce.results import (
    NO_REASON,
    Contradiction,
    details_of,
    holds_results,
    passing,
    verdicts_of_results,
)
from batcher.outcomes import ErrorDetail, Refused, Rejected, Retry, Unknown, Verdict

_EXPIRED = "INVALID_SESSION_ID"
_SAME_FOR_EACH = frozenset({403, 404, 405, 410, 415})
# There is no such object. A call is of one, but a record may hold others, by a lookup.
_NO_SUCH_OBJECT = "INVALID_TYPE"
_TOO_MANY = 429
_WAY_OUT = "give one that has not ended, of a user who may use the API"
# The edge found no way to the instance.
_NO_WAY = 420
_MOVED = frozenset({301, 307, 308})
# The usage of the app alone, "per-app-api-usage", has a name that ends in the same way.
_USAGE = re.compile(r"(?:^|[\s,;])api-usage=(\d{1,18})/(\d{1,18})")


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


def session_expired(answer: Answer) -> bool:
    """Return whether a new access token may help. Nothing was applied then."""
    if not 400 <= answer.status < 500:
        return False
    body = json_of(answer)
    if holds_results(body):  # Salesforce looked at records, whatever it says of the token
        return False
    return answer.status == 401 or any(error.code == _EXPIRED for error in details_of(body))


def verdicts_of(answer: Answer, items: Sequence[Item], *, all_or_none: bool, now: float) -> list[Verdict]:
    """Return one verdict per item.

    :param now: seconds since 1970, to which a time to come back is compared
    :raises Retry: the whole call is to be sent again later
    :raises Refused: the call was refused as a whole and nothing was applied
    """
    status, body, count = answer.status, json_of(answer), len(items)
    good = 200 <= status < 300
    if good and answer.flaw is not None:
        raise Retry(f"HTTP {status}: {answer.flaw}", applied="maybe")
    if good and not isinstance(body, list):
        return [Unknown(f"HTTP {status} without a list of results")] * count
    if not good and not (400 <= status < 500 and holds_results(body)):
        return _by_status(answer, body, items, all_or_none, now)
    try:
        if not good and any(isinstance(each, dict) and each.get("success") is True for each in body):
            raise Contradiction("the status says that the call failed, a result that it succeeded")
        return verdicts_of_results(body, items, all_or_none)
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
    later = passing(details_of(body)) if status >= 400 else None
    if later is not None:
        raise Retry(f"{words}: {later}", after, later.pause_lane)
    if status in (_TOO_MANY, _NO_WAY):
        raise Retry(words, after, pause_lane=status == _TOO_MANY)


def _by_status(answer: Answer, body: Any, items: Sequence[Item], all_or_none: bool, now: float) -> list[Verdict]:
    status, words, count = answer.status, f"HTTP {answer.status}", len(items)
    check_passing(status, body, retry_after(answer.headers.get("retry-after", ""), now))
    if status in _MOVED:
        return [Rejected(ErrorDetail("the API has moved: check instance_url", words))] * count
    if status < 400:
        return [Unknown(words)] * count
    errors = details_of(body) or (ErrorDetail(NO_REASON.message, f"HTTP_{status}"),)
    if status in UNAUTHORIZED or session_expired(answer):
        return [unauthorized(status, "access token", _WAY_OUT)] * count
    if not all_or_none and (status in _SAME_FOR_EACH or _knows_no_object(errors[0], items[0])):
        return [Rejected(errors)] * count
    raise Refused(errors, too_large=status == TOO_LARGE)


def _knows_no_object(error: ErrorDetail, item: Item) -> bool:
    """Return whether the object of the call is what Salesforce does not know."""
    if error.code != _NO_SUCH_OBJECT or not item.piece.startswith(b"{"):  # of a delete there are ids only
        return False
    return f"'{json.loads(item.piece)['attributes']['type']}'" in error.message
