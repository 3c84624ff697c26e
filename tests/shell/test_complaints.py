"""Lines without a hook: what is not written for a reason of the destination, once per kind and minute."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    Batcher,
    BreakerPolicy,
    ErrorDetail,
    EventLog,
    Limits,
    NotWritten,
    RecordError,
    Refused,
    Rejected,
    Retry,
    RetryPolicy,
    Unknown,
)
from batcher._shell.complaints import Throttle
from batcher._shell.steps import IN_STEP
from tests.api import Api

pytestmark = pytest.mark.anyio

NOW = AutoBatchPolicy(max_delay=0)
PATIENT = RetryPolicy(deadline=1000, breaker=None)
POISON = "hunter2-in-the-payload"


def lines_of(caplog: pytest.LogCaptureFixture, name: str = "batcher") -> list[str]:
    """Return what was warned of."""
    return [each.getMessage() for each in caplog.records if each.name == name and each.levelno == logging.WARNING]


class Refusing(Api):
    """Answers every call the same."""

    def __init__(self, answer: Any, **more: Any) -> None:
        super().__init__(*[lambda records: answer(records) if callable(answer) else answer] * 10_000, **more)


def each_of(verdict: Any) -> Any:
    return lambda records: [verdict] * len(records)


async def test_lines_are_written_when_the_state_is_whole():
    """Not in the middle of a step, whatever they are about: a handler may look at the batcher, or submit through it."""
    seen: list[bool] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            runtime = batcher._runtime
            assert runtime is not None
            seen.append(runtime.open_in is IN_STEP)

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("batcher")
    logger.addHandler(handler)
    try:
        api = Api(Retry("429", after=50, pause_lane=True), [Unknown("lost")], OSError())
        async with Batcher(api, auto_batch=NOW, retry=RetryPolicy(deadline=100)) as batcher:
            first = batcher.submit_nowait("a", key="paused")
            await anyio.sleep(1)
            batcher.submit_nowait("too late", key="paused", deadline=1)  # it ends in a step, without a call
            batcher.submit_nowait("lost", key="x")
            await anyio.sleep(1)
            batcher.submit_nowait("reset", key="y")
            await anyio.sleep(1)
            assert await first == "a"
    finally:
        logger.removeHandler(handler)
    assert len(seen) >= 4
    assert not any(seen)


async def test_a_throttle_says_for_how_long_it_pauses(caplog):
    """The status, who goes again and when, and the pause of the lane; and nothing else while all is well."""
    api = Api(Retry("HTTP 429: RATE_LIMIT", after=7, pause_lane=True))
    async with Batcher(api, auto_batch=NOW, retry=PATIENT) as batcher:
        await batcher.submit_all([1, 2, 3])
    (line,) = lines_of(caplog)
    assert line == (
        "the write function: a call with 3 records failed (HTTP 429: RATE_LIMIT): 3 to be sent again in 7 s, "
        "the lane pauses for 7 s"
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (each_of(NotWritten("HTTP 401: EXPIRED")), "failed (HTTP 401: EXPIRED): 2 not_written"),
        (each_of(Unknown("HTTP 500")), "failed (HTTP 500): 2 unknown"),
        (Retry("HTTP 503", applied="maybe"), "failed (HTTP 503): 2 unknown"),
        (ConnectionError(POISON), "raised ConnectionError"),
        ([POISON], "failed (the write function returned 1 items for 2 records; use list(...)): 2 unknown"),
        (each_of(TimeoutError(POISON)), "failed (TimeoutError): 2 unknown"),
    ],
)
async def test_a_call_that_did_nobody_any_good_is_one_line_a_minute(answer, said, caplog):
    """Whatever the way in which it failed: the status or the class, and what became of its records."""
    async with Batcher(Refusing(answer), auto_batch=NOW, retry=RetryPolicy(breaker=None)) as batcher:
        for _ in range(30):
            await batcher.submit_all([POISON, POISON])
            await anyio.sleep(1)
        assert len(lines_of(caplog)) == 1
        await anyio.sleep(40)
        await batcher.submit_all([POISON, POISON])
        first, second = lines_of(caplog)
    assert said.replace("; use list(...)", "") in first
    assert second == f"{first} (29 more like this since the last line)"
    assert POISON not in caplog.text
    assert len(lines_of(caplog)) == 2


async def test_a_call_that_takes_too_long_is_a_line(caplog):
    """It is given up on; when it ends nothing is left to say."""
    async with Batcher(Api(list, seconds=90), auto_batch=NOW, limits=Limits(call_timeout=30)) as batcher:
        with pytest.raises(RecordError):
            await batcher.submit(1)
    assert lines_of(caplog) == ["the write function: a call with 1 records failed (TimeoutError): 1 unknown"]


async def test_a_breaker_that_opens_and_closes_is_a_line_each(caplog):
    """With how long nothing is sent; and those that are told so without a call are counted in a line as well."""
    api = Api(*[each_of(NotWritten("HTTP 401"))] * 2)
    retry = RetryPolicy(deadline=5, breaker=BreakerPolicy(failures=2, cooldown=20))
    async with Batcher(api, auto_batch=NOW, retry=retry) as batcher:
        for _ in range(3):
            await batcher.submit_all([1, 2])
        await anyio.sleep(25)
        await batcher.submit(1)
    calls, opened, told, closed = lines_of(caplog)[:4]
    assert "HTTP 401" in calls
    assert opened == "the write function: the circuit breaker of a lane is open: nothing is sent for 20 s"
    assert told.startswith("the write function: 2 records are not written (the circuit breaker of its lane is open")
    assert closed == "the write function: the circuit breaker of a lane is closed"


async def test_records_that_run_out_of_time_are_a_line_even_if_they_were_complained_of_before(caplog):
    """That they will be sent again is not that they are given up."""
    retry = RetryPolicy(deadline=3, breaker=None)
    async with Batcher(Refusing(Retry("HTTP 503")), auto_batch=NOW, retry=retry) as batcher:
        await batcher.submit_all([1, 2])
        await batcher.submit_all([1, 2], deadline=0.001)
    again, given_up = [line for line in lines_of(caplog) if "HTTP 503" in line][:2]
    assert "2 to be sent again in " in again
    assert "2 not_written" in given_up


async def test_a_record_whose_deadline_passes_before_any_call_is_a_line(caplog):
    """A pause that lasts longer, say: without a call there is no other line about it."""
    api = Api(Retry("HTTP 429", after=100, pause_lane=True))
    async with Batcher(api, auto_batch=NOW, retry=PATIENT) as batcher:
        receipt = batcher.submit_nowait(1)
        await anyio.sleep(1)
        outcomes = await batcher.submit_all([2, 3], deadline=5)
        assert [each.kind for each in outcomes] == ["not_written"] * 2
        assert any("2 records are not written (" in line and "deadline" in line for line in lines_of(caplog))
        await receipt


@pytest.mark.parametrize(
    "answer",
    [
        each_of(Rejected([ErrorDetail("no", code="DUPLICATE")])),
        Refused("bad"),
        lambda records: [Rejected("no"), *records[1:]],
        lambda records: [Retry("locked"), *records[1:]] if len(records) > 1 else records,
        list,
    ],
)
async def test_what_a_caller_is_told_and_the_search_for_culprits_are_no_lines(answer, caplog):
    """Nor is a lock of one record: that is the usual course of writing."""
    caplog.set_level(logging.INFO)
    async with Batcher(Refusing(answer), auto_batch=NOW) as batcher:
        await batcher.submit_all(range(8))
    assert [each.getMessage() for each in caplog.records if each.name.startswith("batcher")] == []


async def test_the_search_of_one_who_applies_all_or_nothing_is_debug(caplog):
    """Nineteen raises for ten duplicates are not nineteen warnings; but who looks closer sees where it raised."""
    caplog.set_level(logging.DEBUG)

    async def insert(key: Any, records: list[int]) -> list[int]:
        if any(record % 6 == 0 for record in records):
            raise ValueError(POISON)
        return records

    async with Batcher(insert, atomic=True) as batcher:
        outcomes = await batcher.submit_all(range(60))
    assert {outcome.kind for outcome in outcomes} == {"written", "rejected"}
    raised = [each for each in caplog.records if "raised ValueError at " in each.getMessage()]
    assert len(raised) > 10
    assert {each.levelno for each in raised} == {logging.DEBUG}
    assert lines_of(caplog) == []
    assert POISON not in caplog.text


async def test_with_an_event_log_nothing_stands_there_twice_and_a_refused_token_is_a_warning_too(caplog):
    """It says more of calls; what it is not told of still has a line."""
    api = Api(each_of(NotWritten("HTTP 401")), Retry("HTTP 429", after=100, pause_lane=True))
    async with Batcher(api, auto_batch=NOW, on_event=[EventLog(), repr], retry=PATIENT) as batcher:
        await batcher.submit_all([1])
        (line,) = lines_of(caplog, "batcher.events")
        assert line.endswith("1 not_written")
        assert lines_of(caplog) == []
        receipt = batcher.submit_nowait(2)
        await anyio.sleep(1)
        await batcher.submit_all([3], deadline=5)
        assert [line for line in lines_of(caplog) if "1 records are not written" in line]
        await receipt


@contextmanager
def handling(handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger("batcher")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def test_a_batcher_that_logs_through_itself_comes_to_an_end():
    """Its line is a record whose failure would be a line: one of each kind, so a turn ends."""
    shipped: list[str] = []

    class Ship(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shipped.append(record.getMessage())
            batcher.submit_nowait(record.getMessage())

    api = Refusing(each_of(NotWritten("HTTP 401")))
    async with Batcher(api, auto_batch=NOW, retry=RetryPolicy(breaker=None)) as batcher:
        with handling(Ship()):
            batcher.submit_nowait("first")
            await anyio.sleep(30)
            assert 1 <= len(shipped) <= 3
            assert len(api.calls) <= 4


async def test_a_handler_that_raises_harms_nobody():
    """It is somebody else's, and the records are not."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ValueError

    with handling(Broken()):
        async with Batcher(Refusing(each_of(NotWritten("HTTP 401"))), auto_batch=NOW) as batcher:
            assert [each.kind for each in await batcher.submit_all([1])] == ["not_written"]


def test_kinds_are_bounded_however_many_reasons_are_made_up(caplog):
    """Whoever puts an id into each reason gets a hundred lines a minute, not a million, and loses no count."""
    now = 0.0
    throttle = Throttle(lambda: now)
    for number in range(1000):
        throttle.write(number, f"reason {number}")
    assert len(lines_of(caplog)) == 101
    now = 61.0
    throttle.write(1, "reason 1")
    throttle.finish()
    said = lines_of(caplog)[101:]
    assert any("899 more" in line for line in said), said


def test_what_was_kept_back_long_ago_is_said_before_it_is_forgotten(caplog):
    """No count is lost because its kind never comes again."""
    now = 0.0
    throttle = Throttle(lambda: now)
    throttle.write("a", "first")
    throttle.write("a", "again")
    now = 700.0
    throttle.write("b", "other")
    assert lines_of(caplog) == ["first", "1 more lines like one of 700 s ago were kept back", "other"]


async def test_words_of_a_provider_break_no_line(caplog):
    """A code with a line break, and one without end."""
    async with Batcher(Api(Retry("a\nb"), Retry("c" * 5000)), auto_batch=NOW, retry=PATIENT) as batcher:
        await batcher.submit(1)
    assert lines_of(caplog)
    assert all(line.isprintable() and len(line) < 500 for line in lines_of(caplog))
