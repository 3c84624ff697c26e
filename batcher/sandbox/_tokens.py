"""Access tokens: a fixed one, and those that were issued. Their time is the event loop's."""

from __future__ import annotations

from secrets import token_urlsafe

import anyio
from starlette.requests import Request


class Tokens:
    """Who is let in.

    :param fixed: is always valid
    :param lifetime: seconds for which an issued token is valid
    """

    def __init__(self, fixed: str, lifetime: float) -> None:
        self.lifetime = lifetime
        self._fixed = fixed
        self._until: dict[str, float] = {}

    def issue(self) -> str:
        """Return a new token."""
        token = f"sandbox-{token_urlsafe(24)}"
        self._until[token] = anyio.current_time() + self.lifetime
        return token

    def knows(self, token: str) -> bool:
        """Return whether a token was ever given out."""
        return token == self._fixed or token in self._until

    def admits(self, token: str) -> bool:
        """Return whether a token is valid now."""
        return token == self._fixed or anyio.current_time() < self._until.get(token, 0.0)

    def revoke(self, token: str) -> None:
        """Make an issued token expire now; the fixed one stays valid."""
        if token in self._until:
            self._until[token] = anyio.current_time()


def bearer_of(request: Request) -> str:
    """Return the token that a request shows; nothing if it shows none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""
