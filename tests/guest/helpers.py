"""One batcher in its host; what the host would see without one; and what holds afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import anyio
import attrs

from batcher import AutoBatchPolicy, Batcher, Limits, Receipt, RecordRejected, Rejected
from batcher.testing import virtual_time

ON_ASYNCIO = virtual_time("asyncio")["loop_factory"]
LATER = AutoBatchPolicy(max_delay=100)
NOW = AutoBatchPolicy(max_delay=0)


class Refusal(Exception):
    """What the write function answers for a bad record."""


class Stop(BaseException):
    """What ends programs, and that asyncio does not know."""


@attrs.define
class Trial:
    """One batcher in its host, and what came of it."""

    after: float = 0.0  # seconds that a call takes
    policy: AutoBatchPolicy = NOW
    patience: float = 50
    batcher: Batcher[Any, Any] = attrs.field(init=False)
    receipts: list[Receipt[Any]] = attrs.field(factory=list)
    sent: list[Any] = attrs.field(factory=list)
    ours: set[str] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.batcher = Batcher(self.write, auto_batch=self.policy, limits=Limits(shutdown_timeout=self.patience))

    async def write(self, key: Any, records: list[Any]) -> list[Any]:
        self.sent += records
        await anyio.sleep(self.after)
        if "late" in records:  # ignores cancellation
            with anyio.CancelScope(shield=True):
                await anyio.sleep(30)
        return [Refusal() if record == "bad" else record for record in records]

    def put(self, *records: Any) -> None:
        self.receipts += map(self.batcher.submit_nowait, records)

    @property
    def outcomes(self) -> list[Any]:
        return [receipt.outcome and receipt.outcome.kind for receipt in self.receipts]

    def check(self) -> None:
        """What holds after each trial, however it went."""
        assert all(receipt.done for receipt in self.receipts)
        assert self.batcher.statistics().pending == 0
        assert "closed" in repr(self.batcher)


class Straw(Trial):
    """No batcher at all: what a host sees with this is what it is to see with one."""

    def __attrs_post_init__(self) -> None:
        self.batcher = self  # type: ignore[assignment]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def submit(self, record: Any, max_delay: float = 0) -> Any:
        await anyio.sleep(max_delay or self.after)
        if record == "bad":
            raise RecordRejected(Rejected(Refusal()))
        return record

    def put(self, *records: Any) -> None: ...

    def check(self) -> None: ...


def here() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


def strangers(before: set[asyncio.Task[Any]]) -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() - before]


def run(main: Callable[[], Awaitable[Any]], factory: Any = ON_ASYNCIO, **options: Any) -> Any:
    """Run *main* in a task, with what may have been left behind counted as an error."""
    with asyncio.Runner(loop_factory=factory, **options) as runner:
        return runner.run(main())  # type: ignore[arg-type]


def shape(error: BaseException | None) -> Any:
    if isinstance(error, BaseExceptionGroup):
        return [shape(each) for each in error.exceptions]
    return None if error is None else type(error)


async def caught(call: Awaitable[Any]) -> BaseException | None:
    try:
        await call
    except BaseException as error:
        return error
    return None


async def works_on(before: int, tasks: set[asyncio.Task[Any]]) -> None:
    """The host is as it was: nothing is left to be raised, no cancellation is counted, no task is there."""
    assert here().cancelling() == before
    for _ in range(3):
        await asyncio.sleep(0)
    with anyio.CancelScope():
        await anyio.sleep(1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1))
    assert strangers(tasks) == []
    assert here().cancelling() == before
