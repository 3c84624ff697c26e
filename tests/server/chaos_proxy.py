"""Between a client and a server process: a proxy that does to each request what a seed says, and kills the server."""

import json
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import attrs
from anyio import to_thread
from anyio.abc import SocketAttribute, SocketStream

import batcher
from tests.destinations.loopback import request_from, reset, response

KILLS = ("killed before", "killed meanwhile", "killed after")
OTHERS = (
    "halved",
    "garbage",
    "reset before",
    "reset after",
    "late",
    "late and applied late",
    "busy",
    "failed before",
    "failed after",
)
# What costs a start of the server once, the others twice, and as many exchanges in which nothing happens.
DECK = (*KILLS, *OTHERS, *OTHERS, *["none"] * 25)
SHUFFLED = "shuffled"
_GARBAGE = (b"", b"\xff\xfe", b"<html>OK</html>", b"[]", b"null", b'{"operationId":', b'{"results":[{}]}', b"{" * 2000)
_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, OSError)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@attrs.define(eq=False)
class ServerProcess:
    """The server on one port and one file, however often it is killed."""

    path: Path
    echo: bool = False
    port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and return when it listens."""
        self.process = await to_thread.run_sync(self._start)

    def _start(self) -> subprocess.Popen[bytes]:
        arguments = [str(self.port), str(self.path), *(["echo"] if self.echo else [])]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.chaos_server", *arguments],
            env={**os.environ, "PYTHONPATH": str(Path(batcher.__file__).parent.parent)},
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        return process

    async def end(self, *, kill: bool) -> None:
        """Kill it, or have it drain."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill() if kill else process.terminate()
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(process.wait)
        assert process.stdout is not None
        process.stdout.close()


@attrs.define(eq=False)
class Proxy:
    """Forwards one request a connection, and counts what it did instead."""

    server: ServerProcess
    chance: random.Random
    shuffles: bool
    """All results, besides what is dealt."""
    done: Counter[str] = attrs.field(factory=Counter)
    deck: list[str] = attrs.field(factory=list)
    is_up: anyio.Event = attrs.field(factory=anyio.Event)
    open: int = 0
    """Connections under way."""

    def deal(self) -> str:
        """Return the next fault: from a shuffled deck, so that each comes soon."""
        if not self.deck:
            self.deck = list(DECK)
            self.chance.shuffle(self.deck)
        return self.deck.pop()

    def undo(self, fault: str) -> None:
        """Deal a fault again later that could not be done now, and was not done before."""
        if not self.done[fault]:
            self.deck.insert(0, fault)

    @property
    def missing(self) -> set[str]:
        """The faults that never came."""
        expected = {*KILLS, *OTHERS, *([SHUFFLED] if self.shuffles else ())}
        return {name for name in expected if not self.done[name]}

    async def handle(self, client: SocketStream) -> None:
        self.open += 1
        try:
            async with client:
                head, body = await request_from(client)
                await self._serve(client, head, body, self.deal())
        except _GONE:
            return  # the client went away
        finally:
            self.open -= 1

    async def _serve(self, client: SocketStream, head: str, body: bytes, fault: str) -> None:
        if await self._instead(client, fault):
            return
        if fault == "killed meanwhile":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._killed, fault, self.chance.uniform(0.0, 0.02))
                answer = await self._forward(head, body)
        else:
            answer = await self._forward(head, body)
        if fault.startswith("killed") and fault != "killed meanwhile":
            await self._killed(fault)
        if answer is None:
            self.done["lost in a kill"] += 1
            self.undo("none" if fault in KILLS else fault)
        if fault == "late" and answer is not None:
            await self._when_gone(client, fault)
        elif answer is None or fault in ("reset after", "killed after"):
            self.done["reset after"] += fault == "reset after" and answer is not None
            reset(client)
        else:
            await client.send(self._changed(answer, fault))

    async def _instead(self, client: SocketStream, fault: str) -> bool:
        """Do what a fault does before the server sees the request; return whether it never will."""
        if fault == "killed before":
            await self._killed(fault)
        elif fault == "late and applied late":
            await self._when_gone(client, fault)
        elif fault == "reset before":
            self.done[fault] += 1
            reset(client)
        elif fault == "busy":
            self.done[fault] += 1
            soon = datetime.now(UTC) + timedelta(seconds=0.05)
            await client.send(response({"retryable": True, "retryAfter": soon.isoformat()}, 503))
        elif fault == "failed before":
            self.done[fault] += 1
            await client.send(response({"title": "failed"}, 500))
        return fault in ("reset before", "busy", "failed before")

    async def _when_gone(self, client: SocketStream, fault: str) -> None:
        """Wait until the client has given up."""
        self.done[fault] += 1
        try:
            await client.receive()
        except _GONE:
            return
        raise AssertionError("a second request in one connection")

    def _changed(self, answer: tuple[int, bytes], fault: str) -> bytes:
        status, content = answer
        if fault == "garbage":
            self.done[fault] += 1
            return response(self.chance.choice(_GARBAGE))
        if fault == "failed after":
            self.done[fault] += 1
            return response({"title": "failed"}, 500)
        told = json.loads(content) if content.startswith(b"{") else {}
        results: Any = told.get("results")
        if fault == "halved" and not (isinstance(results, list) and len(results) > 1):
            self.undo(fault)
        elif fault == "halved":
            self.done[fault] += 1
            told["results"] = results[: len(results) // 2]
        if isinstance(results, list) and len(results) > 1 and self.shuffles:
            self.done[SHUFFLED] += 1
            self.chance.shuffle(told["results"])
        return response(json.dumps(told).encode() if told else content, status)

    async def _forward(self, head: str, body: bytes) -> tuple[int, bytes] | None:
        """Return status and body of the server's answer; None if it was killed meanwhile."""
        await self.is_up.wait()
        try:
            async with await anyio.connect_tcp("127.0.0.1", self.server.port) as upstream:
                lines = [line for line in head.split("\r\n") if not line.lower().startswith("connection:")]
                await upstream.send("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)
                received = b""
                while True:
                    try:
                        received += await upstream.receive()
                    except anyio.EndOfStream:
                        break
        except (anyio.BrokenResourceError, OSError):
            return None
        top, _, content = received.partition(b"\r\n\r\n")
        return (int(top.split()[1]), content) if top else None

    async def _killed(self, fault: str, after: float = 0.0) -> None:
        await anyio.sleep(after)
        if not self.is_up.is_set():
            self.undo(fault)  # it is being started again
            return
        self.done[fault] += 1
        self.is_up = anyio.Event()
        await self.server.end(kill=True)
        await self.server.start()
        self.is_up.set()


@asynccontextmanager
async def chaos(path: Path, *, seed: int, shuffle: bool = False) -> AsyncIterator[tuple[str, Proxy]]:
    """Run server and proxy; give the address of the proxy. At the end the server drains."""
    proxy = Proxy(ServerProcess(path, echo=shuffle), random.Random(seed), shuffle)
    try:
        await proxy.server.start()
        proxy.is_up.set()
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, proxy.handle)
            yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}", proxy
            # What the proxy still holds back is applied later than its caller was told.
            while proxy.open:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await proxy.server.end(kill=False)
