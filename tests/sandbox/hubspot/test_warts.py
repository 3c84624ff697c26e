"""The warts of HubSpot that a client must live with, one by one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest

from batcher.sandbox import Fault, HubSpotLimits, HubSpotObject, HubSpotSandbox
from tests.sandbox.transport import client_of

pytestmark = pytest.mark.anyio
BATCH = "/crm/v3/objects/contacts/batch"


@asynccontextmanager
async def account(*emails: str, **options: Any) -> AsyncIterator[tuple[HubSpotSandbox, httpx.AsyncClient, list[str]]]:
    """A sandbox with contacts, a client, and the contacts' ids."""
    with HubSpotSandbox(**options) as sandbox:
        async with client_of(sandbox) as client:
            if emails:
                await client.post(f"{BATCH}/create", json=creates(*emails))
            ids = {row["fields"]["email"]: row["id"] for row in sandbox.records("contacts")}
            yield sandbox, client, [ids[email] for email in emails]


def creates(*emails: str, traced: bool = False, **properties: Any) -> dict[str, Any]:
    inputs: list[dict[str, Any]] = [{"properties": {"email": email, **properties}} for email in emails]
    if traced:
        inputs = [{**each, "objectWriteTraceId": f"t{index}"} for index, each in enumerate(inputs)]
    return {"inputs": inputs}


def emails_of(sandbox: HubSpotSandbox) -> list[str]:
    return sorted(row["fields"]["email"] for row in sandbox.records("contacts"))


async def test_results_come_in_an_order_of_their_own():
    """Neither position nor age of an id tells whose result it is; the same seed gives the same order."""
    given = [f"{index:02}@example.com" for index in range(50)]
    orders = []
    for seed in (1, 1, 2):
        async with account(seed=seed) as (_, client, _):
            results = (await client.post(f"{BATCH}/create", json=creates(*given))).json()["results"]
            orders.append([result["properties"]["email"] for result in results])
    assert orders[0] == orders[1] != orders[2]
    assert given not in orders
    assert sorted(orders[0]) == given


@pytest.mark.parametrize("path", ["/crm/v3/objects/contacts", "/crm/objects/2026-03/contacts", "/crm/v3/objects/0-1"])
async def test_old_and_new_addresses_are_one_place(path):
    """Dated paths and numbers of object types lead to the same records."""
    async with account() as (sandbox, client, _):
        answer = await client.post(f"{path}/batch/create", json=creates("ada@example.com"))
        assert answer.status_code == 201
        assert emails_of(sandbox) == ["ada@example.com"]


async def test_everything_becomes_a_string_and_addresses_small():
    """Numbers, booleans and null too; an empty value takes the property away."""
    async with account() as (sandbox, client, _):
        properties: dict[str, Any] = {"a": 1, "b": True, "c": 1.5, "d": None, "e": ""}
        answer = await client.post(f"{BATCH}/create", json=creates(" Ada@Example.COM ", **properties))
        (result,) = answer.json()["results"]
        stored = sandbox.records("contacts")[0]["fields"]
        assert result["properties"] == stored
        assert stored.items() >= {"email": "ada@example.com", "a": "1", "b": "true", "c": "1.5"}.items()
        assert not stored.keys() & {"d", "e"}


@pytest.mark.parametrize("echo", [True, False])
async def test_a_trace_id_is_echoed_only_when_asked(echo):
    """No recorded answer has one, although the schema lets it."""
    async with account(echo_trace=echo) as (_, client, _):
        answer = await client.post(f"{BATCH}/create", json=creates("ada@example.com", traced=True))
        assert answer.json()["results"][0].get("objectWriteTraceId") == ("t0" if echo else None)


@pytest.mark.parametrize("traces", [["t0", "t0"], ["t0", None], [None, None], ["t0", ""]])
async def test_without_unique_trace_ids_nothing_fares_alone(traces):
    """A missing or repeated trace id makes the batch all or none."""
    async with account() as (sandbox, client, _):
        body = creates("ada@example.com", "none")
        for each, trace in zip(body["inputs"], traces, strict=True):
            each |= {} if trace is None else {"objectWriteTraceId": trace}
        assert (await client.post(f"{BATCH}/create", json=body)).status_code == 400
        assert sandbox.records("contacts") == []


async def test_a_conflict_names_who_is_there_already():
    """In a 207 in the context, in a 409 in the message, and there the first only."""
    async with account("ada@example.com") as (sandbox, client, (id,)):
        traced = await client.post(f"{BATCH}/create", json=creates("ADA@example.com", "b@example.com", traced=True))
        assert traced.status_code == 207
        (error,) = traced.json()["errors"]
        assert error["category"] == "CONFLICT"
        assert error["context"] == {"objectWriteTraceId": ["t0"], "existingId": [id]}
        whole = await client.post(f"{BATCH}/create", json=creates("ada@example.com", "b@example.com"))
        assert whole.status_code == 409
        assert whole.json()["message"].startswith("Contact already exists. Existing ID: ")
        assert "errors" not in whole.json()
        assert len(emails_of(sandbox)) == 2


async def test_two_inputs_of_one_address_do_not_both_win():
    """One is created, the other conflicts with it."""
    async with account() as (sandbox, client, _):
        answer = await client.post(f"{BATCH}/create", json=creates("a@example.com", "A@example.com", traced=True))
        (result,), (error,) = answer.json()["results"], answer.json()["errors"]
        assert error["context"]["existingId"] == [result["id"]]
        assert emails_of(sandbox) == ["a@example.com"]


async def test_bad_properties_refuse_a_batch_without_saying_whose_they_are():
    """More problems than errors, and no record is named."""
    options = {"objects": {"contacts": HubSpotObject(unique=("email",), properties=("age",), numbers=("age",))}}
    async with account(**options) as (_, client, _):
        body = creates("none", "ada@example.com", age="x", nope="1")
        answer = (await client.post(f"{BATCH}/create", json=body)).json()
        assert answer["category"] == "VALIDATION_ERROR"
        problems = json.loads(answer["message"].partition(": ")[2])
        assert [each["error"] for each in problems[:3]] == ["INVALID_EMAIL", "INVALID_INTEGER", "PROPERTY_DOESNT_EXIST"]
        assert (len(problems), len(answer["errors"])) == (5, 3)
        assert all(error["context"].keys() == {"propertyName"} for error in answer["errors"])


@pytest.mark.parametrize("verb", ["update", "upsert", "archive"])
@pytest.mark.parametrize("traced", [True, False])
async def test_a_repeated_id_refuses_the_batch(verb, traced):
    """Also with trace ids; nothing is written."""
    async with account("ada@example.com", "bob@example.com") as (sandbox, client, ids):
        before = sandbox.records("contacts", archived=True)
        first = {"id": ids[0]} if verb != "upsert" else {"id": "ada@example.com", "idProperty": "email"}
        again = first if verb != "upsert" else {"id": "ADA@example.com", "idProperty": "email"}
        inputs: list[dict[str, Any]] = [{**each, "properties": {"x": "1"}} for each in (first, again)]
        if traced:
            inputs = [{**each, "objectWriteTraceId": str(index)} for index, each in enumerate(inputs)]
        answer = await client.post(f"{BATCH}/{verb}", json={"inputs": inputs})
        assert answer.status_code == 400
        assert answer.json()["context"] == {"ids": [first["id"]]}
        assert answer.json()["message"].startswith("Duplicate IDs found in batch input: [")
        assert sandbox.records("contacts", archived=True) == before


async def test_an_update_says_unknown_ids_in_one_error_and_drops_what_is_no_number():
    """Two unknown ids, one error; an id of letters gets neither result nor error."""
    async with account("ada@example.com") as (_, client, (id,)):
        inputs = [{"id": each, "properties": {"x": "1"}} for each in (id, "404", "405", "abc")]
        answer = await client.post(f"{BATCH}/update", json={"inputs": inputs})
        assert answer.status_code == 207
        assert [result["id"] for result in answer.json()["results"]] == [id]
        assert answer.json()["numErrors"] == 1
        assert set(answer.json()["errors"][0]["context"]["ids"]) == {"404", "405"}


async def test_an_update_with_a_bad_property_or_a_taken_address_changes_nothing():
    """All or nothing, whatever trace ids say."""
    async with account("ada@example.com", "bob@example.com") as (sandbox, client, ids):
        before = sandbox.records("contacts")
        for properties, status in (({"No Such": "x"}, 400), ({"email": "bob@example.com"}, 409)):
            inputs = [
                {"id": ids[1], "properties": {"x": "1"}, "objectWriteTraceId": "0"},
                {"id": ids[0], "properties": properties, "objectWriteTraceId": "1"},
            ]
            assert (await client.post(f"{BATCH}/update", json={"inputs": inputs})).status_code == status
        assert sandbox.records("contacts") == before


async def test_a_record_keeps_its_own_address():
    """Writing the same unique value again is no conflict, and a cleared one is free for others."""
    async with account("ada@example.com") as (sandbox, client, (id,)):
        same = {"id": id, "properties": {"email": "ADA@example.com"}}
        assert (await client.post(f"{BATCH}/update", json={"inputs": [same]})).status_code == 200
        cleared = {"id": id, "properties": {"email": ""}}
        assert (await client.post(f"{BATCH}/update", json={"inputs": [cleared]})).status_code == 200
        assert (await client.post(f"{BATCH}/create", json=creates("ada@example.com"))).status_code == 201
        assert len(sandbox.records("contacts")) == 2


async def test_a_unique_property_addresses_a_record():
    """Update, read and archive by it; another property cannot, nor can the id by its own name."""
    async with account("ada@example.com") as (sandbox, client, (id,)):
        one = {"id": "ADA@example.com", "idProperty": "email", "properties": {"x": "1"}}
        updated = await client.post(f"{BATCH}/update", json={"inputs": [one]})
        assert updated.json()["results"][0]["id"] == id
        read = await client.post(f"{BATCH}/read", json={"inputs": [{"id": "ada@example.com"}], "idProperty": "email"})
        assert read.json()["results"][0]["id"] == id
        for property in ("hs_object_id", "phone", 7):
            inputs = [{**one, "idProperty": property}]
            refused = await client.post(f"{BATCH}/upsert", json={"inputs": inputs})
            assert (refused.status_code, "non-unique" in refused.json()["message"]) == (400, True)
        assert (await client.post(f"{BATCH}/archive", json={"inputs": [one]})).status_code == 204
        assert sandbox.records("contacts") == []


async def test_an_upsert_with_trace_ids_fares_alone_and_says_what_is_new():
    """A good one, a bad one, and one that is there."""
    async with account("ada@example.com") as (sandbox, client, _):
        inputs = [
            {"id": id, "idProperty": "email", "objectWriteTraceId": id, "properties": {"x": "1"}}
            for id in ("ada@example.com", "bob@example.com", "none")
        ]
        answer = await client.post(f"{BATCH}/upsert", json={"inputs": inputs})
        assert answer.status_code == 207
        news = {result["properties"]["email"]: result["new"] for result in answer.json()["results"]}
        assert news == {"ada@example.com": False, "bob@example.com": True}
        assert answer.json()["errors"][0]["context"] == {"objectWriteTraceId": ["none"]}
        assert emails_of(sandbox) == ["ada@example.com", "bob@example.com"]


async def test_archiving_says_nothing():
    """204 without a body, also for a stranger; the address is free again."""
    async with account("ada@example.com") as (sandbox, client, (id,)):
        answer = await client.post(f"{BATCH}/archive", json={"inputs": [{"id": id}, {"id": "404"}]})
        assert (answer.status_code, answer.content) == (204, b"")
        assert sandbox.records("contacts") == []
        assert [row["archived"] for row in sandbox.records("contacts", archived=True)] == [True]
        assert (await client.post(f"{BATCH}/create", json=creates("ada@example.com"))).status_code == 201
        read = await client.post(f"{BATCH}/read", json={"inputs": [{"id": id}]})
        assert (read.status_code, read.json()["errors"][0]["context"]) == (207, {"ids": [id]})


LARGE = {"to": {"id": "1"}, "types": [{"associationCategory": "x", "associationTypeId": 2**31}]}
NESTED = '{"inputs":[{"properties":{"a":{}}}]}'


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("create", "", "Invalid input JSON"),
        ("create", "[]", "Invalid input JSON"),
        ("create", "{}", "Invalid input JSON"),
        ("create", '{"inputs":[1]}', "Invalid input JSON"),
        ("create", '{"inputs":[{"properties":1}]}', "Invalid input JSON"),
        ("create", NESTED, "Invalid input JSON"),
        ("create", '{"inputs":[{"properties":{},"associations":[{"to":1}]}]}', "Invalid input JSON"),
        ("create", '{"inputs":[{"properties":{},"associations":5}]}', "Invalid input JSON"),
        ("create", json.dumps({"inputs": [{"properties": {}, "associations": [LARGE]}]}), "Invalid input JSON"),
        ("create", '{"inputs":[{"properties":{"a":"\\ud800"}}]}', "Invalid input JSON"),
        ("update", '{"inputs":[{"id":1,"properties":{}}]}', "Invalid input JSON"),
        ("upsert", '{"inputs":[{"id":"a@b.c","properties":{}}]}', "non-unique"),
        ("create", '{"inputs":[]}', "The maximum number of inputs supported in a batch request is 100"),
        ("create", json.dumps({"inputs": [{"properties": {}}] * 101}), "The maximum number of inputs"),
    ],
)
async def test_what_cannot_be_read_is_refused(verb, body, words):
    """400; what is no JSON in HubSpot's eyes has no category."""
    async with account() as (sandbox, client, _):
        headers = {"content-type": "application/json"}
        answer = await client.post(f"{BATCH}/{verb}", content=body, headers=headers)
        assert answer.status_code == 400
        assert words in answer.json()["message"]
        assert ("category" in answer.json()) == (words != "Invalid input JSON")
        assert sandbox.records("contacts") == []


async def test_what_is_not_json_by_its_header_or_not_there():
    """415, 404 and 405 in HubSpot's shape."""
    async with account() as (_, client, _):
        statuses = [
            (await client.post(f"{BATCH}/create", content="{}")).status_code,
            (await client.post(f"{BATCH}/nothing", json={})).status_code,
            (await client.get("/crm/v3/objects/contacts")).status_code,
        ]
        statuses.append((await client.post("/crm/objects/2026-04/contacts/batch/create", json={})).status_code)
        assert statuses == [415, 404, 405, 404]


async def test_associations_on_create_are_checked():
    """One to a record that is there is kept; one to a stranger refuses the record."""
    async with account("ada@example.com") as (sandbox, client, (id,)):
        types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}]
        inputs = [
            {"properties": {"n": to}, "objectWriteTraceId": to, "associations": [{"to": {"id": to}, "types": types}]}
            for to in (id, "404")
        ]
        answer = await client.post("/crm/v3/objects/deals/batch/create", json={"inputs": inputs})
        assert answer.json()["errors"][0]["context"] == {"objectWriteTraceId": ["404"], "id": ["404"]}
        (deal,) = sandbox.records("deals")
        (link,) = (await client.get("/sandbox/associations/deals")).json()["associations"]
        assert (link["from_id"], link["to_id"], link["type_id"]) == (deal["id"], id, 1)


@pytest.mark.parametrize("root", ["/crm/v3/associations", "/crm/v4/associations", "/crm/associations/2026-03"])
async def test_associations_are_made_in_batches(root):
    """Errors name both ends; the third version has no list of types."""
    async with account("ada@example.com", "bob@example.com") as (sandbox, client, (a, b)):
        inputs = [{"from": {"id": a}, "to": {"id": to}, "type": "x"} for to in (b, "404")]
        answer = await client.post(f"{root}/contacts/0-1/batch/create", json={"inputs": inputs})
        assert answer.status_code == 207
        assert answer.json()["errors"][0]["context"].items() >= {"fromObjectId": [a], "toObjectId": ["404"]}.items()
        assert [(each["from_id"], each["to_id"]) for each in sandbox.store.associations("contacts")] == [(a, b)]
        sandbox.faults.order(Fault("drop"))
        silent = await client.post(f"{root}/contacts/contacts/batch/create", json={"inputs": inputs[:1]})
        assert (silent.status_code, silent.json()["results"]) == (201, [])


@pytest.mark.parametrize(
    ("limits", "policy", "wait"),
    [
        (HubSpotLimits(ten_seconds=2), "TEN_SECONDLY_ROLLING", 10.0),
        (HubSpotLimits(second=2), "SECONDLY", 1.0),
        (HubSpotLimits(day=2), "DAILY", 86_400.0),
    ],
)
async def test_each_limit_names_its_policy_and_ends(limits, policy, wait):
    """The call too many gets a 429 without Retry-After and category; the headers count down; later it passes."""
    async with account(limits=limits) as (sandbox, client, _):
        answers = [await client.post(f"{BATCH}/create", json=creates(f"{n}@example.com")) for n in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        body = answers[2].json()
        assert (body["policyName"], body["errorType"], "category" in body) == (policy, "RATE_LIMIT", False)
        assert "retry-after" not in answers[2].headers
        part = {"DAILY": "-Daily", "SECONDLY": "-Secondly"}.get(policy, "")
        assert [answer.headers[f"X-HubSpot-RateLimit{part}-Remaining"] for answer in answers] == ["1", "0", "0"]
        assert len(sandbox.records("contacts")) == 2
        await anyio.sleep(wait)
        assert (await client.post(f"{BATCH}/create", json=creates("x@example.com"))).status_code == 201


async def test_without_limits_there_are_no_headers():
    """None for any number."""
    async with account(limits=HubSpotLimits(ten_seconds=None, day=None)) as (_, client, _):
        answer = await client.post(f"{BATCH}/create", json=creates("a@example.com"))
        assert not [name for name in answer.headers if "ratelimit" in name]


async def refresh(client: httpx.AsyncClient, sandbox: HubSpotSandbox, **changed: str) -> httpx.Response:
    form = {
        "grant_type": "refresh_token",
        "client_id": sandbox.CLIENT_ID,
        "client_secret": sandbox.CLIENT_SECRET,
        "refresh_token": sandbox.REFRESH_TOKEN,
    }
    return await client.post("/oauth/v3/token", data=form | changed)


async def test_a_token_lives_half_an_hour():
    """Then 401 EXPIRED_AUTHENTICATION; one that nobody gave out is INVALID_AUTHENTICATION."""
    async with account() as (sandbox, client, _):
        issued = (await refresh(client, sandbox)).json()
        async with client_of(sandbox, issued["access_token"]) as other:
            assert (await other.post(f"{BATCH}/create", json=creates("a@example.com"))).status_code == 201
            await anyio.sleep(issued["expires_in"])
            late = await other.post(f"{BATCH}/create", json=creates("b@example.com"))
        assert (late.status_code, late.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
        for authorization in ("Bearer stranger", f"Basic {sandbox.TOKEN}", ""):
            headers = {"authorization": authorization}
            answer = await client.post(f"{BATCH}/create", json=creates("c@example.com"), headers=headers)
            assert (answer.status_code, answer.json()["category"]) == (401, "INVALID_AUTHENTICATION")
        assert emails_of(sandbox) == ["a@example.com"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"grant_type": "password"}, "BAD_GRANT_TYPE"),
        ({"client_secret": "x"}, "BAD_CLIENT_ID"),
        ({"refresh_token": "x"}, "BAD_REFRESH_TOKEN"),
    ],
)
async def test_a_bad_refresh_is_refused(changed, status):
    """400 with a status in words."""
    async with account() as (sandbox, client, _):
        answer = await refresh(client, sandbox, **changed)
        assert (answer.status_code, answer.json()["status"]) == (400, status)


async def test_the_status_of_creates_can_be_the_other_one():
    """HubSpot has answered 200 instead of 201."""
    async with account(created_status=200) as (_, client, _):
        assert (await client.post(f"{BATCH}/create", json=creates("a@example.com"))).status_code == 200


Act = Callable[[httpx.AsyncClient, str], Any]
SINGLE = "/crm/v3/objects/contacts"


@pytest.mark.parametrize(
    ("act", "status"),
    [
        (lambda client, id: client.post(SINGLE, json={"properties": {"email": "ada@example.com"}}), 409),
        (lambda client, id: client.post(SINGLE, json={"properties": {"email": "none"}}), 400),
        (lambda client, id: client.patch(f"{SINGLE}/{id}", json={"properties": {"No Such": ""}}), 400),
        (lambda client, id: client.patch(f"{SINGLE}/404", json={"properties": {}}), 404),
        (lambda client, id: client.get(f"{SINGLE}/404"), 404),
        (lambda client, id: client.delete(f"{SINGLE}/404"), 204),
        (lambda client, id: client.delete(f"{SINGLE}/{id}"), 204),
    ],
)
async def test_a_single_record_is_refused_alone(act, status):
    """With the status of its problem."""
    async with account("ada@example.com") as (_, client, (id,)):
        assert (await act(client, id)).status_code == status
