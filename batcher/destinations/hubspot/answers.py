"""HubSpot: what an answer means. Pure.

=========================================  =======================================================================
answer                                     verdicts
=========================================  =======================================================================
200, 201, 204, 207                         what the body says; an archive needs none
400, 409 and other 4xx                     refused as a whole; if it names the culprits, so do we
401, 407                                   not written: the credentials are refused, and no record is at fault
402, 403, 404, 405, 410, and 400 of an     rejected: each record would be, also alone
object that the account does not have
408, 425                                   nothing was applied, try again
423, 477                                   the same, and the lane pauses: locked for 2 s, moving for up to a day
429                                        the same, for as long as the limit lasts
429 because the day's calls are used up    not written: midnight is too far to wait for
522, 525, 526                              unknown; HubSpot says that trying again is no use
other 5xx                                  may have been applied; the lane pauses if HubSpot is overloaded or away
redirects                                  301, 307, 308 rejected (the address is wrong), others unknown
anything else                              unknown
=========================================  =======================================================================

Statuses and times are those of "Error handling" and "API usage guidelines" in HubSpot's reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batcher._retry_after import whole_number
from batcher.destinations._http.answers import HAS_MOVED, MOVED, UNAUTHORIZED, Answer, json_of, refused, wait_of
from batcher.destinations._http.details import listed
from batcher.destinations.hubspot.requests import Item, Lane
from batcher.destinations.hubspot.results import blame_of, details_of, verdicts_of_results
from batcher.outcomes import ErrorDetail, NotWritten, Retry, Unknown, Verdict

# Creates have come with 200 instead of 201 since August 2025, and partial success as 207 or not.
CARRIED_OUT = frozenset({200, 201, 204, 207})
_SAME_FOR_EACH = frozenset({402, 403, 404, 405, 410})
_NOT_NOW = frozenset({408, 425})
_LOCKED, _MOVING, _THROTTLED = 423, 477, 429
_WITHOUT_CULPRIT = UNAUTHORIZED | _SAME_FOR_EACH | _NOT_NOW | {_LOCKED, _MOVING, _THROTTLED}
_LOCK_SECONDS = 2.0
_UNAUTHORIZED = 401
_NO_USE = frozenset({522, 525, 526})
_AWAY = frozenset({502, 503, 504, 521, 523, 524})
# All that HubSpot says of an object that the account does not have: there is no code for it.
_NO_SUCH_OBJECT = "unable to infer object type"
_CREDENTIALS = ("access token", "give a token that is valid for the account")
# The windows of the limits, for answers without the header that tells.
_SECONDS_OF = {"TEN_SECONDLY_ROLLING": 10.0, "SECONDLY": 1.0}
_DAILY = "DAILY"
_DAY_IS_OVER = (
    "the account has used up HubSpot's daily limit of calls, which is reset at midnight in the time zone of the account"
)


def is_token_refused(answer: Answer) -> bool:
    """Return whether a new access token may help. Nothing was applied then."""
    return answer.status == _UNAUTHORIZED


def verdicts_of(answer: Answer, items: Sequence[Item], lane: Lane, *, now: float, all_or_none: bool) -> list[Verdict]:
    """Return one verdict per item, or raise as :meth:`Destination.send` does.

    :param now: seconds since 1970, to which the times in an answer are compared
    """
    body = json_of(answer)
    if answer.status not in CARRIED_OUT:
        check_passing(answer, body, now)
        return _by_status(answer, body, items, lane, all_or_none)
    if answer.flaw is not None:
        raise Retry(f"HTTP {answer.status}: {answer.flaw}", applied="maybe")
    if not answer.body.strip():
        body = {}  # which is all that an archive answers
    if not isinstance(body, dict):
        return [Unknown(f"HTTP {answer.status} without a JSON object")] * len(items)
    return verdicts_of_results(answer.status, body, items, lane, all_or_none)


def check_passing(answer: Answer, body: Any, now: float) -> None:
    """Return if trying again is no use.

    :raises Retry: it may be
    """
    status, words = answer.status, f"HTTP {answer.status}"
    after = wait_of(answer, now)
    if status in _NOT_NOW:
        raise Retry(words, after)
    if status == _LOCKED:
        raise Retry(words, max(_LOCK_SECONDS, after or 0.0), pause_lane=True)
    if status == _MOVING:
        raise Retry(words, after, pause_lane=True)
    if status == _THROTTLED and not _day_is_over(answer, body):
        raise Retry(words, _window(answer, body) if after is None else after, pause_lane=True)
    if status >= 500 and status not in _NO_USE:
        raise Retry(words, after, pause_lane=status in _AWAY, applied="maybe")


def may_have_culprits(status: int, body: Any) -> bool:
    """Return whether a refusal may be the fault of some of the inputs, and others be fine without them."""
    return 400 <= status < 500 and status not in _WITHOUT_CULPRIT and not _knows_no_object(body)


def _knows_no_object(body: Any) -> bool:
    message = body.get("message") if isinstance(body, dict) else None
    return isinstance(message, str) and message.casefold().startswith(_NO_SUCH_OBJECT)


def _by_status(answer: Answer, body: Any, items: Sequence[Item], lane: Lane, all_or_none: bool) -> list[Verdict]:
    status, count = answer.status, len(items)
    code = f"HTTP_{status}"
    if status == _THROTTLED:
        return [NotWritten(_DAY_IS_OVER, attempts=1)] * count
    errors = (ErrorDetail(HAS_MOVED, code),) if status in MOVED else details_of(body, code)
    alike = not may_have_culprits(status, body)
    named = {} if alike else _culprits(body, items, lane, all_or_none)
    return refused(status, errors, count, alike=alike, all_or_none=all_or_none, credentials=_CREDENTIALS, named=named)


def _culprits(body: Any, items: Sequence[Item], lane: Lane, all_or_none: bool) -> dict[int, tuple[ErrorDetail, ...]]:
    """Return the records that a refusal of the whole call names, and their errors."""
    if not isinstance(body, dict) or "duplicate" in str(body.get("message", "")).casefold():
        # Each of two records with one id is fine without the other: the search parts them.
        return {}
    whole = {name: value for name, value in body.items() if name != "errors"}
    traced = lane.verb.traced and not all_or_none
    return dict(blame_of([whole, *listed(body.get("errors"))], items, lane, traced).named)


def _policy(body: Any) -> str:
    name = body.get("policyName") if isinstance(body, dict) else None
    return name.upper() if isinstance(name, str) else ""


def _day_is_over(answer: Answer, body: Any) -> bool:
    policy = _policy(body)
    # Without a name of the limit the header decides: it counts what is left of the day.
    return policy == _DAILY or (not policy and _number(answer, "daily-remaining") == 0)


def _window(answer: Answer, body: Any) -> float:
    milliseconds = _number(answer, "interval-milliseconds")
    if milliseconds is not None:
        return milliseconds / 1000
    return _SECONDS_OF.get(_policy(body), max(_SECONDS_OF.values()))


def _number(answer: Answer, name: str) -> int | None:
    return whole_number(answer.headers.get(f"x-hubspot-ratelimit-{name}", ""))
