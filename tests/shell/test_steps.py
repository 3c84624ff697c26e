"""A step that is cut off ends the batcher in words; who comes in its middle is put off."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

import anyio
import pytest
import sniffio

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherClosed,
    BatcherError,
    InvalidRecord,
    Limits,
    NotWritten,
    Receipt,
    RecordNotWritten,
    RecordUnknown,
    Rejected,
    Written,
)
from batcher._shell.steps import IN_STEP
from tests.api import Api

pytestmark = pytest.mark.anyio
LATER = AutoBatchPolicy(max_records=3, max_delay=5)


class Alarm(Exception):
    """What the handler of a signal raises."""


def in_the_middle(batcher: Batcher[Any, Any], act: Callable[[], object]) -> None:
    """Have *act* called once in the middle of the next step that touches a lane's deadline, as a finalizer would."""
    scheduler = batcher._engine.accumulator.scheduler
    genuine = scheduler.note_arrival

    def interrupted(lane: Any, now: float) -> None:
        scheduler.note_arrival = genuine  # type: ignore[method-assign]
        act()
        genuine(lane, now)

    scheduler.note_arrival = interrupted  # type: ignore[method-assign]


class Begun:
    """A coroutine that has run to where it waits first, as an eager task does, and goes on where this is awaited."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._waits_for = coroutine.send(None)

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            while True:
                yield self._waits_for
                self._waits_for = self._coroutine.send(None)
        except StopIteration:
            return


def ring() -> None:
    raise Alarm


async def test_what_is_raised_in_the_middle_of_a_step_ends_the_batcher_in_words():
    """Everybody has an outcome, nobody submits any more, and the body is told."""
    with pytest.raises(BatcherError, match="cut off in the middle of a step, by Alarm") as caught:
        async with Batcher(Api(), auto_batch=LATER) as batcher:
            waiting = batcher.submit_nowait("waits", key="x")
            in_the_middle(batcher, ring)
            with pytest.raises(Alarm):
                batcher.submit_nowait("hit", key="y")
            with pytest.raises(BatcherClosed, match="was cut off in the middle of a step and takes no more"):
                await batcher.submit("late")
            with pytest.raises(RecordNotWritten, match="cut off in the middle of a step by Alarm"):
                await waiting
            assert not waiting.withdraw()
            await anyio.sleep(10)
            raise AssertionError("the body goes on")
    assert isinstance(caught.value.__cause__, Alarm)
    assert batcher.statistics().pending == 0


async def test_those_who_wait_are_woken_wherever_they_wait():
    """For an outcome, alone or among many; for a place; for a call that is out, of which nobody knows."""
    api = Api(seconds=2)
    told: dict[str, object] = {}

    async def tell(name: str, verb: Callable[[], Any]) -> None:
        try:
            told[name] = await verb()
        except BatcherError as error:
            told[name] = type(error)

    limits = Limits(max_pending_records=4, max_lane_records=4)
    with pytest.raises(BatcherError, match="cut off"):
        async with Batcher(api, auto_batch=LATER, limits=limits) as batcher, anyio.create_task_group() as tasks:
            tasks.start_soon(tell, "out", partial(batcher.submit, "a", key="out", max_delay=0))
            await anyio.sleep(1)
            tasks.start_soon(tell, "buffered", partial(batcher.submit, "b", key="slow"))
            tasks.start_soon(tell, "many", partial(batcher.submit_all, ["c", "d"], key="slow2", deadline=3))
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(tell, "flush", batcher.flush)
            tasks.start_soon(tell, "place", partial(batcher.enqueue, "e", key="full"))
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Alarm):
                batcher._runtime.step(ring)  # type: ignore[union-attr]
            await anyio.sleep(10)
    many = told.pop("many")
    assert isinstance(many, list)
    assert all(isinstance(outcome, (NotWritten, Written)) or outcome.applied == "maybe" for outcome in many)
    assert told["out"] is RecordUnknown
    assert told["place"] is BatcherClosed
    assert set(told) == {"out", "buffered", "flush", "place"}


async def test_a_submit_in_the_middle_of_a_step_is_made_at_its_end():
    """Its receipt may be awaited, and called back; in the middle, it cannot be withdrawn."""
    inside: list[Receipt[Any]] = []
    told: list[str] = []

    def act() -> None:
        receipt = batcher.submit_nowait("inside", key="x")
        receipt.add_done_callback(lambda receipt: told.append(receipt.record))
        assert not receipt.withdraw()
        assert not receipt.done
        inside.append(receipt)

    async with Batcher(Api(), auto_batch=LATER) as batcher:
        in_the_middle(batcher, act)
        assert await batcher.submit("outside") == "outside"
        assert await inside[0] == "inside"
    assert told == ["inside"]


async def test_one_that_cannot_be_accepted_at_the_end_is_told_by_its_outcome():
    """No place, too large, an identity that cannot be compared: nobody is there to raise to."""
    inside: list[Receipt[Any]] = []

    class Touchy:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise ArithmeticError

    def act() -> None:
        inside.append(batcher.submit_nowait("xxx", key="y"))
        inside.append(batcher.submit_nowait("x" * 20, key="y"))
        inside.append(batcher.submit_nowait("x", key="y", identity=Touchy()))

    limits = Limits(max_pending_records=2, max_lane_records=2)
    policy = AutoBatchPolicy(max_records=3, max_delay=5, max_bytes=10)
    async with Batcher(Api(), auto_batch=policy, limits=limits, size_of=len) as batcher:
        first = batcher.submit_nowait("a", identity=Touchy())
        in_the_middle(batcher, act)
        second = batcher.submit_nowait("b", key="z")
        await anyio.wait_all_tasks_blocked()
        full, large, touchy = [receipt.outcome for receipt in inside]
        assert isinstance(full, NotWritten)
        assert "no place is free: the batcher holds 2 of max_pending_records=2" in str(full.cause)
        assert isinstance(large, Rejected)
        assert isinstance(touchy, NotWritten)
        assert isinstance(touchy.cause, ArithmeticError)
        assert await first == "a"
        assert await second == "b"


async def test_one_that_comes_while_the_batcher_closes():
    """It is not written, and says so."""
    inside: list[Receipt[Any]] = []
    async with Batcher(Api(), auto_batch=LATER) as batcher:
        runtime = batcher._runtime
        assert runtime is not None

        def last_step() -> None:
            inside.append(batcher.submit_nowait("inside"))
            runtime.close_gate()

        runtime.step(last_step)
    assert inside[0].outcome == NotWritten("the batcher closed while the record waited for a place")


@pytest.mark.parametrize("verb", ["submit", "enqueue", "submit_all", "flush", "receipt"])
async def test_a_verb_that_waits_waits_for_the_step_too(verb: str):
    """Where a task begins to run at once, in the middle of a step: it goes on at the end."""
    told: list[object] = []

    async def use() -> None:
        match verb:
            case "submit":
                told.append(await batcher.submit("inside"))
            case "enqueue":
                told.append(await (await batcher.enqueue("inside")))
            case "submit_all":
                told.extend(outcome.data for outcome in await batcher.submit_all(["inside"]))  # type: ignore[attr-defined]
            case "flush":
                await batcher.flush()
                told.append("inside")
            case "receipt":
                told.append(await receipt)

    if sniffio.current_async_library() == "trio":
        return  # no task of trio begins in the middle of another one
    async with Batcher(Api(), auto_batch=LATER) as batcher:
        receipt = batcher.submit_nowait("inside", key="r")
        began: list[Begun] = []
        in_the_middle(batcher, lambda: began.append(Begun(use())))
        batcher.submit_nowait("outside", key="o")
        await began[0]
    assert told == ["inside"]


async def test_a_step_that_was_cut_off_where_it_was_to_end_is_noticed():
    """Else whoever comes would be put off for ever."""
    with pytest.raises(BatcherError, match="cut off in the middle of a step, by InterruptedError"):
        async with Batcher(Api(), auto_batch=LATER) as batcher:
            receipt = batcher.submit_nowait("a")
            runtime = batcher._runtime
            assert runtime is not None
            runtime.open_in = IN_STEP
            put_off = batcher.submit_nowait("b")
            await anyio.sleep(10)
    assert isinstance(receipt.outcome, NotWritten)
    assert isinstance(put_off.outcome, NotWritten)


async def test_an_error_of_the_users_own_code_cuts_nothing_off():
    """Nothing has happened yet where it is raised; nor where a record is refused."""

    class NoHash:
        def __hash__(self) -> int:
            raise Alarm

    async with Batcher(Api(), auto_batch=LATER, size_of=len) as batcher:
        with pytest.raises(Alarm):
            await batcher.submit("a", key=NoHash())
        with pytest.raises(Alarm):
            await batcher.submit_all(["a"], key=NoHash())
        with pytest.raises(Alarm):
            await batcher.submit_all(["a"], key=NoHash(), all_or_none=True)
        with pytest.raises(InvalidRecord):
            await batcher.submit("a" * 2_000_000)
        assert await batcher.submit("b") == "b"
