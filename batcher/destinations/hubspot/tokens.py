"""HubSpot's access tokens: what to ask for with a refresh token, and what the answer means. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from batcher.destinations._http.answers import Answer, json_of
from batcher.destinations._http.arguments import Secret, quoted
from batcher.destinations._http.tokens import Token
from batcher.destinations.hubspot.answers import check_passing
from batcher.destinations.hubspot.results import details_of
from batcher.outcomes import Refused, Retry

# HubSpot, "Working with OAuth": access tokens live for 30 minutes. Used if an answer does not say.
_LIFETIME_SECONDS = 1800.0
# The issuer's own words for an access token that it gives.
_ACCESS_TOKEN, _REFRESH_TOKEN = "access_token", "refresh_token"


@attrs.frozen
class Grant:
    """What an app of HubSpot's has to show for a customer's account."""

    client_id: str
    client_secret: Secret
    refresh_token: Secret

    def form(self) -> dict[str, str]:
        """Return what is asked for: RFC 6749, section 6."""
        return {
            "grant_type": _REFRESH_TOKEN,
            "client_id": self.client_id,
            "client_secret": self.client_secret.reveal(),
            _REFRESH_TOKEN: self.refresh_token.reveal(),
        }

    def renewed(self, answer: Answer) -> Grant:
        """Return what to show the next time: an issuer may replace the refresh token (RFC 6749, section 6)."""
        token = _secret(json_of(answer), _REFRESH_TOKEN)
        return self if token is None else attrs.evolve(self, refresh_token=token)


def grant_of(
    token: str | None, client_id: str | None, client_secret: str | None, refresh_token: str | None, base_url: str
) -> Grant | Token:
    """Return how tokens are got, or the only one.

    :raises TypeError: none of the ways to authorize, or both, or no strings
    :raises ValueError: a secret that is none
    """
    given = [each is not None for each in (client_id, client_secret, refresh_token)]
    if token is not None and not any(given):
        return Token(Secret("token", token), base_url)
    if token is None and client_id is not None and client_secret is not None and refresh_token is not None:
        quoted("client_id", client_id)  # goes into a form, and must be a name all the same
        return Grant(client_id, Secret("client_secret", client_secret), Secret("refresh_token", refresh_token))
    raise TypeError("give token=, or client_id=, client_secret= and refresh_token=, and not both")


def token_of(answer: Answer, base_url: str, *, now: float, here: float) -> Token:
    """Return the token of an answer.

    :param base_url: the server that it is for
    :param now: seconds since 1970, to which a time to come back is compared
    :param here: seconds on the clock of the event loop, on which the token is to expire
    :raises Retry: there is none now, perhaps later
    :raises Refused: there is none to be had with this grant
    """
    body = json_of(answer)
    if answer.status == 200:
        secret = _secret(body, _ACCESS_TOKEN)
        if secret is None:
            raise Retry("HTTP 200 without an access token")
        lifetime = body.get("expires_in")
        known = isinstance(lifetime, int | float) and not isinstance(lifetime, bool)
        return Token(secret, base_url, here + (lifetime if known else _LIFETIME_SECONDS))
    check_passing(answer, body, now)
    raise Refused(details_of(body, f"HTTP_{answer.status}"))


def _secret(body: Any, name: str) -> Secret | None:
    value = body.get(name) if isinstance(body, dict) else None
    try:
        return Secret(name, value) if isinstance(value, str) else None
    except ValueError:
        return None
