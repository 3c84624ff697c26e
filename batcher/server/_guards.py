"""What stands before every request: who asks, how many at a time, and what is allowed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from hmac import compare_digest

import attrs
from starlette.requests import Request

from batcher.server._problems import Problem
from batcher.server._requests import Installation, WriteRequest
from batcher.writes import WriteType

# Seconds after which a request that found the server busy may come again.
_COME_BACK = 1.0


class Keys:
    """The API keys that are let in.

    :param keys: visible ASCII characters each; at least one
    :raises ValueError: none, or one that a header cannot carry; the message does not show it
    """

    def __init__(self, keys: Collection[str]) -> None:
        if isinstance(keys, str) or not keys:
            raise ValueError("api_keys must hold at least one key: the server lets nobody in without one")
        for key in keys:
            if not isinstance(key, str) or not key or not all("!" <= character <= "~" for character in key):
                raise ValueError("an API key must be visible ASCII characters without spaces: strip line ends")
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def __repr__(self) -> str:
        return f"<{len(self._digests)} keys>"

    def check(self, request: Request) -> None:
        """Let a request with one of the keys pass.

        :raises Problem: no key, or another one
        """
        given = request.headers.get("x-api-key")
        if given is None:
            raise Problem(401, "the header X-Api-Key is missing", "send your API key in the header X-Api-Key")
        digest = sha256(given.encode()).digest()
        # Compared with all of them, so that the time taken says nothing of any key.
        if not sum(compare_digest(digest, known) for known in self._digests):
            raise Problem(401, "the API key is not known", "check the API key in the header X-Api-Key")


@attrs.define(eq=False)
class Turnstile:
    """Counts the requests that are being served, and lets no more in than *most*."""

    most: int
    inside: int = 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Count one request.

        :raises Problem: too many are inside
        """
        if self.inside >= self.most:
            raise Problem(503, f"{self.most} requests are being served", retry_after=_COME_BACK)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


@attrs.frozen(kw_only=True)
class Rules:
    """What this server allows, and for how long it waits and remembers."""

    deletion_enabled: Collection[str]
    """Objects whose records may be deleted."""
    installations: Collection[Installation] | None
    """Whose records may be written; None for everybody's. All go to the one destination."""
    synchronous_deadline: float
    """Seconds for which a synchronous write is sent and tried again."""
    keep_for: float
    """Seconds for which an ended operation can be read."""
    keep_records: int
    """Records of ended operations that are kept at most."""

    def check(self, request: WriteRequest) -> None:
        """Let a request pass that is allowed.

        :raises Problem: it is not
        """
        if self.installations is not None and request.installation not in self.installations:
            raise Problem(404, "no such installation", "check the project, the integration and the groupRef")
        if request.type is WriteType.DELETE and request.object not in self.deletion_enabled:
            raise Problem(
                403,
                "deletion is not enabled for this object",
                "name the object where the server is started: batcher serve --allow-delete, or deletion_enabled=",
            )
