"""What the tests of HttpBatch share."""

import json
from collections.abc import Sequence
from typing import Any

from batcher.destinations._http.encoding import encode
from batcher.destinations.http_batch import Answer, Call, HttpBatch, Item, Request
from batcher.destinations.http_batch.answers import verdicts_of
from batcher.outcomes import Refused, Rejected, Retry, Unknown, Written
from batcher.writes import WriteType
from tests.destinations.service import SECRET, Kind
from tests.destinations.service import answer as answer  # handed on to the tests

KEY = f"key-{SECRET}"
NOW = 1_000_000.0


def call_of(*records: Any, type: str = "create", **options: Any) -> Call:
    """A call with these records; numbers stand for records of their own."""
    items = tuple(Item(encode(each if isinstance(each, dict) else {"n": each})) for each in records)
    return Call(options.pop("object", "contacts"), WriteType(type), items, **options)


def fate(entry: Any) -> Any:
    """Entries of the tests: {"ok": id}, {"bad": code} or {"later": ...}."""
    if "ok" in entry:
        return Written(entry["ok"])
    if "bad" in entry:
        return Rejected(entry["bad"])
    if "later" in entry:
        raise Retry("later")
    return entry["none"]  # a plain value, or a KeyError


def kinds(verdicts: Sequence[Any]) -> str:
    """A letter per verdict: written, rejected, again, unknown."""
    return "".join(letter_of(verdict) for verdict in verdicts)


def letter_of(verdict: Any) -> str:
    letters = {Written: "w", Rejected: "r", Retry: "a", Unknown: "?"}
    return letters[type(verdict)]


def read(reply: Answer, reader: Any = None, call: Call | None = None, statuses: Any = ()) -> list[Any]:
    """What an answer means for two records, or those of the call."""
    return verdicts_of(reply, call or call_of(1, 2), reader or unasked, statuses=statuses, now=NOW)


def unasked(reply: Answer, call: Call) -> Any:
    raise AssertionError("read() was asked")


def http_batch(url: str = "https://api.example.com", **options: Any) -> HttpBatch:
    """A destination that takes every type, and an answer per record, in order."""

    def request(call: Call) -> Request:
        return Request("POST", f"/{call.object}/batch", json={"records": call.items})

    def reading(reply: Answer, call: Call) -> Any:
        return [fate(entry) for entry in reply.json]

    types = ("create", "update", "upsert", "delete")
    return HttpBatch(url, **{"request": request, "read": reading, "types": types, **options})


def refusal(function: Any, *arguments: Any, **options: Any) -> Any:
    """The Retry or Refused that is raised."""
    try:
        function(*arguments, **options)
    except (Retry, Refused) as raised:
        return raised
    raise AssertionError("nothing was raised")


def records_of(request: Any) -> Any:
    return json.loads(request.content)["records"]


def written(records: Any) -> tuple[int, Any]:
    """An answer in order; the whole call is refused if a record of it is bad."""
    if any(record.get("bad") for record in records):
        return 422, {"error": {"type": "INVALID", "message": "no"}}
    return 200, [{"ok": f"id of {record['n']}"} for record in records]


KIND = Kind(
    make=lambda **options: http_batch(**{"headers": {"Authorization": f"Bearer {KEY}"}, **options}),
    server="url",
    url="https://api.example.com/things/batch",
    headers={"authorization": f"Bearer {KEY}", "x-mru": "no", "content-type": "application/json"},
    max_records=100,
    fields=lambda number: {"n": number},
    write_options={"headers": {"X-Mru": "no"}},
    record_id=lambda number: f"id of {number}",
    call=records_of,
    numbers=lambda records: [record["n"] for record in records],
    written=written,
    refusal=lambda _: (422, {"error": {"type": "INVALID", "message": "no"}}),
    code="INVALID",
    credentials="credentials",
)
