"""A sandbox as a transport of httpx: no socket, the event loop's own time, and the errors that a socket would give."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
import httpx
from anyio.abc import TaskGroup

from batcher.sandbox import ConnectionLost, Sandbox


class SandboxTransport(httpx.AsyncBaseTransport):
    """Runs each request as a task of its own: one whose client has given up is applied all the same, as on a server."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._inner = httpx.ASGITransport(sandbox)
        self._stack = AsyncExitStack()
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert self._tasks is not None, "entered by the client"
        answers: list[Any] = []
        answered = anyio.Event()

        async def act() -> None:
            try:
                answers.append(await self._inner.handle_async_request(request))
            except ConnectionLost:
                answers.append(httpx.ReadError("the connection was reset", request=request))
            answered.set()

        self._tasks.start_soon(act)
        with anyio.move_on_after(request.extensions["timeout"]["read"]):
            await answered.wait()
            answer: httpx.Response | Exception = answers[0]
            if isinstance(answer, httpx.Response):
                return answer
            raise answer
        raise httpx.ReadTimeout("no answer in time", request=request)


def client_of(sandbox: Sandbox, token: str | None = None, timeout: float = 60.0) -> httpx.AsyncClient:
    """Return a client that shows the sandbox's own token, or another one."""
    headers = {"authorization": f"Bearer {token or sandbox.TOKEN}"}
    transport = SandboxTransport(sandbox)
    return httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers, timeout=timeout)
