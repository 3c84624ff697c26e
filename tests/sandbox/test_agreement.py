"""The destinations against the sandboxes under faults of every kind: outcomes and database agree record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import anyio
import httpx
import pytest

from batcher import AutoBatchPolicy, Outcome, Writer
from batcher.destinations import HubSpot, Salesforce
from batcher.outcomes import NotWritten, Rejected, Written
from batcher.sandbox import Fault, Faults, HubSpotSandbox, SalesforceSandbox
from batcher.writes import Write, WriteType
from tests.sandbox.transport import SandboxTransport

pytestmark = pytest.mark.anyio
RECORDS = 2_000


def faults_of_every_kind(probability: float) -> Faults:
    """Each request is struck with about this probability."""
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("reset", {}),
        ("reset", {"applied": True}),
        ("half", {}),
        ("delay", {"seconds": 3.0}),
        ("delay", {"seconds": 100.0, "applied": True}),
        ("throttle", {}),
        ("error", {}),
        ("error", {"status": 500, "applied": True}),
        ("error", {"status": 502, "html": True}),
        ("drop", {"records": 3}),
        ("drop", {"records": 3, "applied": True}),
        ("reject", {"records": 2}),
        ("lock", {"records": 2}),
        ("expire", {}),
    ]
    each = probability / len(kinds)
    return Faults(*[Fault(kind, times=None, probability=each, **more) for kind, more in kinds], seed=5)


def check(outcome: Outcome, rows: list[dict[str, Any]]) -> None:
    """Written is there once and under its own id; what is known not to be written is not there."""
    if isinstance(outcome, Written):
        assert len(rows) == 1
        assert outcome.record_id in (None, rows[0]["id"])
    elif isinstance(outcome, Rejected | NotWritten):
        assert rows == []
    else:
        assert len(rows) <= 1, "a create of unknown fate is not sent again"


async def outcomes_of(destination: Any, object: str, records: list[Mapping[str, Any]]) -> list[Outcome]:
    async with Writer(destination, auto_batch=AutoBatchPolicy(max_records=20)) as crm:
        receipts = [await crm.enqueue(Write(object, WriteType.CREATE, record)) for record in records]
        await crm.flush()
    outcomes = [receipt.outcome for receipt in receipts]
    assert None not in outcomes
    return [outcome for outcome in outcomes if outcome is not None]


def record_of(number: int, is_hubspot: bool) -> Mapping[str, Any]:
    """One of fifty is bad."""
    bad = number % 50 == 7
    if is_hubspot:
        return {"n": str(number), "email": "none" if bad else f"{number}@example.com"}
    return {"n": str(number)} | ({} if bad else {"LastName": "x"})


def destination_for(sandbox: HubSpotSandbox | SalesforceSandbox, client: httpx.AsyncClient) -> HubSpot | Salesforce:
    secrets: dict[str, Any] = {"client_id": sandbox.CLIENT_ID, "client_secret": sandbox.CLIENT_SECRET}
    if isinstance(sandbox, HubSpotSandbox):
        return HubSpot(**secrets, refresh_token=sandbox.REFRESH_TOKEN, client=client, base_url="http://sandbox")
    return Salesforce("http://sandbox", **secrets, client=client)


@pytest.mark.parametrize(("kind", "name"), [(HubSpotSandbox, "contacts"), (SalesforceSandbox, "Contact")])
async def test_outcomes_and_database_agree(kind, name):
    """Creates, some of them bad, with every third request struck: nobody is told what is not so."""
    records = [record_of(number, kind is HubSpotSandbox) for number in range(RECORDS)]
    rows: dict[str, list[dict[str, Any]]] = {str(number): [] for number in range(RECORDS)}
    with kind(faults=faults_of_every_kind(0.3)) as sandbox:
        async with httpx.AsyncClient(transport=SandboxTransport(sandbox), timeout=30) as client:
            outcomes = await outcomes_of(destination_for(sandbox, client), name, records)
            await anyio.sleep(200)  # what was delayed is applied by now
        for row in sandbox.records(name):
            rows[row["fields"]["n"]].append(row)
    for outcome, found in zip(outcomes, rows.values(), strict=True):
        check(outcome, found)
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds[Written.kind] > RECORDS / 2
    assert len(sandbox.faults.struck) > 8
