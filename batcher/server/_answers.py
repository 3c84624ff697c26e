"""The Write API's answers to records: their fates become a status and a body. Pure.

============================================  ==================================================
what became of the records                    the answer
============================================  ==================================================
the one record was written                    200, the single form
the one record was refused, or is unknown     422, the single form
at least one of a batch was written           200, the batch form
none was                                      422, the batch form
none was, and for no record's fault           503, a problem that may be retried
taken over, the outcome comes later           200 with the operation's id and nothing else
============================================  ==================================================

Results stand in the order of the request and are never left out. A result that is no success says in ``data`` what the
published schema has no other place for: the outcome of its record, whether it was applied, and its own errors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import attrs

from batcher.outcomes import NotWritten
from batcher.server._fates import Fate
from batcher.server._problems import Problem
from batcher.writes import WriteType

# Seconds after which a record that was not written for want of a turn may be sent again.
_COME_BACK = 5.0


@attrs.frozen
class Answer:
    """What goes back."""

    status: int
    body: dict[str, Any] = attrs.field(repr=False)
    headers: dict[str, str] = attrs.field(factory=dict)


def accepted(operation_id: str, headers: dict[str, str] | None = None) -> Answer:
    """Return the answer to an asynchronous request."""
    return Answer(200, {"operationId": operation_id}, headers or {})


def single(operation_id: str, fate: Fate, type: WriteType) -> Answer:
    """Return the answer to one record.

    :raises Problem: it was not written, for no fault of its own
    """
    _check_turn([fate], operation_id)
    if fate.ok:
        body: dict[str, Any] = {"operationId": operation_id, "result": _result(fate, type)}
        if fate.warnings:
            body["warnings"] = _messages(fate.warnings)
        return Answer(200, body)
    messages = _messages(each.message for each in fate.errors)
    return Answer(422, {"operationId": operation_id, "errors": messages, "result": _result(fate, type)})


def batch(operation_id: str, fates: Sequence[Fate], type: WriteType) -> Answer:
    """Return the answer to a batch.

    :raises Problem: nothing was written, for no record's fault
    """
    _check_turn(fates, operation_id)
    written = sum(fate.ok for fate in fates)
    body: dict[str, Any] = {
        "operationId": operation_id,
        "successCount": written,
        "failureCount": len(fates) - written,
        "results": [_result(fate, type) for fate in fates],
    }
    # Warnings too, as the API itself reports associations that failed after their record was written.
    words = [word for fate in fates for word in (*(error.message for error in fate.errors), *fate.warnings)]
    if words:
        body["errors"] = _messages(dict.fromkeys(words))
    return Answer(200 if written else 422, body)


def _check_turn(fates: Sequence[Fate], operation_id: str) -> None:
    if all(fate.outcome == NotWritten.kind for fate in fates):
        raise Problem(
            503,
            f"nothing was written: {fates[0].errors[0].message}",
            "send the request again later",
            retry_after=_COME_BACK,
            extra={"context": {"operationId": operation_id}},
        )


def _result(fate: Fate, type: WriteType) -> dict[str, Any]:
    if not fate.ok:
        return {"success": False, "data": fate.reasons()}
    result: dict[str, Any] = {"success": True}
    if fate.record_id is not None and type is not WriteType.DELETE:
        result["recordId"] = fate.record_id
    if isinstance(fate.data, dict) and _is_json(fate.data):
        result["data"] = fate.data
    return result


def _is_json(data: Any) -> bool:
    """Return whether JSON can carry *data*. What it cannot must not hide that the record was written."""
    try:
        json.dumps(data, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _messages(words: Any) -> list[dict[str, str]]:
    return [{"message": each} for each in words]
