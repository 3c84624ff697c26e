"""A sandbox on a real socket, served by uvicorn in a thread, for clients that block."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from batcher.sandbox import Sandbox
from batcher.sandbox._sockets import BreakableProtocol


class _Server(uvicorn.Server):
    """Says when it has begun to serve."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.begun.set()


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """Serve; give host and port."""
    config = uvicorn.Config(
        sandbox, http=BreakableProtocol, ws="none", lifespan="off", log_config=None, log_level=logging.ERROR
    )
    config.timeout_graceful_shutdown = 5
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert server.begun.wait(10)
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()
