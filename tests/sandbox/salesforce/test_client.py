"""The Salesforce sandbox, judged by simple-salesforce."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)

from batcher.sandbox import Fault, SalesforceSandbox
from tests.sandbox.served import served

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def verify(signed: bytes, signature: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


class ToSandbox(HTTPAdapter):
    """Leads what simple-salesforce sends to https://*.salesforce.com to the sandbox, with a timeout."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        assert request.url is not None
        path = request.url.partition("://")[2].partition("/")[2]
        request.url = f"http://{self._address}/{path}"
        kwargs["timeout"] = 20
        return super().send(request, *args, **kwargs)


class Org:
    """A sandbox, and ways to log in."""

    def __init__(self, sandbox: SalesforceSandbox, address: str) -> None:
        self.sandbox = sandbox
        self.address = address
        self.session = requests.Session()
        self.session.mount("https://", ToSandbox(address))

    def client(self, token: str | None = None) -> Any:
        return Salesforce(
            session_id=token or self.sandbox.TOKEN, instance_url=f"https://{self.address}", session=self.session
        )

    def log_in(self, secret: str | None = None) -> Any:
        return Salesforce(
            consumer_key=self.sandbox.CLIENT_ID,
            consumer_secret=secret or self.sandbox.CLIENT_SECRET,
            domain="mydomain.my",
            session=self.session,
        )


@pytest.fixture
def org() -> Iterator[Org]:
    with SalesforceSandbox(verify=verify) as sandbox, served(sandbox) as address:
        org = Org(sandbox, address)
        with org.session:
            yield org


def contacts(*names: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"attributes": {"type": "Contact"}, "LastName": name, **fields} for name in names]


def code_of(error: Any) -> str:
    """The client declares bytes and holds what it read from JSON."""
    code: str = error.content[0]["errorCode"]
    return code


def collect(client: Any, method: str, path: str = "", **body: Any) -> Any:
    return client.restful(f"composite/sobjects{path}", method=method, json=body)


def test_it_creates_updates_and_deletes_collections(org):
    """In order, with ids that the other calls take."""
    client = org.client()
    created = collect(client, "POST", allOrNone=False, records=contacts("Ada", "Bob", "Cyd"))
    assert [item["success"] for item in created] == [True] * 3
    ids = [item["id"] for item in created]
    changed = [{**record, "id": id} for record, id in zip(contacts("A", "B", "C"), ids, strict=True)]
    assert [item["id"] for item in collect(client, "PATCH", allOrNone=False, records=changed)] == ids
    assert [record["LastName"] for record in client.query("SELECT LastName FROM Contact")["records"]] == ["A", "B", "C"]
    gone = client.restful("composite/sobjects", {"ids": ",".join(ids[:2]), "allOrNone": "false"}, method="DELETE")
    assert [item["success"] for item in gone] == [True, True]
    assert client.query("SELECT count() FROM Contact")["totalSize"] == 1


def test_it_upserts_collections_by_external_id(org):
    """The answer tells what was created."""
    client = org.client()
    path = "/Contact/External_Id__c"
    first = collect(client, "PATCH", path, allOrNone=False, records=contacts("Ada", External_Id__c="1"))
    both = contacts("Ada", External_Id__c="1") + contacts("Bob", External_Id__c="2")
    second = collect(client, "PATCH", path, allOrNone=False, records=both)
    assert [item["created"] for item in first + second] == [True, False, True]
    assert first[0]["id"] == second[0]["id"]


def test_a_bad_record_fails_alone(org):
    """200 all the same; only the item says that it failed."""
    client = org.client()
    items = collect(client, "POST", allOrNone=False, records=[*contacts("Ada"), {"attributes": {"type": "Contact"}}])
    assert [item["success"] for item in items] == [True, False]
    assert items[1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert [row["fields"] for row in org.sandbox.records("Contact")] == [{"LastName": "Ada"}]


def test_all_or_none_keeps_nothing(org):
    """The culprit has its own code, the innocent says that it was rolled back."""
    client = org.client()
    items = collect(client, "POST", allOrNone=True, records=[*contacts("Ada"), {"attributes": {"type": "Contact"}}])
    codes = [item["errors"][0]["statusCode"] for item in items]
    assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
    assert org.sandbox.records("Contact", archived=True) == []


def test_it_serves_single_records(org):
    """Create, read, update, upsert, delete through the client's own methods."""
    client = org.client()
    id = client.Contact.create({"LastName": "Ada", "Email": "a@example.com"})["id"]
    assert client.Contact.update(id, {"Phone": "1", "Email": None}) == 204
    read = client.Contact.get(id[:15])
    assert (read["Id"], read["Phone"], "Email" in read) == (id, "1", False)
    assert client.Contact.upsert("External_Id__c/a%2Fb", {"LastName": "Bob"}) == 201
    assert client.Contact.upsert("External_Id__c/a%2Fb", {"LastName": "Bobby"}) == 200
    assert client.Contact.get_by_custom_id("External_Id__c", "a/b")["LastName"] == "Bobby"
    assert client.Contact.delete(id) == 204
    with pytest.raises(SalesforceResourceNotFound) as raised:
        client.Contact.get(id)
    assert code_of(raised.value) == "ENTITY_IS_DELETED"


@pytest.mark.parametrize(
    ("call", "error", "code"),
    [
        (lambda c: c.Contact.create({}), SalesforceMalformedRequest, "REQUIRED_FIELD_MISSING"),
        (lambda c: c.Contact.get("003000000000000"), SalesforceResourceNotFound, "NOT_FOUND"),
        (lambda c: c.Nothing.create({}), SalesforceResourceNotFound, "NOT_FOUND"),
        (lambda c: c.query("SELECT"), SalesforceMalformedRequest, "MALFORMED_QUERY"),
        (lambda c: collect(c, "POST", records=[]), SalesforceMalformedRequest, "REQUIRED_FIELD_MISSING"),
        (lambda c: collect(c, "POST", records=contacts(*["x"] * 201)), SalesforceMalformedRequest, "EXCEEDED_ID_LIMIT"),
    ],
)
def test_errors_in_the_clients_words(org, call, error, code):
    """Each status becomes the client's class for it, and the body is the array that it reads."""
    with pytest.raises(error) as raised:
        call(org.client())
    assert code_of(raised.value) == code


def test_several_records_of_one_address(org):
    """300, which the client has a class for."""
    client = org.client()
    for _ in range(2):
        client.Contact.create({"LastName": "Ada", "Email": "a@example.com"})
    with pytest.raises(SalesforceMoreThanOneRecord):
        client.Contact.upsert("Email/a@example.com", {"LastName": "x"})


def test_limits_in_the_clients_words(org):
    """The client reads the usage from the header, and raises the 403 of a limit."""
    client = org.client()
    client.query("SELECT Id FROM Contact")
    assert client.api_usage["api-usage"].used == 1
    org.sandbox.faults.order(Fault("throttle"))
    with pytest.raises(SalesforceRefusedRequest) as raised:
        client.query("SELECT Id FROM Contact")
    assert code_of(raised.value) == "REQUEST_LIMIT_EXCEEDED"


def test_an_expired_session_is_renewed_by_the_client(org):
    """INVALID_SESSION_ID in the form that makes the client log in again and resend; who cannot log in is told."""
    client = org.log_in()
    org.sandbox.faults.order(Fault("expire"))
    assert client.Contact.create({"LastName": "Ada"})["success"]
    assert [row["fields"] for row in org.sandbox.records("Contact")] == [{"LastName": "Ada"}]
    with pytest.raises(SalesforceExpiredSession):
        org.client("stranger").Contact.create({"LastName": "Bob"})
    with pytest.raises(SalesforceAuthenticationFailed):
        org.log_in("wrong")


def test_a_jwt_of_the_client_is_taken(org):
    """Signed by the key that the organization knows; the token lets in."""
    pem = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    arguments = {"username": "ada@example.com", "consumer_key": org.sandbox.CLIENT_ID, "session": org.session}
    client: Any = Salesforce(**arguments, privatekey=pem)
    assert client.Contact.create({"LastName": "Ada"})["success"]


def test_a_jwt_of_somebody_else_is_refused(org):
    """Another signature gets no token."""
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"iss": org.sandbox.CLIENT_ID, "sub": "ada", "aud": "https://login.salesforce.com", "exp": 4_000_000_000}
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": jwt.encode(claims, other, algorithm="RS256"),
    }
    answer = org.session.post("https://login.salesforce.com/services/oauth2/token", form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
