"""P5 all or none."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    ErrorDetail,
    InvalidGroup,
    Limits,
    NotWritten,
    Refused,
    Rejected,
    Retry,
    RolledBack,
    Unknown,
    Written,
)
from tests.api import Api

pytestmark = pytest.mark.anyio

CLASH = ErrorDetail("duplicate", code="DUPLICATE", fields=("email",))


def group(batcher: Batcher[Any, Any], records: Any, **options: Any) -> Any:
    return partial(batcher.submit_all, records, all_or_none=True, **options)


async def test_p05_a_group_travels_in_a_call_of_its_own_at_once():
    """It waits for no company and takes none along."""
    api = Api()
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=5)) as batcher:
        start = anyio.current_time()
        alone = batcher.submit_nowait("alone")
        outcomes = await group(batcher, ["a", "b"])()
        assert not alone.done
        assert anyio.current_time() == start

    assert outcomes == [Written(data="a"), Written(data="b")]
    assert api.batches == [("a", "b"), ("alone",)]


async def test_p05_named_members_get_their_own_errors_and_the_rest_is_rolled_back():
    """Everybody learns who was to blame, by position."""
    api = Api(Refused("whole", {1: CLASH}))
    async with Batcher(api) as batcher:
        outcomes = await group(batcher, ["a", "b", "c"])()

    assert outcomes == [RolledBack((1,), (CLASH,)), Rejected((CLASH,)), RolledBack((1,), (CLASH,))]
    assert len(api.calls) == 1  # a group is not taken apart


async def test_p05_if_nobody_is_named_all_are_rolled_back():
    """No culprit is guessed."""
    api = Api(Refused(CLASH))
    async with Batcher(api) as batcher:
        assert await group(batcher, ["a", "b"])() == [RolledBack((), (CLASH,))] * 2


async def test_p05_verdicts_per_member_are_completed():
    """A destination that answers per record need not name the culprits twice."""
    api = Api([Rejected(CLASH), RolledBack((), "x"), RolledBack((), "x")])
    async with Batcher(api) as batcher:
        outcomes = await group(batcher, ["a", "b", "c"])()

    assert outcomes == [Rejected((CLASH,)), RolledBack((0,), (CLASH,)), RolledBack((0,), (CLASH,))]


async def test_p05_if_a_part_was_kept_anyway_the_outcomes_say_so():
    """All-or-none was asked for; what happened is told."""
    api = Api(["kept", Rejected(CLASH), Retry("busy")])
    async with Batcher(api) as batcher:
        outcomes = await group(batcher, ["a", "b", "c"])()

    assert outcomes == [Written(data="kept"), Rejected((CLASH,)), NotWritten("busy", 1)]


async def test_p05_a_group_is_retried_whole():
    """One member's Retry sends all of them again, together, if nothing was kept."""
    api = Api([RolledBack((), "x"), Retry("busy", after=3)], Retry("503"))
    async with Batcher(api) as batcher:
        outcomes = await group(batcher, ["a", "b"])()

    assert outcomes == [Written(data="a"), Written(data="b")]
    assert api.batches == [("a", "b")] * 3


async def test_p05_a_culprit_ends_the_group_whatever_the_others_ask_for():
    """Another try would end the same way, so the culprit gets its errors and the rest is rolled back."""
    api = Api([Rejected(CLASH), Retry("rolled back")])
    async with Batcher(api) as batcher:
        assert await group(batcher, ["a", "b"])() == [Rejected((CLASH,)), RolledBack((0,), (CLASH,))]

    assert len(api.calls) == 1


async def test_p05_any_member_may_pause_the_lane():
    """The longest wait counts, and the pause of any of them."""
    api = Api([Retry("429", after=1, pause_lane=True), Retry("locked", after=2)])
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(group(batcher, ["a", "b"]))
            await anyio.sleep(0.25)
            await batcher.submit("single")
        assert api.calls[1].at - start >= 2


async def test_p05_a_lost_answer_makes_every_member_unknown():
    """Nobody knows whether the transaction was committed."""
    error = ConnectionError()
    async with Batcher(Api(error)) as batcher:
        assert await group(batcher, ["a", "b"])() == [Unknown(error)] * 2


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        (["x"] * 4, {}, "4 records exceed the 3 that one call may carry"),
        (["x" * 6, "x" * 5], {}, "11 bytes exceed the 10 that one call may carry"),
        (["a", "b"], {"identities": ["i", "i"]}, "two writes of the group touch the same record"),
    ],
    ids=["records", "bytes", "identity"],
)
async def test_p05_a_group_that_breaks_a_rule_is_refused_at_once_in_words(records, options, message):
    """Nothing of it is accepted, and the message has the rule and the figures."""
    api = Api()
    policy = AutoBatchPolicy(max_records=3, max_bytes=10)
    async with Batcher(api, auto_batch=policy, size_of=len) as batcher:
        with pytest.raises(InvalidGroup, match=message):
            await group(batcher, records, **options)()
        assert batcher.statistics().accepted == 0
        assert batcher.statistics().lanes == 0

    assert api.calls == []


async def test_p05_a_group_beyond_a_pending_ceiling_is_refused_at_once():
    """It would wait for ever."""
    async with Batcher(Api(), limits=Limits(max_pending_records=10)) as batcher:
        with pytest.raises(InvalidGroup, match="6 records exceed the 5 that may be pending in one lane"):
            await group(batcher, range(6))()


async def test_p05_a_group_is_admitted_whole_and_in_turn():
    """It waits until all of its members fit, and nobody who came later overtakes it."""
    api = Api(seconds=10)
    limits = Limits(max_pending_records=4, max_lane_records=4)
    done: list[str] = []
    async with Batcher(api, limits=limits, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        for n in range(3):
            batcher.submit_nowait(n, key="first")

        async def submit(name: str, call: Any) -> None:
            await call()
            done.append(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit, "group", group(batcher, ["a", "b"], key="second"))
            await anyio.sleep(1)
            tasks.start_soon(submit, "later", partial(batcher.submit, "later", key="third"))
            await anyio.sleep(1)
            assert batcher.statistics().waiting == 2
            assert batcher.statistics().pending == 3

    assert api.batches[1] == ("a", "b")
    assert api.batches[2] == ("later",)


async def test_p05_a_cancelled_group_is_withdrawn_whole():
    """Not in flight, nothing of it is sent; the place is given back."""
    api = Api(seconds=10)
    async with Batcher(api, limits=Limits(max_in_flight=1), auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        batcher.submit_nowait("busy")
        await anyio.sleep(1)
        with anyio.move_on_after(2):
            await group(batcher, ["a", "b"])()
        assert batcher.statistics().pending == 1

    assert api.batches == [("busy",)]


async def test_p05_a_group_waits_for_the_identities_of_all_its_members():
    """It enters its lane when it heads the queue of each, and holds back those who come later."""
    api = Api(seconds=1)
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        first = batcher.submit_nowait("first", key="x", identity=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(group(batcher, ["g1", "g2"], key="y", identities=[1, 2]))
            await anyio.sleep(0.5)
            last = batcher.submit_nowait("last", key="z", identity=2)
        assert first.done
        assert not last.done

    assert api.batches == [("first",), ("g1", "g2"), ("last",)]


async def test_p05_a_rollback_exists_only_inside_a_group():
    """Outside of one it is a rejection of that record."""
    async with Batcher(Api([RolledBack((0,), CLASH)])) as batcher:
        assert await batcher.submit_all(["a"]) == [Rejected((CLASH,))]
