"""Circuit breakers, as those who observe a batcher see them."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BreakerPolicy,
    Event,
    EventKind,
    EventLog,
    NotWritten,
    Outcome,
    RetryPolicy,
)
from batcher.events import Hook

pytestmark = pytest.mark.anyio

NOW = AutoBatchPolicy(max_delay=0)
BREAKER = BreakerPolicy(failures=2, patience=0, cooldown=5)


class Destination:
    """Writes nothing while it is *down*."""

    def __init__(self) -> None:
        self.down = True
        self.calls = 0

    async def __call__(self, key: Any, records: list[Any]) -> list[Any]:
        self.calls += 1
        return [NotWritten("down")] * len(records) if self.down else records

    def batcher(self, on_event: list[Hook] | None = None) -> Batcher[Any, Any]:
        return Batcher(self, retry=RetryPolicy(breaker=BREAKER), auto_batch=NOW, on_event=on_event)


async def fates(batcher: Batcher[Any, Any], *keys: str) -> list[str]:
    outcomes: list[Outcome] = []
    for key in keys:
        outcomes += await batcher.submit_all([key], key=key)
    return [outcome.kind for outcome in outcomes]


def told(event: Event) -> tuple[Any, ...]:
    if event.kind is EventKind.BREAKER:
        return event.scope, event.key, event.state
    return event.kind.value, event.key


async def test_a_hook_sees_the_breaker_of_a_lane_between_the_calls_that_move_it(caplog):
    """Open after the call that opened it, half open before its probe leaves, closed after the answer of that."""
    caplog.set_level(logging.DEBUG, "batcher.events")
    events: list[Event] = []
    destination = Destination()
    async with destination.batcher([events.append, EventLog(lane_label=str)]) as batcher:
        assert await fates(batcher, "a", "a", "a") == ["not_written"] * 3
        assert destination.calls == 2
        await anyio.sleep(6)
        assert await fates(batcher, "a") == ["not_written"]
        destination.down = False
        await anyio.sleep(11)
        assert await fates(batcher, "a", "a") == ["written"] * 2
    call = [("dispatched", "a"), ("answered", "a")]
    half_open, opened, closed = [("lane", "a", state) for state in ("half_open", "open", "closed")]
    assert [told(event) for event in events] == [
        *call,
        *call,
        opened,
        half_open,
        *call,
        opened,
        half_open,
        *call,
        closed,
        *call,
    ]
    lines = [record for record in caplog.records if getattr(record, "batcher_event", None) == "breaker"]
    states = ["open", "half_open", "open", "half_open", "closed"]
    assert [vars(line)["batcher_state"] for line in lines] == states
    assert {(vars(line)["batcher_scope"], vars(line)["batcher_lane"]) for line in lines} == {("lane", "a")}


async def test_a_hook_sees_the_breaker_of_the_destination():
    """It has no lane: the lane whose call moved it is not its name."""
    events: list[Event] = []
    destination = Destination()
    async with destination.batcher([events.append]) as batcher:
        await fates(batcher, "a", "b", "b")
        assert destination.calls == 2
        destination.down = False
        await anyio.sleep(6)
        assert await fates(batcher, "b", "a") == ["written"] * 2
    moved = [told(event) for event in events if event.kind is EventKind.BREAKER]
    assert moved == [("destination", None, state) for state in ("open", "half_open", "closed")]


async def test_where_nobody_observes_nothing_is_kept_for_him():
    """A batcher without a hook forgets what its breakers do, however often they move."""
    destination = Destination()
    async with destination.batcher() as batcher:
        for _ in range(10):
            destination.down = True
            await fates(batcher, "a", "a", "a", "b", "b", "b")
            destination.down = False
            await anyio.sleep(61)
            assert await fates(batcher, "a", "b") == ["written"] * 2
            assert batcher._engine.accumulator.breakers.changes == []
        assert destination.calls >= 40
