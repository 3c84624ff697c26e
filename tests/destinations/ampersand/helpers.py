"""What the tests of the Ampersand destination share."""

import json
from collections.abc import Sequence
from typing import Any

from batcher.destinations._http.answers import Answer
from batcher.destinations.ampersand import Ampersand
from batcher.destinations.ampersand.answers import verdicts_of
from batcher.destinations.ampersand.requests import Item, item_of
from batcher.outcomes import ErrorDetail, Rejected
from batcher.writes import Association, Write
from tests.destinations.service import SECRET, Kind
from tests.destinations.service import answer as answer  # handed on to the tests

KEY = f"key-{SECRET}"
LINK = Association("18417469260", 279)
NOW = 1_000_000.0
NO_REASON = ErrorDetail("the API gave no reason", "NO_REASON_GIVEN")
NIL = "00000000-0000-0000-0000-000000000000"


def ampersand(**options: Any) -> Ampersand:
    return Ampersand(**{"project": "p", "integration": "i", "api_key": KEY, "group_ref": "g", **options})


def create(record: dict[str, Any] | None = None, object: str = "contacts", **options: Any) -> Write:
    return Write(object, "create", record or {"email": "a@x"}, **options)


def update(record_id: str, object: str = "contacts", **options: Any) -> Write:
    return Write(object, "update", {"id": record_id, "n": 1}, **options)


def delete(record_id: str, object: str = "contacts", **options: Any) -> Write:
    return Write(object, "delete", {"id": record_id}, **options)


def items_of(writes: Sequence[Write], provider: Any = None) -> list[Item]:
    return [item_of(write, provider) for write in writes]


def read(reply: Answer, writes: Sequence[Write], provider: Any = None, **options: Any) -> list[Any]:
    """What an answer means for these writes, which are of one type."""
    kind = writes[0].type
    return verdicts_of(reply, items_of(writes, provider), type=kind, provider=provider, **{"now": NOW, **options})


def counted(good: int, bad: int, results: Any = None, errors: Any = None, **more: Any) -> dict[str, Any]:
    """The form with counts."""
    body: dict[str, Any] = {"operationId": "op", "successCount": good, "failureCount": bad, **more}
    body |= {} if results is None else {"results": results}
    return body | ({} if errors is None else {"errors": [{"message": each} for each in errors]})


def good(record_id: str | None = None, data: Any = None) -> dict[str, Any]:
    found = {"success": True, "recordId": record_id, "data": data}
    return {name: value for name, value in found.items() if value is not None}


BAD = {"success": False}


def no(*messages: str) -> Rejected:
    return Rejected([ErrorDetail(each) for each in messages])


def body_of(request: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.content) if request.content else {}
    return body


def records_of(body: dict[str, Any]) -> list[Any]:
    return [each["record"] for each in body.get("batch", [body])]


def written(body: dict[str, Any]) -> tuple[int, Any]:
    results = [good(f"id of {record.get('email')}") for record in records_of(body)]
    if "record" in body:
        return 200, {"operationId": "op", "result": results[0]}
    return 200, counted(len(results), 0, results)


def refusal(body: dict[str, Any]) -> tuple[int, Any]:
    words = "Contact already exists"
    failure = {"operationId": "op", "errors": [{"message": words}]}
    return 422, failure if "record" in body else counted(0, len(body["batch"]), None, [words])


KIND = Kind(
    make=lambda **options: ampersand(**{"provider": "salesforce", **options}),
    server="base_url",
    url="https://write.withampersand.com/v1/projects/p/integrations/i/objects/things",
    headers={"x-api-key": KEY, "content-type": "application/json"},
    max_records=100,
    fields=lambda number: {"email": str(number)},
    record_id=lambda number: f"id of {number}",
    call=body_of,
    numbers=lambda body: [int(record["email"]) for record in records_of(body)],
    written=written,
    refusal=refusal,
    code=None,
    credentials="API key",
)
