"""HttpBatch: through the writer, with both clients, on both loops."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest

from batcher import InvalidRecord, RecordNotWritten, RecordRejected, RolledBack, Write, Writer
from batcher.destinations.http_batch import Call, Request
from batcher.outcomes import Refused, Retry, Written
from tests.destinations import loopback
from tests.destinations.http_batch.helpers import http_batch
from tests.destinations.loopback import answers, response, served
from tests.destinations.service import ONCE, Service

pytestmark = pytest.mark.anyio


async def test_p05_a_group_is_one_call(service: Service) -> None:
    """The function is told; a refused group is rolled back whole."""
    groups: list[bool] = []

    def request(call: Call) -> Request:
        groups.append(call.all_or_none)
        return Request("POST", "/x", json={"records": call.items})

    writes = [Write("a", "create", {"n": n, "bad": n == 1}) for n in range(3)]
    async with service.writer(request=request, all_or_none=True) as crm:
        outcomes = await crm.submit_all(writes, all_or_none=True)
        await crm.create("a", {"n": 1})

    assert all(isinstance(each, RolledBack) for each in outcomes)
    assert groups == [True, False]


async def test_p04_what_request_raises_costs_the_culprit_only(service: Service) -> None:
    """Nothing was sent of a call that could not be made: the search needs no network."""

    def request(call: Call) -> Request:
        return Request("POST", "/x", json={"records": [{"n": item.record["n"]} for item in call.items]})

    async with service.writer(request=request) as crm:
        records = [{"n": 0}, {"m": 1}, {"n": 2}, {"n": 3}]
        outcomes = await crm.submit_all([Write("a", "create", record) for record in records])
        with pytest.raises(RecordRejected) as caught:
            await crm.create("a", {"m": 1})

    assert [each.kind for each in outcomes] == ["written", "rejected", "written", "written"]
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.applied == "no"
    assert {"m": 1} not in [record for call in service.calls for record in call]


@pytest.mark.parametrize(("raised", "error"), [(Retry("no token"), RecordNotWritten), (Refused("no"), RecordRejected)])
async def test_request_may_raise_a_verdict(service: Service, raised: Any, error: Any) -> None:
    """Of the whole call, which was not sent."""

    def request(call: Call) -> Request:
        raise raised

    async with service.writer(request=request) as crm:
        with pytest.raises(error):
            await crm.create("a", {"n": 1})
    assert service.calls == []


async def test_bodies_that_come_out_too_long_are_halved(service: Service) -> None:
    """What request() adds may be more than was said; no body beyond the limit is sent, and no record is lost."""

    def request(call: Call) -> Request:
        return Request("POST", "/x", json={"records": [{**item.record, "pad": "x" * 200} for item in call.items]})

    async with service.writer(request=request, max_bytes=1000) as crm:
        outcomes = await crm.submit_all([Write("a", "create", {"n": n}) for n in range(16)])
        with pytest.raises(RecordRejected, match="BODY_TOO_LONG"):
            await crm.create("a", {"n": "x" * 800})
        with pytest.raises(InvalidRecord):
            await crm.create("a", {"n": "x" * 2000})

    assert outcomes == [Written(f"id of {n}") for n in range(16)]
    assert all(len(request.content) <= 1000 for request in service.requests)


async def test_batches_are_cut_to_fit_if_the_overhead_is_told(service: Service) -> None:
    """No call has to be halved then."""
    made: list[int] = []

    def request(call: Call) -> Request:
        made.append(len(call.items))
        return Request("POST", "/x", json={"records": [{**item.record, "pad": "x" * 200} for item in call.items]})

    async with service.writer(max_delay=5.0, request=request, max_bytes=1000, overhead=210) as crm:
        outcomes = await crm.submit_all([Write("a", "create", {"n": n}) for n in range(16)])

    assert all(each.ok for each in outcomes)
    assert made == [4, 4, 4, 4]


async def test_p06_writes_of_one_record_go_one_after_the_other(service: Service) -> None:
    """Without a word of the user's: an update is known by its id."""
    async with service.writer() as crm:
        await crm.submit_all([Write("a", "update", {"id": "7", "n": n}) for n in range(3)])

    assert [[record["n"] for record in call] for call in service.calls] == [[0], [1], [2]]


@pytest.fixture(params=[None, httpx, httpx2], ids=["own", "httpx", "httpx2"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param is None:
        yield None
    else:
        async with request.param.AsyncClient() as made:
            yield made


async def test_p07_a_job_over_a_connection_that_breaks(client: Any) -> None:
    """A question that is reset is asked again; the write is not."""
    job = response({"job": "/jobs/1"})
    questions = ["/jobs/1", None]
    async with served(answers(job), loopback.resets_after_reading, answers(response(b'[{"ok": "1"}]'))) as url:
        destination = http_batch(url, client=client, poll=lambda *_: questions.pop(0), poll_interval=0.0)
        async with Writer(destination, retry=ONCE) as crm:
            assert (await crm.create("a", {"n": 1})).record_id == "1"
