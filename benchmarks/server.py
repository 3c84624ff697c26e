"""A server on the loopback that says yes to everything, and costs as little as a server in Python can.

It answers as Ampersand's Write API does: as many results as the request has records. ``python -m benchmarks.server``
prints its port, and ends when whoever started it ends it, or goes away.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import lru_cache
from typing import Any

_END_OF_HEAD = b"\r\n\r\n"
# What each record of a request begins with, alone or in a batch; the values of the benchmark's records hold none.
_RECORD = b'"record":'


@lru_cache
def answer(records: int) -> bytes:
    """Return the answer to a call of so many records, whose ids differ: 15 characters, as Salesforce has them."""
    results = [{"success": True, "recordId": f"003{number:012}"} for number in range(records)]
    body: dict[str, Any] = {"operationId": "operation"}
    if records == 1:
        body |= {"result": results[0]}
    else:
        body |= {"successCount": records, "failureCount": 0, "results": results}
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


class Connection(asyncio.Protocol):
    """One connection, kept alive; its requests come one after the other."""

    def __init__(self) -> None:
        self.received = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(_END_OF_HEAD)
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self.received = body[length:]
            assert self.transport is not None
            self.transport.write(answer(body[:length].count(_RECORD)))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # The end of the input: whoever started this went away.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
