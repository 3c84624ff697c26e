"""Elasticsearch ``_bulk``: NDJSON, and one result per action, in order. HTTP 200 even if every one failed."""

from typing import Any

from batcher import Rejected, Retry, Written
from batcher.destinations.http_batch import Answer, Call, HttpBatch, Item, Request, details, in_order


def elasticsearch(url: str, *, api_key: str, **options: Any) -> HttpBatch:
    """Write documents: the object of a write is the index."""

    def request(call: Call) -> Request:
        lines: list[Any] = []
        for item in call.items:
            if call.type.value == "create":
                lines += [{"create": {}}, item]
                continue
            document = item.record
            lines += [{call.type.value: {"_id": document.pop("id")}}]
            lines += [{"doc": document}] if document else []  # a delete has nothing but the id
        return Request("POST", f"/{call.object}/_bulk", lines=lines)

    def fate(entry: Any) -> Written | Rejected | Retry:
        (result,) = entry.values()  # {"create": {...}}
        if result["status"] in (429, 503):  # a full queue took nothing; a shard that is away may have
            return Retry("busy", pause_lane=True, applied="no" if result["status"] == 429 else "maybe")
        if result["status"] >= 300:
            return Rejected(details(result.get("error"), f"HTTP_{result['status']}"))
        return Written(result["_id"])

    def matches(entry: Any, item: Item) -> bool:
        return bool(entry[next(iter(entry))]["_id"] == item.record["id"])

    def read(answer: Answer, call: Call) -> list[Any]:
        return in_order(answer.json["items"], call, fate, matches=None if call.type.value == "create" else matches)

    options = {"max_records": 1000, "max_bytes": 10_000_000, "overhead": 64, **options}
    headers, safe = {"authorization": f"ApiKey {api_key}"}, ("update", "delete")
    options |= {"types": ("create", *safe), "idempotent": safe, "headers": headers}
    return HttpBatch(url, request=request, read=read, **options)
