"""Answers that do not come, or in part.

ASGI knows no way to break a connection. A server that can do it says so in the extension :data:`BREAK` of the scope: a
function that resets the connection (see ``_sockets.py``). Without it the app raises :class:`ConnectionLost`, which
reaches the caller through an in-process transport.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

BREAK: Final = "batcher.break"


class ConnectionLost(Exception):
    """The connection broke, as ordered, and there is no socket that could show it.

    In-process tests map it to the error that their client raises for a broken connection. A server without the
    extension answers 500 instead.
    """


class Reset(Response):
    """No answer: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Break the connection."""
        await _break(scope, receive, flush=False)


class Half(Response):
    """Status, headers and the first half of the body of another response; then the connection is closed."""

    def __init__(self, whole: Response) -> None:
        super().__init__()
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a part and break the connection."""
        whole = bytes(self._whole.body)
        await send(
            {"type": "http.response.start", "status": self._whole.status_code, "headers": self._whole.raw_headers}
        )
        await send({"type": "http.response.body", "body": whole[: len(whole) // 2], "more_body": True})
        await _break(scope, receive, flush=True)


async def _break(scope: Scope, receive: Receive, *, flush: bool) -> None:
    extensions = scope.get("extensions") or {}
    if BREAK not in extensions:
        raise ConnectionLost("as ordered")
    act: Callable[[bool], None] = extensions[BREAK]
    act(flush)
    # Until the server has noticed: to one that has not, an app that returns without an answer is broken.
    while (await receive())["type"] != "http.disconnect":
        pass
