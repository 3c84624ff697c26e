"""What the tests of the HubSpot destination share."""

import json
import random
from collections.abc import Sequence
from typing import Any

from batcher.destinations._http.answers import Answer
from batcher.destinations.hubspot import HubSpot
from batcher.destinations.hubspot.answers import verdicts_of
from batcher.destinations.hubspot.requests import VERBS, Item, Lane, Paths, item_of
from batcher.outcomes import ErrorDetail, Refused, Rejected
from batcher.writes import Association, Write
from tests.destinations.service import SECRET, Kind
from tests.destinations.service import answer as answer  # handed on to the tests

TOKEN = f"pat-na1-{SECRET}"
GRANT = {"client_id": "app", "client_secret": f"s3cret-{SECRET}", "refresh_token": f"r3fresh-{SECRET}"}
LINK = Association("101", 279)
FAR = Association("101", 279, object="companies")
NOW = 1_000_000.0


def hubspot(**options: Any) -> HubSpot:
    return HubSpot(**({} if "client_id" in options else {"token": TOKEN}) | options)


def create(record: dict[str, Any] | None = None, object: str = "contacts", **options: Any) -> Write:
    return Write(object, "create", record or {"email": "a@x"}, **options)


def update(record_id: str, object: str = "contacts", **options: Any) -> Write:
    return Write(object, "update", {"id": record_id, "n": 1}, **options)


def upsert(key: str, object: str = "contacts", **options: Any) -> Write:
    return Write(object, "upsert", {"email": key, "n": 1}, by="email", **options)


def delete(record_id: str, object: str = "contacts", **options: Any) -> Write:
    return Write(object, "delete", {"id": record_id}, **options)


def lane_of(write: Write) -> Lane:
    return Lane(write.object, write.type, write.by, Paths("2026-03").batch(write.object, VERBS[write.type]))


def items_of(writes: Sequence[Write]) -> list[Item]:
    return [item_of(write) for write in writes]


def read(reply: Answer, writes: Sequence[Write], all_or_none: bool = False) -> list[Any]:
    """What an answer means for these writes, which are of one lane."""
    return verdicts_of(reply, items_of(writes), lane_of(writes[0]), now=NOW, all_or_none=all_or_none)


def meant(reply: Answer, writes: Sequence[Write], all_or_none: bool = False) -> list[Any]:
    """The same, with the class ``Refused`` for each if the call was refused as a whole."""
    try:
        return read(reply, writes, all_or_none)
    except Refused:
        return [Refused] * len(writes)


def good(record_id: Any, properties: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": record_id, "properties": properties or {}, "archived": False, **more}


def bad(message: str | None = "taken", category: str | None = "CONFLICT", **context: Any) -> dict[str, Any]:
    error = {"status": "error", "category": category, "message": message, "context": context}
    return {name: value for name, value in error.items() if value not in (None, {})}


def traced(*numbers: int, **options: Any) -> dict[str, Any]:
    return bad(objectWriteTraceId=[str(number) for number in numbers], **options)


def done(results: Any, errors: Any = None, **more: Any) -> dict[str, Any]:
    """The body of a call that was carried out."""
    body = {"status": "COMPLETE", "results": results, "startedAt": "2026-01-01T00:00:00Z"}
    body |= {} if errors is None else {"errors": errors, "numErrors": len(errors)}
    return body | more


def no(message: str = "taken", code: str | None = "CONFLICT") -> Rejected:
    return Rejected(ErrorDetail(message, code))


def inputs_of(request: Any) -> Any:
    return json.loads(request.content)["inputs"]


def written(inputs: Any) -> tuple[int, Any]:
    """Everything, in random order; an archive has no results."""
    if not all("properties" in each for each in inputs):
        return 204, b""
    results = [good(each.get("id") or f"id of {each['properties']['email']}", stored(each)) for each in inputs]
    random.Random(7).shuffle(results)
    return 200, done(results)


def stored(each: Any) -> dict[str, str]:
    key = {each["idProperty"]: each["id"]} if "idProperty" in each else {}
    return {name: value.lower() for name, value in {**each["properties"], **key}.items()}


def verified(request: Any, there: set[int]) -> tuple[int, Any]:
    keys = [each["id"] for each in inputs_of(request)]
    found = {f"{number}@x": number for number in there}
    missing = [key for key in keys if key not in found]
    rows = [good(f"id of {key}", {"email": key}) for key in keys if key in found]
    return 207, done(rows, [bad("m", "OBJECT_NOT_FOUND", ids=missing)] if missing else [])


KIND = Kind(
    make=hubspot,
    server="base_url",
    url="https://api.hubapi.com/crm/objects/2026-03/things/batch/create",
    headers={"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
    max_records=100,
    fields=lambda number: {"email": f"{number}@x"},
    record_id=lambda number: f"id of {number}@x",
    call=inputs_of,
    numbers=lambda inputs: [int(each["properties"]["email"].partition("@")[0]) for each in inputs],
    written=written,
    refusal=lambda _: (409, bad("Contact already exists. Existing ID: 5551", existingId=["5551"])),
    code="CONFLICT",
    credentials="access token",
    app=GRANT,
    issuer="https://api.hubapi.com/oauth/v3/token",
    app_url="https://api.hubapi.com/crm/objects/2026-03/things/batch/create",
    token=lambda token: {"access_token": token, "expires_in": 1800},
    revoked={"status": "BAD_REFRESH_TOKEN", "message": "no"},
    refused="(BAD_REFRESH_TOKEN): check client_id and client_secret, and install the app in the account again for a "
    "new refresh_token",
    expired=((401, bad("m", "EXPIRED_AUTHENTICATION")),),
    verified=verified,
    question="/batch/read",
    unique={"unique": {"things": "email"}},
)
