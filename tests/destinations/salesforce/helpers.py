"""What the tests of the Salesforce destination share."""

import json
import re
from collections.abc import Sequence
from typing import Any

from batcher.destinations._http.answers import Answer
from batcher.destinations.salesforce import Salesforce
from batcher.destinations.salesforce.answers import verdicts_of
from batcher.destinations.salesforce.requests import Item, item_of
from batcher.outcomes import ErrorDetail, Rejected
from batcher.writes import Write
from tests.destinations.service import SECRET, Kind
from tests.destinations.service import answer as answer  # handed on to the tests

ORG = "https://acme.my.salesforce.com"
TOKEN = f"token-{SECRET}"
NA1 = "https://na1.my.salesforce.com"
APP: dict[str, Any] = {"access_token": None, "client_id": "app", "client_secret": f"s3cret-{SECRET}"}
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


EXPIRED = fault("INVALID_SESSION_ID", "Session expired or invalid")


def records_of(request: Any) -> list[Any]:
    """The records of a call; of a delete the ids."""
    if not request.content:
        ids: str = request.url.params["ids"]
        return list(ids.split(","))
    return list(json.loads(request.content)["records"])


def written(records: Sequence[Any]) -> tuple[int, Any]:
    ids = [each if isinstance(each, str) else each.get("id") or sf_id(int(each["LastName"])) for each in records]
    return 200, [{"id": each, "success": True, "errors": []} for each in ids]


def verified(request: Any, there: set[int]) -> tuple[int, Any]:
    (query,) = json.loads(request.content)["compositeRequest"]
    asked = {int(each) for each in re.findall(r"%27(\d+)%27", query["url"])}
    rows = [{"Id": sf_id(number), "LastName": str(number)} for number in asked & there]
    body = {"totalSize": len(rows), "done": True, "records": rows}
    return 200, {"compositeResponse": [{"body": body, "httpStatusCode": 200, "referenceId": "found"}]}


KIND = Kind(
    make=salesforce,
    server="instance_url",
    url=f"{ORG}/services/data/v67.0/composite/sobjects",
    headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
    max_records=200,
    fields=lambda number: {"LastName": str(number)},
    record_id=sf_id,
    call=records_of,
    numbers=lambda records: [int(each["LastName"]) for each in records],
    written=written,
    refusal=lambda _: (400, fault("JSON_PARSER_ERROR", "Cannot deserialize instance of date")),
    code="JSON_PARSER_ERROR",
    credentials="access token",
    app=APP,
    issuer=f"{ORG}/services/oauth2/token",
    app_url=f"{NA1}/services/data/v67.0/composite/sobjects",
    token=lambda token: {"access_token": token, "instance_url": NA1},
    revoked={"error": "invalid_grant", "error_description": "no"},
    refused="(invalid_grant): check the app and its rights in Salesforce, and the credentials given here",
    expired=((401, EXPIRED), (403, EXPIRED)),
    verified=verified,
    question="/composite",
    unique={"unique": {"things": "LastName"}},
)
