"""What the tests of the Salesforce destination share."""

import json
from collections.abc import Sequence
from typing import Any

from batcher.destinations._http.answers import Answer
from batcher.destinations.salesforce import Salesforce
from batcher.destinations.salesforce.answers import verdicts_of
from batcher.destinations.salesforce.requests import Item, item_of
from batcher.outcomes import ErrorDetail, Rejected
from batcher.writes import Write

ORG = "https://acme.my.salesforce.com"
TOKEN = "token-that-nobody-may-see"
NOW = 1_000_000.0
NO_REASON = ErrorDetail("the API gave no reason", "NO_REASON_GIVEN")
ROLLED_BACK = "ALL_OR_NONE_OPERATION_ROLLED_BACK"
LOCKED = "UNABLE_TO_LOCK_ROW"
HIDDEN = "dlrs_Trigger: execution of AfterUpdate caused by: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access"
TRIGGER = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"


def salesforce(**options: Any) -> Salesforce:
    return Salesforce(options.pop("instance_url", ORG), **{"access_token": TOKEN, **options})


def sf_id(number: int, length: int = 18) -> str:
    """An id as Salesforce writes it; the last three characters of the long form depend on the others."""
    short = f"003{number:012}"
    return short if length == 15 else f"{short}A{'ABCDEFGH'[number % 8]}Y"


def create(record: dict[str, Any] | None = None, object: str = "Contact", **options: Any) -> Write:
    return Write(object, "create", record or {"LastName": "Ada"}, **options)


def update(number: int, object: str = "Contact", length: int = 18, **fields: Any) -> Write:
    return Write(object, "update", {"id": sf_id(number, length), "Phone": "1", **fields})


def upsert(value: Any, object: str = "Contact", by: str = "Ref__c", **options: Any) -> Write:
    return Write(object, "upsert", {by: value, "Phone": "1"}, by=by, **options)


def delete(number: int, object: str = "Contact", length: int = 18) -> Write:
    return Write(object, "delete", {"id": sf_id(number, length)})


def items_of(writes: Sequence[Write]) -> list[Item]:
    return [item_of(write)[0] for write in writes]


def answer(status: int, body: Any, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def read(reply: Answer, writes: Sequence[Write], all_or_none: bool = False) -> list[Any]:
    """What an answer means for these writes."""
    return verdicts_of(reply, items_of(writes), all_or_none=all_or_none, now=NOW)


def good(number: int, **more: Any) -> dict[str, Any]:
    """The result of a record that was written."""
    return {"id": sf_id(number), "success": True, "errors": [], **more}


def bad(code: str = "INVALID_FIELD", message: str = "m", number: int | None = None, *fields: str) -> dict[str, Any]:
    """The result of one that was not; that of a create names no record."""
    result = {"success": False, "errors": [{"statusCode": code, "message": message, "fields": list(fields)}]}
    return result if number is None else {"id": sf_id(number), **result}


def fault(code: str, message: str = "m") -> list[dict[str, str]]:
    """What is said of a call as a whole."""
    return [{"message": message, "errorCode": code}]


def no(code: str = "INVALID_FIELD", message: str = "m", *fields: str) -> Rejected:
    return Rejected(ErrorDetail(message, code, fields))
