"""A protocol for uvicorn whose connections an app can break. The only module of the sandbox that knows uvicorn."""

from __future__ import annotations

import socket
import struct
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from batcher.sandbox._breaking import BREAK


class BreakableProtocol(H11Protocol):
    """Gives the app a way to break the connection: ``uvicorn.Config(app, http=BreakableProtocol)``."""

    def connection_made(self, transport: Any) -> None:
        """Put the extension into the scope of every request."""
        super().connection_made(transport)
        app = self.app

        def break_off(flush: bool) -> None:
            if flush:
                transport.close()
                return
            # With a linger time of 0 closing sends a reset. Without, the client would see an orderly end.
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

        async def breakable(scope: Scope, receive: Receive, send: Send) -> None:
            extensions = {**(scope.get("extensions") or {}), BREAK: break_off}
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = breakable
