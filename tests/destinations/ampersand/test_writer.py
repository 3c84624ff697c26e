"""Ampersand: through the writer, with both clients, on both loops."""

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import httpx2
import pytest

from batcher import (
    Accepted,
    AutoBatchPolicy,
    InvalidGroup,
    RecordNotWritten,
    RecordUnknown,
    Rejected,
    RetryPolicy,
    RolledBack,
    Unknown,
    Write,
    Writer,
    Written,
)
from batcher.destinations import Ampersand
from batcher.errors import BatcherError, BatcherNotOpen
from tests.api import gather
from tests.destinations import loopback
from tests.destinations.ampersand.helpers import KEY, ampersand, counted, create, delete, good, update
from tests.destinations.loopback import answers, response, served

pytestmark = pytest.mark.anyio

# One try per record, so that no test waits for a backoff.
ONCE = RetryPolicy(max_attempts=1)


class Service:
    """A scripted Write API behind a mock transport; by default it writes everything."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.script: list[Callable[[dict[str, Any]], tuple[int, Any]]] = []
        self.calls: list[dict[str, Any]] = []
        self.requests: list[Any] = []
        self.client = module.AsyncClient(transport=module.MockTransport(self.answer))

    def answer(self, request: Any) -> Any:
        body = json.loads(request.content) if request.content else {}
        self.requests.append(request)
        self.calls.append(body)
        status, reply = self.script.pop(0)(body) if self.script else (200, written(body))
        return self.module.Response(status, json=reply)

    def says(self, status: int, reply: Any) -> None:
        self.script.append(lambda body: (status, reply))

    def destination(self, **options: Any) -> Ampersand:
        return ampersand(client=self.client, **options)

    def writer(self, **options: Any) -> Writer:
        return Writer(self.destination(**options), retry=ONCE, auto_batch=AutoBatchPolicy(max_delay=0.0))


def written(body: dict[str, Any]) -> Any:
    if "record" in body:
        return {"operationId": "op", "result": good("single")}
    results = [good(f"id of {each['record'].get('email')}") for each in body["batch"]]
    return counted(len(results), 0, results)


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    service = Service(request.param)
    async with service.client:
        yield service


async def test_a_batch_travels_in_one_call_and_each_caller_gets_its_own_id(service: Service) -> None:
    """
    150 callers, two calls, as many ids, each of its own record.
    """
    async with service.writer(provider="salesforce") as crm:
        calls = [partial(crm.create, "contacts", {"email": str(n)}) for n in range(150)]
        results = await gather(*calls)

    assert [each.record_id for each in results] == [f"id of {n}" for n in range(150)]
    assert [len(call["batch"]) for call in service.calls] == [100, 50]
    assert str(service.requests[0].url) == (
        "https://write.withampersand.com/v1/projects/p/integrations/i/objects/contacts"
    )
    assert service.requests[0].headers["x-api-key"] == KEY


async def test_p02_shuffled_creates_reach_their_callers_by_their_data(service: Service) -> None:
    """
    HubSpot answers in random order; the echo, not the position, says whose id it is.
    """
    echoes = [good(f"id of {n}", {"email": f"{n}@x"}) for n in (2, 0, 1)]
    service.says(200, counted(3, 0, echoes))
    async with service.writer(provider="hubspot") as crm:
        outcomes = await crm.submit_all([create({"email": f"{n}@X"}) for n in range(3)])

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [f"id of {n}" for n in range(3)]


async def test_p04_a_refused_batch_costs_only_its_culprit(service: Service) -> None:
    """
    The service refuses a batch without saying which record: it is found by halving.
    """

    def picky(body: dict[str, Any]) -> tuple[int, Any]:
        records = [each["record"] for each in body.get("batch", [body])]
        if any(record["email"] == "3" for record in records):
            failure = {"operationId": "op", "errors": [{"message": "Contact already exists"}]}
            return 422, failure if "record" in body else counted(0, len(records), None, ["Contact already exists"])
        return 200, written(body)

    service.script = [picky] * 20
    async with service.writer(provider="hubspot") as crm:
        outcomes = await crm.submit_all([create({"email": str(n)}) for n in range(8)])

    assert [type(each) for each in outcomes] == [Written] * 3 + [Rejected] + [Written] * 4


async def test_p05_a_group_is_one_call(service: Service) -> None:
    """
    It says allOrNone; if it fails, each member is told, and where the provider cannot, nothing is sent.
    """
    service.says(422, counted(0, 2, None, ["Batch write failed: provider rolled back all records"]))
    group = [create({"email": "a"}), create({"email": "b"})]
    async with service.writer(provider="hubspot") as crm:
        outcomes = await crm.submit_all(group, all_or_none=True)
        with pytest.raises(InvalidGroup, match="all or none"):
            await crm.submit_all([update("1"), update("2")], all_or_none=True)

    assert [type(each) for each in outcomes] == [RolledBack, RolledBack]
    assert [call["batchPolicy"] for call in service.calls] == [{"allOrNone": True}]


async def test_p06_an_update_and_a_delete_of_one_record_keep_their_order(service: Service) -> None:
    """
    They are different calls, and the second waits for the first; deletes go one by one.
    """
    async with service.writer() as crm:
        outcomes = await crm.submit_all([update("1"), delete("1"), delete("2")])

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == ["1", "1", "2"]
    first = [call["type"] for call in service.calls if call["record"]["id"] == "1"]
    assert first == ["update", "delete"]
    assert len(service.calls) == 3


async def test_p07_throttled_is_not_written_and_broken_is_unknown(service: Service) -> None:
    """
    429 applied nothing; after 500 nobody can say.
    """
    service.says(429, {"retryable": True})
    service.says(500, {"detail": "oops"})
    async with service.writer() as crm:
        with pytest.raises(RecordNotWritten):
            await crm.create("contacts", {"email": "a"})
        with pytest.raises(RecordUnknown):
            await crm.create("contacts", {"email": "a"})


async def test_a_time_to_come_back_is_compared_to_the_wall_clock(service: Service) -> None:
    """
    A time beyond the deadline is not waited for; one that has passed is now.
    """
    now = 1_800_000_000.0
    for moment in ("2027-01-15T08:01:00Z", "2027-01-15T07:59:00Z"):  # 60 s after, 60 s before
        service.says(503, {"retryAfter": moment})
    destination = service.destination(clock=lambda: now)
    policy = RetryPolicy(deadline=5, backoff_base=0)
    async with Writer(destination, retry=policy, auto_batch=AutoBatchPolicy(max_delay=0.0)) as crm:
        with pytest.raises(RecordNotWritten):
            await crm.create("contacts", {"email": "a"})
        assert isinstance(await crm.create("leads", {"email": "a"}), Written)


async def test_p13_the_key_and_the_payload_stay_out_of_errors(service: Service) -> None:
    """
    A wrong key is told in words of our own.
    """
    service.says(401, {"detail": f"the key {KEY} is wrong"})
    async with service.writer() as crm:
        with pytest.raises(RecordNotWritten) as caught:
            await crm.create("contacts", {"email": "a"})

    assert KEY not in str(caught.value) + repr(caught.value) + repr(caught.value.outcome) + repr(crm)
    assert "HTTP 401: the service does not accept the API key" in str(caught.value)


async def test_asynchronous_writes_are_accepted_and_their_operation_is_read(service: Service) -> None:
    """
    The handle comes at once; waiting asks until the service is done.
    """
    running = {"id": "op/1", "status": "in_progress"}
    done = {"id": "op/1", "status": "success", "result": "1 succeeded", "metadata": {"successfulRecordIds": ["7", 8]}}
    for reply in ({"operationId": "op/1"}, running, running, done):
        service.says(200, reply)
    destination = service.destination(mode="asynchronous")
    async with Writer(destination, auto_batch=AutoBatchPolicy(max_delay=0.0)) as crm:
        receipt = await crm.enqueue(Write("contacts", "create", {"email": "a"}))
        assert await receipt == Accepted("op/1")
        assert not (await destination.operation("op/1")).ended
        operation = await destination.operation("op/1", wait=True, poll_interval=0)

    assert (operation.status, operation.result, operation.successful_record_ids) == ("success", "1 succeeded", ("7",))
    assert service.calls[0]["mode"] == "asynchronous"
    assert service.requests[-1].method == "GET"
    assert str(service.requests[-1].url) == "https://api.withampersand.com/v1/projects/p/operations/op%2F1"


@pytest.mark.parametrize(
    ("status", "reply", "words"),
    [
        (404, {"detail": "Operation not found"}, "HTTP 404.*Operation not found"),
        (200, {"id": "other", "status": "success"}, "not that operation"),
        (200, {"id": "op"}, "not that operation"),
        (200, [], "not that operation"),
    ],
)
async def test_an_operation_that_cannot_be_read(service: Service, status: int, reply: Any, words: str) -> None:
    """
    It is an error in words, and never the operation of somebody else.
    """
    service.says(status, reply)
    async with service.destination() as destination:
        with pytest.raises(BatcherError, match=words):
            await destination.operation("op")
        service.says(200, {"id": "op", "status": "failure", "result": 1, "metadata": {"successfulRecordIds": None}})
        assert (await destination.operation("op")).successful_record_ids == ()
        service.says(200, {"id": "op", "status": "failure"})
        assert (await destination.operation("op")).result is None
        with pytest.raises(ValueError, match="poll_interval must be finite"):
            await destination.operation("op", poll_interval=float("inf"))
        with pytest.raises(ValueError, match="operation_id must be a name"):
            await destination.operation("")
    with pytest.raises(BatcherNotOpen):
        await destination.operation("op")


async def test_an_operation_of_a_service_that_is_down() -> None:
    """
    Reading changes nothing, so that trouble on the way is an error and not a question of what was applied.
    """
    async with served(loopback.resets_after_reading) as url, ampersand(platform_url=url) as destination:
        with pytest.raises(BatcherError, match="cannot be read"):
            await destination.operation("op")


async def test_over_a_real_socket_each_trouble_has_its_outcome() -> None:
    """
    The client made here, a server that writes, breaks, refuses, babbles and stops half-way: every caller is told.
    """
    behaviours = [
        answers(response({"operationId": "op", "result": good("7")})),
        loopback.resets_before_reading,
        loopback.resets_after_reading,
        answers(b"garbage\r\n\r\n"),
        answers(response(b'{"operationId"', 200, 1000)),
        loopback.never_ends,
        answers(response(b"required field not found", 400)),
        answers(response(b"", 429)),
    ]
    outcomes: list[Any] = []
    async with served(*behaviours) as url:
        destination = ampersand(base_url=url, max_answer_bytes=100_000)
        async with Writer(destination, retry=ONCE, auto_batch=AutoBatchPolicy(max_delay=0.0)) as crm:
            for n in range(len(behaviours)):
                outcomes += await crm.submit_all([create({"email": "a"}, object=f"o{n}")])

    kinds = [each.kind for each in outcomes]
    assert kinds == ["written"] + ["unknown"] * 5 + ["rejected", "not_written"]
    assert all(isinstance(each, Unknown) for each in outcomes[1:6])
