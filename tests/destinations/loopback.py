"""A real server on the loopback, which does to each connection what it is told."""

import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import anyio
from anyio.abc import SocketAttribute, SocketStream

Behaviour: TypeAlias = Callable[[SocketStream], Awaitable[None]]


async def request_from(stream: SocketStream) -> tuple[str, bytes]:
    """Read one request: its head and its body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive()
    head, _, body = received.partition(b"\r\n\r\n")
    text = head.decode()
    lengths = [int(line.split(":")[1]) for line in text.lower().split("\r\n") if line.startswith("content-length:")]
    while len(body) < sum(lengths):
        body += await stream.receive()
    return text, body


def response(body: bytes | dict[str, Any], status: int = 200, length: int | None = None, *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    shown = len(content) if length is None else length
    lines = (f"HTTP/1.1 {status} X", f"content-length: {shown}", "connection: close", *headers, "", "")
    return "\r\n".join(lines).encode() + content


def reset(stream: SocketStream) -> None:
    """Make closing send a reset: SO_LINGER with a time of 0."""
    stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answers(content: bytes) -> Behaviour:
    """Read the request, send *content*, close."""

    async def behave(stream: SocketStream) -> None:
        await request_from(stream)
        await stream.send(content)

    return behave


async def resets_before_reading(stream: SocketStream) -> None:
    reset(stream)


async def resets_after_reading(stream: SocketStream) -> None:
    await request_from(stream)
    reset(stream)


async def closes_after_reading(stream: SocketStream) -> None:
    await request_from(stream)


async def says_nothing(stream: SocketStream) -> None:
    await request_from(stream)
    await stream.receive()  # until the client gives up


async def never_ends(stream: SocketStream) -> None:
    await request_from(stream)
    await stream.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        await stream.send(b"x" * 65_536)


async def stops_within_the_body(stream: SocketStream) -> None:
    await request_from(stream)
    await stream.send(response(b'{"op', 200, 1000))
    await stream.receive()


@asynccontextmanager
async def served(*behaviours: Behaviour) -> AsyncIterator[str]:
    """Serve each connection by the next of *behaviours*, the last one again and again; give the address."""
    left = list(behaviours)

    async def handle(stream: SocketStream) -> None:
        behave = left.pop(0) if len(left) > 1 else left[0]
        async with stream:
            try:
                await behave(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return  # the client went away

    with anyio.fail_after(120):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
            port = listener.extra(SocketAttribute.local_port)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, handle)
                yield f"http://127.0.0.1:{port}"
                tasks.cancel_scope.cancel()
