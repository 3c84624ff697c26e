"""Salesforce's token endpoint: which grants are honoured. Pure, but for the signature, which the caller may check."""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from batcher.sandbox.salesforce.answers import bad_grant

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# What is signed, and the signature.
Verify: TypeAlias = Callable[[bytes, bytes], bool]


@attrs.frozen
class Grants:
    """Who gets a token."""

    client_id: str
    client_secret: str = attrs.field(repr=False)
    verify: Verify | None
    """Tells whether a signature is right; None takes any."""

    def check(self, form: Mapping[str, str], authorization: str, now: float) -> None:
        """Let a request for a token pass.

        :param authorization: the header; the client may be named there instead of in the form
        :param now: seconds since 1970
        :raises Refused: refused
        """
        grant = form.get("grant_type")
        if grant == "client_credentials":
            self._check_client(form, authorization)
        elif grant == JWT_BEARER:
            self._check_assertion(form.get("assertion", ""), now)
        else:
            raise bad_grant("unsupported_grant_type", "grant type not supported")

    def _check_client(self, form: Mapping[str, str], authorization: str) -> None:
        given = (form.get("client_id", ""), form.get("client_secret", ""))
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() == "basic":
            try:
                id, _, secret = b64decode(encoded).decode().partition(":")
            except ValueError:
                raise bad_grant("invalid_client", "invalid client credentials") from None
            given = (id, secret)
        if given[0] != self.client_id:
            raise bad_grant("invalid_client_id", "client identifier invalid")
        if given[1] != self.client_secret:
            raise bad_grant("invalid_client", "invalid client credentials")

    def _check_assertion(self, assertion: str, now: float) -> None:
        try:
            head, claims, signature = assertion.split(".")
            header, content, signed = _json(head), _json(claims), _bytes(signature)
            expires = float(content["exp"])
            parties = [content["iss"], content["sub"], content["aud"]]
        except (KeyError, TypeError, ValueError):
            raise bad_grant("invalid_grant", "invalid assertion") from None
        if header.get("alg") != "RS256" or not signed or not all(parties):
            raise bad_grant("invalid_grant", "invalid assertion")
        if content["iss"] != self.client_id:
            raise bad_grant("invalid_client_id", "client identifier invalid")
        if expires <= now:
            raise bad_grant("invalid_grant", "expired authorization code")
        if self.verify is not None and not self.verify(f"{head}.{claims}".encode(), signed):
            raise bad_grant("invalid_grant", "invalid assertion")


def _json(part: str) -> dict[str, Any]:
    found = json.loads(_bytes(part))
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def _bytes(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
