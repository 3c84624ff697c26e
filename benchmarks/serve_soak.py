"""Does the server stay well under a long mixed load with faults?

    python benchmarks/serve_soak.py                 # 60 s
    python benchmarks/serve_soak.py --seconds 600

100 concurrent clients on the loopback write single records, batches and groups, synchronously, asynchronously and
auto-batched; they update, delete, read operations and send bad requests. About 5 % of it is faults: clients that go
away, bodies that come slowly or never to an end, and calls to the destination that ask to be sent again, raise or hang.
The server is a process of its own, over SQLite in a file. It keeps the records of few ended operations (5,000 instead
of the default 200,000): else its memory grows for as long as that store fills, as it should.

Exits with 1 after a status that was not asked for (any 5xx, above all), if tasks or pending records are not back where
they began, or if memory grew by more than 6 MB a minute after the first third. Under 30 s growth proves nothing, and is
only shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.responses import JSONResponse
from starlette.routing import Route

from batcher.destinations import SQLite
from batcher.outcomes import NotWritten, Retry, Verdict
from batcher.server import write_api

KEY = "a-key"
BASE = "/v1/projects/p/integrations/i"
KEPT_RECORDS = 5_000
BODY_TIMEOUT = 1.0
MOST_GROWTH_MB_PER_MINUTE = 6.0
SHORTEST_JUDGED = 30.0
PATIENCE = 60.0


# The server


class Faulty(SQLite):
    """A database of which one call in twenty-five goes wrong before it does anything."""

    chance = random.Random(1)

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        fault = self.chance.random()
        if fault < 0.02:
            raise Retry("the provider is busy", after=0.05)
        if fault < 0.03:
            raise ConnectionError("the provider broke off")
        if fault < 0.04:
            await asyncio.sleep(0.5)
        asked = [b'"ask":"503"' in item for item in items]
        kept = [item for item, asks in zip(items, asked, strict=True) if not asks]
        verdicts = iter(await super().send(lane, kept, all_or_none=all_or_none) if kept else [])
        return [NotWritten("the client asked for it", attempts=1) if asks else next(verdicts) for asks in asked]


class Telling(uvicorn.Server):
    """Prints its port when it listens."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def serve(path: str) -> None:
    app = write_api(
        Faulty(path),
        api_keys=[KEY],
        deletion_enabled=["things"],
        keep_records=KEPT_RECORDS,
        body_timeout=BODY_TIMEOUT,
    )

    async def tasks(request: Any) -> JSONResponse:
        # The workers that a batcher once started, 32 at most, stay and wait for the next call.
        return JSONResponse(sum("WorkerPool._work" not in each.get_name() for each in asyncio.all_tasks()))

    app.routes.append(Route("/tasks", tasks))
    asyncio.run(Telling(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="none")).serve())


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process: Linux only."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1024


# The clients


class Soak:
    """What the clients share."""

    def __init__(self, port: int, clients: list[httpx.AsyncClient], chance: random.Random) -> None:
        self.port = port
        self.free = clients
        self.chance = chance
        self.statuses: dict[str, Counter[int]] = defaultdict(Counter)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.surprises: Counter[str] = Counter()
        self.ids: list[str] = []
        self.operations: list[str] = []
        self.joined = -1
        actions: dict[Callable[[], Awaitable[None]], int] = {
            self.single: 20,
            self.batch: 5,
            self.group: 5,
            self.asynchronous: 10,
            self.auto_batched: 25,
            self.update: 10,
            self.delete: 3,
            self.read: 12,
            self.bad: 6,
            self.asked: 1,
            self.leaves: 2,
            self.slow: 1,
        }
        self.actions, self.weights = list(actions), list(actions.values())

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            (action,) = self.chance.choices(self.actions, self.weights)
            await action()

    async def call(
        self, name: str, expected: set[int], method: str, path: str, body: Any = None, **headers: str
    ) -> httpx.Response:
        began = time.perf_counter()
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"x-api-key": KEY, "content-type": "application/json", **headers}
        client = self.free.pop()
        try:
            answer = await client.request(method, path, content=content, headers=sent)
        except httpx.TransportError as error:
            answer = httpx.Response(0, text=type(error).__name__)
        finally:
            self.free.append(client)
        self.seconds[name].append(time.perf_counter() - began)
        self.statuses[name][answer.status_code] += 1
        if answer.status_code not in expected:
            self.surprises[f"{name}: {answer.status_code} {answer.text[:120]}"] += 1
        return answer

    async def write(self, name: str, expected: set[int], **members: Any) -> Any:
        body = {"groupRef": f"g{self.chance.randrange(5)}", "type": "create", **members}
        answer = await self.call(name, expected, "POST", f"{BASE}/objects/things", body)
        told = answer.json() if answer.status_code else {}
        if self.chance.random() < 0.2 and "operationId" in told:
            self.operations = [*self.operations[-200:], told["operationId"]]
        return told

    def record(self) -> dict[str, Any]:
        return {"name": self.chance.randbytes(8).hex(), "n": self.chance.randrange(1000), "text": "x" * 50}

    def items(self, count: int) -> list[dict[str, Any]]:
        return [{"record": self.record()} for _ in range(count)]

    # 422 where a call to the destination broke off: its records are unknown.

    async def single(self) -> None:
        told = await self.write("single", {200, 422}, record=self.record())
        if told.get("result", {}).get("recordId"):
            self.ids = [*self.ids[-500:], told["result"]["recordId"]]

    async def batch(self) -> None:
        await self.write("batch", {200, 422}, batch=self.items(self.chance.choice([10, 100])))

    async def group(self) -> None:
        broken = [{"record": {"id": "taken"}}] if self.chance.random() < 0.3 else []
        await self.write("group", {200, 422}, batch=self.items(20) + broken, batchPolicy={"allOrNone": True})

    async def asynchronous(self) -> None:
        carried = {"record": self.record()} if self.chance.random() < 0.7 else {"batch": self.items(20)}
        await self.write("asynchronous", {200}, mode="asynchronous", **carried)

    async def auto_batched(self) -> None:
        body = {"groupRef": "g", "type": "create", "mode": "asynchronous", "record": self.record()}
        body["autoBatchPolicy"] = {"maxDelayMinutes": 1440}  # only company makes it leave
        answer = await self.call("auto-batched", {200}, "POST", f"{BASE}/objects/things", body)
        self.joined = int(answer.headers.get("batcher-record-index", 99))

    async def update(self) -> None:
        if self.ids:
            record = {"id": self.chance.choice(self.ids), "n": self.chance.randrange(1000)}
            await self.write("update", {200, 422}, type="update", record=record)

    async def delete(self) -> None:
        if self.ids:
            record = {"id": self.ids.pop(self.chance.randrange(len(self.ids)))}
            await self.write("delete", {200, 422}, type="delete", record=record)

    async def read(self) -> None:
        if self.operations and self.chance.random() < 0.8:
            path = f"/v1/projects/p/operations/{self.chance.choice(self.operations)}"
            await self.call("read", {200, 404}, "GET", path + self.chance.choice(["", "/outcomes?pageSize=50"]))
        else:
            await self.call("list", {200}, "GET", f"{BASE}/installations/g1/operations?pageSize=50")

    async def bad(self) -> None:
        path, good = f"{BASE}/objects/things", {"groupRef": "g", "type": "create", "record": self.record()}
        requests: list[Callable[[], Awaitable[Any]]] = [
            lambda: self.call("bad", {400}, "POST", path, b'{"groupRef":'),
            lambda: self.call("bad", {400}, "POST", path, {**good, "batch": self.items(2)}),
            lambda: self.call("bad", {401}, "POST", path, good, **{"x-api-key": "another"}),
            lambda: self.call("bad", {403}, "POST", f"{BASE}/objects/others", {**good, "type": "delete"}),
            lambda: self.call("bad", {404}, "GET", "/v1/projects/p/operations/none"),
            lambda: self.call("bad", {405}, "DELETE", path),
            # The server does not read to the end what it refuses; the client may see that before the answer.
            lambda: self.call("bad", {413, 0}, "POST", path, b" " * 2_000_001),
        ]
        await self.chance.choice(requests)()

    async def asked(self) -> None:
        await self.write("asked for 503", {503, 422}, record={"ask": "503"})

    async def leaves(self) -> None:
        """Go away within the body, or before the answer."""
        body = json.dumps({"groupRef": "g", "type": "create", "record": self.record()}).encode()
        _, writer = await self._began(len(body))
        writer.write(body if self.chance.random() < 0.5 else body[:20])
        await writer.drain()
        await asyncio.sleep(self.chance.uniform(0, 0.02))
        writer.transport.abort()
        self.statuses["went away"][0] += 1

    async def slow(self) -> None:
        """Send a body in pieces; every other time too slowly."""
        body = json.dumps({"groupRef": "g", "type": "create", "record": self.record()}).encode()
        reader, writer = await self._began(len(body))
        late = self.chance.random() < 0.5
        answer = asyncio.create_task(reader.readline())
        for at in range(0, len(body), 40):
            writer.write(body[at : at + 40])
            await asyncio.wait([answer], timeout=BODY_TIMEOUT if late else 0.02)
            if answer.done():
                break
        head = await answer
        status = int(head.split()[1]) if head else 0
        self.statuses["slow"][status] += 1
        if status not in ({408} if late else {200, 422}):
            self.surprises[f"slow: {status}"] += 1
        writer.transport.abort()

    async def _began(self, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = [f"POST {BASE}/objects/things HTTP/1.1", "host: x", f"x-api-key: {KEY}", f"content-length: {length}"]
        writer.write("\r\n".join([*head, "content-type: application/json", "", ""]).encode())
        return reader, writer


# The measurements


async def holdings(url: str) -> dict[str, float]:
    """Return what the server holds, asked over a connection of its own."""
    async with httpx.AsyncClient(base_url=url) as client:
        text = (await client.get("/metrics")).text
        tasks = (await client.get("/tasks")).json()
    found = {
        line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line[0] != "#" and "{" not in line
    }
    names = ("pending_records", "waiting_submits", "calls_in_flight", "open_windows", "operations_in_progress")
    return {"tasks": tasks, **{name: found[f"batcher_{name}"] for name in names}}


async def back_to(before: dict[str, float], url: str) -> dict[str, float]:
    """Wait until the server holds what it held, or until patience ends."""
    for _ in range(int(PATIENCE / 0.2)):
        after = await holdings(url)
        if after == before:
            break
        await asyncio.sleep(0.2)
    return after


async def watch(pid: int, memory: list[tuple[float, float]]) -> None:
    while True:
        memory.append((time.monotonic(), resident_mb(pid)))
        await asyncio.sleep(0.5)


def growth(memory: list[tuple[float, float]]) -> float:
    """Return MB per minute: the slope of the straight line through what follows the first third."""
    settled = memory[len(memory) // 3 :]
    return statistics.linear_regression(*zip(*settled, strict=True)).slope * 60 if len(settled) > 1 else 0.0


async def soak(port: int, pid: int, options: argparse.Namespace) -> bool:
    url = f"http://127.0.0.1:{port}"
    before = await holdings(url)
    memory: list[tuple[float, float]] = []
    # A client each: the work of one pool of connections grows with the square of their number.
    context = ssl.create_default_context()
    async with AsyncExitStack() as stack:
        clients = [httpx.AsyncClient(base_url=url, timeout=60, verify=context) for _ in range(options.clients)]
        for client in clients:
            await stack.enter_async_context(client)
        work = Soak(port, clients, random.Random(options.seed))
        watching = asyncio.create_task(watch(pid, memory))
        until = time.monotonic() + options.seconds
        await asyncio.gather(*(work.run(until) for _ in range(options.clients)))
        watching.cancel()
        while work.joined not in (-1, 99):  # fill the last window, which then leaves
            await work.auto_batched()
    after = await back_to(before, url)
    return report(work, before, after, memory, options.seconds)


def report(
    work: Soak,
    before: dict[str, float],
    after: dict[str, float],
    memory: list[tuple[float, float]],
    seconds: float,
) -> bool:
    print(f"{'requests':14} {'count':>7} {'p50 ms':>8} {'p99 ms':>8}  by status")
    for name, statuses in sorted(work.statuses.items()):
        times = sorted(work.seconds[name])
        shown = [f"{times[int(len(times) * part)] * 1000:8.1f}" if times else " " * 8 for part in (0.5, 0.99)]
        print(f"{name:14} {statuses.total():7} {shown[0]} {shown[1]}  {dict(sorted(statuses.items()))}")
    print(f"in all {sum(each.total() for each in work.statuses.values()):,} requests in {seconds:g} s")
    for name in before:
        print(f"{name:24} before {before[name]:6g}, after {after[name]:6g}")
    slope = growth(memory)
    points = [memory[int((len(memory) - 1) * part)][1] for part in (0, 1 / 3, 2 / 3, 1)]
    print(f"resident MB: {', '.join(f'{each:.1f}' for each in points)} at the start, 1/3, 2/3 and the end")
    print(f"growth after the first third: {slope:.1f} MB a minute, at most {MOST_GROWTH_MB_PER_MINUTE} allowed")
    for words, count in work.surprises.items():
        print(f"not asked for: {count} times {words}")
    grew = seconds >= SHORTEST_JUDGED and slope > MOST_GROWTH_MB_PER_MINUTE
    return not work.surprises and after == before and not grew


def main() -> int:
    """Run the soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--serve", f"{folder}/crm.db"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                well = asyncio.run(soak(int(server.stdout.readline()), server.pid, options))
            finally:
                server.terminate()
                server.wait(PATIENCE)
    print("well" if well else "NOT WELL")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
