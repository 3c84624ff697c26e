"""The HubSpot sandbox, judged by HubSpot's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hubspot import HubSpot
from hubspot.crm.objects import ApiException

from batcher.sandbox import Fault, HubSpotSandbox
from tests.sandbox.served import served


class Account:
    """A sandbox, and HubSpot's client for it."""

    def __init__(self, sandbox: HubSpotSandbox, address: str, token: str) -> None:
        self.sandbox = sandbox
        self.address = address
        # What HubSpot answers in a 207 lacks members that its own published schema requires.
        client: Any = HubSpot(access_token=token, host=f"http://{address}", client_side_validation=False)
        self.client = client
        self.batches = client.crm.objects.batch_api
        self.single = client.crm.objects.basic_api

    def create(self, *properties: dict[str, Any], traced: bool = False) -> Any:
        inputs = [
            {"properties": each, "associations": [], **({"objectWriteTraceId": str(index)} if traced else {})}
            for index, each in enumerate(properties)
        ]
        return self.batches.create("contacts", {"inputs": inputs}, _request_timeout=120)


@pytest.fixture
def account() -> Iterator[Account]:
    with HubSpotSandbox() as sandbox, served(sandbox) as address:
        yield Account(sandbox, address, sandbox.TOKEN)


def emails(account: Account) -> list[str]:
    return sorted(row["fields"]["email"] for row in account.sandbox.records("contacts"))


def test_it_creates_reads_updates_and_archives_batches(account):
    """The client's models take every answer of the everyday verbs."""
    created = account.create({"email": "ADA@example.com"}, {"email": "bob@example.com"})
    assert created.status == "COMPLETE"
    ids = {record.properties["email"]: record.id for record in created.results}
    assert ids.keys() == {"ada@example.com", "bob@example.com"}

    updates = [{"id": id, "properties": {"phone": "1"}} for id in ids.values()]
    updated = account.batches.update("contacts", {"inputs": updates}, _request_timeout=120)
    assert {record.id: record.properties["phone"] for record in updated.results} == dict.fromkeys(ids.values(), "1")

    wanted = {"inputs": [{"id": id} for id in ids.values()], "properties": ["phone"], "propertiesWithHistory": []}
    read = account.batches.read("contacts", wanted, _request_timeout=120)
    assert {record.id for record in read.results} == set(ids.values())

    gone = {"inputs": [{"id": ids["ada@example.com"]}]}
    assert account.batches.archive("contacts", gone, _request_timeout=120) is None
    assert emails(account) == ["bob@example.com"]


def test_it_upserts_and_says_what_is_new(account):
    """An upsert by e-mail address changes the one record and adds the other."""
    account.create({"email": "ada@example.com"})
    inputs = [
        {"id": email, "idProperty": "email", "properties": {"phone": "2"}}
        for email in ("Ada@example.com", "bob@example.com")
    ]
    result = account.batches.upsert("contacts", {"inputs": inputs}, _request_timeout=120)
    news = {record.properties["email"]: record.new for record in result.results}
    assert news == {"ada@example.com": False, "bob@example.com": True}


def test_with_trace_ids_each_record_fares_alone(account):
    """A 207 in the client's words: results of the good records, errors that name the bad ones by trace id."""
    account.create({"email": "ada@example.com"})
    result = account.create({"email": "bob@example.com"}, {"email": "ada@example.com"}, {"email": "none"}, traced=True)
    assert [record.properties["email"] for record in result.results] == ["bob@example.com"]
    assert result.num_errors == 2
    by_trace = {error.context["objectWriteTraceId"][0]: error.category for error in result.errors}
    assert by_trace == {"1": "CONFLICT", "2": "VALIDATION_ERROR"}
    assert emails(account) == ["ada@example.com", "bob@example.com"]


@pytest.mark.parametrize(
    ("bad", "status", "words"),
    [
        ({"email": "ada@example.com"}, 409, "Contact already exists. Existing ID: "),
        ({"email": "none"}, 400, "Property values were not valid"),
        ({"No Such": "x"}, 400, "PROPERTY_DOESNT_EXIST"),
    ],
)
def test_without_trace_ids_one_bad_record_refuses_all(account, bad, status, words):
    """The client raises, and nothing of the batch was written: all or none."""
    account.create({"email": "ada@example.com"})
    with pytest.raises(ApiException) as raised:
        account.create({"email": "bob@example.com"}, bad)
    assert raised.value.status == status
    assert words in raised.value.body
    assert emails(account) == ["ada@example.com"]


def test_an_update_of_an_unknown_record_fails_alone(account):
    """The other one is changed, and the error lists the id."""
    (one,) = account.create({"email": "ada@example.com"}).results
    inputs = [{"id": one.id, "properties": {"phone": "1"}}, {"id": "404", "properties": {"phone": "1"}}]
    result = account.batches.update("contacts", {"inputs": inputs}, _request_timeout=120)
    assert [record.id for record in result.results] == [one.id]
    assert [(error.category, error.context) for error in result.errors] == [("OBJECT_NOT_FOUND", {"ids": ["404"]})]


def test_it_serves_single_records(account):
    """Create, read, update, archive, one at a time."""
    given = {"properties": {"email": "ada@example.com"}, "associations": []}
    created = account.single.create("contacts", given, _request_timeout=120)
    changed = {"properties": {"phone": "1"}}
    account.single.update("contacts", created.id, changed, _request_timeout=120)
    read = account.single.get_by_id("contacts", "ada@example.com", id_property="email", _request_timeout=120)
    assert (read.id, read.properties["phone"]) == (created.id, "1")
    account.single.archive("contacts", created.id, _request_timeout=120)
    with pytest.raises(ApiException) as raised:
        account.single.get_by_id("contacts", created.id, _request_timeout=120)
    assert raised.value.status == 404


def test_it_associates_records(account):
    """The client's own call for associations, a good one and one with a stranger."""
    (one,) = account.create({"email": "ada@example.com"}).results
    company = account.single.create(
        "companies", {"properties": {"name": "x"}, "associations": []}, _request_timeout=120
    )
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]
    inputs = [{"from": {"id": one.id}, "to": {"id": to}, "types": types} for to in (company.id, "404")]
    api = account.client.crm.associations.v4.batch_api
    result = api.create("contacts", "companies", {"inputs": inputs}, _request_timeout=120)
    assert [each.to_object_id for each in result.results] == [company.id]
    assert result.num_errors == 1
    assert account.sandbox.store.associations("contacts") == [
        {"from_id": one.id, "to_type": "companies", "to_id": company.id, "category": "HUBSPOT_DEFINED", "type_id": 279}
    ]


def test_it_gives_out_tokens_and_refuses_strangers(account):
    """The client gets a token for the refresh token, and is let in with it."""
    sandbox = account.sandbox
    issued = account.client.oauth.tokens_api.create(
        grant_type="refresh_token",
        client_id=sandbox.CLIENT_ID,
        client_secret=sandbox.CLIENT_SECRET,
        refresh_token=sandbox.REFRESH_TOKEN,
        _request_timeout=120,
    )
    assert issued.expires_in == 1800
    assert Account(sandbox, account.address, issued.access_token).create({"email": "a@example.com"}).results
    with pytest.raises(ApiException) as raised:
        Account(sandbox, account.address, "stranger").create({"email": "b@example.com"})
    assert raised.value.status == 401


def test_a_limit_in_the_clients_words(account):
    """The client raises a 429 whose body names the policy."""
    account.sandbox.faults.order(Fault("throttle", code="DAILY"))
    with pytest.raises(ApiException) as raised:
        account.create({"email": "a@example.com"})
    assert raised.value.status == 429
    assert '"policyName":"DAILY"' in raised.value.body
