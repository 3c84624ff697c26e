"""The two public faces, used alike: ``Writer(destination)`` and ``Batcher(write)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from batcher import Batcher, Outcome, Receipt, Writer
from batcher.events import Event
from tests.simulation.journals import Submission
from tests.simulation.plans import Plan
from tests.simulation.provider import Provider

Hook: TypeAlias = Callable[[Event], object]


class WriterFace:
    """What travels is encoded and weighed; the destination names lane and identity."""

    def __init__(self, plan: Plan, provider: Provider, hook: Hook | None) -> None:
        self.shell = Writer(provider, auto_batch=plan.auto_batch, retry=plan.retry, limits=plan.limits, on_event=hook)

    async def submit(self, each: Submission) -> Any:
        return await self.shell.submit(each.write, max_delay=each.max_delay, deadline=each.deadline)

    async def enqueue(self, each: Submission) -> Receipt[Any]:
        return await self.shell.enqueue(each.write, max_delay=each.max_delay, deadline=each.deadline)

    def submit_nowait(self, each: Submission) -> Receipt[Any]:
        return self.shell.submit_nowait(each.write, max_delay=each.max_delay, deadline=each.deadline)

    async def submit_all(self, handful: Sequence[Submission], *, all_or_none: bool) -> list[Outcome]:
        writes = [each.write for each in handful]
        return await self.shell.submit_all(writes, deadline=handful[0].deadline, all_or_none=all_or_none)


class BatcherFace:
    """What travels is the record's number; the caller names lane and identity, and nobody weighs."""

    def __init__(self, plan: Plan, provider: Provider, hook: Hook | None) -> None:
        async def write(key: Any, records: list[int]) -> Any:
            # The function is not told of groups, so it knows them, as each function must that gets any.
            return await provider.send(key, records, all_or_none=bool(provider.known[records[0]].fellows))

        self.shell: Batcher[int, Any] = Batcher(
            write,
            auto_batch=plan.auto_batch,
            retry=plan.retry,
            limits=plan.limits,
            verify=provider.verify if plan.conduct.unique or plan.retry.on_unknown == "verify" else None,
            on_event=hook,
        )

    async def submit(self, each: Submission) -> Any:
        return await self.shell.submit(
            each.tag, key=each.lane, identity=each.identity, max_delay=each.max_delay, deadline=each.deadline
        )

    async def enqueue(self, each: Submission) -> Receipt[Any]:
        return await self.shell.enqueue(
            each.tag, key=each.lane, identity=each.identity, max_delay=each.max_delay, deadline=each.deadline
        )

    def submit_nowait(self, each: Submission) -> Receipt[Any]:
        return self.shell.submit_nowait(
            each.tag, key=each.lane, identity=each.identity, max_delay=each.max_delay, deadline=each.deadline
        )

    async def submit_all(self, handful: Sequence[Submission], *, all_or_none: bool) -> list[Outcome]:
        return await self.shell.submit_all(
            [each.tag for each in handful],
            key=handful[0].lane,
            identities=[each.identity for each in handful],
            deadline=handful[0].deadline,
            all_or_none=all_or_none,
        )


Face: TypeAlias = WriterFace | BatcherFace


def face_of(plan: Plan, provider: Provider, hook: Hook | None) -> Face:
    """Return the face that a plan uses."""
    return (WriterFace if plan.face == "writer" else BatcherFace)(plan, provider, hook)
