"""Whatever JSON comes in: an answer in the provider's shape, never a server error."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.sandbox import HubSpotLimits, HubSpotSandbox, SalesforceSandbox, Sandbox

_texts = st.sampled_from(["", "1", "a@example.com", "email", "t", "Contact", "\ud800", "003000000000000AAA"]) | st.text(
    max_size=3
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | _texts
_names = st.sampled_from(
    ["id", "Id", "idProperty", "properties", "to", "from", "types", "type", "email", "attributes", "LastName", "inputs"]
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4), max_leaves=12
)
# Requests in which all is right, for one value to be put into the place of another.
_TYPE = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}
_INPUT = {
    "id": "a@example.com",
    "idProperty": "email",
    "objectWriteTraceId": "t",
    "properties": {"email": "b@example.com", "n": 1},
    "associations": [{"to": {"id": "171590000001"}, "types": [_TYPE]}],
    "from": {"id": "171590000001"},
    "to": {"id": "171590000001"},
    "types": [_TYPE],
}
_RECORD = {"attributes": {"type": "Contact"}, "LastName": "x", "External_Id__c": "1", "AccountId": "001000000000000AAA"}
_COLLECTION = {
    "records": [_RECORD, _RECORD | {"External_Id__c": "2"}],
    "allOrNone": True,
    "ids": ["x"],
    "fields": ["Id"],
}


@st.composite
def _spoilt(draw: st.DrawFn, whole: Any) -> Any:
    """Draw a copy of *whole* with another value somewhere in it."""
    if not isinstance(whole, dict | list) or not whole or draw(st.integers(0, 5)) == 0:
        return draw(_values)
    copy: Any = whole.copy()
    place = draw(st.sampled_from(range(len(whole)) if isinstance(whole, list) else sorted(whole)))
    copy[place] = draw(_spoilt(whole[place]))
    return copy


_bodies = _values | _spoilt({"inputs": [_INPUT]}) | _spoilt({"inputs": [_INPUT, {"properties": {}}]})
_collections = _values | _spoilt(_COLLECTION) | _spoilt(_RECORD)

HUBSPOT = [f"/crm/v3/objects/contacts/batch/{verb}" for verb in ("create", "update", "upsert", "archive", "read")] + [
    "/crm/v3/objects/contacts",
    "/crm/v4/associations/contacts/contacts/batch/create",
]
SET = "/services/data/v60.0/composite/sobjects"
SALESFORCE = [
    ("POST", SET),
    ("PATCH", SET),
    ("PATCH", f"{SET}/Contact/External_Id__c"),
    ("PATCH", f"{SET}/Contact/Id"),
    ("POST", f"{SET}/Contact"),
    ("POST", "/services/data/v60.0/sobjects/Contact"),
    ("PATCH", "/services/data/v60.0/sobjects/Contact/External_Id__c/1"),
]


def send(sandbox: Sandbox, requests: list[tuple[str, str, Any]]) -> list[int]:
    async def act() -> list[int]:
        headers = {"authorization": f"Bearer {sandbox.TOKEN}", "content-type": "application/json"}
        transport = httpx.ASGITransport(sandbox)
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers) as client:
            return [
                (await client.request(method, path, content=json.dumps(body).replace("Infinity", "1e999"))).status_code
                for method, path, body in requests
            ]

    with sandbox:
        return anyio.run(act)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.just("POST"), st.sampled_from(HUBSPOT), _bodies), min_size=1, max_size=8))
def test_hubspot_answers_any_json(requests):
    """Carried out or refused; a defect would come out as an exception."""
    statuses = send(HubSpotSandbox(limits=HubSpotLimits(ten_seconds=None)), requests)
    assert set(statuses) <= {200, 201, 204, 207, 400, 404, 409}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SALESFORCE), _collections), min_size=1, max_size=8))
@pytest.mark.parametrize("latency", [0.0, 0.0001])
def test_salesforce_answers_any_json(latency, requests):
    """Carried out or refused; also where the rows that a request holds are looked for in it."""
    statuses = send(SalesforceSandbox(latency=latency), [(*address, body) for address, body in requests])
    assert set(statuses) <= {200, 201, 400, 404}
