"""Salesforce's access tokens: how they are asked for, and what the answer means. Pure but for the signature."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from batcher.destinations._http.answers import Answer, json_of
from batcher.destinations._http.arguments import Secret, checked_base_url
from batcher.destinations._http.details import NO_REASON
from batcher.destinations._http.tokens import NO_ACCESS_TOKEN, Token
from batcher.destinations.salesforce.answers import details_of
from batcher.outcomes import ErrorDetail, Refused, Retry

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

TOKEN_PATH = "/services/oauth2/token"  # noqa: S105
# RFC 7523, section 2.1.
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# Salesforce takes assertions of a few minutes only; this one is used at once.
_ASSERTION_SECONDS = 120


@attrs.frozen
class ClientCredentials:
    """The app itself is the user."""

    client_id: str = attrs.field(repr=False)
    client_secret: Secret

    def form(self, now: float) -> dict[str, str]:
        """Return what is asked for."""
        secret = self.client_secret.reveal()
        return {"grant_type": "client_credentials", "client_id": self.client_id, "client_secret": secret}


@attrs.frozen
class JWTBearer:
    """The app vouches for a user with its signature."""

    client_id: str = attrs.field(repr=False)
    username: str = attrs.field(repr=False)
    private_key: RSAPrivateKey = attrs.field(repr=False)
    audience: str

    def form(self, now: float) -> dict[str, str]:
        """Return what is asked for; the signature is made here.

        :param now: seconds since 1970
        """
        import jwt

        expires = int(now) + _ASSERTION_SECONDS
        claims = {"iss": self.client_id, "sub": self.username, "aud": self.audience, "exp": expires}
        return {"grant_type": _JWT_BEARER, "assertion": jwt.encode(claims, self.private_key, algorithm="RS256")}


Grant: TypeAlias = ClientCredentials | JWTBearer


def grant_of(arguments: Mapping[str, Any], instance_url: str, audience: str) -> Grant | Token:
    """Return how tokens are got, or the only one, from those of the arguments that are not None.

    :raises TypeError: arguments that do not go together, or one of another type
    :raises ValueError: a secret or a key that is none
    :raises ImportError: what makes signatures is not installed
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    for name in ("client_id", "username"):
        if not isinstance(given.get(name, "-"), str):
            raise TypeError(f"{name} must be a string, not {type(given[name]).__name__}")
        if given.get(name) == "":
            raise ValueError(f"{name} must not be an empty string")
    if given.keys() == {"access_token"}:
        return Token(Secret("access_token", given["access_token"]), instance_url)
    if given.keys() == {"client_id", "client_secret"}:
        return ClientCredentials(given["client_id"], Secret("client_secret", given["client_secret"]))
    if given.keys() != {"client_id", "username", "private_key"}:
        raise TypeError(
            "give access_token=, or client_id= and client_secret=, or client_id=, username= and private_key="
        )
    key = _rsa_key(given["private_key"])
    return JWTBearer(given["client_id"], given["username"], key, checked_base_url("audience", audience))


def _rsa_key(pem: str | bytes) -> RSAPrivateKey:
    if not isinstance(pem, (str, bytes)):
        raise TypeError(f"private_key must be a string or bytes, not {type(pem).__name__}")
    if find_spec("jwt") is None or find_spec("cryptography") is None:
        raise ImportError(
            "private_key= needs the extra 'salesforce': pip install 'saas-batcher[salesforce]', "
            "or '.[salesforce]' in a clone"
        )
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key: object = None
    with suppress(TypeError, ValueError, UnsupportedAlgorithm):  # said below; nothing that knows the key is chained
        key = load_pem_private_key(pem.encode() if isinstance(pem, str) else pem, password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key must be an RSA private key in PEM form, without a passphrase")
    return key


def token_of(answer: Answer, asked: str) -> Token:
    """Return the token of an answer.

    It has no expiry: Salesforce does not say how long it lives, only that it is over.

    :param asked: the server that was asked; a token of https is not shown over http
    :raises Retry: there is none now, perhaps later
    :raises Refused: there will be none
    """
    status, body = answer.status, json_of(answer)
    if answer.flaw is not None or status == 429 or status >= 500:
        raise Retry(f"no access token: HTTP {status}")
    if status != 200:
        raise Refused(details_of(body) or ErrorDetail(NO_REASON.message, f"HTTP_{status}"))
    given: dict[str, Any] = body if isinstance(body, dict) else {}
    try:
        secret = Secret("access_token", given.get("access_token", ""))
        instance = checked_base_url("instance_url", given.get("instance_url"))
        if asked.startswith("https:") and not instance.startswith("https:"):
            raise ValueError("instance_url must begin with https, as the address of the token request does")
    except (TypeError, ValueError) as error:
        raise Refused(ErrorDetail(f"the answer to the token request: {error}", NO_ACCESS_TOKEN)) from None
    return Token(secret, instance)
