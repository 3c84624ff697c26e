"""Asked after a lost answer, over HTTP to the sandboxes: they tell exactly what was applied, or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import attrs
import httpx
import pytest

from batcher import Outcome, Rejected, Retry, Write
from batcher.destinations import HubSpot, Salesforce
from batcher.sandbox import Fault, HubSpotSandbox, SalesforceObject, SalesforceSandbox, Sandbox
from tests.sandbox.transport import SandboxTransport

pytestmark = pytest.mark.anyio
Fields = dict[str, Any]


@attrs.frozen
class HubSpotCase:
    """Contacts of HubSpot."""

    object = "contacts"
    question = "/batch/read"

    def sandbox(self) -> HubSpotSandbox:
        return HubSpotSandbox()

    def destination(self, client: httpx.AsyncClient, token: str) -> HubSpot:
        return HubSpot(token=token, client=client, base_url="http://sandbox")

    def record(self, number: int) -> Fields:
        return {"email": f"Ada.{number}@example.com ", "n": number, "ok": True, "phone": None}

    def others(self, number: int) -> Fields:
        """A record of somebody else with the same unique value."""
        return {"email": f"ada.{number}@example.com", "n": number + 1}


@attrs.frozen
class SalesforceCase:
    """Contacts of Salesforce."""

    object = "Contact"
    question = "/composite"

    def sandbox(self) -> SalesforceSandbox:
        return SalesforceSandbox(objects={"Contact": SalesforceObject(external_ids=("Ref__c",))})

    def destination(self, client: httpx.AsyncClient, token: str) -> Salesforce:
        return Salesforce("http://sandbox", access_token=token, client=client, unique={"Contact": "Ref__c"})

    def record(self, number: int) -> Fields:
        return {"Ref__c": f"O'Neil \\ {number}", "LastName": "Ada", "n": number, "Ok__c": True, "Phone": None}

    def others(self, number: int) -> Fields:
        return {"Ref__c": f"o'neil \\ {number}", "LastName": "Bob"}


CASES = pytest.mark.parametrize("case", [HubSpotCase(), SalesforceCase()], ids=["hubspot", "salesforce"])
Case = HubSpotCase | SalesforceCase


@attrs.frozen
class Bench:
    """A destination that is open, and its sandbox."""

    case: Case
    crm: HubSpot | Salesforce
    sandbox: Sandbox

    async def send(self, records: Sequence[Fields]) -> Sequence[Any]:
        """Create records by one call."""
        prepared = [self.crm.encode(Write(self.case.object, "create", record)) for record in records]
        return await self.crm.send(prepared[0].lane, [each.item for each in prepared], all_or_none=False)

    async def ask(self, records: Sequence[Fields]) -> Sequence[Outcome]:
        """Ask what became of them."""
        prepared = [self.crm.encode(Write(self.case.object, "create", record)) for record in records]
        assert len({each.lane for each in prepared}) == 1 and self.crm.rules(prepared[0].lane).verifiable
        before = self.sandbox.faults.requests
        outcomes = await self.crm.verify(prepared[0].lane, [each.item for each in prepared])
        assert self.sandbox.faults.requests == before + 1, "it is one call"
        return outcomes

    def there(self) -> dict[int, str]:
        """Number of a record to its id."""
        return {int(row["fields"]["n"]): row["id"] for row in self.sandbox.records(self.case.object)}


@asynccontextmanager
async def bench_of(case: Case, token: str | None = None) -> AsyncIterator[Bench]:
    with case.sandbox() as sandbox:
        async with (
            httpx.AsyncClient(transport=SandboxTransport(sandbox), timeout=120) as client,
            case.destination(client, token or sandbox.TOKEN) as crm,
        ):
            yield Bench(case, crm, sandbox)


@CASES
@pytest.mark.parametrize("seed", range(10))
async def test_it_tells_exactly_what_a_lost_call_has_applied(case, seed):
    """Records travel in calls whose answers are lost, after or before they were applied; some were never sent."""
    dice = Random(seed)
    numbers = dice.sample(range(1000), dice.randint(1, 100))
    records = {number: case.record(number) for number in numbers}
    async with bench_of(case) as bench:
        for start in range(0, len(numbers), 7):
            if dice.random() < 0.2:
                continue
            bench.sandbox.faults.order(Fault("reset", applied=dice.random() < 0.6, times=1))
            with pytest.raises(Retry, match="lost"):
                await bench.send([records[number] for number in numbers[start : start + 7]])
        there = bench.there()
        outcomes = await bench.ask(list(records.values()))
    for number, outcome in zip(numbers, outcomes, strict=True):
        assert outcome.kind == ("written" if number in there else "not_written")
        assert getattr(outcome, "record_id", None) == there.get(number)


@CASES
async def test_a_record_of_somebody_else_is_not_taken_for_ones_own(case):
    """It has the unique value and other data: the record may have been refused because of it, or have become it."""
    async with bench_of(case) as bench:
        await bench.send([case.others(1), case.record(2)])
        outcomes = await bench.ask([case.record(number) for number in (1, 2, 3)])
    assert [outcome.kind for outcome in outcomes] == ["unknown", "written", "not_written"]


@CASES
async def test_a_late_call_makes_no_duplicate_of_a_record_that_was_not_there(case):
    """It was told to be absent, and is sent again while the first call is under way: one of the two is refused."""
    record = case.record(1)
    async with bench_of(case) as bench:
        bench.sandbox.faults.order(Fault("delay", seconds=60.0, times=1))
        with pytest.raises(Retry):
            await bench.send([record])
        assert [outcome.kind for outcome in await bench.ask([record])] == ["not_written"]
        await bench.send([record])
        await anyio.sleep(100)
        assert len(bench.sandbox.records(case.object)) == 1


@CASES
@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset"),
        Fault("reset", applied=True),
        Fault("half"),
        Fault("delay", seconds=100.0),
        Fault("throttle"),
        Fault("error"),
        Fault("error", status=500),
        Fault("error", status=502, html=True),
    ],
    ids=lambda fault: f"{fault.name}-{fault.status}",
)
async def test_trouble_on_the_way_of_the_question_teaches_nothing(case, fault):
    """It is asked again later, and then told the truth."""
    async with bench_of(case) as bench:
        await bench.send([case.record(1)])
        bench.sandbox.faults.order(attrs.evolve(fault, path=case.question, times=1))
        with pytest.raises(Retry):
            await bench.ask([case.record(1), case.record(2)])
        assert [outcome.kind for outcome in await bench.ask([case.record(1), case.record(2)])] == [
            "written",
            "not_written",
        ]


@CASES
async def test_a_token_that_is_refused_leaves_all_unknown(case):
    """For nothing was learned, and asking again is no use."""
    async with bench_of(case, token="revoked") as bench:
        outcomes = await bench.ask([case.record(1), case.record(2)])
    assert [outcome.kind for outcome in outcomes] == ["unknown"] * 2


async def test_what_hubspot_drops_from_its_answer_is_unknown():
    """It is there, and nobody says so; what is named as missing is still known."""
    async with bench_of(HubSpotCase()) as bench:
        records = [HubSpotCase().record(number) for number in range(10)]
        await bench.send(records[:6])
        bench.sandbox.faults.order(Fault("drop", records=10, path="/batch/read", times=1))
        outcomes = await bench.ask(records)
    assert [outcome.kind for outcome in outcomes] == ["unknown"] * 6 + ["not_written"] * 4


async def test_two_hundred_records_fit_one_question_to_salesforce():
    """Their values would not fit an address."""
    records = [{"Ref__c": f"{number:'>100}", "LastName": "Ada", "n": number} for number in range(200)]
    async with bench_of(SalesforceCase()) as bench:
        await bench.send(records[:150])
        outcomes = await bench.ask(records)
    assert [outcome.kind for outcome in outcomes] == ["written"] * 150 + ["not_written"] * 50


async def test_the_question_counts_for_the_limit_of_the_org():
    """As one call, whatever it asks."""
    async with bench_of(SalesforceCase()) as bench:
        assert isinstance(bench.crm, Salesforce)
        await bench.ask([SalesforceCase().record(number) for number in range(100)])
        assert bench.crm.limits is not None and bench.crm.limits.used == 1


async def test_an_unknown_object_is_asked_about_without_harm():
    """Salesforce refuses the query, and all stays unknown."""
    with SalesforceSandbox() as sandbox:
        client = httpx.AsyncClient(transport=SandboxTransport(sandbox))
        crm = Salesforce("http://sandbox", access_token=sandbox.TOKEN, client=client, unique={"Contcat": "Ref__c"})
        async with client, crm:
            prepared = crm.encode(Write("Contcat", "create", {"Ref__c": "1"}))
            (refusal,) = await crm.send(prepared.lane, [prepared.item], all_or_none=False)
            (outcome,) = await crm.verify(prepared.lane, [prepared.item])
    assert isinstance(refusal, Rejected) and outcome.kind == "unknown" and "INVALID_TYPE" in str(outcome)


@CASES
async def test_a_question_that_is_too_long_is_not_asked(case):
    """No body is longer than the destination allows."""
    async with bench_of(case) as bench:
        bench.crm._max_request_bytes = 50
        prepared = bench.crm.encode(Write(case.object, "create", case.record(1)))
        (outcome,) = await bench.crm.verify(prepared.lane, [prepared.item])
        assert outcome.kind == "unknown" and bench.sandbox.faults.requests == 0


async def test_a_question_without_a_value_is_not_asked():
    """No call is made for it."""
    async with bench_of(HubSpotCase()) as bench:
        prepared = bench.crm.encode(Write("contacts", "create", {"phone": "1"}))
        (outcome,) = await bench.crm.verify(prepared.lane, [prepared.item])
        assert outcome.kind == "unknown" and bench.sandbox.faults.requests == 0
