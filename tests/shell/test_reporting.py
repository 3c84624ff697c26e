"""Reporting: what hooks and the log are told, and that it harms nobody."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, Event, EventKind, FlushReason, Retry
from batcher._core.batches import Batch
from batcher._core.breakers import Change
from batcher._shell.reporting import Reporter
from tests.api import Api, gather
from tests.core.building import make_lane

pytestmark = pytest.mark.anyio
NOW = AutoBatchPolicy(max_delay=0)


async def test_events_tell_what_happened_and_why():
    """One event per batch that leaves and one per answer, with reasons, counts, bytes and seconds."""
    events: list[Event] = []
    api = Api(["x", Retry("429"), ValueError()], seconds=2)
    async with Batcher(api, on_event=events.append, size_of=len, auto_batch=AutoBatchPolicy(max_delay=1)) as batcher:
        for record in ("a", "bb", "ccc"):
            batcher.submit_nowait(record, key="contacts")
        await batcher.flush() if False else await anyio.sleep(4)
        await batcher.flush()

    first, answered, again, last = events
    assert first == Event(
        kind=EventKind.DISPATCHED,
        key="contacts",
        batch=first.batch,
        reason=FlushReason.DELAY,
        records=3,
        size_bytes=6,
        seconds=1.0,
    )
    assert answered == Event(
        kind=EventKind.ANSWERED,
        key="contacts",
        batch=first.batch,
        records=3,
        size_bytes=6,
        seconds=2.0,
        outcomes={"written": 1, "rejected": 1},
        retried=1,
        cause="429",
        codes=("ValueError",),
    )
    assert (again.kind, again.reason, again.records) == (EventKind.DISPATCHED, FlushReason.RETRY, 1)
    assert last.outcomes == {"written": 1}


async def test_a_hook_that_raises_harms_nobody(caplog):
    """It is logged, and every record meets its fate (B7)."""

    def on_event(event: Event) -> None:
        raise RuntimeError("broken hook")

    async with Batcher(Api(), on_event=on_event, auto_batch=AutoBatchPolicy(max_records=2)) as batcher:
        assert await gather(*(partial(batcher.submit, n) for n in range(5))) == list(range(5))
    assert "broken hook" in caplog.text


async def test_a_hook_may_submit():
    """It is called when the state is whole, so it may come back in."""
    batchers: list[Batcher[Any, Any]] = []

    def on_event(event: Event) -> None:
        if event.kind is EventKind.ANSWERED and event.key is None:
            batchers[0].submit_nowait("audit", key="audit")

    api = Api()
    async with Batcher(api, on_event=on_event, auto_batch=NOW) as batcher:
        batchers.append(batcher)
        await batcher.submit("a")
    assert api.batches == [("a",), ("audit",)]


async def test_what_goes_wrong_unseen_is_logged_without_payload(caplog):
    """Where write raised, and how many records a batcher that ends early leaves behind."""
    secret = "hunter2"
    api = Api(ValueError(secret))
    async with Batcher(api, auto_batch=NOW) as batcher:
        await batcher.submit_all([secret])
    assert "a call with 1 records raised ValueError at " in caplog.text
    assert "api.py:" in caplog.text
    with anyio.CancelScope() as scope:
        async with Batcher(Api(seconds=9), auto_batch=AutoBatchPolicy(max_records=1)) as batcher:
            for key in range(3):
                batcher.submit_nowait(secret, key=key)
            await anyio.sleep(1)
            batcher.submit_nowait(secret, key=0, identity=1)
            batcher.submit_nowait(secret, key=0, identity=1)
            scope.cancel()
            await anyio.sleep(1)
    assert "the batcher was cancelled: " in caplog.text
    assert secret not in caplog.text


def test_a_breaker_that_moves_is_told_with_what_it_guards():
    """A lane by its key, or the destination."""
    events: list[Event] = []
    moved = [Change("contacts", of_all=False, state="open"), Change("contacts", of_all=True, state="half_open")]
    Reporter(events.append).tell([], moved)
    assert moved == []
    assert events == [
        Event(kind=EventKind.BREAKER, key="contacts", scope="lane", state="open"),
        Event(kind=EventKind.BREAKER, scope="destination", state="half_open"),
    ]


def test_an_answer_to_what_was_never_told_to_have_left_is_not_told():
    """A hook that ends the program while it is told of several batches has not heard of the rest; a call may go on."""
    events: list[Event] = []
    batch = Batch(make_lane(), (), 0, FlushReason.DELAY, None)
    reporter = Reporter(events.append)
    reporter.answers.append((batch, 1.0, []))
    reporter.tell([], [])
    assert events == []
