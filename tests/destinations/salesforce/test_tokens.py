"""Salesforce: how access tokens are asked for, and what the answers mean."""

import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from batcher.destinations._http.answers import Answer
from batcher.destinations._http.tokens import Token
from batcher.destinations.salesforce.tokens import ClientCredentials, JWTBearer, grant_of, token_of
from batcher.outcomes import ErrorDetail, Refused, Retry
from tests.destinations.salesforce.helpers import NO_REASON, ORG, TOKEN, answer, salesforce

NA1 = "https://na1.my.salesforce.com"
APP: dict[str, Any] = {"access_token": None, "client_id": "app", "username": "ada@example.com"}


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem_of(key: Any, passphrase: bytes | None = None) -> str:
    hidden: Any = serialization.NoEncryption()
    if passphrase is not None:
        hidden = serialization.BestAvailableEncryption(passphrase)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return str(key.private_bytes(*form, hidden).decode())


def public_pem() -> str:
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return rsa_key().public_key().public_bytes(*form).decode()


def grant(audience: str = "https://login.salesforce.com", **arguments: Any) -> Any:
    return grant_of(arguments, ORG, audience)


def test_a_token_that_is_given_is_the_only_one() -> None:
    """It is for the address that it was given with."""
    token = grant(access_token=TOKEN, client_id=None)

    assert isinstance(token, Token)
    assert (token.secret.reveal(), token.base_url) == (TOKEN, ORG)


def test_the_request_by_client_credentials() -> None:
    """The form of the contract, and nothing of the secret in any repr."""
    found = grant(client_id="a&b", client_secret=TOKEN)

    assert isinstance(found, ClientCredentials)
    form = found.form(0.0)
    assert form == {"grant_type": "client_credentials", "client_id": "a&b", "client_secret": TOKEN}
    assert TOKEN not in repr(found)


@pytest.mark.parametrize("encoded", [False, True])
def test_the_request_by_a_signature(encoded: bool) -> None:
    """RS256 over issuer, subject, audience and a short life, by the clock of the destination."""
    text = pem_of(rsa_key())
    key = text.encode() if encoded else text
    found = grant("https://test.salesforce.com/", client_id="app", username="ada@example.com", private_key=key)

    assert isinstance(found, JWTBearer)
    form = found.form(4_000_000_000.5)
    assert form.keys() == {"grant_type", "assertion"}
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    audience = "https://test.salesforce.com"
    claims = jwt.decode(form["assertion"], public_pem(), algorithms=["RS256"], audience=audience)
    assert claims == {"iss": "app", "sub": "ada@example.com", "aud": audience, "exp": 4_000_000_120}
    assert text.splitlines()[1] not in repr(found)
    assert "ada@example.com" not in repr(found)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"private_key": 1}, TypeError, "private_key must be a string or bytes, not int"),
        ({"private_key": ""}, ValueError, "private_key must be an RSA private key in PEM form"),
        ({"private_key": TOKEN}, ValueError, "private_key must be an RSA private key in PEM form"),
        ({"private_key": "\ud800"}, ValueError, "private_key must be an RSA private key in PEM form"),
        ({"private_key": "public"}, ValueError, "private_key must be an RSA private key in PEM form"),
        ({"private_key": "locked"}, ValueError, "private_key must be .* without a passphrase"),
        ({"private_key": "elliptic"}, ValueError, "private_key must be an RSA private key"),
        ({"username": 1}, TypeError, "username must be a string, not int"),
        ({"username": ""}, ValueError, "username must not be an empty string"),
        ({"client_id": ""}, ValueError, "client_id must not be an empty string"),
        ({"username": None}, TypeError, "give access_token=, or client_id="),
        ({"client_secret": TOKEN}, TypeError, "give access_token=, or client_id="),
        ({"access_token": TOKEN}, TypeError, "give access_token=, or client_id="),
        ({"audience": "login"}, ValueError, "audience must be the address of a server"),
    ],
)
def test_what_cannot_sign_is_refused_at_once(options: Any, error: Any, words: str) -> None:
    """Where it is given and not at the first write, without a word of the key, also not in what is chained."""
    keys = {
        "public": public_pem,
        "locked": lambda: pem_of(rsa_key(), b"pass"),
        "elliptic": lambda: pem_of(ec.generate_private_key(ec.SECP256R1())),
    }
    found = {"private_key": pem_of(rsa_key()), **APP, **options}
    if found["private_key"] in keys:
        found["private_key"] = keys[found["private_key"]]()
    with pytest.raises(error, match=words) as caught:
        salesforce(**found)

    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("missing", ["jwt", "cryptography"])
def test_what_is_not_installed_is_said_with_the_way_out(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures need an extra; the other ways to get a token do not."""
    place = "batcher.destinations.salesforce.tokens.find_spec"
    monkeypatch.setattr(place, lambda name: None if name == missing else find_spec(name))

    with pytest.raises(ImportError, match=r"the extra 'salesforce': pip install 'saas-batcher\[salesforce\]'"):
        salesforce(**APP, private_key=pem_of(rsa_key()))
    salesforce(access_token=None, client_id="app", client_secret="s")


def test_a_token_comes_with_its_instance() -> None:
    """And stays until Salesforce refuses it, because the answer does not say how long it lives."""
    body = {"access_token": TOKEN, "instance_url": f"{NA1}/", "token_type": "Bearer", "issued_at": "1", "id": "x"}
    token = token_of(answer(200, body), ORG)

    assert (token.secret.reveal(), token.base_url) == (TOKEN, NA1)
    assert token.expires_at == float("inf")
    assert TOKEN not in repr(token)
    local = {**body, "instance_url": "http://127.0.0.1:1"}
    assert token_of(answer(200, local), "http://127.0.0.1:2").base_url == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("status", "body", "errors"),
    [
        (400, {"error": "invalid_grant", "error_description": "audience is invalid"},
         [ErrorDetail("audience is invalid", "invalid_grant")]),
        (400, {"error": "invalid_client_id"}, [ErrorDetail(NO_REASON.message, "invalid_client_id")]),
        (401, b"", [ErrorDetail(NO_REASON.message, "HTTP_401")]),
        (404, b"<html>", [ErrorDetail(NO_REASON.message, "HTTP_404")]),
        (302, b"", [ErrorDetail(NO_REASON.message, "HTTP_302")]),
    ],
)  # fmt: skip
def test_a_token_that_is_refused(status: int, body: Any, errors: Any) -> None:
    """Asking again would not help."""
    with pytest.raises(Refused) as caught:
        token_of(answer(status, body), ORG)

    assert list(caught.value.errors) == errors


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "access_token must be visible"),
        ([TOKEN], "access_token must be visible"),
        ({"instance_url": NA1}, "access_token must be visible"),
        ({"access_token": 7, "instance_url": NA1}, "access_token must be a string, not int"),
        ({"access_token": f"{TOKEN} x", "instance_url": NA1}, "access_token must be visible"),
        ({"access_token": TOKEN}, "instance_url must be a string, not NoneType"),
        ({"access_token": TOKEN, "instance_url": "na1"}, "instance_url must be the address"),
        ({"access_token": TOKEN, "instance_url": "http://na1"}, "instance_url must begin with https"),
    ],
)
def test_an_answer_without_a_token_or_an_instance(body: Any, words: str) -> None:
    """It is refused in words that show no token; a token of https is not sent over http."""
    with pytest.raises(Refused) as caught:
        token_of(answer(200, body), ORG)

    (error,) = caught.value.errors
    assert error.code == "NO_ACCESS_TOKEN"
    assert words in error.message
    assert TOKEN not in error.message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("reply", [answer(503, b""), answer(500, b""), answer(429, b""), Answer(200, flaw="broke off")])
def test_p07_a_token_that_does_not_come_now(reply: Answer) -> None:
    """Another try may help, and nothing was applied."""
    with pytest.raises(Retry, match=f"no access token: HTTP {reply.status}") as caught:
        token_of(reply, ORG)

    assert caught.value.applied == "no"


def test_importing_the_destination_loads_neither_a_client_nor_what_signs() -> None:
    """httpx is loaded when a client is made, PyJWT and cryptography when a private key is given."""
    code = (
        "import sys; from batcher.destinations import Salesforce; Salesforce('https://x', access_token='t'); "
        "print(sorted({'httpx', 'jwt', 'cryptography'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.strip() == "[]"
