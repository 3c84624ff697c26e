"""HubSpot: the results and errors of a call that was carried out, perhaps in part. Pure.

A record is written if a result is known to be its own, or if the answer accounts for every record of the call and
blames others. It is rejected if an error names it. Else it is unknown: HubSpot drops records without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from batcher.destinations._http.details import listed, text_in, texts
from batcher.destinations.hubspot.matching import Result, claims_of, key_in, keys_of, left_over
from batcher.destinations.hubspot.requests import Item, Lane
from batcher.outcomes import ErrorDetail, Rejected, Unknown, Verdict, Written
from batcher.writes import WriteType

# HubSpot's own name of it, and those of the lists and single values in the context of an error.
_TRACE = "objectWriteTraceId"
IDS = ("ids", "id")
_NO_REASON = "HubSpot gave no reason"


@attrs.frozen
class Blame:
    """The errors of an answer, and whose they are."""

    named: Mapping[int, tuple[ErrorDetail, ...]]
    """Position in the call to the errors that name this record and no other one it could be mistaken for."""
    errors: int
    """How many errors there are."""
    nobody: int
    """How many of them name something that is no record of the call, or nothing."""


def verdicts_of_results(
    status: int, body: Mapping[str, Any], items: Sequence[Item], lane: Lane, all_or_none: bool
) -> list[Verdict]:
    """Return one verdict per item of a call that was carried out."""
    traced = lane.verb.traced and not all_or_none
    blame = blame_of(listed(body.get("errors")), items, lane, traced)
    if lane.type is WriteType.DELETE:
        return _archived(status, body, items, blame)
    results, sound = _results(body.get("results"))
    claims = claims_of(results, items, lane, traced)
    known = {index: claimed[0] for index, claimed in claims.items() if len(claimed) == 1}
    taken = {result.record_id for result in known.values()}
    spare = [result for result in results if result.record_id not in taken]
    rest = [index for index in range(len(items)) if index not in known and index not in blame.named]
    complete = (
        sound
        and _accounts(body, blame)
        and len(spare) == len(rest)
        and len(known) == len(claims)
        and not known.keys() & blame.named.keys()
        # One with a trace id that is not of this call is of another one.
        and not (traced and any(result.trace for result in spare))
    )
    if complete:
        known |= left_over(spare, items, rest)
    return [
        _verdict(status, item, lane, known.get(index), blame.named.get(index), complete)
        for index, item in enumerate(items)
    ]


def _verdict(
    status: int, item: Item, lane: Lane, result: Result | None, errors: tuple[ErrorDetail, ...] | None, complete: bool
) -> Verdict:
    # The id by which the caller knows the record; that of a result differs if HubSpot has merged it with another one.
    own = item.key if lane.type is WriteType.UPDATE else None
    if errors is not None:
        if result is not None:
            return Unknown(f"HTTP {status}: both a result and an error for this record")
        return Rejected(errors)
    if result is not None:
        return Written(own or result.record_id, result.data)
    if complete:
        return Written(own)
    return Unknown(f"HTTP {status}: neither a result nor an error that is certainly of this record")


def _archived(status: int, body: Mapping[str, Any], items: Sequence[Item], blame: Blame) -> list[Verdict]:
    """Return the verdicts of an archive, which has no results."""
    rest: Verdict | None = None
    if not _accounts(body, blame):
        rest = Unknown(f"HTTP {status}: the answer does not account for every record of the call")
    return [
        Rejected(blame.named[index]) if index in blame.named else rest or Written(item.key)
        for index, item in enumerate(items)
    ]


def _results(value: Any) -> tuple[list[Result], bool]:
    """Return the different results of an answer, and whether all of it could be read."""
    read = [result_of(each) for each in listed(value)]
    found: dict[str, Result] = {}
    disputed: set[str] = set()
    for result in read:
        # The same result twice is one result; two that differ prove nothing.
        if result is not None and found.setdefault(result.record_id, result) != result:
            disputed.add(result.record_id)
    good = [result for record_id, result in found.items() if record_id not in disputed]
    return good, isinstance(value, list) and None not in read and not disputed


def result_of(value: Any) -> Result | None:
    """Return one result; None if it names no record."""
    record_id = value.get("id") if isinstance(value, dict) else None
    if not isinstance(record_id, str) or not record_id:
        return None
    properties = value.get("properties")
    traces = texts(value.get(_TRACE))
    return Result(record_id, ",".join(traces) or None, properties if isinstance(properties, dict) else {}, value)


def _accounts(body: Mapping[str, Any], blame: Blame) -> bool:
    """Return whether what the answer says of itself allows to count what is in it."""
    total, most = body.get("numErrors") or 0, max(blame.errors, len(blame.named))
    return has_ended(body) and blame.nobody == 0 and isinstance(total, int) and total <= most


def has_ended(body: Mapping[str, Any]) -> bool:
    """Return whether the call was over when it was answered."""
    return (body.get("status") or "COMPLETE") == "COMPLETE"


def blame_of(errors: Sequence[Any], items: Sequence[Item], lane: Lane, traced: bool) -> Blame:
    """Return whose the errors of an answer are.

    :param traced: whether the call had trace ids, which are positions
    """
    keys = keys_of(lane, items)
    traces = {str(index): index for index in range(len(items))} if traced else {}
    named: dict[int, tuple[ErrorDetail, ...]] = {}
    nobody = 0
    for error in errors:
        context = error.get("context") if isinstance(error, dict) else None
        context = context if isinstance(context, dict) else {}
        names = texts(context.get(_TRACE)) if traced else []
        found = [traces.get(name) for name in names]
        if not names:
            found = [keys.get(key_in(lane, each)) for name in IDS for each in texts(context.get(name))]
        nobody += None in found or not found
        for index in found:
            if index is not None:
                named[index] = named.get(index, ()) + details_of(error)
    return Blame(named, len(errors), nobody)


def details_of(error: Any, code: str | None = None) -> tuple[ErrorDetail, ...]:
    """Return what an error says: in its own words, and in those of the errors in it. Every member may be missing.

    :param code: what to call it if it has no name
    """
    if not isinstance(error, dict):
        return (ErrorDetail(_NO_REASON, code),)
    inner = [each for each in listed(error.get("errors")) if isinstance(each, dict)]
    return tuple(_detail(each, code) for each in (error, *inner))


def _detail(error: Mapping[str, Any], code: str | None) -> ErrorDetail:
    names = [error.get(name) for name in ("category", "code", "errorType", "status")]
    # A status is "error", except in answers about tokens, which have no other name.
    found = [name for name in names if isinstance(name, str) and name not in ("", "error")]
    context = error.get("context")
    fields = texts(context.get("propertyName")) if isinstance(context, dict) else []
    return ErrorDetail(text_in(error, "message") or _NO_REASON, found[0] if found else code, fields)
