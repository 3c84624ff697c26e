"""Over real sockets: slow clients, clients that go away, and what one of them cannot do to the others."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from anyio.abc import SocketStream

from batcher.destinations import Destination
from batcher.server import write_api
from tests.destinations.loopback import reset
from tests.server.helpers import INTEGRATION, KEY, Client, Scripted, create

pytestmark = pytest.mark.anyio

BODY = json.dumps(create(n=1)).encode()


@pytest.fixture(params=["asyncio", "asyncio+uvloop"])
def anyio_backend(request):
    """The real clock, and the loops of uvicorn."""
    return "asyncio", {"use_uvloop": request.param.endswith("uvloop")}


class Server:
    def __init__(self, port: int, client: Client) -> None:
        self.port = port
        self.client = client

    async def connect(self) -> SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.port)


def head(length: int, *more: str) -> bytes:
    lines = (
        f"POST {INTEGRATION}/objects/contacts HTTP/1.1",
        "host: server",
        f"x-api-key: {KEY}",
        "content-type: application/json",
        f"content-length: {length}",
        *more,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def answer_to(stream: SocketStream) -> tuple[bytes, Any]:
    """Read until the server closes; return the head and the JSON."""
    received = b""
    with anyio.fail_after(120):
        while True:
            try:
                received += await stream.receive()
            except anyio.EndOfStream:
                break
    first, _, rest = received.partition(b"\r\n\r\n")
    return first, json.loads(rest)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that the server does, which no message tells."""
    with anyio.fail_after(120):
        while not true():
            await anyio.sleep(0.01)


@asynccontextmanager
async def served(destination: Destination, **options: Any) -> AsyncIterator[Server]:
    app = write_api(destination, api_keys=[KEY], **options)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    sock = config.bind_socket()
    port = sock.getsockname()[1]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._serve, [sock])
        try:
            await until(lambda: server.started)
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", headers={"x-api-key": KEY}, timeout=30
            ) as http:
                yield Server(port, Client(http))
        finally:
            server.should_exit = True
    sock.close()


async def test_it_speaks_the_api_over_a_socket():
    """Uvicorn, httpx and all; the lifespan opens and closes the destination."""
    destination = Scripted()
    async with served(destination) as server:
        response = await server.client.write(create(n=1), "a%2Fb")
        assert response.json()["result"] == {"success": True, "recordId": "new-1"}
        operation = await server.client.operation(response.json()["operationId"])
        assert operation["resource"] == "a/b"
    assert destination.closed


async def test_a_body_that_drips_is_given_up_while_others_are_served():
    """408 in words, and the connection is closed."""
    destination = Scripted()
    async with served(destination, body_timeout=2) as server, await server.connect() as slow:
        await slow.send(head(len(BODY)) + BODY[:10])
        assert (await server.client.write(create())).status_code == 200
        first, problem = await answer_to(slow)
        assert first.startswith(b"HTTP/1.1 408 ") and b"connection: close" in first.lower()
        assert problem["detail"] == "the body did not arrive within 2 s"
        assert (await server.client.write(create())).status_code == 200
    assert sum(destination.sizes) == 2


async def test_clients_that_never_end_their_headers_take_no_place():
    """Fifty open sockets, and one request at a time is allowed: it is served."""
    async with served(Scripted(), max_requests=1) as server:
        slow = [await server.connect() for _ in range(50)]
        for stream in slow:
            await stream.send(head(len(BODY))[:-2])
        assert (await server.client.write(create())).status_code == 200
        for stream in slow:
            await stream.aclose()


async def test_a_client_that_goes_away_within_its_body_writes_nothing():
    """Half a record is none, nothing is logged as a failure, and its place is free again."""
    destination = Scripted()
    async with served(destination, max_requests=1) as server:
        for count, how in enumerate((reset, _close), 1):
            stream = await server.connect()
            await stream.send(head(len(BODY)) + BODY[:10])
            await _until_busy(server)
            how(stream)
            await stream.aclose()
            await _until_served(server, 499, count)
        assert (await server.client.write(create())).status_code == 200
    assert sum(destination.sizes) == 1


async def test_a_client_that_goes_away_after_its_request_has_its_record_written_once(caplog):
    """Whoever does not wait for the answer has asked all the same."""
    caplog.set_level(logging.INFO, logger="batcher")
    destination = Scripted(seconds=0.2)
    async with served(destination) as server:
        for n in range(4):
            stream = await server.connect()
            await stream.send(head(len(BODY)) + BODY)
            await until(partial(_are_sent, destination, n + 1))
            if n % 2:
                reset(stream)
            await stream.aclose()
        await _until_served(server, 200, 4)
    assert destination.batches == [({"n": 1},)] * 4
    assert "could not be served" not in caplog.text


async def test_a_body_of_10_mb_on_a_socket_is_refused_at_once():
    """The answer comes before the body has been sent, and the connection is closed."""
    async with served(Scripted()) as server, await server.connect() as stream:
        await stream.send(head(10_000_000))
        first, problem = await answer_to(stream)
        assert first.startswith(b"HTTP/1.1 413 ")
        assert problem["detail"] == "the body is longer than 2000000 bytes"
        assert (await server.client.write(create())).status_code == 200


async def test_a_stranger_with_10_mb_is_refused_at_once():
    """Nothing of the body is kept."""
    async with served(Scripted()) as server:
        server.client.http.headers["x-api-key"] = "wrong"
        with anyio.fail_after(120):
            try:
                response = await server.client.write(create(text="x" * 10_000_000))
                assert response.status_code == 401
            except httpx.WriteError:
                pass  # the server may close before all is sent
        server.client.http.headers["x-api-key"] = KEY
        assert (await server.client.write(create())).status_code == 200


async def test_requests_that_come_after_each_other_on_one_socket():
    """A refused one does not spoil the next; also raw bytes in a path are names, or refused."""
    async with served(Scripted()) as server:
        for _ in range(3):
            assert (await server.client.write([])).status_code == 400
            assert (await server.client.write(create())).status_code == 200
        async with await server.connect() as stream:
            await stream.send(head(len(BODY), "connection: close").replace(b"contacts", b"caf%C3%A9") + BODY)
            first, shown = await answer_to(stream)
    assert first.startswith(b"HTTP/1.1 200 ") and shown["result"]["success"]


def _are_sent(destination: Scripted, count: int) -> bool:
    return sum(destination.sizes) == count


def _close(stream: SocketStream) -> None:
    """Nothing is to be done before closing."""


async def _until_busy(server: Server) -> None:
    """The one place is taken: others are sent away."""
    with anyio.fail_after(120):
        while (await server.client.http.get("/v1/projects/p/operations/x")).status_code != 503:
            await anyio.sleep(0.01)


async def _until_served(server: Server, status: int, count: int = 1) -> None:
    with anyio.fail_after(120):
        while f'endpoint="write",status="{status}"}} {count}.0' not in await server.client.metrics():
            await anyio.sleep(0.01)
