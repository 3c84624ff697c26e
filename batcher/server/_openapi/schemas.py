"""The schemas of the OpenAPI document, in the words of Ampersand's."""

from __future__ import annotations

from typing import Any

from batcher.server._requests import MAX_HOURS, MAX_MINUTES, MAX_NAME, MAX_RECORDS

FREE = {"type": "object", "additionalProperties": True}
TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_BOOLEAN = {"type": "boolean"}
_TIME = {"type": "string", "format": "date-time"}
_APPLIED = {"enum": ["yes", "no", "maybe"]}


def ref(name: str) -> dict[str, str]:
    """Return a reference to one of :func:`schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> dict[str, Any]:
    """Return all of them by name."""
    return {
        **_requests(),
        **_answers(),
        **_operations(),
        "Problem": _problem(),
        "Health": _closed(["status"], status={"const": "ok"}),
    }


def _requests() -> dict[str, Any]:
    associations = _optional(_list(ref("Association")))
    return {
        "WriteRequest": {
            **_open(
                ["groupRef", "type"],
                groupRef=NAME,
                type={"enum": ["create", "update", "delete"]},
                mode={"enum": ["synchronous", "asynchronous", None], "default": "synchronous"},
                record=_optional(FREE),
                batch=_optional(_list(ref("BatchItem"), minItems=1, maxItems=MAX_RECORDS)),
                batchPolicy=_optional(_open([], allOrNone=_optional(_BOOLEAN))),
                retryPolicy=_optional(_open([], deadlineHours=_optional(_whole(MAX_HOURS)))),
                autoBatchPolicy=_optional(
                    _open(
                        ["maxDelayMinutes"],
                        maxDelayMinutes=_whole(MAX_MINUTES),
                        retryDeadlineHours=_optional(_whole(MAX_HOURS)),
                    )
                ),
                associations=associations,
                headers=_optional(_list(_open(["key", "value"], key=TEXT, value=TEXT))),
            ),
            "description": "Exactly one of record and batch. An update or delete holds the record's id in record.id.",
        },
        "BatchItem": _open(["record"], record=FREE, associations=associations),
        "Association": {
            **_open(
                ["to", "types"],
                to=_open(["id"], id=TEXT, objectType=_optional(TEXT)),
                types=_list(ref("LinkType"), minItems=1),
            ),
            "description": "to.objectType is beyond Ampersand's contract: the object of the other record, such as "
            "companies. HubSpot needs it where the record exists already, as in an update.",
        },
        "LinkType": _open(
            ["associationTypeId"], associationTypeId={"type": "integer"}, associationCategory=_optional(TEXT)
        ),
    }


def _answers() -> dict[str, Any]:
    messages = _list(ref("Message"))
    return {
        "Message": _closed([], message=TEXT),
        "Result": {
            **_closed(["success"], success=_BOOLEAN, recordId=TEXT, data=FREE),
            "description": "Results stand in the order of the request. The data of one that is no success tell its "
            "outcome, whether it was applied (yes, no or maybe), and its errors.",
        },
        "SingleSuccess": _closed(["operationId"], operationId=TEXT, result=ref("Result"), warnings=messages),
        "SingleFail": _closed(["operationId", "errors"], operationId=TEXT, errors=messages, result=ref("Result")),
        "Batch": _closed(
            ["operationId", "successCount", "failureCount"],
            operationId=TEXT,
            successCount=COUNT,
            failureCount=COUNT,
            results=_list(ref("Result")),
            errors=messages,
        ),
    }


def _operations() -> dict[str, Any]:
    pagination = _closed(["done"], done=_BOOLEAN, nextPageToken=TEXT)
    error = _closed(["message"], message=TEXT, code=TEXT, fields=_list(TEXT))
    return {
        "Operation": _closed(
            ["id", "projectId", "integrationId", "installationId", "configId", "actionType", "status"],
            **dict.fromkeys(("id", "projectId", "integrationId", "installationId", "configId", "resource"), TEXT),
            actionType={"const": "write"},
            status={"enum": ["in_progress", "success", "failure"]},
            result=TEXT,
            metadata=_closed(["objects"], objects=_list(TEXT), successfulRecordIds=_list(TEXT)),
            createTime=_TIME,
            updateTime=_TIME,
        ),
        "Operations": _closed(["results", "pagination"], results=_list(ref("Operation")), pagination=pagination),
        "Outcome": _closed(
            ["index", "outcome", "applied"],
            index=COUNT,
            outcome={
                "enum": ["in_progress", "written", "accepted", "rejected", "rolled_back", "unknown", "not_written"]
            },
            applied=_APPLIED,
            recordId=TEXT,
            errors=_list(error),
            warnings=_list(ref("Message")),
        ),
        "Outcomes": _closed(["results", "pagination"], results=_list(ref("Outcome")), pagination=pagination),
    }


def _problem() -> dict[str, Any]:
    return _open(
        ["type", "title", "status", "detail", "time", "requestId", "retryable"],
        **dict.fromkeys(("type", "title", "detail", "remedy", "subsystem", "requestId"), TEXT),
        status={"type": "integer", "minimum": 400, "maximum": 599},
        time=_TIME,
        retryable=_BOOLEAN,
        retryAfter=_TIME,
        context=FREE,
        issues=_list(FREE),
    )


def _open(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {**_open(required, **properties), "additionalProperties": False}


def _list(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def _whole(most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most}


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """Return *schema* for a member that may also be null, which is the same as leaving it out."""
    return {"anyOf": [schema, {"type": "null"}]}
