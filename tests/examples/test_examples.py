"""The destinations to copy: each against the answers that its API documents, good and bad."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from batcher import AutoBatchPolicy, Outcome, RetryPolicy, Write, Writer
from batcher.destinations import HttpBatch
from tests.examples.airtable import airtable
from tests.examples.elasticsearch import elasticsearch
from tests.examples.sqs import sqs
from tests.examples.zendesk import zendesk

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
SECRET = "secret-of-the-tests"


class Api:
    """Answers from a script, and notes the requests."""

    def __init__(self, *script: tuple[int, Any]) -> None:
        self.script = list(script)
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(anyio.current_time())
        status, body = self.script.pop(0)
        return httpx.Response(status, json=body)

    async def outcomes(
        self, make: Callable[..., HttpBatch], *writes: Write, attempts: int = 1, **options: Any
    ) -> list[Outcome]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as client:
            policy = AutoBatchPolicy(max_delay=0.0)
            destination = make(client=client)
            async with Writer(destination, retry=RetryPolicy(max_attempts=attempts), auto_batch=policy) as writer:
                return await writer.submit_all(writes, **options)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def create(**record: Any) -> Write:
    return Write("things", "create", record)


def codes(outcomes: list[Any]) -> list[str]:
    """The kind of each outcome, with its id or the code of its first error."""
    return [
        f"{each.kind} {each.record_id}"
        if each.ok
        else f"{each.kind} {each.errors[0].code}"
        if hasattr(each, "errors")
        else each.kind
        for each in outcomes
    ]


def test_an_example_is_a_page() -> None:
    """
    Forty lines at most: short enough to be read before it is copied.
    """
    for path in HERE.glob("[!_t]*.py"):
        assert len(path.read_text().splitlines()) <= 40, path.name


# Elasticsearch

es = partial(elasticsearch, "https://es.example.com", api_key=SECRET)


def es_item(action: str, _id: str, status: int, **more: Any) -> Any:
    return {action: {"_index": "things", "_id": _id, "status": status, **more}}


async def test_elasticsearch_sends_lines_and_reads_items_in_order() -> None:
    """
    A document that cannot be parsed costs itself; a full queue is tried again, a shard that is away is unknown.
    """
    bad = {"type": "document_parsing_exception", "reason": "failed to parse field [n] of type [long]"}
    busy = {"type": "es_rejected_execution_exception", "reason": "rejected execution"}
    items = [
        es_item("create", "a", 201),
        es_item("create", "b", 400, error=bad),
        es_item("create", "c", 429, error=busy),
    ]
    api = Api((200, {"took": 3, "errors": True, "items": items}), (200, {"items": [es_item("create", "d", 201)]}))
    outcomes = await api.outcomes(es, create(n=1), create(n="x"), create(n=3), attempts=2)

    assert codes(outcomes) == ["written a", "rejected document_parsing_exception", "written d"]
    first, second = api.requests
    assert str(first.url) == "https://es.example.com/things/_bulk"
    assert first.headers["content-type"] == "application/x-ndjson"
    assert first.headers["authorization"] == f"ApiKey {SECRET}"
    assert first.content == b'{"create":{}}\n{"n":1}\n{"create":{}}\n{"n":"x"}\n{"create":{}}\n{"n":3}\n'
    assert second.content == b'{"create":{}}\n{"n":3}\n'


async def test_elasticsearch_updates_and_deletes_by_id() -> None:
    """
    What was not found is rejected; a shard that is away may have done it.
    """
    api = Api(
        (200, {"items": [es_item("update", "1", 200), es_item("update", "2", 503, error={"type": "unavailable"})]}),
        (200, {"items": [es_item("delete", "3", 404, result="not_found")]}),
    )
    updates = [Write("things", "update", {"id": str(n), "n": n}) for n in (1, 2)]
    outcomes = await api.outcomes(es, *updates, Write("things", "delete", {"id": "3"}))

    assert codes(outcomes) == ["written 1", "unknown", "rejected HTTP_404"]
    assert api.requests[0].content.startswith(b'{"update":{"_id":"1"}}\n{"doc":{"n":1}}\n{"update":{"_id":"2"}}')
    assert api.requests[1].content == b'{"delete":{"_id":"3"}}\n'


@pytest.mark.parametrize(("kind", "expected"), [("create", ["unknown"]), ("update", ["written 1"])])
async def test_p07_what_was_lost_is_sent_again_only_if_that_does_no_harm(kind: str, expected: list[str]) -> None:
    """
    A second update changes nothing; a second create would make a second document.
    """
    api = Api((502, {}), (200, {"items": [es_item(kind, "1", 200)]}))
    assert codes(await api.outcomes(es, Write("things", kind, {"id": "1", "n": 1}), attempts=2)) == expected


@pytest.mark.parametrize("ids", ["21", "1", "112"])
async def test_p02_elasticsearch_items_that_are_not_in_order(ids: str) -> None:
    """
    Updates show whose they are; a broken order or number gives nobody anything.
    """
    api = Api((200, {"items": [es_item("update", each, 200) for each in ids]}))
    outcomes = await api.outcomes(es, *(Write("things", "update", {"id": each, "n": 1}) for each in "12"))

    assert codes(outcomes) == ["unknown"] * 2


# SQS

queue = partial(sqs, "https://sqs.example.com", "https://sqs.example.com/1/q")


async def test_sqs_names_entries_by_position_and_reads_both_lists() -> None:
    """
    Sent, refused, in trouble (sent again), and one of which SQS says nothing.
    """
    failed = [
        {"Id": "2", "SenderFault": True, "Code": "InvalidParameterValue", "Message": "DelaySeconds"},
        {"Id": "1", "SenderFault": False, "Code": "InternalError"},
    ]
    api = Api(
        (200, {"Successful": [{"Id": "0", "MessageId": "a"}], "Failed": failed}),
        (200, {"Successful": [{"Id": "0", "MessageId": "b"}]}),
    )
    writes = [create(MessageBody=body) for body in "abc"] + [create(MessageBody="d", DelaySeconds=1)]
    outcomes = await api.outcomes(queue, *writes, attempts=2)

    assert codes(outcomes) == ["written a", "written b", "rejected InvalidParameterValue", "unknown"]
    assert api.requests[0].headers["x-amz-target"] == "AmazonSQS.SendMessageBatch"
    assert api.requests[0].headers["content-type"] == "application/x-amz-json-1.0"
    assert api.bodies[0]["QueueUrl"] == "https://sqs.example.com/1/q"
    assert api.bodies[0]["Entries"][3] == {"MessageBody": "d", "DelaySeconds": 1, "Id": "3"}
    assert api.bodies[1]["Entries"] == [{"MessageBody": "b", "Id": "0"}]


async def test_sqs_throttles_with_400() -> None:
    """
    Which is tried again; any other 400 is a refusal.
    """
    throttled = (400, {"__type": "com.amazonaws.sqs#RequestThrottled", "message": "slow down"})
    refused = (400, {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no queue"})
    sent = (200, {"Successful": [{"Id": "0", "MessageId": "a"}]})

    assert codes(await Api(throttled, sent).outcomes(queue, create(MessageBody="a"), attempts=2)) == ["written a"]
    outcomes = await Api(refused).outcomes(queue, create(MessageBody="a"))
    assert codes(outcomes) == ["rejected com.amazonaws.sqs#QueueDoesNotExist"]


# Airtable

base = partial(airtable, "app1", token=SECRET)


async def test_airtable_creates_and_updates_in_order() -> None:
    """
    Ten a call; ids and fields are those of the record.
    """
    answers = [
        [{"id": f"rec{n}", "fields": {"n": n}} for n in range(start, stop)] for start, stop in ((0, 10), (10, 11))
    ]
    api = Api(*((200, {"records": records}) for records in answers), (200, {"records": [{"id": "rec7", "fields": {}}]}))
    created = await api.outcomes(base, *(create(n=n) for n in range(11)))
    updated = await api.outcomes(base, Write("things", "update", {"id": "rec7", "n": 1}))

    assert codes([*created, *updated]) == [f"written rec{n}" for n in range(11)] + ["written rec7"]
    assert [request.method for request in api.requests] == ["POST", "POST", "PATCH"]
    assert str(api.requests[0].url) == "https://api.airtable.com/v0/app1/things"
    assert api.bodies[1:] == [
        {"records": [{"fields": {"n": 10}}]},
        {"records": [{"id": "rec7", "fields": {"n": 1}}]},
    ]


async def test_airtable_applies_a_call_as_a_whole() -> None:
    """
    One bad record refuses the call: without a group the others go again, in a group all are rolled back.
    """
    refusal = {"error": {"type": "INVALID_VALUE_FOR_COLUMN", "message": "Field n cannot accept the value"}}
    writes = [create(n=1), create(n="x")]

    api = Api((422, refusal), (200, {"records": [{"id": "rec1", "fields": {}}]}), (422, refusal))
    assert codes(await api.outcomes(base, *writes)) == ["written rec1", "rejected INVALID_VALUE_FOR_COLUMN"]
    outcomes = await Api((422, refusal)).outcomes(base, *writes, all_or_none=True)
    assert codes(outcomes) == ["rolled_back INVALID_VALUE_FOR_COLUMN"] * 2


async def test_airtable_shuts_a_base_for_thirty_seconds() -> None:
    """
    Without saying so in its answer.
    """
    api = Api((429, {"errors": [{"error": "RATE_LIMIT_REACHED"}]}), (200, {"records": [{"id": "rec1", "fields": {}}]}))
    outcomes = await api.outcomes(base, create(n=1), attempts=2)

    assert codes(outcomes) == ["written rec1"]
    assert api.times[1] - api.times[0] >= 30


async def test_p02_airtable_updates_that_are_not_in_order() -> None:
    """
    They show whose they are.
    """
    api = Api((200, {"records": [{"id": "rec2", "fields": {}}, {"id": "rec1", "fields": {}}]}))
    writes = [Write("things", "update", {"id": f"rec{n}", "n": 1}) for n in (1, 2)]

    assert codes(await api.outcomes(base, *writes)) == ["unknown"] * 2


# Zendesk

desk = partial(zendesk, "https://example.zendesk.com", email="ada@example.com", token=SECRET)
JOB = {"id": "j1", "url": "https://example.zendesk.com/api/v2/job_statuses/j1.json"}


def job(status: str, results: Any = None) -> tuple[int, Any]:
    return 200, {"job_status": {**JOB, "status": status, "results": results}}


async def test_zendesk_asks_the_job_until_it_ends() -> None:
    """
    Results name positions: created, refused, and one of which the job says nothing.
    """
    results = [
        {"index": 2, "error": "DuplicateValue", "details": "email taken"},
        {"index": 0, "id": 244},
        {"index": 3, "id": 246, "success": False, "message": "no"},
    ]
    api = Api(job("queued"), job("working"), job("completed", results))
    outcomes = await api.outcomes(desk, *(create(n=n) for n in range(4)))

    assert codes(outcomes) == ["written 244", "unknown", "rejected NO_REASON_GIVEN", "rejected NO_REASON_GIVEN"]
    assert [str(request.url) for request in api.requests[1:]] == [JOB["url"]] * 2
    assert str(api.requests[0].url) == "https://example.zendesk.com/api/v2/things/create_many.json"
    assert json.loads(api.requests[0].content) == {"things": [{"n": n} for n in range(4)]}
    assert api.requests[1].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize("status", ["failed", "killed"])
async def test_p07_a_zendesk_job_that_failed_may_have_created_some(status: str) -> None:
    """
    Those with a result are known, the others are not.
    """
    outcomes = await Api(job(status, [{"index": 1, "id": 7}])).outcomes(desk, create(n=0), create(n=1))
    assert codes(outcomes) == ["unknown", "written 7"]
    assert codes(await Api(job(status)).outcomes(desk, create(n=0))) == ["unknown"]


async def test_zendesk_imports_that_are_not_enabled() -> None:
    """
    403 is for each record alike.
    """
    api = Api((403, {"error": "Forbidden", "message": "Data imports are not enabled"}))
    assert codes(await api.outcomes(desk, create(n=0), create(n=1))) == ["rejected HTTP_403"] * 2
