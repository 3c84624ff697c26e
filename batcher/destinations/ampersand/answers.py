"""Ampersand's Write API: what an answer means. Pure.

==============================  =======================================================================
answer                          verdicts
==============================  =======================================================================
2xx, 422                        what the body says, whatever the status: see the functions below
400, 413, 409 and other 4xx     refused as a whole: the batcher looks for the culprit
401, 407                        not written: the credentials are refused, and no record is at fault
402, 403, 404, 405, 410         rejected: each record would be, also alone
408, 425, 429                   nothing was applied, try again; after 429 the lane pauses
503 with a time to come back    the same, and the lane pauses
other 5xx, 503 without a time   may have been applied, try again; unknown if "retryable" is false
redirects                       301, 307, 308 rejected (the address is wrong), others unknown
anything else                   unknown
==============================  =======================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from batcher._retry_after import seconds_until
from batcher.destinations._http.answers import (
    HAS_MOVED,
    MOVED,
    Answer,
    Contradiction,
    json_of,
    refused,
    told_at,
    wait_of,
)
from batcher.destinations._http.details import NO_REASON, listed, sentence, text_in, texts
from batcher.destinations.ampersand.requests import Item, Provider
from batcher.destinations.ampersand.results import (
    check_outcomes,
    details_of,
    failed_as_a_whole,
    result_of,
    verdicts_of_results,
    written,
)
from batcher.errors import BatcherError
from batcher.outcomes import Accepted, ErrorDetail, Rejected, Retry, Unknown, Verdict, Written
from batcher.writes import WriteType

_SAME_FOR_EACH = frozenset({402, 403, 404, 405, 410})
_NOT_NOW = frozenset({408, 425, 429})
_CREDENTIALS = ("API key", "give an api_key that is valid for the project")
# What the service gives for an operation that it could not open.
_NIL_OPERATION = "00000000-0000-0000-0000-000000000000"


@attrs.frozen
class Operation:
    """An asynchronous request, perhaps of many records. It does not tell which of them was written."""

    id: str
    """The service's handle."""
    status: str
    """``"in_progress"``, ``"success"`` (some records may have failed all the same) or ``"failure"``."""
    result: str | None = attrs.field(default=None, repr=False)
    """What the service says of it, for example ``"Batch write completed (3 succeeded, 1 failed)"``."""
    successful_record_ids: tuple[str, ...] = attrs.field(default=(), repr=False)
    """The ids of records that were written, in no promised order."""

    @property
    def ended(self) -> bool:
        """Whether the service is done with it."""
        return self.status != "in_progress"


def verdicts_of(
    answer: Answer,
    items: Sequence[Item],
    *,
    type: WriteType,
    provider: Provider,
    now: float,
    all_or_none: bool = False,
    asynchronous: bool = False,
) -> list[Verdict]:
    """Return one verdict per item, or raise as :meth:`Destination.send` does.

    :param now: seconds since 1970, to which the times in an answer are compared
    """
    count = len(items)
    body = json_of(answer)
    if answer.status != 422 and not 200 <= answer.status < 300:
        return _by_status(answer, body, count, all_or_none, now)
    if answer.flaw is not None:
        raise Retry(f"HTTP {answer.status}: {answer.flaw}", applied="maybe")
    if not isinstance(body, dict):
        return [Unknown(f"HTTP {answer.status} without a JSON object")] * count
    try:
        if any(body.get(name) is not None for name in ("successCount", "failureCount", "results")):
            return verdicts_of_results(body, items, type, provider, all_or_none)
        if body.get("result") is not None:
            return _single(answer.status, body, items, provider, all_or_none)
    except Contradiction as contradiction:
        return [Unknown(f"HTTP {answer.status}: {contradiction}")] * count
    if answer.status == 422:
        return failed_as_a_whole(details_of(body.get("errors")), count, provider, all_or_none)
    return [_bare(body, item, type, asynchronous) for item in items]


def _single(
    status: int, body: dict[str, Any], items: Sequence[Item], provider: Provider, all_or_none: bool
) -> list[Verdict]:
    result = result_of(body["result"])
    errors = details_of(body.get("errors"))
    if not result.success:
        check_outcomes([result])
        said = {error.message for error in result.errors}
        reasons = result.errors + tuple(error for error in errors if error.message not in said)
        return failed_as_a_whole(reasons, len(items), provider, all_or_none)
    if status == 422:
        raise Contradiction("the status says that it failed, the result that it succeeded")
    if len(items) > 1:
        raise Contradiction(f"one result for {len(items)} records")
    remarks = errors + details_of(body.get("warnings"))
    return [written(items[0], result, tuple(remark.message for remark in remarks))]


def _bare(body: dict[str, Any], item: Item, type: WriteType, asynchronous: bool) -> Verdict:
    """Return the verdict of a success with an operation id and nothing else."""
    operation_id = body.get("operationId")
    if details_of(body.get("errors")):
        return Unknown("a success with errors and without a result")
    if not isinstance(operation_id, str) or operation_id in ("", _NIL_OPERATION):
        return Unknown("a success with neither a result nor an operation id")
    if type is WriteType.DELETE:  # always synchronous: a success is the deletion
        return Written(item.record_id)
    if asynchronous:
        return Accepted(operation_id)
    return Unknown(f"the answer has no result; the operation is {operation_id}")


def _by_status(answer: Answer, body: Any, count: int, all_or_none: bool, now: float) -> list[Verdict]:
    status, problem = answer.status, body if isinstance(body, dict) else {}
    words, after = f"HTTP {status}", _wait_of(answer, problem, now)
    if status in _NOT_NOW or (400 <= status < 500 and problem.get("retryable") is True):
        raise Retry(words, after, pause_lane=status == 429)
    if status == 503 and after is not None:
        raise Retry(words, after, pause_lane=True)
    if status >= 500 and problem.get("retryable") is not False:
        # A bare 503 may be a proxy's word for a connection that broke after the request went through.
        raise Retry(words, after, pause_lane=status == 503, applied="maybe")
    if status in MOVED:
        return [Rejected(ErrorDetail(HAS_MOVED, words))] * count
    errors, alike = reasons_of(answer, body), status in _SAME_FOR_EACH
    return refused(status, errors, count, alike=alike, all_or_none=all_or_none, credentials=_CREDENTIALS)


def _wait_of(answer: Answer, problem: dict[str, Any], now: float) -> float | None:
    """Return the seconds until the API wants to be asked again; None if it does not say.

    The body has a time (RFC 3339), the headers seconds or a time (RFC 9110, section 10.2.3).
    """
    stated = problem.get("retryAfter")
    if isinstance(stated, str):
        try:
            return seconds_until(datetime.fromisoformat(stated), told_at(answer, now))
        except ValueError:
            pass
    seconds = wait_of(answer, now)
    return wait_of(answer, now, "x-amp-retry-after") if seconds is None else seconds


def reasons_of(answer: Answer, body: Any) -> tuple[ErrorDetail, ...]:
    """Return what an answer that is no success says: as plain text, or as the problem+json of RFC 9457."""
    code = f"HTTP_{answer.status}"
    if not isinstance(body, dict):
        text = body if isinstance(body, str) else answer.body.decode(errors="replace").strip()
        return (ErrorDetail(sentence(text) or NO_REASON.message, code),)
    first = text_in(body, "detail", "title", "message", "error")
    words = [first] * bool(first) + texts(listed(body.get("causes")))
    named = details_of(body.get("errors"))
    return (*(ErrorDetail(each, code) for each in words), *named) or (ErrorDetail(NO_REASON.message, code),)


def operation_of(answer: Answer, operation_id: str) -> Operation:
    """Return the operation that an answer describes.

    :raises BatcherError: it describes none
    """
    body = json_of(answer)
    if answer.status != 200:
        reasons = "; ".join(each.message for each in reasons_of(answer, body))
        raise BatcherError(f"the operation {operation_id!r} cannot be read (HTTP {answer.status}): {reasons}")
    if not isinstance(body, dict) or body.get("id") != operation_id or not isinstance(body.get("status"), str):
        problem = answer.flaw or "the answer is not that operation"
        raise BatcherError(f"the operation {operation_id!r} cannot be read: {problem}")
    metadata = body.get("metadata")
    named = tuple(texts(listed(metadata.get("successfulRecordIds")))) if isinstance(metadata, dict) else ()
    result = body.get("result")
    return Operation(operation_id, body["status"], result if isinstance(result, str) else None, named)
