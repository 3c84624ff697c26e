"""What stands before every request: who asks, how many at a time, and how much they may send in which time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import aclosing, contextmanager
from hashlib import sha256
from hmac import compare_digest
from urllib.parse import quote

import anyio
import attrs
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from batcher.server._problems import Problem

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
        found = False
        for known in self._digests:  # all of them, so that the time taken says nothing of any key
            found |= compare_digest(digest, known)
        if not found:
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


@attrs.frozen
class Reader:
    """Reads bodies of requests: JSON, not compressed, not endless, not for ever."""

    max_bytes: int
    timeout: float
    """Seconds for the whole body."""

    async def read(self, request: Request) -> bytes:
        """Return the body.

        :raises Problem: of another type, too long, or too slow
        :raises ClientDisconnect: nobody waits for an answer any more
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise Problem(415, "the body must be JSON", "send the header Content-Type: application/json")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "the body must not be compressed", "leave the header Content-Encoding out")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > self.max_bytes):
            raise self._too_long()
        body = bytearray()
        with anyio.move_on_after(self.timeout):
            async with aclosing(request.stream()) as pieces:
                async for piece in pieces:
                    body += piece
                    if len(body) > self.max_bytes:
                        raise self._too_long()
            return bytes(body)
        raise Problem(
            408,
            f"the body did not arrive within {self.timeout:g} s",
            retry_after=_COME_BACK,
            headers={"connection": "close"},
        )

    def _too_long(self) -> Problem:
        # Closing spares both sides the rest of the body.
        return Problem(
            413,
            f"the body is longer than {self.max_bytes} bytes",
            "send fewer records",
            headers={"connection": "close"},
        )


class EncodedPaths:
    """Routes by the path as it was sent: a name may hold a slash, which is percent-encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw = scope.get("raw_path")  # not every server has it
            scope = {**scope, "path": quote(scope["path"]) if raw is None else raw.decode("latin-1")}
        await self._app(scope, receive, send)
