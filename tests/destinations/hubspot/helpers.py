"""What the tests of the HubSpot destination share."""

import json
from collections.abc import Sequence
from typing import Any

from batcher.destinations._http.answers import Answer
from batcher.destinations.hubspot import HubSpot
from batcher.destinations.hubspot.answers import verdicts_of
from batcher.destinations.hubspot.requests import VERBS, Item, Lane, Paths, item_of
from batcher.outcomes import ErrorDetail, Refused, Rejected
from batcher.writes import Association, Write

TOKEN = "pat-na1-that-nobody-may-see"
GRANT = {"client_id": "app", "client_secret": "s3cret-nobody-sees", "refresh_token": "r3fresh-nobody-sees"}
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


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


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
