"""What waits for a record besides a task."""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio
import pytest

from batcher._core.model.entries import Entry
from batcher._core.model.states import State
from batcher._shell.backend.current import current_backend
from batcher._shell.backend.waiters import Waiter
from batcher._shell.waiting import AllSettled, Note, Several, attach

pytestmark = pytest.mark.anyio


class Told:
    """A waiter that counts."""

    def __init__(self, *, gone: bool = False) -> None:
        self.times, self.gone = 0, gone

    def done(self) -> bool:
        return self.gone or self.times > 0

    def set_result(self, result: None, /) -> None:
        self.times += 1


def entry_of(waiter: Waiter | None = None) -> Entry:
    entry = Entry()
    entry.state, entry.waiter = State.BUFFERED, waiter
    return entry


def settle(*entries: Entry) -> None:
    """As the engine and the backend do: first the states, then the waiters."""
    for entry in entries:
        entry.state = State.SETTLED
    current_backend().wake(entries)


async def wait_for(all_settled: AllSettled) -> None:
    waiter = current_backend().new_waiter()
    if all_settled.add(waiter):
        await waiter


async def test_all_who_wait_for_a_record_are_told_once():
    """Of whatever kind, and but for those who are gone."""
    first, second, third, gone = Told(), Told(), Told(), Told(gone=True)
    seen: deque[Any] = deque()
    entry = entry_of(first)
    for waiter in (second, gone, Note(seen, "settled"), third):
        attach(entry, waiter)
    settle(entry)
    assert [first.times, second.times, third.times, gone.times] == [1, 1, 1, 0]
    assert list(seen) == ["settled"]


async def test_who_is_gone_gives_up_its_place():
    """An entry whose caller gave up does not collect waiters."""
    entry = entry_of(Told(gone=True))
    alone = Told()
    attach(entry, alone)
    assert entry.waiter is alone
    several = Several(*[Told(gone=True) for _ in range(5)])
    several.add(alone)
    assert several._waiters == [alone]


async def test_one_who_waits_for_many_records_is_told_when_the_last_is_settled():
    """In whatever order they are, and once a batch."""
    entries = [entry_of() for _ in range(6)]
    settle(entries[1])
    all_settled = AllSettled(entries)
    told: list[str] = []

    async def wait(name: str) -> None:
        await wait_for(all_settled)
        told.append(name)

    async with anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(wait, name)
        await anyio.wait_all_tasks_blocked()
        settle(entries[5], entries[0])
        settle(entries[2], entries[3])
        await anyio.wait_all_tasks_blocked()
        assert told == []
        settle(entries[4])
    assert sorted(told) == ["a", "b"]
    await wait_for(all_settled)
    await wait_for(AllSettled(()))


async def test_a_watched_record_may_have_a_caller_of_its_own():
    """Who watches the list displaces nobody, and nobody displaces it."""
    caller, late = Told(), Told()
    entry = entry_of(caller)
    all_settled = AllSettled([entry])
    attach(entry, late)
    settle(entry)
    assert (caller.times, late.times) == (1, 1)
    with anyio.fail_after(1):
        await wait_for(all_settled)
