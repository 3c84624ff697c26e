"""Ampersand's operations: what became of an asynchronous request. Pure."""

from __future__ import annotations

import attrs

from batcher.destinations._http.answers import Answer, json_of
from batcher.destinations._http.details import listed, texts
from batcher.destinations.ampersand.details import reasons_of
from batcher.errors import BatcherError

IN_PROGRESS = "in_progress"


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
        return self.status != IN_PROGRESS


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
