"""P13 discreet, P14 both loops: plain asyncio, uvloop, threads."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BatcherNotOpen,
    ErrorDetail,
    Event,
    NotWritten,
    RecordError,
    RecordRejected,
    RecordUnknown,
    Refused,
    Rejected,
    Retry,
    RolledBack,
    Unknown,
    Write,
    Writer,
    Written,
)
from batcher.destinations import SQLite
from batcher.errors import error_for
from tests.api import Api, gather

SECRET = "hunter2-in-the-payload"
OUTCOMES = [
    Rejected((ErrorDetail(SECRET, code="BAD", fields=("email",)),)),
    Rejected((ErrorDetail(SECRET),), isolated=False, cause=ValueError(SECRET)),
    Rejected(ValueError(SECRET)),
    RolledBack((1, 2), (ErrorDetail(SECRET, code="BAD"),)),
    RolledBack((), SECRET),
    Unknown(ConnectionError(SECRET)),
    NotWritten(OSError(SECRET), 3),
    Written("7", data=SECRET, warnings=(SECRET,)),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: outcome.kind)
def test_p13_outcomes_and_errors_print_codes_and_counts_never_payloads(outcome):
    """Neither str() nor repr() of an outcome or its error quotes what was sent or answered."""
    shown = [repr(outcome), str(outcome)]
    if not outcome.ok:
        error = error_for(outcome, {"password": SECRET})
        shown += [repr(error), str(error)]
    assert SECRET not in " ".join(shown)


@pytest.mark.parametrize("outcome", [each for each in OUTCOMES if not each.ok], ids=lambda outcome: outcome.kind)
def test_p13_errors_copy_and_pickle(outcome):
    """With the outcome and the record; a foreign cause travels by its name."""
    error = error_for(outcome, {"email": "ada@example.com"})
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert twin.record == {"email": "ada@example.com"}
        assert str(twin) == str(error)
        assert twin.applied == error.applied


@pytest.mark.parametrize(
    "shown",
    [
        Retry(ConnectionError(SECRET), after=3),
        Refused(ErrorDetail(SECRET, code="BAD"), {0: SECRET}),
        ErrorDetail(SECRET, code="BAD"),
        Write("contacts", "create", {"password": SECRET}, headers={"Authorization": SECRET}),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_p13_verdicts_and_writes_print_no_payload(shown):
    """What is printed of them in a traceback gives nothing away."""
    assert SECRET not in repr(shown) + str(shown)


@pytest.mark.anyio
async def test_p13_events_and_logs_carry_no_payload(caplog):
    """Codes, counts and keys; the provider's words stay with the record's own caller."""
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        raise RuntimeError("the hook is broken")

    api = Api([Rejected(ErrorDetail(SECRET, code="BAD")), RuntimeError(SECRET), SECRET])
    with caplog.at_level(logging.DEBUG):
        async with Batcher(api, on_event=on_event) as batcher:
            outcomes = await batcher.submit_all([SECRET] * 3)
            shown = [repr(batcher), repr(batcher.statistics()), repr(batcher.submit_nowait(SECRET))]

    assert outcomes[0].errors[0].message == SECRET  # type: ignore[attr-defined]
    assert len(events) >= 2
    assert "the on_event hook raised" in caplog.text
    assert SECRET not in caplog.text + repr(events) + "".join(shown)


@pytest.mark.anyio
async def test_p13_each_waiter_gets_an_exception_object_of_its_own():
    """Two tasks that await one receipt do not share a traceback."""
    async with Batcher(Api(ConnectionError())) as batcher:
        receipt = batcher.submit_nowait("a")

        async def wait() -> Any:
            return await receipt

        errors = await gather(wait, wait)
    assert [type(error) for error in errors] == [RecordUnknown] * 2
    assert errors[0] is not errors[1]


# What follows leaves the loop or brings its own, so it runs on the real clock.


async def work() -> list[Any]:
    async with Batcher(Api(list, [KeyError("x")] * 2), auto_batch=AutoBatchPolicy(max_records=2)) as batcher:
        first = await asyncio.gather(batcher.submit(1), batcher.submit(2))
        second = await asyncio.gather(batcher.submit(3), batcher.submit(4), return_exceptions=True)
        task = asyncio.create_task(batcher.submit(5, max_delay=60))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert batcher.statistics().pending == 0
        callback: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: callback.set_result(batcher.submit_nowait(6, max_delay=0)))
        return [*first, *map(type, second), await (await callback)]


def test_p14_plain_asyncio_run():
    """Without anyio.run, with asyncio's own tasks, gather, cancel and callbacks."""
    assert asyncio.run(work()) == [1, 2, RecordRejected, RecordRejected, 6]


def test_p14_uvloop():
    """The same on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(work()) == [1, 2, RecordRejected, RecordRejected, 6]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_p14_from_other_threads(backend):
    """anyio.from_thread.run() brings a submit into the loop; a bare one is refused in words."""

    async def main() -> None:
        async with Batcher[int, int](Api(), auto_batch=AutoBatchPolicy(max_records=8)) as batcher:

            def thread(n: int) -> int:
                with pytest.raises(BatcherNotOpen, match="from_thread"):
                    batcher.submit_nowait(n)
                return anyio.from_thread.run(partial(batcher.submit, n))

            with anyio.fail_after(120):
                results = await gather(*(partial(anyio.to_thread.run_sync, thread, n) for n in range(8)))
            assert results == list(range(8))

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("other", ["asyncio", "trio"])
def test_p14_a_second_event_loop_is_refused(backend, other):
    """A batcher belongs to the loop it was entered in; whoever comes from another one is told, at once."""

    async def main() -> None:
        async with Batcher[int, int](Api()) as batcher:
            receipt = batcher.submit_nowait(1)

            async def elsewhere() -> None:
                for call in (partial(batcher.submit, 2), partial(batcher.enqueue, 2), batcher.flush):
                    with pytest.raises(BatcherNotOpen, match=f"another event loop \\(on {backend}\\)"):
                        await call()
                with pytest.raises(BatcherNotOpen):
                    batcher.submit_nowait(2)
                with pytest.raises(BatcherNotOpen):
                    await receipt
                with pytest.raises(BatcherNotOpen):
                    receipt.withdraw()

            with anyio.fail_after(120):
                await anyio.to_thread.run_sync(partial(anyio.run, elsewhere, backend=other))
            assert await receipt == 1

    anyio.run(main, backend=backend)


def test_p14_outside_of_any_loop():
    """A receipt awaited or a record submitted after the loop has ended gets a clear error."""

    async def main() -> Batcher[int, int]:
        async with Batcher[int, int](Api()) as batcher:
            return batcher

    batcher = asyncio.run(main())
    with pytest.raises(BatcherNotOpen):
        batcher.submit_nowait(1)


def test_p14_the_writer_works_under_plain_asyncio_too():
    """Destination included."""

    async def main() -> Any:
        async with Writer(SQLite(":memory:")) as crm:
            return await crm.create("contacts", {"email": "ada@example.com"})

    assert asyncio.run(main()).record_id == "1"


def test_p13_a_record_error_is_abstract_in_spirit():
    """Every concrete error belongs to one outcome."""
    assert {error.outcome_type for error in RecordError.__subclasses__()} == {Rejected, RolledBack, NotWritten, Unknown}
