"""An ASGI app on a socket: uvicorn, which is told when to stop and sees no signal itself.

Needs the extra ``server``.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import anyio
import attrs
import uvicorn
from anyio.abc import TaskStatus
from starlette.applications import Starlette

from batcher.cli._errors import CommandError

logger = logging.getLogger("batcher.server")

# Seconds. Longer than clients keep an idle connection (httpx 5, Go 90), so that it is they who close it: of a request
# that crosses the closing of its connection, its sender does not know what became of it.
_KEEP_ALIVE: Final = 95
# Seconds for answers that were found at the last moment.
_ANSWERING = 1.0


@attrs.frozen
class Listener:
    """A socket that takes connections, which are served later."""

    socket: socket.socket

    @classmethod
    def bind(cls, host: str, port: int) -> Listener:
        """Take a place.

        :param port: 0 picks one
        :raises CommandError: there is no such place, or somebody has it
        """
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            return cls(socket.create_server(address[:2], family=family))
        except (OSError, UnicodeError) as error:
            errno = getattr(error, "errno", None)
            # Without the address in it, unlike the error's own words. Codes below 0 are of the search for names.
            words = os.strerror(errno) if errno is not None and errno > 0 else "no such name"
            raise CommandError(f"cannot listen on {host!r}, port {port}: {words}") from None

    @property
    def address(self) -> str:
        """Where clients find it."""
        host, port = self.socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def listening(
    app: Starlette, listener: Listener, *, shutdown_timeout: float, access_log: bool = False, protocol: Any = "h11"
) -> AsyncIterator[None]:
    """Serve *app* while the body runs. Then accept no more, finish the requests under way, and drain.

    Cancelled, it breaks off the requests, and the lifespan of *app* is cancelled too.

    :param shutdown_timeout: seconds for the requests under way, and a second more for what is told at their end; the
        app bounds its own draining
    :param protocol: uvicorn's name of one, or a class; the default bounds what it buffers of a head
    """
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",  # entered here, so that it can be cancelled
        log_config=None,
        log_level=logging.INFO if access_log else logging.WARNING,
        access_log=access_log,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE,
    )
    server = _Server(config, shutdown_timeout)
    with listener.socket:
        async with app.router.lifespan_context(app), anyio.create_task_group() as tasks:
            await tasks.start(server.run_on, listener)
            try:
                yield
            finally:
                server.should_exit = True


class _Server(uvicorn.Server):
    _accepts: TaskStatus[None]

    def __init__(self, config: uvicorn.Config, shutdown_timeout: float) -> None:
        super().__init__(config)
        self._shutdown_timeout = shutdown_timeout

    async def run_on(self, listener: Listener, *, task_status: TaskStatus[None]) -> None:
        self._accepts = task_status
        try:
            await self.serve([listener.socket])
        finally:
            self._break_off()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._accepts.started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn's own timeout would cancel the requests. Here they lose their clients, and their records are drained.
        with anyio.move_on_after(self._shutdown_timeout + _ANSWERING) as patience:
            await super().shutdown(sockets)
        if patience.cancelled_caught:
            logger.warning("connections broken off: %d", len(self.server_state.connections))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again once it has shut down, and so before the app has drained.
        yield

    def _break_off(self) -> None:
        """Close what is still open; after a shutdown in good order that is nothing."""
        for acceptor in self.servers if self.started else ():
            acceptor.close()
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
