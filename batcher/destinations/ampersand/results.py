"""Ampersand's Write API: the counts, results and errors of an answer. Pure.

What is not certain is not said: results that contradict the counts or each other make the whole batch unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from batcher.destinations._http.answers import Contradiction
from batcher.destinations._http.details import NO_REASON, detail_of, listed
from batcher.destinations.ampersand.matching import Result, same_id, whose
from batcher.destinations.ampersand.requests import Item, Provider
from batcher.outcomes import ErrorDetail, NotWritten, Refused, Rejected, Retry, RolledBack, Unknown, Verdict, Written
from batcher.writes import WriteType

_NOT_WHICH = ErrorDetail("the API gave no reason for this record alone; those of the call follow", "NO_REASON_GIVEN")
_NOT_WHOSE = "the API reports errors in this call, perhaps about the associations of this record, without saying whose"
# Salesforce's word for a member of a group that was fine itself.
_ROLLED_BACK = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
# "error writing <object>: <error class>: <the provider's words>".
_CLASS = re.compile(r"error writing [^:]*: ([^:]*)")
_NOT_NOW = frozenset({"unable to lock row"})
_THROTTLED = "request limit exceeded"
# The provider failed somewhere on the way; its own status is not passed on.
_DOUBTFUL = frozenset({"server error", "retryable error"})
_SAME_FOR_EACH = frozenset({"access token invalid", "API disabled"})

# The outcomes of a failed result that are no refusal of its record.
_OUTCOMES = (Unknown.kind, NotWritten.kind, RolledBack.kind)
# The names that members of an error have.
_MESSAGES = ("message",)
_CODES = ("statusCode", "errorCode", "code", "category")


def verdicts_of_results(
    body: dict[str, Any], items: Sequence[Item], type: WriteType, provider: Provider, all_or_none: bool
) -> list[Verdict]:
    """Return one verdict per item from the form with counts.

    :raises Contradiction: nothing in it can be trusted
    :raises Retry: the whole call is to be sent again later
    :raises Refused: nothing was applied
    """
    succeeded, failed = _count(body, "successCount"), _count(body, "failureCount")
    given = body.get("results")
    if not failed and succeeded == len(items) and not body.get("errors"):
        all_written = written_in_order(given, items, provider)
        if all_written is not None:
            return all_written
    results = [result_of(each) for each in listed(given)]
    errors = details_of(body.get("errors"))
    _check(succeeded, failed, results, len(items), provider)
    if failed == len(items):
        if len(results) < len(items):
            return failed_as_a_whole(errors, len(items), provider, all_or_none)
        if all_or_none:
            check_outcomes(results)
            raise Refused(errors or (NO_REASON,), _culprits(whose(results, items, type, provider)))
    known = whose(results, items, type, provider)
    rest = _rest(succeeded, known, results, len(items))
    any_linked = any(item.linked for item in items)
    return [
        _verdict(item, known.get(index, rest), errors, failed, _remarks(item, any_linked, errors, failed))
        for index, item in enumerate(items)
    ]


def written_in_order(given: Any, items: Sequence[Item], provider: Provider) -> list[Verdict] | None:
    """Return the verdicts of the usual answer, in one pass; None if anything about it takes a closer look.

    All records were written, and nothing was remarked. Of Salesforce there is one result for each, with an id that no
    other has, without data, and in order as far as that can be seen: see :func:`whose`.
    """
    if provider != "salesforce" or not isinstance(given, list) or len(given) != len(items):
        return None
    verdicts: list[Verdict] = []
    ids: set[str] = set()
    for item, result in zip(items, given, strict=True):
        if type(result) is not dict or result.get("success") is not True or result.get("data") is not None:
            return None
        given_id, sent_id = result.get("recordId"), item.record_id
        if type(given_id) is not str or not given_id:
            return None
        record_id = given_id[:15] if len(given_id) == 18 else given_id  # same_id(), unrolled
        if sent_id is not None and same_id(sent_id, provider) != record_id:
            return None
        ids.add(record_id)
        verdicts.append(Written(sent_id or given_id))
    return verdicts if len(ids) == len(items) else None


def _check(succeeded: int, failed: int, results: Sequence[Result], count: int, provider: Provider) -> None:
    if succeeded + failed != count:
        raise Contradiction(f"{succeeded} succeeded and {failed} failed of {count} records")
    good = sum(result.success for result in results)
    bad = len(results) - good
    if good > succeeded or bad > failed:
        raise Contradiction(f"{succeeded} succeeded and {failed} failed, but the results say {good} and {bad}")
    ids = [same_id(result.record_id, provider) for result in results if result.record_id is not None]
    if len(set(ids)) < len(ids):
        raise Contradiction(f"{len(ids)} results have {len(set(ids))} different ids")


def _rest(succeeded: int, known: dict[int, Result], results: Sequence[Result], count: int) -> Result | None:
    """Return what is true of each record whose result is not known; None if not all of them share a fate."""
    good = succeeded - sum(result.success for result in known.values())
    left = count - len(known)
    if left and good not in (0, left):
        return None
    if not good and any(result.outcome in (Unknown.kind, NotWritten.kind) for result in results):
        return None
    return Result(good > 0, None, None, ())


def check_outcomes(results: Sequence[Result]) -> None:
    """Let a call pass that failed as a whole, and of which the server knows that nothing was applied.

    :raises Retry: it does not know, or nobody is to blame
    """
    outcomes = {result.outcome for result in results}
    if Unknown.kind in outcomes:
        raise Retry("the server does not know either", applied="maybe")
    if NotWritten.kind in outcomes:
        raise Retry("the server could not write it yet")


def _verdict(
    item: Item, result: Result | None, errors: tuple[ErrorDetail, ...], failed: int, remarks: tuple[str, ...]
) -> Verdict:
    if result is None:
        return Unknown(f"{failed} records of the call failed, and the answer does not say which")
    if result.success:
        return written(item, result, remarks)
    if result.outcome == Unknown.kind:
        return Retry("the server does not know either", applied="maybe")
    if result.outcome == NotWritten.kind:
        return Retry("the server could not write it yet")
    if result.errors or (errors and failed == 1):
        return Rejected(result.errors or errors)
    return Rejected((_NOT_WHICH, *errors) if errors else (NO_REASON,))


def _remarks(item: Item, any_linked: bool, errors: tuple[ErrorDetail, ...], failed: int) -> tuple[str, ...]:
    """Return what to tell the caller of a written record about errors that name no record.

    Associations that fail after their record was written are reported among the errors of the call only.
    """
    if failed:  # then the words may be about a record of somebody else
        return (_NOT_WHOSE,) if errors and item.linked else ()
    if item.linked or not any_linked:
        return tuple(error.message for error in errors)
    return ()


def written(item: Item, result: Result, warnings: tuple[str, ...]) -> Written:
    """Return the success of *item*; an updated record keeps the id by which its caller knows it."""
    return Written(item.record_id or result.record_id, result.data, warnings)


def failed_as_a_whole(
    errors: tuple[ErrorDetail, ...], count: int, provider: Provider, all_or_none: bool
) -> list[Verdict]:
    """Return the verdicts of a call that failed without saying why for each record.

    :raises Retry: the reason is passing, or leaves open whether the provider applied something
    :raises Refused: nothing was applied
    """
    classes = {match.group(1).strip() for error in errors if (match := _CLASS.match(error.message))}
    if classes & _DOUBTFUL:
        raise Retry("the provider failed", applied="maybe")
    if _THROTTLED in classes:
        # HubSpot's 502 and 504 are called so too, and then the request may have gone through.
        raise Retry(_THROTTLED, pause_lane=True, applied="no" if provider == "salesforce" else "maybe")
    if classes & _NOT_NOW:
        raise Retry("the record is locked")
    if count == 1 or (classes & _SAME_FOR_EACH and not all_or_none):
        return [Rejected(errors or (NO_REASON,))] * count
    raise Refused(errors or (NO_REASON,))


def _culprits(known: dict[int, Result]) -> dict[int, tuple[ErrorDetail, ...]]:
    return {
        index: result.errors
        for index, result in known.items()
        if result.outcome is None and result.errors and all(error.code != _ROLLED_BACK for error in result.errors)
    }


def result_of(value: Any) -> Result:
    """Return one result of an answer.

    :raises Contradiction: it says nothing of success
    """
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
        raise Contradiction("a result does not say whether it succeeded")
    record_id, data, errors = value.get("recordId"), value.get("data"), details_of(value.get("errors"))
    known = record_id if isinstance(record_id, str) and record_id else None
    if value["success"] or not isinstance(data, dict):
        return Result(value["success"], known, data, errors)
    # Where the hosted service has no place for the errors of a record, our own server puts them here.
    outcome = data.get("outcome")
    return Result(
        False, known, data, errors or details_of(data.get("errors")), outcome if outcome in _OUTCOMES else None
    )


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Contradiction("a count is missing or is no number")
    return value


def details_of(value: Any) -> tuple[ErrorDetail, ...]:
    """Return the errors or warnings of an answer; the schema promises each a message, the service does not."""
    if not value:  # as in nearly every result
        return ()
    return tuple(
        ErrorDetail(each) if isinstance(each, str) and each else detail_of(each, _MESSAGES, _CODES)
        for each in listed(value)
    )
