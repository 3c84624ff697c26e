"""The hook that logs: one line per event, its level by what happened."""

from __future__ import annotations

import logging
from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, Batcher, ErrorDetail, Event, EventKind, EventLog, Rejected, Retry, Unknown
from tests.api import Api

pytestmark = pytest.mark.anyio

POISON = "hunter2-in-the-payload"


def lines_of(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """Return level and text of what the hook has logged."""
    return [(each.levelno, each.getMessage()) for each in caplog.records if each.name == "batcher.events"]


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the hook has attached."""
    return {name: value for name, value in vars(record).items() if name.startswith("batcher_")}


async def test_each_event_is_one_line_with_a_level_by_what_happened(caplog):
    """What takes its usual course is DEBUG, another try INFO, and what nobody knows a WARNING."""
    caplog.set_level(DEBUG)
    api = Api(["x", Retry("429"), ValueError()], [Unknown("lost")], TimeoutError(), seconds=2)
    async with Batcher(api, on_event=EventLog(), size_of=len, auto_batch=AutoBatchPolicy(max_delay=1)) as batcher:
        for record in ("a", "bb", "ccc"):
            batcher.submit_nowait(record, key="contacts")
        await anyio.sleep(3.5)
        await batcher.flush()
        await batcher.submit_all(["d"])

    lines = [(level, line.split(" ", 2)[2]) for level, line in lines_of(caplog)]
    assert lines[:2] == [
        (DEBUG, "left after 1.000 s (delay): 3 records, 6 bytes"),
        (INFO, "was answered after 2.000 s: 1 written, 1 rejected, 1 to be sent again (429); codes ValueError"),
    ]
    assert (lines[2][0], lines[2][1].partition(" s ")[2]) == (DEBUG, "(retry): 1 records, 2 bytes")
    assert lines[3:] == [
        (WARNING, "was answered after 2.000 s: 1 unknown"),
        (DEBUG, "left after 0.000 s (submit_all): 1 records, 1 bytes"),
        (WARNING, "failed (TimeoutError) after 2.000 s: 1 unknown"),
    ]


@pytest.mark.parametrize(
    ("step", "why", "cause"),
    [
        (Retry("429 from crm"), "failed (Retry: 429 from crm) after 0.000 s: 1 to be sent again", "429 from crm"),
        (Retry(OSError(POISON)), "failed (OSError) after 0.000 s: 1 to be sent again", None),
        ([Retry("locked")], "was answered after 0.000 s: 1 to be sent again (locked)", "locked"),
    ],
)
async def test_the_log_says_why_a_call_was_sent_back(step, why, cause, caplog):
    """In the words of the Retry, which are without payload; of an exception the name is all."""
    caplog.set_level(DEBUG)
    async with Batcher(Api(step), on_event=EventLog()) as batcher:
        await batcher.submit_all(["a"])
    assert lines_of(caplog)[1][1].split(" ", 2)[2] == why
    assert fields_of(caplog.records[1]).get("batcher_cause") == cause


async def test_what_a_line_says_is_in_its_fields(caplog):
    """With a prefix of their own, for those who collect logs by fields; what an event does not have is not there."""
    caplog.set_level(DEBUG)
    hook = EventLog(lane_label=str.upper)
    async with Batcher(Api(["x", ValueError()]), on_event=hook, size_of=len) as batcher:
        await batcher.submit_all(["a", "b"], key="contacts")
    left, answered = caplog.records
    number = fields_of(left)["batcher_batch"]
    assert fields_of(left) == {
        "batcher_event": "dispatched",
        "batcher_batch": number,
        "batcher_lane": "CONTACTS",
        "batcher_flush_reason": "submit_all",
        "batcher_records": 2,
        "batcher_bytes": 2,
        "batcher_seconds": 0,
    }
    assert fields_of(answered) == {
        "batcher_event": "answered",
        "batcher_batch": number,
        "batcher_lane": "CONTACTS",
        "batcher_records": 2,
        "batcher_bytes": 2,
        "batcher_seconds": 0,
        "batcher_outcomes": {"written": 1, "rejected": 1},
        "batcher_codes": ("ValueError",),
    }
    assert left.getMessage().startswith(f"batch {number} of lane CONTACTS left")


async def test_the_outcome_that_a_cancelled_caller_did_not_see_is_logged(caplog):
    """At INFO, or WARNING if nobody knows whether it was applied: nobody else will say so."""
    caplog.set_level(DEBUG)
    api = Api(list, ConnectionError(), seconds=2)
    async with Batcher(api, on_event=EventLog(lane_label=str), auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        for _ in range(2):
            with anyio.move_on_after(1):
                await batcher.submit("a", key=7)
            await batcher.flush()
    seen = [line for line in lines_of(caplog) if "cancelled" in line[1]]
    assert seen == [
        (INFO, "a record of lane 7 whose caller was cancelled met its outcome: 1 written"),
        (WARNING, "a record of lane 7 whose caller was cancelled met its outcome: 1 unknown"),
    ]


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        (Event(kind=EventKind.BREAKER, scope="lane", key="a", state="open"), WARNING, "a lane is open"),
        (Event(kind=EventKind.BREAKER, state="open", cause="503"), WARNING, "a lane is open, the last call: 503"),
        (Event(kind=EventKind.BREAKER, scope="lane", state="half_open"), INFO, "a lane is half-open"),
        (Event(kind=EventKind.BREAKER, scope="destination", state="closed"), WARNING, "the destination is closed"),
    ],
)
def test_a_breaker_that_moves_is_logged(event, level, line, caplog):
    """One that opens is a WARNING, and so is that it is over: who reads no more than those would wait for it."""
    caplog.set_level(DEBUG)
    EventLog()(event)
    assert lines_of(caplog) == [(level, f"the circuit breaker of {line}")]


def test_a_breaker_of_the_destination_has_no_lane(caplog):
    """Its key is no key, so nobody is asked for a name of it."""
    caplog.set_level(DEBUG)
    hook = EventLog(lane_label=str.upper)  # which None would not survive
    hook(Event(kind=EventKind.BREAKER, scope="destination", state="open"))
    hook(Event(kind=EventKind.BREAKER, scope="lane", key="contacts", state="open"))
    assert [line.rpartition(" of ")[2] for _, line in lines_of(caplog)] == [
        "the destination is open",
        "lane CONTACTS is open",
    ]
    assert fields_of(caplog.records[0]) == {
        "batcher_event": "breaker",
        "batcher_scope": "destination",
        "batcher_state": "open",
    }


async def test_the_level_lifts_what_lies_below_it_and_the_logger_is_ones_own(caplog):
    """INFO shows every call; what is worse stays worse; what the logger does not want is not even put into words."""
    caplog.set_level(DEBUG)
    own = logging.getLogger("app.crm")
    async with Batcher(Api(list, ConnectionError()), on_event=EventLog(own, level=INFO)) as batcher:
        await batcher.submit_all(["a"])
        await batcher.submit_all(["b"])
    levels = [record.levelno for record in caplog.records if record.name == "app.crm"]
    assert levels == [INFO, INFO, INFO, WARNING]

    def label(key: Any) -> str:
        raise AssertionError("nobody reads it")

    caplog.clear()
    caplog.set_level(ERROR, "app.crm")
    async with Batcher(Api(), on_event=EventLog(own, lane_label=label)) as batcher:
        await batcher.submit_all(["a"])
    assert caplog.records == []


async def test_p13_the_log_says_no_payload_and_no_key(caplog):
    """Nothing of a record, of the provider's words, of an exception's, or of the lane unless labels were asked for."""
    caplog.set_level(DEBUG)
    rejected = Rejected(ErrorDetail(POISON, code="BAD"))
    api = Api([rejected, Retry(OSError(POISON)), POISON], RuntimeError(POISON), ConnectionError(POISON))
    async with Batcher(api, on_event=EventLog(), auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        await batcher.submit_all([POISON] * 3, key=POISON)
        await batcher.submit_all([POISON], key=POISON)
    assert len(lines_of(caplog)) == 6
    assert "codes BAD" in caplog.text
    assert POISON not in caplog.text + "".join(repr(vars(record)) for record in caplog.records)


def test_a_code_with_a_line_break_makes_no_second_line(caplog):
    """Codes are the provider's: a forged line in the log would be its doing."""
    caplog.set_level(DEBUG)
    EventLog()(
        Event(kind=EventKind.ANSWERED, batch=1, records=1, outcomes={"rejected": 1}, codes=("BAD\nbatch 2 ...",))
    )
    ((_, line),) = lines_of(caplog)
    assert line.isprintable()
    assert "BAD" in line


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"logger": "app"}, "logger"), ({"level": "INFO"}, "level"), ({"lane_label": "x"}, "lane_label")],
    ids=["logger", "level", "lane_label"],
)
def test_wrong_arguments_are_named(arguments, name):
    """When the hook is made, not when the first event comes."""
    with pytest.raises(TypeError, match=f"^{name} must be"):
        EventLog(**arguments)
