"""Airtable: ten records a call, which is applied as a whole or not at all, and results in order."""

from typing import Any

from batcher import Retry, Written
from batcher.destinations.http_batch import Answer, Call, HttpBatch, Item, Request, in_order

LOCKOUT = 30.0  # seconds for which a base stays shut after 429, which has no Retry-After


def airtable(base: str, *, token: str, url: str = "https://api.airtable.com", **options: Any) -> HttpBatch:
    """Create and update records: the object of a write is the table."""

    def request(call: Call) -> Request:
        path = f"/v0/{base}/{call.object}"
        if call.type.value == "create":
            return Request("POST", path, json={"records": [{"fields": item} for item in call.items]})
        records = [{"id": fields.pop("id"), "fields": fields} for fields in (item.record for item in call.items)]
        return Request("PATCH", path, json={"records": records})

    def fate(entry: Any) -> Written:
        return Written(entry["id"], entry["fields"])

    def matches(entry: Any, item: Item) -> bool:
        return bool(entry["id"] == item.record["id"])

    def read(answer: Answer, call: Call) -> list[Any]:
        if answer.status == 429:
            raise Retry("HTTP 429", LOCKOUT, pause_lane=True)
        return in_order(answer.json["records"], call, fate, matches=matches if call.type.value == "update" else None)

    options = {"max_records": 10, "all_or_none": True, "statuses": {429}, "idempotent": "update", **options}
    headers, types = {"authorization": f"Bearer {token}"}, ("create", "update")
    return HttpBatch(url, request=request, read=read, types=types, headers=headers, **options)
