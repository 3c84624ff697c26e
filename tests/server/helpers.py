"""A scripted destination, a client of an app in virtual time, and the bodies that both understand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio
import attrs
import httpx

from batcher import Write, WriteType, Written
from batcher.destinations import Destination, Prepared
from batcher.policies import LaneRules
from batcher.server import write_api
from tests.api import Call

KEY = "key-of-the-tests"
EPOCH = 1_700_000_000.0  # 2023-11-14T22:13:20Z
INTEGRATION = "/v1/projects/p/integrations/i"
MINUTE, HOUR = 60.0, 3600.0
TYPES = {kind.value: kind for kind in WriteType}


class Scripted:
    """A destination that notes every call and answers by the next step of its script, then with ``Written``.

    A step is a list of verdicts, an exception to raise, or a function of the records that returns either.

    :param seconds: that each call takes
    :param encoding: called with each write, before it is encoded; may raise
    """

    def __init__(
        self,
        *script: Any,
        seconds: float = 0.0,
        rules: LaneRules | None = None,
        encoding: Callable[[Write], None] | None = None,
    ) -> None:
        self.script = list(script)
        self.seconds = seconds
        self.calls: list[Call] = []
        self.groups: list[bool] = []
        self.opened = self.closed = False
        self._rules = rules or LaneRules()
        self._encoding = encoding
        self._number = 0

    def encode(self, write: Write) -> Prepared:
        if self._encoding is not None:
            self._encoding(write)
        record = json.loads(json.dumps(dict(write.record)))
        identity = (write.object, record["id"]) if write.type in (WriteType.UPDATE, WriteType.DELETE) else None
        headers = tuple(sorted(write.headers.items()))
        return Prepared((write.object, write.type.value, *headers), record, len(json.dumps(record)), identity)

    def rules(self, lane: Hashable) -> LaneRules:
        return self._rules

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Any]:
        self.calls.append(Call(anyio.current_time(), lane, tuple(items)))
        self.groups.append(all_or_none)
        step = self.script.pop(0) if self.script else self.write
        await anyio.sleep(self.seconds)
        answer = step(items) if callable(step) else step
        if isinstance(answer, BaseException):
            raise answer
        verdicts: Sequence[Any] = answer
        return verdicts

    def write(self, items: Sequence[Any]) -> list[Written]:
        """Write them all: ids are counted, updates keep theirs."""
        return [Written(item.get("id") or self._new_id()) for item in items]

    def _new_id(self) -> str:
        self._number += 1
        return f"new-{self._number}"

    async def __aenter__(self) -> Self:
        self.opened = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed = True

    @property
    def times(self) -> list[float]:
        return [call.at for call in self.calls]

    @property
    def sizes(self) -> list[int]:
        return [len(call.records) for call in self.calls]

    @property
    def batches(self) -> list[tuple[Any, ...]]:
        return [call.records for call in self.calls]


@attrs.frozen
class Client:
    """Speaks the Write API."""

    http: httpx.AsyncClient

    async def write(self, body: Any, object: str = "contacts", integration: str = INTEGRATION) -> httpx.Response:
        return await self.http.post(f"{integration}/objects/{object}", json=body)

    async def accepted(self, body: Any, object: str = "contacts") -> str:
        """Send an asynchronous request, and return the id of its operation."""
        response = await self.write(body, object)
        assert response.status_code == 200, response.text
        assert list(response.json()) == ["operationId"]
        operation_id: str = response.json()["operationId"]
        return operation_id

    async def joined(self, body: Any, object: str = "contacts") -> tuple[str, int]:
        """Send an auto-batched request, and return the id of its operation and the index in it."""
        response = await self.write(body, object)
        assert response.status_code == 200, response.text
        return response.json()["operationId"], int(response.headers["batcher-record-index"])

    async def operation(self, operation_id: str) -> Any:
        response = await self.http.get(f"/v1/projects/p/operations/{operation_id}")
        assert response.status_code == 200, response.text
        return response.json()

    async def outcomes(self, operation_id: str, **paging: Any) -> Any:
        response = await self.http.get(f"/v1/projects/p/operations/{operation_id}/outcomes", params=paging)
        assert response.status_code == 200, response.text
        return response.json()

    async def operations(self, group_ref: str = "g", **paging: Any) -> Any:
        response = await self.http.get(f"{INTEGRATION}/installations/{group_ref}/operations", params=paging)
        assert response.status_code == 200, response.text
        return response.json()

    async def metrics(self) -> str:
        return (await self.http.get("/metrics")).text


@asynccontextmanager
async def serving(destination: Destination, **options: Any) -> AsyncIterator[Client]:
    """Serve *destination* in process; the server's clock is the one of the loop."""
    options = {"api_keys": [KEY], "clock": lambda: EPOCH + anyio.current_time(), **options}
    app = write_api(destination, **options)
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server", headers={"x-api-key": KEY}) as http:
        yield Client(http)


def create(**record: Any) -> dict[str, Any]:
    return {"groupRef": "g", "type": "create", "record": record or {"name": "Ada"}}


def update(id: str, **record: Any) -> dict[str, Any]:
    return {"groupRef": "g", "type": "update", "record": {"id": id, **(record or {"name": "Ada"})}}


def batch_of(*records: dict[str, Any], type: str = "create", **more: Any) -> dict[str, Any]:
    return {"groupRef": "g", "type": type, "batch": [{"record": record} for record in records], **more}


def asynchronous(body: dict[str, Any], hours: int | None = None) -> dict[str, Any]:
    policy = {} if hours is None else {"retryPolicy": {"deadlineHours": hours}}
    return {**body, "mode": "asynchronous", **policy}


def windowed(body: dict[str, Any], minutes: int = 1, hours: int | None = None) -> dict[str, Any]:
    policy = {"maxDelayMinutes": minutes} | ({} if hours is None else {"retryDeadlineHours": hours})
    return {**body, "mode": "asynchronous", "autoBatchPolicy": policy}


def group(*records: dict[str, Any], **more: Any) -> dict[str, Any]:
    return batch_of(*records, batchPolicy={"allOrNone": True}, **more)


def check_problem(response: httpx.Response, status: int, detail: str) -> dict[str, Any]:
    """Check what every problem tells, and return it."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    problem: dict[str, Any] = response.json()
    assert (problem["status"], problem["detail"]) == (status, detail)
    assert problem["type"] == f"https://httpstatuses.com/{status}"
    assert problem["title"] and problem["subsystem"] == "write" and problem["requestId"]
    assert problem["retryable"] == ("retryAfter" in problem) == ("retry-after" in response.headers)
    return problem
