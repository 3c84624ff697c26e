"""What the sandboxes answer when they are asked for records: as the originals do, and no more."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from batcher.sandbox import Fault, HubSpotSandbox, SalesforceObject, SalesforceSandbox
from tests.sandbox.transport import client_of

pytestmark = pytest.mark.anyio
READ = "/crm/v3/objects/contacts/batch/read"
DATA = "/services/data/v67.0"


async def create(client: httpx.AsyncClient, *emails: str) -> None:
    inputs = [{"properties": {"email": email, "n": "1"}} for email in emails]
    await client.post("/crm/v3/objects/contacts/batch/create", json={"inputs": inputs})


async def test_hubspot_shows_the_properties_that_are_asked_for():
    """Besides three of its own, null where a record has none; what is missing is named in one error of a 207."""
    with HubSpotSandbox() as sandbox:
        async with client_of(sandbox) as client:
            await create(client, "a@x.com")
            inputs = [{"id": each} for each in ("b@x.com", "A@X.com", "c@x.com")]
            question = {"idProperty": "email", "properties": ["email", "phone"], "inputs": inputs}
            answer = await client.post(READ, json=question)
    (row,) = answer.json()["results"]
    assert answer.status_code == 207 and answer.json()["numErrors"] == 1
    assert set(row["properties"]) == {"createdate", "hs_object_id", "lastmodifieddate", "email", "phone"}
    assert (row["properties"]["email"], row["properties"]["phone"]) == ("a@x.com", None)
    (error,) = answer.json()["errors"]
    assert (error["category"], error["context"]) == ("OBJECT_NOT_FOUND", {"ids": ["b@x.com", "c@x.com"]})


async def test_hubspot_drops_results_of_a_read_without_a_word():
    """If a fault says so; what is missing is still named."""
    with HubSpotSandbox() as sandbox:
        async with client_of(sandbox) as client:
            await create(client, "a@x.com", "b@x.com")
            sandbox.faults.order(Fault("drop", records=3))
            inputs = [{"id": each} for each in ("a@x.com", "b@x.com", "c@x.com")]
            answer = (await client.post(READ, json={"idProperty": "email", "inputs": inputs})).json()
    assert answer["results"] == [] and answer["errors"][0]["context"] == {"ids": ["c@x.com"]}


async def test_hubspot_reads_by_unique_properties_only():
    """Any other one is refused, as is one record that is named twice."""
    with HubSpotSandbox() as sandbox:
        async with client_of(sandbox) as client:
            for by, ids in (("phone", ["1"]), ("email", ["a@x.com", "A@x.com"])):
                question = {"idProperty": by, "inputs": [{"id": each} for each in ids]}
                assert (await client.post(READ, json=question)).status_code == 400


def subrequest(soql: str, **more: Any) -> dict[str, Any]:
    return {"method": "GET", "url": f"{DATA}/query?q={quote(soql, safe='')}", "referenceId": "r", **more}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("Ref__c IN ('a')", ["A"]),
        ("ref__c in ( 'A' , 'b\\'c' )", ["A", "b'c"]),
        ("Ref__c IN ('d\\\\e','new\\nline')", ["d\\e", "new\nline"]),
        ("Ref__c IN ('a') AND LastName = 'x'", ["A"]),
        ("Ref__c IN ('a') AND LastName = 'X'", []),
        ("N__c IN (1, 2)", ["A"]),
        ("Ref__c IN ('z')", []),
        ("Ref__c IN ()", None),
        ("Ref__c IN ('b'c')", None),
        ("Ref__c IN ('a') OR Ref__c = 'b'", None),
    ],
)
async def test_salesforce_answers_queries_in_a_composite_request(where, found):
    """IN ignores case, escapes are read, and what is no query fails alone, with a status of its own."""
    contact = SalesforceObject(external_ids=("Ref__c",))
    values: list[dict[str, Any]] = [
        {"Ref__c": "A", "N__c": 1},
        {"Ref__c": "b'c"},
        {"Ref__c": "d\\e"},
        {"Ref__c": "new\nline"},
    ]
    records = [{"attributes": {"type": "Contact"}, "LastName": "x", **each} for each in values]
    with SalesforceSandbox(objects={"Contact": contact}) as sandbox:
        async with client_of(sandbox) as client:
            await client.post(f"{DATA}/composite/sobjects", json={"records": records})
            asked = [
                subrequest(f"SELECT Id,ref__c FROM Contact WHERE {where}"),
                subrequest("SELECT Id FROM Contact LIMIT 1"),
            ]
            answer = await client.post(f"{DATA}/composite", json={"compositeRequest": asked})
    first, second = answer.json()["compositeResponse"]
    assert (second["httpStatusCode"], second["referenceId"], second["body"]["totalSize"]) == (200, "r", 1)
    if found is None:
        assert (first["httpStatusCode"], first["body"][0]["errorCode"]) == (400, "MALFORMED_QUERY")
    else:
        assert first["body"]["totalSize"] == len(found) and first["body"]["done"] is True
        assert [row["Ref__c"] for row in first["body"]["records"]] == found


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (subrequest("SELECT Id FROM Nothing"), "INVALID_TYPE"),
        (subrequest("SELECT Id FROM Contact WHERE Name IN ('@{r.Id}')"), "PROCESSING_HALTED"),
        (subrequest(f"SELECT Id FROM Contact WHERE Name IN ('{'x' * 100_000}')"), "QUERY_TOO_COMPLICATED"),
        (subrequest("SELECT Id FROM Contact", method="POST"), "INVALID_INPUT"),
        (subrequest("", url="/services/data/v66.0/query?q=x"), "INVALID_INPUT"),
        (None, "INVALID_INPUT"),
    ],
)
async def test_salesforce_refuses_what_is_no_query(asked, code):
    """Within the answer; a request of none or too many is refused as a whole."""
    with SalesforceSandbox() as sandbox:
        async with client_of(sandbox) as client:
            answer = await client.post(f"{DATA}/composite", json={"compositeRequest": [asked]})
            (inner,) = answer.json()["compositeResponse"]
            assert (inner["httpStatusCode"], inner["body"][0]["errorCode"]) == (400, code)
            for requests in (None, [], [asked] * 6):
                answer = await client.post(f"{DATA}/composite", json={"compositeRequest": requests})
                assert answer.status_code == 400
