"""The destinations against the sandboxes under faults of every kind: outcomes and database agree record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import anyio
import attrs
import httpx
import pytest

from batcher import AutoBatchPolicy, Limits, Outcome, Write, Writer
from batcher.destinations import HubSpot, Salesforce
from batcher.outcomes import Written
from batcher.sandbox import Fault, FaultKind, Faults, HubSpotSandbox, SalesforceObject, SalesforceSandbox
from tests.sandbox.transport import SandboxTransport

pytestmark = pytest.mark.anyio
CREATES, GROUPED, UPSERTS, CHANGES = 12_000, 2_000, 6_000, 2_000
PROBABILITY = 0.05
EVERY_KIND: list[Fault] = [
    Fault("reset"),
    Fault("reset", applied=True),
    Fault("half"),
    Fault("delay", seconds=3.0),
    Fault("delay", seconds=100.0),  # applied when the client has long given up
    Fault("delay", seconds=100.0, applied=True),
    Fault("throttle"),
    Fault("error"),
    Fault("error", status=500, applied=True),
    Fault("error", status=502, html=True),
    Fault("drop", records=3),
    Fault("drop", records=3, applied=True),
    Fault("reject", records=2),
    Fault("lock", records=2),
    Fault("expire"),
]
# Salesforce promises an order, and a new record has nothing else to be recognized by.
UNORDERED = Fault("shuffle")


class EveryKind(Faults):
    """Strikes a share of the requests at random, and with each kind in turn: none is left out by bad luck."""

    def __init__(self, kinds: Sequence[Fault]) -> None:
        super().__init__(seed=5)
        self.counts: Counter[Fault] = Counter()
        self._kinds = cycle(kinds)

    def next(self, method: str, path: str) -> Fault | None:
        self.requests += 1
        if self._dice.random() >= PROBABILITY:
            return None
        fault = next(self._kinds)
        if fault.kind is FaultKind.DROP and path.endswith("/batch/archive"):
            return None  # HubSpot answers an archive with 204 and no results: nobody could tell
        self.counts[fault] += 1
        return fault


@attrs.frozen
class HubSpotCase:
    """Contacts of HubSpot."""

    object = "contacts"
    by = "email"
    kinds = (*EVERY_KIND, UNORDERED)

    def sandbox(self, faults: Faults) -> HubSpotSandbox:
        return HubSpotSandbox(faults=faults)

    def destination(self, client: httpx.AsyncClient) -> HubSpot:
        of = HubSpotSandbox
        secrets: dict[str, Any] = {
            "client_id": of.CLIENT_ID,
            "client_secret": of.CLIENT_SECRET,
            "refresh_token": of.REFRESH_TOKEN,
        }
        return HubSpot(**secrets, client=client, base_url="http://sandbox")

    def record(self, number: int, has_key: bool) -> dict[str, Any]:
        """One of fifty is bad."""
        if number % 50 == 7:
            return {"n": number, "email": f"{number}"}
        return {"n": number} | ({"email": f"{number}@example.com"} if has_key else {})


@attrs.frozen
class SalesforceCase:
    """Contacts of Salesforce."""

    object = "Contact"
    by = "Ref__c"
    kinds = EVERY_KIND

    def sandbox(self, faults: Faults) -> SalesforceSandbox:
        contact = SalesforceObject(required=("LastName",), external_ids=("Ref__c",))
        return SalesforceSandbox(objects={"Contact": contact}, faults=faults)

    def destination(self, client: httpx.AsyncClient) -> Salesforce:
        of = SalesforceSandbox
        secrets: dict[str, Any] = {"client_id": of.CLIENT_ID, "client_secret": of.CLIENT_SECRET}
        return Salesforce("http://sandbox", **secrets, client=client)

    def record(self, number: int, has_key: bool) -> dict[str, Any]:
        """One of fifty is bad."""
        key = {"Ref__c": f"r{number}"} if has_key else {}
        return {"n": str(number), **key} | ({} if number % 50 == 7 else {"LastName": "x"})


Case = HubSpotCase | SalesforceCase


async def outcomes_of(writer: Writer, writes: Sequence[Write], *, in_groups: bool = False) -> list[Outcome]:
    """Return the fate of each write; with *in_groups*, five at a time are all or none."""
    if not in_groups:
        receipts = [await writer.enqueue(write) for write in writes]
        await writer.flush()
        found = [receipt.outcome for receipt in receipts]
        return [outcome for outcome in found if outcome is not None]
    groups: dict[int, Sequence[Outcome]] = {}

    async def write_group(start: int) -> None:
        groups[start] = await writer.submit_all(writes[start : start + 5], all_or_none=True)

    async with anyio.create_task_group() as tasks:
        for start in range(0, len(writes), 5):
            tasks.start_soon(write_group, start)
    for group in groups.values():
        assert len({outcome.applied for outcome in group}) == 1, "a group has one fate"
    return [outcome for _, group in sorted(groups.items()) for outcome in group]


def check(outcome: Outcome, rows: Sequence[dict[str, Any]]) -> None:
    """Written is there once and under its own id; what is known not to be written is not there."""
    if isinstance(outcome, Written):
        assert len(rows) == 1
        assert outcome.record_id in (None, rows[0]["id"])
    elif outcome.applied == "no":
        assert rows == []
    else:
        assert len(rows) <= 1, "what is of unknown fate is not written twice"


def check_change(outcome: Outcome, changed: bool) -> None:
    """What is known is so."""
    assert outcome.applied == "maybe" or changed == (outcome.applied == "yes")


@pytest.mark.parametrize("case", [HubSpotCase(), SalesforceCase()], ids=lambda case: type(case).__name__)
async def test_outcomes_and_database_agree(case: Case):
    """20,000 creates (some of them in groups, some bad) and upserts, then 4,000 updates and deletes, at 5 % faults.

    Nobody is told what is not so, and each kind of fault has struck.
    """
    # What has no key can be there twice, which a second sending would show.
    creates = [Write(case.object, "create", case.record(number, number % 2 == 0)) for number in range(CREATES)]
    grouped = [Write(case.object, "create", case.record(CREATES + number, False)) for number in range(GROUPED)]
    numbers = range(CREATES + GROUPED, CREATES + GROUPED + UPSERTS)
    upserts = [Write(case.object, "upsert", case.record(number, True), by=case.by) for number in numbers]
    faults = EveryKind(case.kinds)
    with case.sandbox(faults) as sandbox:
        async with (
            httpx.AsyncClient(transport=SandboxTransport(sandbox), timeout=30) as client,
            Writer(
                case.destination(client),
                auto_batch=AutoBatchPolicy(max_records=10),
                limits=Limits(max_pending_records=30_000, max_lane_records=30_000),
            ) as writer,
        ):
            outcomes = await outcomes_of(writer, creates)
            known = [outcome.record_id for outcome in outcomes if isinstance(outcome, Written) and outcome.record_id]
            outcomes += await outcomes_of(writer, grouped, in_groups=True)
            outcomes += await outcomes_of(writer, upserts)
            await anyio.sleep(200)  # what was delayed is applied by now
            rows: list[list[dict[str, Any]]] = [[] for _ in outcomes]
            for row in sandbox.records(case.object):
                rows[int(row["fields"]["n"])].append(row)

            updated, deleted = known[:CHANGES], known[CHANGES : 2 * CHANGES]
            updates = [Write(case.object, "update", {"id": id, "phone": "changed"}) for id in updated]
            update_outcomes = await outcomes_of(writer, updates)
            deletes = [Write(case.object, "delete", {"id": id}) for id in deleted]
            delete_outcomes = await outcomes_of(writer, deletes)
            await anyio.sleep(200)
        after = {row["id"]: row for row in sandbox.records(case.object, archived=True)}

    assert len(outcomes) == CREATES + GROUPED + UPSERTS == 20_000
    assert len(update_outcomes) == len(delete_outcomes) == CHANGES
    for outcome, found in zip(outcomes, rows, strict=True):
        check(outcome, found)
    for id, outcome in zip(updated, update_outcomes, strict=True):
        check_change(outcome, after[id]["fields"].get("phone") == "changed")
    for id, outcome in zip(deleted, delete_outcomes, strict=True):
        check_change(outcome, after[id]["archived"])
    assert min(faults.counts[kind] for kind in case.kinds) > 2, faults.counts
    assert sum(isinstance(outcome, Written) for outcome in outcomes) > 0.9 * len(outcomes)
