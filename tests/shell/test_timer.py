"""The timer: sleeps until then, or until it is woken."""

from __future__ import annotations

from math import inf

import anyio
import pytest

from batcher._shell.backend.current import current_backend
from batcher._shell.timer import Timer

pytestmark = pytest.mark.anyio


async def test_it_sleeps_until_then_and_says_until_when():
    timer = Timer(current_backend().new_waiter)
    assert timer.armed_at == -inf, "nobody has to wake what does not sleep yet"
    begun = anyio.current_time()
    await timer.sleep_until(begun + 5)
    assert anyio.current_time() == begun + 5
    assert timer.armed_at == begun + 5


async def test_it_is_woken_earlier_by_the_first_of_those_who_do():
    timer = Timer(current_backend().new_waiter)
    begun = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(timer.sleep_until, inf)
        await anyio.sleep(1)
        assert timer.armed_at == inf
        timer.wake()
        timer.wake()
    assert anyio.current_time() == begun + 1


async def test_a_wake_up_that_comes_too_early_or_too_late_is_no_trouble():
    """The time is looked at before each sleep, so nothing is missed."""
    timer = Timer(current_backend().new_waiter)
    timer.wake()
    timer.get_ready()
    await timer.sleep_until(anyio.current_time() + 1)
    timer.wake()
    begun = anyio.current_time()
    timer.get_ready()
    await timer.sleep_until(begun + 2)
    assert anyio.current_time() == begun + 2


async def test_a_wake_up_that_comes_while_it_falls_asleep_is_not_missed():
    """From a finalizer, say, after the times were looked at."""
    timer = Timer(current_backend().new_waiter)
    timer.get_ready()
    timer.wake()
    with anyio.fail_after(1):
        await timer.sleep_until(inf)
