"""What the apps of the server and of the sandboxes share: paths as they were sent, bodies with bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

import anyio
import attrs
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from batcher.server._problems import Problem

# What nginx logs for a client that went away; nobody sees it.
CLIENT_CLOSED_REQUEST: Final = 499
# Seconds after which a body that came too slowly may come again.
_COME_BACK = 1.0


def app_of(
    routes: Sequence[Route], refuse: Callable[[int, dict[str, str]], Response], lifespan: Any = None
) -> Starlette:
    """Return an app that answers in its own words where nothing is.

    :param refuse: returns the answer to a request that no route takes, of a status and with headers
    """

    async def not_routed(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "registered for these only"
        return refuse(error.status_code, dict(error.headers or {}))

    return Starlette(
        routes=routes,
        middleware=[Middleware(EncodedPaths)],
        exception_handlers={HTTPException: not_routed},
        lifespan=lifespan,
    )


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
