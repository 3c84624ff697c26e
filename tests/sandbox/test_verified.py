"""``RetryPolicy(on_unknown="verify")`` over HTTP: what was lost is looked for, and what is absent is sent again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio
import attrs
import httpx
import pytest

from batcher import AutoBatchPolicy, Limits, Outcome, Rejected, RetryPolicy, Unknown, Write, Writer, Written
from batcher.destinations import HubSpot, Salesforce
from batcher.sandbox import Fault, Faults, HubSpotSandbox, SalesforceObject, SalesforceSandbox, Sandbox
from tests.sandbox.test_agreement import EVERY_KIND, UNORDERED, EveryKind
from tests.sandbox.transport import SandboxTransport

pytestmark = pytest.mark.anyio
COUNT = 2_000
LOSSES = (
    Fault("reset", applied=True, probability=0.1, times=None),
    Fault("reset", probability=0.1, times=None),
)
VERIFY = RetryPolicy(on_unknown="verify", deadline=3600, backoff_cap=5)


@attrs.frozen
class HubSpotCase:
    """Contacts of HubSpot. Every fiftieth is refused, and every hundredth is there already, with other data."""

    object = "contacts"
    kinds = (*EVERY_KIND, UNORDERED)

    def sandbox(self, faults: Faults) -> HubSpotSandbox:
        return HubSpotSandbox(faults=faults)

    def destination(self, client: httpx.AsyncClient) -> HubSpot:
        return HubSpot(token=HubSpotSandbox.TOKEN, client=client, base_url="http://sandbox")

    def record(self, number: int) -> dict[str, Any]:
        return {"n": number, "email": f"{number}" if number % 50 == 7 else f"A{number}@Example.com"}

    def others(self, number: int) -> dict[str, Any]:
        return {"email": f"a{number}@example.com", "n": -1}


@attrs.frozen
class SalesforceCase:
    """Contacts of Salesforce, the same."""

    object = "Contact"
    kinds = EVERY_KIND

    def sandbox(self, faults: Faults) -> SalesforceSandbox:
        contact = SalesforceObject(required=("LastName",), external_ids=("Ref__c",))
        return SalesforceSandbox(objects={"Contact": contact}, faults=faults)

    def destination(self, client: httpx.AsyncClient) -> Salesforce:
        token = SalesforceSandbox.TOKEN
        return Salesforce("http://sandbox", access_token=token, client=client, unique={"Contact": "Ref__c"})

    def record(self, number: int) -> dict[str, Any]:
        return {"n": number, "Ref__c": f"r'{number}"} | ({} if number % 50 == 7 else {"LastName": "Ada"})

    def others(self, number: int) -> dict[str, Any]:
        return {"Ref__c": f"r'{number}", "LastName": "Bob", "n": -1}


CASES = pytest.mark.parametrize("case", [HubSpotCase(), SalesforceCase()], ids=["hubspot", "salesforce"])
Case = HubSpotCase | SalesforceCase


def is_bad(number: int) -> bool:
    return number % 50 == 7


def is_taken(number: int) -> bool:
    return number % 100 == 11


class Armed(EveryKind):
    """Faults of every kind, once they are armed."""

    armed = False

    def next(self, method: str, path: str) -> Fault | None:
        return super().next(method, path) if self.armed else None


async def load(case: Case, sandbox: Sandbox, retry: RetryPolicy, arm: Callable[[], None]) -> list[Outcome]:
    """Create the records of somebody else, then, under the faults, all others; return the fates of these."""
    limits = Limits(max_pending_records=10_000, max_lane_records=10_000)
    async with (
        httpx.AsyncClient(transport=SandboxTransport(sandbox), timeout=30) as client,
        Writer(case.destination(client), retry=retry, auto_batch=AutoBatchPolicy(max_records=10), limits=limits) as crm,
    ):
        taken = [case.others(number) for number in range(COUNT) if is_taken(number)]
        await crm.submit_all([Write(case.object, "create", record) for record in taken])
        arm()
        outcomes = await crm.submit_all([Write(case.object, "create", case.record(n)) for n in range(COUNT)])
        await anyio.sleep(200)  # what was delayed is applied by now
    return list(outcomes)


def rows_of(case: Case, sandbox: Sandbox) -> dict[int, list[str]]:
    """Number to the ids of its rows."""
    rows: dict[int, list[str]] = {}
    for row in sandbox.records(case.object):
        rows.setdefault(int(row["fields"]["n"]), []).append(row["id"])
    del rows[-1]
    return rows


def check(outcomes: Sequence[Outcome], rows: dict[int, list[str]]) -> None:
    """Nobody is told what is not so, and nothing is there twice."""
    for number, outcome in enumerate(outcomes):
        ids = rows.get(number, [])
        assert len(ids) <= 1, f"record {number} is there {len(ids)} times"
        assert outcome.applied == "maybe" or outcome.ok == bool(ids), (number, outcome, ids)
        if isinstance(outcome, Written) and outcome.record_id is not None:
            assert [outcome.record_id] == ids


def kinds_of(outcomes: Sequence[Outcome]) -> Counter[str]:
    return Counter(outcome.kind for outcome in outcomes)


@CASES
async def test_of_answers_that_are_lost_nothing_stays_unknown(case):
    """A tenth of all calls is lost after, a tenth before it was carried out, and so are questions.

    Unknown is only what has the unique value of somebody else's record, and was in a call that was lost.
    """
    with case.sandbox(Faults(seed=3)) as sandbox:
        outcomes = await load(case, sandbox, VERIFY, partial(sandbox.faults.order, *LOSSES))
        rows, struck = rows_of(case, sandbox), sandbox.faults.struck
    check(outcomes, rows)
    for number, outcome in enumerate(outcomes):
        if is_bad(number):
            assert isinstance(outcome, Rejected), outcome
        elif is_taken(number):
            assert isinstance(outcome, (Rejected, Unknown)), outcome
        else:
            assert isinstance(outcome, Written) and [outcome.record_id] == rows[number]
    assert min(struck["reset"], struck["reset_applied"]) > COUNT / 10 * 0.05, struck
    assert 0 < kinds_of(outcomes)["unknown"] < COUNT / 100, "else nobody's value was taken"


@CASES
async def test_without_the_question_the_same_losses_leave_many_unknown(case):
    """So that the test above is known to have had something to do."""
    with case.sandbox(Faults(seed=3)) as sandbox:
        retry = attrs.evolve(VERIFY, on_unknown="raise")
        outcomes = await load(case, sandbox, retry, partial(sandbox.faults.order, *LOSSES))
        check(outcomes, rows_of(case, sandbox))
    assert kinds_of(outcomes)["unknown"] > COUNT / 10


@CASES
async def test_with_faults_of_every_kind_nobody_is_told_what_is_not_so(case):
    """Calls that are carried out long after they were given up, too, and questions that meet the same faults."""
    faults = Armed(case.kinds)
    with case.sandbox(faults) as sandbox:
        outcomes = await load(case, sandbox, VERIFY, lambda: setattr(faults, "armed", True))
        check(outcomes, rows_of(case, sandbox))
    assert sum(faults.counts.values()) > 10, faults.counts
    assert kinds_of(outcomes)["unknown"] < COUNT / 100
