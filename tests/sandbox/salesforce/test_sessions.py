"""How a client of the Salesforce sandbox gets a session, and how it ends."""

from __future__ import annotations

import time
from base64 import b64encode, urlsafe_b64encode
from json import dumps
from typing import Any

import anyio
import httpx
import pytest

from tests.sandbox.salesforce.org import SET, body, codes, contact, names, org
from tests.sandbox.transport import client_of

pytestmark = pytest.mark.anyio


async def log_in(client: httpx.AsyncClient, form: dict[str, str], headers: dict[str, str] | None = None) -> Any:
    answer = await client.post("/services/oauth2/token", data=form, headers=headers)
    return answer.json() | {"status": answer.status_code}


async def test_a_session_ends_and_a_new_one_begins():
    """The answer has no expiry and no refresh token; what ends it is 401 INVALID_SESSION_ID."""
    async with org(token_lifetime=60.0) as (sandbox, client, _):
        form = {"grant_type": "client_credentials", "client_id": sandbox.CLIENT_ID}
        issued = await log_in(client, form | {"client_secret": sandbox.CLIENT_SECRET})
        assert issued["instance_url"] == "http://sandbox"
        assert not issued.keys() & {"expires_in", "refresh_token"}
        async with client_of(sandbox, issued["access_token"]) as other:
            assert codes(await other.post(SET, json=body(contact(LastName="x")))) == [None]
            await anyio.sleep(60)
            late = await other.post(SET, json=body(contact(LastName="y")))
        assert late.status_code == 401
        assert late.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
        assert names(sandbox) == ["x"]


def jwt_of(header: Any, claims: Any, signature: bytes = b"x") -> str:
    parts = [dumps(header).encode(), dumps(claims).encode(), signature]
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


RS256 = {"alg": "RS256"}
CLAIMS = {"iss": "sandbox-client", "sub": "ada", "aud": "https://login.salesforce.com", "exp": time.time() + 86_400}


@pytest.mark.parametrize(
    ("assertion", "error"),
    [
        (jwt_of(RS256, CLAIMS), None),
        (jwt_of(RS256, CLAIMS | {"exp": str(CLAIMS["exp"])}), None),
        (jwt_of({"alg": "none"}, CLAIMS), "invalid_grant"),
        (jwt_of(RS256, CLAIMS, b""), "invalid_grant"),
        (jwt_of(RS256, CLAIMS | {"sub": ""}), "invalid_grant"),
        (jwt_of(RS256, CLAIMS | {"exp": 1}), "invalid_grant"),
        (jwt_of(RS256, {"exp": 1}), "invalid_grant"),
        (jwt_of(RS256, []), "invalid_grant"),
        (jwt_of(RS256, CLAIMS | {"iss": "x"}), "invalid_client_id"),
        ("a.b", "invalid_grant"),
        ("", "invalid_grant"),
    ],
)
async def test_an_assertion_is_looked_at(assertion, error):
    """Its form, its parties and its time; the signature only where somebody can check it."""
    async with org() as (_, client, _):
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        assert (await log_in(client, form)).get("error") == error


@pytest.mark.parametrize(
    ("form", "authorization", "error"),
    [
        ({}, "", "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "", "invalid_client_id"),
        ({"grant_type": "client_credentials", "client_id": "sandbox-client"}, "", "invalid_client"),
        ({"grant_type": "client_credentials"}, "Basic x", "invalid_client"),
        ({"grant_type": "client_credentials"}, "Basic " + b64encode(b"sandbox-client:no").decode(), "invalid_client"),
        ({"grant_type": "client_credentials"}, "Basic " + b64encode(b"sandbox-client:sandbox-secret").decode(), None),
    ],
)
async def test_a_client_is_asked_who_it_is(form, authorization, error):
    """In the form or in the header."""
    async with org() as (_, client, _):
        answer = await log_in(client, form, {"authorization": authorization})
        assert (answer.get("error"), answer["status"]) == (error, 400 if error else 200)
