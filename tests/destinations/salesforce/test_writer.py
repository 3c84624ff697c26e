"""Salesforce: through the writer, with both clients, on both loops."""

import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import httpx
import httpx2
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
from batcher.destinations import Salesforce
from batcher.destinations.salesforce import ApiUsage
from batcher.errors import BatcherNotOpen
from tests.api import gather
from tests.destinations import loopback
from tests.destinations.loopback import answers, response, served
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
)
from tests.destinations.salesforce.org import AT_ONCE, ONCE, Org, written

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
async def org(request: pytest.FixtureRequest) -> AsyncIterator[Org]:
    org = Org(request.param)
    async with org.client:
        yield org


async def test_a_batch_travels_in_one_call_and_each_caller_gets_its_own_id(org: Org) -> None:
    """
    300 callers, two calls, as many ids, each of its own record.
    """
    async with org.writer() as crm:
        calls = [partial(crm.create, "Contact", {"LastName": str(n)}) for n in range(300)]
        results = await gather(*calls)

    assert [each.record_id for each in results] == [sf_id(n) for n in range(300)]
    assert [len(call) for call in org.calls] == [200, 100]
    request = org.requests[0]
    assert (request.method, str(request.url)) == ("POST", f"{ORG}/services/data/v67.0/composite/sobjects")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == "application/json"


async def test_each_type_of_write_is_a_call_of_its_own(org: Org) -> None:
    """
    Method, address, body and headers as they arrive.
    """
    org.says(200, [good(7, created=True)])
    async with org.writer(headers={"Sforce-Mru": "updateMru=false"}) as crm:
        upserted = await crm.upsert("Contact", {"Ref__c": "a", "n": 1}, by="Ref__c")
        outcomes = await crm.submit_all(
            [update(1), delete(2), delete(3), create({"LastName": "4"}, headers={"Sforce-Auto-Assign": "FALSE"})]
        )

    assert upserted == Written(sf_id(7), {"created": True})
    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [sf_id(n) for n in (1, 2, 3, 4)]
    first, *others = org.requests
    root = f"{ORG}/services/data/v67.0/composite/sobjects"
    assert (first.method, str(first.url)) == ("PATCH", f"{root}/Contact/Ref__c")
    seen = {request.method: request for request in others}
    assert str(seen["PATCH"].url) == str(seen["POST"].url) == root
    assert str(seen["DELETE"].url) == f"{root}?ids={sf_id(2)},{sf_id(3)}&allOrNone=false"
    assert seen["DELETE"].content == b""
    assert {request.headers["sforce-mru"] for request in org.requests} == {"updateMru=false"}
    assert [request.headers.get("sforce-auto-assign") for request in (first, seen["POST"])] == [None, "FALSE"]


async def test_p04_a_refused_batch_costs_only_its_culprit(org: Org) -> None:
    """
    A record that Salesforce cannot even parse makes it refuse the call: it is found by halving.
    """

    def picky(records: list[Any]) -> tuple[int, Any]:
        if any(record["LastName"] == "3" for record in records):
            return 400, fault("JSON_PARSER_ERROR", "Cannot deserialize instance of date")
        return 200, list(map(written, records))

    org.script = [picky] * 20
    async with org.writer() as crm:
        outcomes = await crm.submit_all([create({"LastName": str(n)}) for n in range(8)])

    assert [type(each) for each in outcomes] == [Written] * 3 + [Rejected] + [Written] * 4


async def test_a_locked_row_is_tried_again_for_its_record_alone(org: Org) -> None:
    """
    Its neighbours have their outcome, and are not written twice.
    """
    org.says(200, [good(0), bad(LOCKED), good(2)])
    async with org.writer(AT_ONCE) as crm:
        outcomes = await crm.submit_all([create({"LastName": str(n)}) for n in range(3)])

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [sf_id(n) for n in range(3)]
    assert [[each["LastName"] for each in call] for call in org.calls] == [["0", "1", "2"], ["1"]]


async def test_p02_results_in_another_order_reach_nobody(org: Org) -> None:
    """
    Ids that contradict the order make every record unknown, also those that seem to fit.
    """
    org.says(200, [good(2), good(1), good(3)])
    async with org.writer() as crm:
        outcomes = await crm.submit_all([update(1), update(2), update(3)])

    assert [type(each) for each in outcomes] == [Unknown] * 3


async def test_p05_a_group_is_one_call(org: Org) -> None:
    """
    It says allOrNone; its culprit is named, the others were rolled back; a lock is tried again by all.
    """
    org.says(200, [bad(ROLLED_BACK), bad(LOCKED)])
    org.says(200, [bad(ROLLED_BACK), bad("INVALID_FIELD")])
    group = [create({"LastName": "1"}), create({"LastName": "2"})]
    async with org.writer(AT_ONCE) as crm:
        first, second = await crm.submit_all(group, all_or_none=True)
        good_group = await crm.submit_all(group, all_or_none=True)

    assert isinstance(first, RolledBack)
    assert (first.culprits, first.errors[0].code) == ((1,), "INVALID_FIELD")
    assert isinstance(second, Rejected)
    assert [type(each) for each in good_group] == [Written, Written]
    assert [json.loads(request.content)["allOrNone"] for request in org.requests] == [True] * 3


async def test_p06_writes_to_one_record_keep_their_order(org: Org) -> None:
    """
    By either way to write its id, or by its external id: never in one call, never at the same time.
    """
    org.script = [lambda records: (200, [good(int(each["n"])) for each in records])] * 3
    async with org.writer() as crm:
        same = [create_with(n) for n in ("a", "A", "b")]
        outcomes = await crm.submit_all(same)
    assert [len(call) for call in org.calls] == [2, 1]
    assert [each.record_id for each in outcomes if isinstance(each, Written)] == [sf_id(97), sf_id(65), sf_id(98)]

    org.script, org.calls = [], []
    async with org.writer() as crm:
        await crm.submit_all([update(1), delete(1, length=15), update(2)])
    assert org.calls[-1] == [sf_id(1, 15)]
    assert len(org.calls) == 2


def create_with(value: str) -> Any:
    write = upsert(value)
    return type(write)(write.object, write.type, {**write.record, "n": ord(value)}, by=write.by)


async def test_p07_throttled_is_not_written_and_broken_is_unknown(org: Org) -> None:
    """
    Over the limit nothing was applied; after 500 nobody can say.
    """
    org.says(403, fault("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."))
    org.says(500, fault("UNKNOWN_EXCEPTION"))
    async with org.writer() as crm:
        with pytest.raises(RecordNotWritten, match="REQUEST_LIMIT_EXCEEDED"):
            await crm.create("Contact", {"LastName": "1"})
        with pytest.raises(RecordUnknown, match="HTTP 500"):
            await crm.create("Contact", {"LastName": "1"})


async def test_a_time_to_come_back_is_compared_to_the_wall_clock(org: Org) -> None:
    """
    A time beyond the deadline is not waited for.
    """
    org.headers["retry-after"] = "Mon, 12 Jan 1970 14:46:40 GMT"  # NOW + 3,600 s
    org.says(429, [])
    async with org.writer(RetryPolicy(deadline=5), clock=lambda: NOW) as crm:
        with pytest.raises(RecordNotWritten):
            await crm.create("Contact", {"LastName": "1"})


async def test_the_usage_of_the_org_is_surfaced(org: Org) -> None:
    """
    As the last answer that had it said, whatever its status.
    """
    destination = salesforce(client=org.client)
    async with Writer(destination, retry=ONCE) as crm:
        assert destination.limits is None
        org.headers["Sforce-Limit-Info"] = "api-usage=18/5000"
        await crm.create("Contact", {"LastName": "1"})
        assert destination.limits == ApiUsage(used=18, allowed=5000)
        org.headers["Sforce-Limit-Info"] = "api-usage=5001/5000"
        org.says(403, fault("REQUEST_LIMIT_EXCEEDED"))
        await crm.submit_all([create()])
        assert destination.limits == ApiUsage(5001, 5000)
        del org.headers["Sforce-Limit-Info"]
        await crm.create("Contact", {"LastName": "1"})
        assert destination.limits == ApiUsage(5001, 5000)


async def test_p13_the_token_and_the_payload_stay_out_of_errors(org: Org) -> None:
    """
    What Salesforce says, only the caller of the record can read.
    """
    org.says(200, [bad("INVALID_EMAIL_ADDRESS", f"invalid: {TOKEN}")])
    async with org.writer() as crm:
        with pytest.raises(RecordRejected) as caught:
            await crm.create("Contact", {"Email": TOKEN})

    assert TOKEN not in str(caught.value) + repr(caught.value) + repr(caught.value.outcome) + repr(crm)
    assert "INVALID_EMAIL_ADDRESS" in str(caught.value)


async def test_p10_calls_with_records_of_one_parent_do_not_overlap() -> None:
    """
    However many records wait, each partition has one call out; the others travel meanwhile, in full batches.
    """
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
        return httpx.Response(200, json=list(map(written, records)))

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


async def test_over_a_real_socket_each_trouble_has_its_outcome() -> None:
    """
    The client made here, a server that writes, breaks, refuses, babbles and stops half-way: every caller is told.
    """
    behaviours = [
        answers(response(json.dumps([good(7)]).encode())),
        loopback.resets_before_reading,
        loopback.resets_after_reading,
        answers(b"garbage\r\n\r\n"),
        answers(response(b'[{"id":"003', 200, 1000)),
        loopback.never_ends,
        answers(response(json.dumps(fault("INVALID_FIELD")).encode(), 400)),
        answers(response(b"", 429)),
    ]
    outcomes: list[Any] = []
    async with served(*behaviours) as url:
        destination = salesforce(instance_url=url, max_answer_bytes=100_000)
        async with Writer(destination, retry=ONCE, auto_batch=AutoBatchPolicy(max_delay=0.0)) as crm:
            for n in range(len(behaviours)):
                outcomes += await crm.submit_all([create(object=f"o{n}")])

    kinds = [each.kind for each in outcomes]
    assert kinds == ["written"] + ["unknown"] * 5 + ["rejected", "not_written"]


async def test_nothing_is_sent_outside_of_the_block() -> None:
    """
    Before it and after it a destination has no client.
    """
    db: Salesforce = salesforce()
    prepared = db.encode(create())
    with pytest.raises(BatcherNotOpen):
        await db.send(prepared.lane, [prepared.item], all_or_none=False)
    async with db:
        pass
    with pytest.raises(BatcherNotOpen):
        await db.send(prepared.lane, [prepared.item], all_or_none=False)
