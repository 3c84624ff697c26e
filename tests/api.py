"""A scripted API for the tests: it notes every call and answers what it was told to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import anyio
import attrs

from batcher import Receipt


@attrs.frozen
class Call:
    """One call that arrived."""

    at: float
    key: Hashable
    records: tuple[Any, ...]


class Api:
    """An async ``write``: answers each call by the next step of the script, then by echoing the records.

    A step is a list of verdicts, an exception to raise, or a function of the records that returns either.
    With ``seconds`` each call takes that long.
    """

    def __init__(self, *script: Any, seconds: float = 0.0) -> None:
        self.script = list(script)
        self.seconds = seconds
        self.calls: list[Call] = []
        self.out = 0
        self.most_out = 0

    async def __call__(self, key: Hashable, records: list[Any]) -> Sequence[Any]:
        self.calls.append(Call(anyio.current_time(), key, tuple(records)))
        step = self.script.pop(0) if self.script else list
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        try:
            if self.seconds:
                await anyio.sleep(self.seconds)
        finally:
            self.out -= 1
        answer = step(records) if callable(step) else step
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def batches(self) -> list[tuple[Any, ...]]:
        return [call.records for call in self.calls]

    @property
    def sizes(self) -> list[int]:
        return [len(call.records) for call in self.calls]


async def gather(*calls: Callable[[], Any]) -> list[Any]:
    """Run all *calls* at once; return their results or exceptions, in order."""
    results: list[Any] = [None] * len(calls)

    async def run(index: int) -> None:
        try:
            results[index] = await calls[index]()
        except Exception as error:
            results[index] = error

    async with anyio.create_task_group() as tasks:
        for index in range(len(calls)):
            tasks.start_soon(run, index)
    return results


async def results_of(receipts: Sequence[Receipt[Any]]) -> list[Any]:
    """Await *receipts* in order; return their results or exceptions."""
    results: list[Any] = []
    for receipt in receipts:
        try:
            results.append(await receipt)
        except Exception as error:
            results.append(error)
    return results
