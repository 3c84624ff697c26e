"""Ampersand: through the writer, with both clients, on both loops."""

from typing import Any

import pytest

from batcher import (
    Accepted,
    AutoBatchPolicy,
    InvalidGroup,
    RecordNotWritten,
    RetryPolicy,
    RolledBack,
    Write,
    Writer,
    Written,
)
from batcher.errors import BatcherError, BatcherNotOpen
from tests.destinations import loopback
from tests.destinations.ampersand.helpers import ampersand, counted, create, delete, good, update
from tests.destinations.loopback import served
from tests.destinations.service import Service

pytestmark = pytest.mark.anyio


async def test_p02_shuffled_creates_reach_their_callers_by_their_data(service: Service) -> None:
    """HubSpot answers in random order; the echo, not the position, says whose id it is."""
    echoes = [good(f"id of {n}", {"email": f"{n}@x"}) for n in (2, 0, 1)]
    service.says(200, counted(3, 0, echoes))
    async with service.writer(provider="hubspot") as crm:
        outcomes = await crm.submit_all([create({"email": f"{n}@X"}) for n in range(3)])

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [f"id of {n}" for n in range(3)]


async def test_p05_a_group_is_one_call(service: Service) -> None:
    """It says allOrNone; if it fails, each member is told, and where the provider cannot, nothing is sent."""
    service.says(422, counted(0, 2, None, ["Batch write failed: provider rolled back all records"]))
    group = [create({"email": "a"}), create({"email": "b"})]
    async with service.writer(provider="hubspot") as crm:
        outcomes = await crm.submit_all(group, all_or_none=True)
        with pytest.raises(InvalidGroup, match="all or none"):
            await crm.submit_all([update("1"), update("2")], all_or_none=True)

    assert [type(each) for each in outcomes] == [RolledBack, RolledBack]
    assert [call["batchPolicy"] for call in service.calls] == [{"allOrNone": True}]


async def test_p06_an_update_and_a_delete_of_one_record_keep_their_order(service: Service) -> None:
    """They are different calls, and the second waits for the first; deletes go one by one."""
    async with service.writer(provider=None) as crm:
        outcomes = await crm.submit_all([update("1"), delete("1"), delete("2")])

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == ["1", "1", "2"]
    first = [call["type"] for call in service.calls if call["record"]["id"] == "1"]
    assert first == ["update", "delete"]
    assert len(service.calls) == 3


async def test_a_time_to_come_back_is_compared_to_the_wall_clock(service: Service) -> None:
    """A time beyond the deadline is not waited for; one that has passed is now."""
    now = 1_800_000_000.0
    for moment in ("2027-01-15T08:01:00Z", "2027-01-15T07:59:00Z"):  # 60 s after, 60 s before
        service.says(503, {"retryAfter": moment})
    destination = service.destination(provider=None, clock=lambda: now)
    policy = RetryPolicy(deadline=5, backoff_base=0)
    async with Writer(destination, retry=policy, auto_batch=AutoBatchPolicy(max_delay=0.0)) as crm:
        with pytest.raises(RecordNotWritten):
            await crm.create("contacts", {"email": "a"})
        assert isinstance(await crm.create("leads", {"email": "a"}), Written)


async def test_asynchronous_writes_are_accepted_and_their_operation_is_read(service: Service) -> None:
    """The handle comes at once; waiting asks until the service is done."""
    running = {"id": "op/1", "status": "in_progress"}
    done = {"id": "op/1", "status": "success", "result": "1 succeeded", "metadata": {"successfulRecordIds": ["7", 8]}}
    for reply in ({"operationId": "op/1"}, running, running, done):
        service.says(200, reply)
    destination = service.destination(provider=None, mode="asynchronous")
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
    """It is an error in words, and never the operation of somebody else."""
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
    """Reading changes nothing, so that trouble on the way is an error and not a question of what was applied."""
    async with served(loopback.resets_after_reading) as url, ampersand(platform_url=url) as destination:
        with pytest.raises(BatcherError, match="cannot be read"):
            await destination.operation("op")
