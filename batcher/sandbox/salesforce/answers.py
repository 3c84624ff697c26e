"""Salesforce's words: records, the items of a collection's answer, errors of records and of calls. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._calls import PlainRefusal, Refused
from batcher.sandbox._store import Row

_ROLLED_BACK: Final = "ALL_OR_NONE_OPERATION_ROLLED_BACK"


@attrs.frozen
class ItemError(Refused):
    """Why one record is refused."""

    code: str
    message: str
    fields: Collection[str] = ()

    def to_item(self) -> dict[str, Any]:
        """Return the form inside of a collection's answer."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}

    def to_response(self) -> Response:
        """Return the answer to a request for this record alone."""
        return JSONResponse([{"message": self.message, "errorCode": self.code, "fields": list(self.fields)}], 400)


class CallError(PlainRefusal):
    """Why a call is refused as a whole."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, [{"message": message, "errorCode": code}])


def bad_grant(code: str, message: str) -> Refused:
    """Return why no token is given out."""
    return PlainRefusal(400, {"error": code, "error_description": message})


def success(row: Row) -> dict[str, Any]:
    """Return the item of a record that was written."""
    return {"id": row.id, "success": True, "errors": []}


def failure(error: ItemError) -> dict[str, Any]:
    """Return the item of a record that was refused."""
    return {"success": False, "errors": [error.to_item()]}


def rolled_back(item: dict[str, Any], *, had_id: bool) -> dict[str, Any]:
    """Return the item of a record whose call was taken back.

    :param item: of this record until then
    :param had_id: whether it came with one
    """
    if not item["success"]:
        return item
    words = "Record rolled back because not all records were valid and the request was using AllOrNone header"
    refused = failure(ItemError(_ROLLED_BACK, words))
    # What existed before keeps its id in the answer: an id is no proof of success.
    return {"id": item["id"], **refused} if had_id or item.get("created") is False else refused


def bad_field(field: str) -> CallError:
    """Return what is said of a field by which records cannot be addressed."""
    words = f"Provided external ID field does not exist or is not accessible: {field}"
    return CallError(404, "NOT_FOUND", words)


def not_found() -> CallError:
    """Return what is said of an address with nothing behind it."""
    return CallError(404, "NOT_FOUND", "The requested resource does not exist")


def unsupported(type: str) -> CallError:
    """Return what is said of a type that does not exist."""
    return CallError(400, "INVALID_TYPE", f"sObject type '{type}' is not supported.")


def to_json(row: Row, version: str, fields: Sequence[str] = ()) -> dict[str, Any]:
    """Return a record as it is read, with all fields or some."""
    attributes = {"type": row.type, "url": f"/services/data/{version}/sobjects/{row.type}/{row.id}"}
    names = fields or ("Id", *row.fields)
    # Salesforce writes names as they were made, however they were asked for.
    known = {name.lower(): name for name in ("Id", *row.fields)}
    return {"attributes": attributes, **{known.get(name.lower(), name): value_of(row, name) for name in names}}


def value_of(row: Row, name: str) -> Any:
    """Return what a field holds, whatever the case of its name."""
    folded = name.lower()
    if folded == "id":
        return row.id
    return next((value for known, value in row.fields.items() if known.lower() == folded), None)
