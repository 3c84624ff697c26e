"""Salesforce: through the writer, with both clients, on both loops."""

import json
from typing import Any

import anyio
import httpx
import pytest

from batcher import (
    AutoBatchPolicy,
    InvalidGroup,
    Limits,
    RecordNotWritten,
    RecordRejected,
    RecordUnknown,
    Rejected,
    RetryPolicy,
    RolledBack,
    Unknown,
    Writer,
    Written,
)
from batcher.destinations.salesforce import ApiUsage
from tests.destinations.salesforce.helpers import (
    LOCKED,
    NOW,
    ORG,
    ROLLED_BACK,
    TOKEN,
    bad,
    create,
    delete,
    fault,
    good,
    salesforce,
    sf_id,
    update,
    upsert,
    written,
)
from tests.destinations.service import AT_ONCE, ONCE, Service

pytestmark = pytest.mark.anyio


async def test_each_type_of_write_is_a_call_of_its_own(service: Service) -> None:
    """Method, address, body and headers as they arrive."""
    service.says(200, [good(7, created=True)])
    async with service.writer(headers={"Sforce-Mru": "updateMru=false"}) as crm:
        upserted = await crm.upsert("Contact", {"Ref__c": "a", "n": 1}, by="Ref__c")
        outcomes = await crm.submit_all(
            [update(1), delete(2), delete(3), create({"LastName": "4"}, headers={"Sforce-Auto-Assign": "FALSE"})]
        )

    assert upserted == Written(sf_id(7), {"created": True})
    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [sf_id(n) for n in (1, 2, 3, 4)]
    first, *others = service.requests
    root = f"{ORG}/services/data/v67.0/composite/sobjects"
    assert (first.method, str(first.url)) == ("PATCH", f"{root}/Contact/Ref__c")
    seen = {request.method: request for request in others}
    assert str(seen["PATCH"].url) == str(seen["POST"].url) == root
    assert str(seen["DELETE"].url) == f"{root}?ids={sf_id(2)},{sf_id(3)}&allOrNone=false"
    assert seen["DELETE"].content == b""
    assert {request.headers["sforce-mru"] for request in service.requests} == {"updateMru=false"}
    assert [request.headers.get("sforce-auto-assign") for request in (first, seen["POST"])] == [None, "FALSE"]


async def test_a_locked_row_is_tried_again_for_its_record_alone(service: Service) -> None:
    """Its neighbours have their outcome, and are not written twice."""
    service.says(200, [good(0), bad(LOCKED), good(2)])
    async with service.writer(AT_ONCE) as crm:
        outcomes = await crm.submit_all([create({"LastName": str(n)}) for n in range(3)])

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [sf_id(n) for n in range(3)]
    assert [[each["LastName"] for each in call] for call in service.calls] == [["0", "1", "2"], ["1"]]


async def test_p02_results_in_another_order_reach_nobody(service: Service) -> None:
    """Ids that contradict the order make every record unknown, also those that seem to fit."""
    service.says(200, [good(2), good(1), good(3)])
    async with service.writer() as crm:
        outcomes = await crm.submit_all([update(1), update(2), update(3)])

    assert [type(each) for each in outcomes] == [Unknown] * 3


async def test_p05_a_group_is_one_call(service: Service) -> None:
    """It says allOrNone; its culprit is named, the others were rolled back; a lock is tried again by all."""
    service.says(200, [bad(ROLLED_BACK), bad(LOCKED)])
    service.says(200, [bad(ROLLED_BACK), bad("INVALID_FIELD")])
    group = [create({"LastName": "1"}), create({"LastName": "2"})]
    async with service.writer(AT_ONCE) as crm:
        first, second = await crm.submit_all(group, all_or_none=True)
        good_group = await crm.submit_all(group, all_or_none=True)

    assert isinstance(first, RolledBack)
    assert (first.culprits, first.errors[0].code) == ((1,), "INVALID_FIELD")
    assert isinstance(second, Rejected)
    assert [type(each) for each in good_group] == [Written, Written]
    assert [json.loads(request.content)["allOrNone"] for request in service.requests] == [True] * 3


async def test_p06_writes_to_one_record_keep_their_order(service: Service) -> None:
    """By either way to write its id, or by its external id: never in one call, never at the same time."""
    service.script = [lambda records: (200, [good(int(each["n"])) for each in records])] * 3
    async with service.writer() as crm:
        same = [create_with(n) for n in ("a", "A", "b")]
        outcomes = await crm.submit_all(same)
    assert [len(call) for call in service.calls] == [2, 1]
    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [sf_id(97), sf_id(65), sf_id(98)]

    service.script, service.calls = [], []
    async with service.writer() as crm:
        await crm.submit_all([update(1), delete(1, length=15), update(2)])
    assert service.calls[-1] == [sf_id(1, 15)]
    assert len(service.calls) == 2


def create_with(value: str) -> Any:
    write = upsert(value)
    return type(write)(write.object, write.type, {**write.record, "n": ord(value)}, by=write.by)


async def test_p07_throttled_is_not_written_and_broken_is_unknown(service: Service) -> None:
    """Over the limit nothing was applied; after 500 nobody can say."""
    service.says(403, fault("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."))
    service.says(500, fault("UNKNOWN_EXCEPTION"))
    async with service.writer() as crm:
        with pytest.raises(RecordNotWritten, match="REQUEST_LIMIT_EXCEEDED"):
            await crm.create("Contact", {"LastName": "1"})
        with pytest.raises(RecordUnknown, match="HTTP 500"):
            await crm.create("Contact", {"LastName": "1"})


async def test_a_time_to_come_back_is_compared_to_the_wall_clock(service: Service) -> None:
    """A time beyond the deadline is not waited for."""
    service.headers["retry-after"] = "Mon, 12 Jan 1970 14:46:40 GMT"  # NOW + 3,600 s
    service.says(429, [])
    async with service.writer(RetryPolicy(deadline=5), clock=lambda: NOW) as crm:
        with pytest.raises(RecordNotWritten):
            await crm.create("Contact", {"LastName": "1"})


async def test_the_usage_of_the_org_is_surfaced(service: Service) -> None:
    """As the last answer that had it said, whatever its status."""
    destination = salesforce(client=service.client)
    async with Writer(destination, retry=ONCE) as crm:
        assert destination.limits is None
        service.headers["Sforce-Limit-Info"] = "api-usage=18/5000"
        await crm.create("Contact", {"LastName": "1"})
        assert destination.limits == ApiUsage(used=18, allowed=5000)
        service.headers["Sforce-Limit-Info"] = "api-usage=5001/5000"
        service.says(403, fault("REQUEST_LIMIT_EXCEEDED"))
        await crm.submit_all([create()])
        assert destination.limits == ApiUsage(5001, 5000)
        del service.headers["Sforce-Limit-Info"]
        await crm.create("Contact", {"LastName": "1"})
        assert destination.limits == ApiUsage(5001, 5000)


async def test_p13_the_token_and_the_payload_stay_out_of_errors(service: Service) -> None:
    """What Salesforce says, only the caller of the record can read."""
    service.says(200, [bad("INVALID_EMAIL_ADDRESS", f"invalid: {TOKEN}")])
    async with service.writer() as crm:
        with pytest.raises(RecordRejected) as caught:
            await crm.create("Contact", {"Email": TOKEN})

    assert TOKEN not in str(caught.value) + repr(caught.value) + repr(caught.value.outcome) + repr(crm)
    assert "INVALID_EMAIL_ADDRESS" in str(caught.value)


async def test_p10_calls_with_records_of_one_parent_do_not_overlap() -> None:
    """However many records wait, each partition has one call out; the others travel meanwhile, in full batches."""
    out: dict[str, int] = {}
    most: dict[str, int] = {}
    sizes: list[int] = []

    async def slow(request: httpx.Request) -> httpx.Response:
        records = json.loads(request.content)["records"]
        parents = {record["AccountId"] for record in records}
        sizes.append(len(records))
        for parent in parents:
            out[parent] = out.get(parent, 0) + 1
            most[parent] = max(most.get(parent, 0), out[parent])
        together.append(sum(out.values()))
        await anyio.lowlevel.checkpoint()
        for parent in parents:
            out[parent] -= 1
        return httpx.Response(200, json=written(records)[1])

    together: list[int] = []
    parents = [sf_id(n) for n in range(8)]
    async with httpx.AsyncClient(transport=httpx.MockTransport(slow)) as client:
        destination = salesforce(client=client, keep_together="AccountId")
        policy = AutoBatchPolicy(max_records=10)
        async with Writer(destination, auto_batch=policy, limits=Limits(max_lane_in_flight=9)) as crm:
            writes = [create({"LastName": str(n), "AccountId": parents[n % 8]}) for n in range(400)]
            outcomes = await crm.submit_all(writes)
            with pytest.raises(InvalidGroup, match="whatever else the destination keeps apart"):
                await crm.submit_all(writes[:8], all_or_none=True)

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [sf_id(n) for n in range(400)]
    assert set(most.values()) == {1}
    assert max(together) > 2  # other parents do travel at the same time
    assert len(sizes) <= 400 / 10 + 4
