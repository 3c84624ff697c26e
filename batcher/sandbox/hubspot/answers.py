"""HubSpot's words: records, problems, batches of both. Pure.

Problems of a request that fails as a whole and problems inside of a 207 have different shapes, and neither has every
member that the published schema calls required.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._calls import PlainRefusal, Refused
from batcher.sandbox._store import Row
from batcher.server._problems import timestamp

# What HubSpot shows unasked.
_USUAL: Final = ("createdate", "hs_object_id", "lastmodifieddate")


@attrs.frozen
class Invalid:
    """One property value that HubSpot refuses."""

    name: str
    code: str
    message: str


@attrs.frozen
class Problem(Refused):
    """Why one record, or a batch, is refused."""

    status: int
    """Of the answer if the batch fails as a whole."""
    category: str
    message: str
    context: Mapping[str, list[str]] = attrs.field(factory=dict)
    errors: Sequence[Invalid] = ()

    def to_error(self, context: Mapping[str, list[str]]) -> dict[str, Any]:
        """Return the form inside of a 207.

        :param context: which record it is
        """
        return {
            "status": "error",
            "category": self.category,
            "message": self.message,
            "context": {**context, **self.context},
        }

    def to_response(self) -> Response:
        """Return the form of a whole answer, which names no record unless the problem itself does."""
        body: dict[str, Any] = {"status": "error", "message": self.message, "correlationId": str(uuid4())}
        if self.context:
            body["context"] = dict(self.context)
        if self.errors:
            # Recorded: four problems in the message, three in the list.
            body["errors"] = [
                {"message": each.message, "code": each.code, "context": {"propertyName": [each.name]}}
                for each in self.errors[:3]
            ]
        if self.category:
            body["category"] = self.category
        return JSONResponse(body, self.status)


@attrs.frozen
class Done:
    """What came of a batch that was carried out, in part or in full."""

    results: list[dict[str, Any]] = attrs.field(factory=list)
    errors: list[dict[str, Any]] = attrs.field(factory=list)

    def to_response(self, now: float, status: int) -> Response:
        """Return the answer.

        :param status: if there are no errors
        """
        body: dict[str, Any] = {
            "completedAt": moment(now),
            "status": "COMPLETE",
            "startedAt": moment(now),
            "results": self.results,
        }
        if self.errors:
            body |= {"errors": self.errors, "numErrors": len(self.errors)}
        return JSONResponse(body, 207 if self.errors else status)


def invalid(problems: Sequence[Invalid]) -> Problem:
    """Return the refusal of property values, of one record or of several."""
    listed = [{"isValid": False, "message": each.message, "error": each.code, "name": each.name} for each in problems]
    words = f"Property values were not valid: {json.dumps(listed, separators=(',', ':'))}"
    return Problem(400, "VALIDATION_ERROR", words, errors=problems)


def conflict(type: str, existing: Row, *, named: bool) -> Problem:
    """Return the refusal of a value that another record has.

    :param named: with the existing record in the context, as inside of a 207
    """
    words = f"{label(type).capitalize()} already exists. Existing ID: {existing.id}"
    return Problem(409, "CONFLICT", words, {"existingId": [existing.id]} if named else {})


def not_found(type: str, ids: Sequence[str]) -> Problem:
    """Return what is said of ids without a record: one error for all of them."""
    words = (
        f"Could not get some {label(type).upper()} objects, they may be deleted or not exist. Check that ids are valid."
    )
    return Problem(404, "OBJECT_NOT_FOUND", words, {"ids": list(ids)})


def throttled(policy: str) -> Refused:
    """Return the refusal of one request too many, by the limit that it exceeds."""
    body = {
        "status": "error",
        "message": f"You have reached your {policy.lower()} limit.",
        "errorType": "RATE_LIMIT",
        "correlationId": str(uuid4()),
        "policyName": policy,
        "requestId": str(uuid4()),
    }
    return PlainRefusal(429, body)


def bad_grant(status: str, message: str) -> Refused:
    """Return why no token is given out."""
    return PlainRefusal(400, {"status": status, "message": message})


def bad_json(message: str) -> Problem:
    """Return the refusal of a body that cannot be read. It has no category."""
    return Problem(400, "", f"Invalid input JSON on line 1, column 14: {message}")


def to_json(
    row: Row, *, names: Sequence[str] | None = None, new: bool | None = None, trace: str | None = None
) -> dict[str, Any]:
    """Return a record as it stands in results.

    :param names: properties to show besides the usual ones, null for what is not there; None shows all that are
    :param new: of an upsert
    :param trace: the input's objectWriteTraceId, if it is to be echoed
    """
    shown: dict[str, Any] = {
        "id": row.id,
        "properties": row.fields if names is None else {name: row.fields.get(name) for name in (*_USUAL, *names)},
        "createdAt": moment(row.created),
        "updatedAt": moment(row.updated),
        "archived": row.archived,
        "url": f"https://app.hubspot.com/contacts/1/record/{row.type}/{row.id}",
    }
    if new is not None:
        shown["new"] = new
    if trace is not None:
        shown["objectWriteTraceId"] = trace
    return shown


def moment(seconds: float) -> str:
    """Return a time in milliseconds, as HubSpot writes it."""
    return f"{timestamp(seconds)[:23]}Z"


def label(type: str) -> str:
    """Return the singular of an object's name."""
    return {"companies": "company"}.get(type, type.removesuffix("s"))
