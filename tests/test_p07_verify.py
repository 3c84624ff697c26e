"""P7 under ``RetryPolicy(on_unknown="verify")``: what can be found out is not left unknown, and nothing is doubled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from batcher import AutoBatchPolicy, Batcher, Limits, NotWritten, RecordUnknown, RetryPolicy
from tests.api import Api, gather

pytestmark = pytest.mark.anyio

VERIFY = RetryPolicy(on_unknown="verify")


class Register:
    """A service that keeps names, refuses what it has, and loses the answer to every other call."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.calls = 0
        self.asked = 0

    async def write(self, key: Any, names: Sequence[str]) -> list[Any]:
        self.calls += 1
        kept = names if self.calls % 3 else names[::2]  # now and then it dies in the middle
        fates: list[Any] = []
        for name in kept:
            fates.append(ValueError("taken") if name in self.names else name.upper())
            if name not in self.names:
                self.names.append(name)
        if self.calls % 2:
            raise ConnectionError("reset by peer")
        return fates

    async def verify(self, key: Any, names: Sequence[str]) -> list[Any]:
        self.asked += 1
        if self.asked % 3 == 0:
            raise ConnectionError("reset by peer")
        return [name.upper() if name in self.names else NotWritten("absent") for name in names]


async def test_p07_verify_leaves_nobody_unknown_and_doubles_nothing():
    """Answers are lost before and after a record was kept: each caller is told what the service holds."""
    service = Register()
    policy = AutoBatchPolicy(max_records=10)
    async with Batcher[str, str](service.write, verify=service.verify, retry=VERIFY, auto_batch=policy) as batcher:
        names = [f"name {n}" for n in range(200)]
        results = await gather(*((lambda name=name: batcher.submit(name)) for name in names))

    assert results == [name.upper() for name in names]
    assert sorted(service.names) == sorted(names)
    assert service.asked > 3


async def test_p07_verify_of_a_call_that_hangs_waits_for_its_end():
    """A question about a call that is still out could be answered either way."""
    api = Api(seconds=100)
    asked: list[Any] = []

    async def verify(key: Any, records: list[int]) -> list[Any]:
        asked.append(api.out)
        return records

    limits = Limits(call_timeout=5)
    async with Batcher[int, int](api, verify=verify, retry=VERIFY, limits=limits) as batcher:
        assert await batcher.submit(1) == 1
    assert asked == [0]


async def test_p07_verify_that_never_answers_ends_as_unknown():
    """Questions stop at the deadline of the policy."""

    async def verify(key: Any, records: list[int]) -> list[Any]:
        raise ConnectionError

    api = Api(ConnectionError())
    retry = RetryPolicy(on_unknown="verify", deadline=20)
    async with Batcher[int, int](api, verify=verify, retry=retry) as batcher:
        with pytest.raises(RecordUnknown):
            await batcher.submit(1)
    assert len(api.calls) == 1


def test_verify_needs_somebody_to_ask():
    with pytest.raises(TypeError, match="needs verify="):
        Batcher(Api(), retry=VERIFY)
