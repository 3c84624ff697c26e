"""Events: numbers of batches, links to those who submitted, failures; one hook or several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    Event,
    EventKind,
    FlushReason,
    Limits,
    Refused,
    Retry,
    RetryPolicy,
    Unknown,
    Write,
    Writer,
)
from batcher._shell.hooks import MOST_LINKS
from batcher.testing import ScriptedDestination
from tests.api import Api, gather

pytestmark = pytest.mark.anyio

NOW = AutoBatchPolicy(max_delay=0)
LATER = AutoBatchPolicy(max_delay=60)

caller: ContextVar[Any] = ContextVar("caller", default=None)


class Hook:
    """Notes the events, and captures who submits."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def capture(self) -> Any:
        return caller.get()

    @property
    def dispatched(self) -> list[Event]:
        return [event for event in self.events if event.kind is EventKind.DISPATCHED]

    @property
    def answered(self) -> list[Event]:
        return [event for event in self.events if event.kind is EventKind.ANSWERED]


def check_paired(hook: Hook) -> None:
    """Every batch dispatched is answered once, later, and with as many records."""
    numbers = [event.batch for event in hook.dispatched]
    assert len(set(numbers)) == len(numbers)
    assert sorted(event.batch for event in hook.answered) == sorted(numbers)
    for event in hook.answered:
        (sent,) = [each for each in hook.dispatched if each.batch == event.batch]
        assert hook.events.index(sent) < hook.events.index(event)
        assert sent.records == event.records == sum(event.outcomes.values()) + event.retried
        assert (sent.key, sent.size_bytes) == (event.key, event.size_bytes)


async def test_a_batch_has_the_same_number_when_it_leaves_and_when_it_is_answered():
    """Also with several out at once that end in another order; what is sent again travels in a new one."""
    hook = Hook()
    throttled = [Retry("429")]

    async def write(key: Any, records: list[Any]) -> list[Any]:
        await anyio.sleep(9 - key)
        return [throttled.pop() if record == "again" and throttled else record for record in records]

    async with Batcher(write, on_event=hook, auto_batch=NOW) as batcher:
        await gather(*(partial(batcher.submit, "a", key=key) for key in range(6)))
        assert await batcher.submit("again", key=1) == "again"
    check_paired(hook)
    assert len(hook.dispatched) == 8
    assert hook.dispatched[-1].reason is FlushReason.RETRY


async def test_numbers_are_never_shared_by_batchers_that_share_a_hook():
    """Or what belongs together could not be told apart."""
    hook = Hook()
    api = Api(seconds=1)
    async with Batcher(api, on_event=hook) as one, Batcher(api, on_event=hook) as other:
        await gather(partial(one.submit, "a"), partial(other.submit, "b"))
    check_paired(hook)
    assert len(hook.dispatched) == 2


@pytest.mark.parametrize(
    ("step", "failure", "cause"),
    [
        (ConnectionError("words"), "ConnectionError", None),
        (Retry("429"), "Retry", "429"),
        (Retry(OSError("words"), applied="maybe"), "OSError", None),
        (Refused("words"), "Refused", "refused as a whole (no code), 0 records named"),
        (["one", "too", "many"], "UnusableAnswer", "the write function returned 3 items for 2 records"),
        (
            "no list",
            "UnusableAnswer",
            "the write function returned str, not a list with one item per record",
        ),
        ([Retry("429"), ValueError("words")], None, "429"),
        ([ValueError("words"), Retry(OSError("words"))], None, "OSError"),
        ([Unknown("words"), "b"], None, None),
        (["a", "b"], None, None),
    ],
)
async def test_an_answer_says_whether_the_call_failed_as_a_whole_and_why(step, failure, cause):
    """By the name of a class, for verdicts of single records are no failure of the call; and why it is to come again.

    The words of a Retry are without payload by agreement, those of any other exception are not.
    """
    hook = Hook()
    async with Batcher(Api(step), on_event=hook, auto_batch=LATER) as batcher:
        await batcher.submit_all(["a", "b"])
    check_paired(hook)
    assert hook.answered[0].failure == failure
    assert hook.answered[0].cause == cause
    assert [event.failure for event in hook.answered[1:]] == [None] * (len(hook.answered) - 1)
    assert "words" not in repr(hook.events)


@pytest.mark.parametrize("on_unknown", ["raise", "retry"])
async def test_a_call_that_takes_too_long_is_answered_once(on_unknown):
    """Whether its records are given up on at once or sent again."""
    hook = Hook()
    api = Api(seconds=10)
    policy = RetryPolicy(on_unknown=on_unknown, deadline=1)
    async with Batcher(api, on_event=hook, limits=Limits(call_timeout=5), retry=policy) as batcher:
        await batcher.submit_all(["a"])
    check_paired(hook)
    assert [event.failure for event in hook.answered] == ["TimeoutError"]
    assert hook.answered[0].outcomes == {"unknown": 1}


async def test_capture_is_called_at_each_submit_in_the_callers_context():
    """By all four verbs, of a Batcher and of a Writer; what it returned comes back with the batch."""
    hook, other = Hook(), Hook()
    writes = [Write("contacts", "create", {"email": str(n)}) for n in range(6)]
    async with (
        Batcher(Api(), on_event=hook, auto_batch=LATER) as batcher,
        Writer(ScriptedDestination(), on_event=other, auto_batch=LATER) as writer,
    ):
        submitters: tuple[tuple[Any, list[Any]], ...] = ((batcher, list(range(6))), (writer, list(writes)))
        for verbs, records in submitters:

            async def call(name: str, argument: Any, verbs: Any = verbs) -> None:
                caller.set(name)
                result = getattr(verbs, name)(argument)
                if name != "submit_nowait":
                    await result

            async with anyio.create_task_group() as tasks:
                for name, record in zip(("submit", "submit_nowait", "enqueue"), records[:3], strict=True):
                    tasks.start_soon(call, name, record)
                await anyio.wait_all_tasks_blocked()
                caller.set("whoever is last")
                tasks.start_soon(call, "submit_all", records[3:5])
            await verbs.submit_all(records[3:5], all_or_none=True)
            caller.set(None)
            verbs.submit_nowait(records[5])  # nothing is captured, and nothing is linked
            await verbs.flush()

    for told in (hook, other):
        check_paired(told)
        first, group, last = told.dispatched
        assert sorted(first.links) == ["enqueue", "submit", "submit_all", "submit_nowait"]
        assert (group.reason, group.links) == (FlushReason.GROUP, ("whoever is last",))
        assert [event.records for event in (first, group, last)] == [5, 2, 1]
        assert last.links == ()


async def test_a_record_that_is_sent_again_keeps_its_link():
    """The batch of the second attempt leads to the same caller."""
    hook = Hook()
    caller.set("ada")
    async with Batcher(Api(Retry("429")), on_event=hook) as batcher:
        await batcher.submit("a", identity=7)
    assert [event.links for event in hook.dispatched] == [("ada",), ("ada",)]


async def test_links_are_bounded_and_none_is_there_twice():
    """A batch of thousands has at most 128; records of one caller share theirs."""
    hook = Hook()
    policy = AutoBatchPolicy(max_records=1000, max_delay=60)
    async with Batcher(Api(), on_event=hook, auto_batch=policy) as batcher:
        for number in range(500):
            caller.set(object() if number % 2 else "shared")
            batcher.submit_nowait(number)
    (event,) = hook.dispatched
    assert event.records == 500
    assert len(event.links) == MOST_LINKS == len(set(map(id, event.links)))
    assert event.links.count("shared") == 1


async def test_a_capture_that_raises_harms_nobody(caplog):
    """It is logged, and the record has no link."""

    class Broken(Hook):
        def capture(self) -> Any:
            raise RuntimeError("broken capture")

    hook = Broken()
    async with Batcher(Api(), on_event=hook) as batcher:
        assert await batcher.submit("a") == "a"
    assert hook.dispatched[0].links == ()
    assert "broken capture" in caplog.text


async def test_an_exit_in_capture_goes_through_and_nothing_is_accepted():
    """What ends programs is nobody's to keep back."""

    class Ending(Hook):
        def capture(self) -> Any:
            raise GeneratorExit

    hook = Ending()
    batcher = Batcher[Any, Any](Api(), on_event=hook)
    with pytest.raises(GeneratorExit):
        async with batcher:
            await batcher.submit("a")
    assert (batcher.statistics().accepted, hook.events) == (0, [])


async def test_several_hooks_are_all_told_and_none_spoils_it_for_another(caplog):
    """Each sees its own links, those without capture() none, and one that raises harms nobody."""
    first, second, plain = Hook(), Hook(), Hook()
    second.capture = lambda: "second"  # type: ignore[method-assign]
    events: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("broken hook")

    caller.set("first")
    async with Batcher(Api(), on_event=[broken, first, second, events.append]) as batcher:
        await batcher.submit_all(["a", "b"])
    async with Batcher(Api(), on_event=[events.append, plain]) as batcher:
        caller.set("plain")
        await batcher.submit("a")

    assert [event.links for event in first.dispatched] == [("first",)]
    assert [event.links for event in second.dispatched] == [("second",)]
    assert [event.links for event in plain.dispatched] == [("plain",)]
    assert [event.links for event in events] == [()] * 4
    assert [event.batch for event in events[:2]] == [event.batch for event in first.events]
    assert caplog.text.count("RuntimeError: broken hook") == 2
    for hook in (first, second, plain):
        check_paired(hook)


async def test_submits_without_anything_to_capture_use_up_no_links():
    """Of several hooks, either: what the 129th record leads to is there."""
    first, second = Hook(), Hook()
    policy = AutoBatchPolicy(max_records=1000, max_delay=60)
    async with Batcher(Api(), on_event=[first, second], auto_batch=policy) as batcher:
        for number in range(MOST_LINKS + 1):
            caller.set("ada" if number == MOST_LINKS else None)
            batcher.submit_nowait(number)
    assert [event.links for event in (*first.dispatched, *second.dispatched)] == [("ada",)] * 2


async def test_a_hook_that_captures_nothing_gets_no_link_beside_one_that_does():
    """And if none of several captures anything, there is no link at all."""
    first, second = Hook(), Hook()
    second.capture = lambda: None  # type: ignore[method-assign]
    async with Batcher(Api(), on_event=[first, second]) as batcher:
        await batcher.submit("a")
        caller.set("ada")
        await batcher.submit("b")
    assert [event.links for event in first.dispatched] == [(), ("ada",)]
    assert [event.links for event in second.dispatched] == [(), ()]


@pytest.mark.parametrize("hooks", [[], ()])
async def test_no_hooks_are_none(hooks):
    """An empty list is allowed, so that a list may be built."""
    async with Batcher(Api(), on_event=hooks) as batcher:
        assert await batcher.submit("a") == "a"


@pytest.mark.parametrize(("hooks", "name"), [("log", "str"), ([print, 7], "int"), (7, "int")])
def test_what_cannot_be_called_is_refused_at_once(hooks, name):
    """When the batcher is made, not when the first event is lost."""
    with pytest.raises(TypeError, match=rf"on_event must be .*, not {name}$"):
        Batcher(Api(), on_event=hooks)


@pytest.mark.parametrize(("stubborn", "seconds", "failure"), [(False, 4, "BatcherClosed"), (True, 10, None)])
async def test_a_call_that_is_out_when_the_batcher_ends_is_answered_once(stubborn, seconds, failure):
    """When it is cancelled, or when one that ignores that has ended: too late for its record."""
    hook = Hook()

    async def write(key: Any, records: list[Any]) -> list[Any]:
        with anyio.CancelScope(shield=stubborn):
            await anyio.sleep(10)
        return records

    async with Batcher(write, on_event=hook, limits=Limits(shutdown_timeout=3), auto_batch=NOW) as batcher:
        batcher.submit_nowait("a")
        await anyio.sleep(1)
    check_paired(hook)
    assert [(event.failure, event.seconds, event.outcomes) for event in hook.answered] == [
        (failure, seconds, {"unknown": 1})
    ]


async def test_a_batch_that_no_worker_has_begun_when_the_batcher_ends_is_answered_too():
    """It was told to have left, so its end is told, and that nothing was written."""
    hook = Hook()
    with pytest.raises(GeneratorExit):
        async with Batcher(Api(), on_event=hook, auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
            batcher.submit_nowait("a")
            raise GeneratorExit  # not an Exception: nothing more is sent
    check_paired(hook)
    assert [(event.failure, event.outcomes) for event in hook.answered] == [("BatcherClosed", {"not_written": 1})]


@pytest.mark.parametrize("at", ["enter", "exit"])
async def test_what_around_raises_harms_nobody_and_swallows_nothing(at, caplog):
    """The call is made, and what it raises arrives; in the hook beside it, too."""
    order: list[Any] = []

    class Around(Hook):
        @contextmanager
        def around(self, batch: int) -> Iterator[None]:
            order.append(("open", batch, caller.get()))
            if at == "enter":
                raise RuntimeError("broken around")
            try:
                yield
            except ConnectionError:
                order.append("swallowed")
            order.append("closed")
            if at == "exit":
                raise RuntimeError("broken around")

    async def write(key: Any, records: list[Any]) -> list[Any]:
        order.append("call")
        raise ConnectionError

    hook, beside = Around(), Hook()
    async with Batcher(write, on_event=[hook, beside]) as batcher:
        caller.set("submitter")
        (outcome,) = await batcher.submit_all(["a"])
    assert outcome.kind == "unknown"
    number = beside.dispatched[0].batch
    assert order == [("open", number, None), "call", *(["closed"] if at == "exit" else [])]
    assert caplog.text.count("RuntimeError: broken around") == 1
    check_paired(beside)
