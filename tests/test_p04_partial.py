"""P4 partial success: the search for culprits, and retries of single records."""

from __future__ import annotations

import pickle
from typing import Any

import anyio
import httpx
import pytest
import trio

from batcher import (
    AutoBatchPolicy,
    Batcher,
    ErrorDetail,
    Event,
    NotWritten,
    Outcome,
    RecordNotWritten,
    Refused,
    Rejected,
    Retry,
    RetryPolicy,
    Written,
)
from tests.api import Api

pytestmark = pytest.mark.anyio

WHOLE = ErrorDetail("something is wrong with one of them", code="BAD_REQUEST")


class Fussy(Api):
    """Refuses every call that carries a bad record, with nothing applied."""

    def __init__(self, *bad: Any, names: bool = False) -> None:
        super().__init__()
        self.bad = set(bad)
        self.names = names

    async def __call__(self, key: Any, records: list[Any]) -> Any:
        named = {i: f"{record} is bad" for i, record in enumerate(records) if record in self.bad}
        self.script = [Refused(WHOLE, named if self.names else None) if named else list]
        return await super().__call__(key, records)


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [outcome.kind for outcome in outcomes]


async def test_p04_culprits_that_the_answer_names_are_settled_and_the_rest_goes_again_once():
    """Two calls, however many culprits there are."""
    api = Fussy(3, 7, names=True)
    async with Batcher(api) as batcher:
        outcomes = await batcher.submit_all(range(10))

    assert outcomes[3] == Rejected((ErrorDetail("3 is bad"),))
    assert outcomes[7] == Rejected((ErrorDetail("7 is bad"),))
    assert kinds(outcomes).count("written") == 8
    assert api.sizes == [10, 8]


async def test_p04_an_unnamed_culprit_is_found_by_halving():
    """It alone is rejected, and isolated; everybody else is written."""
    api = Fussy(37)
    async with Batcher(api) as batcher:
        outcomes = await batcher.submit_all(range(100))

    assert outcomes[37] == Rejected((WHOLE,))
    assert outcomes[37].isolated
    assert kinds(outcomes).count("written") == 99
    assert len(api.calls) <= 15
    written = [record for records in api.batches for record in records if 37 not in records]
    assert sorted(written) == sorted(set(range(100)) - {37})  # each of them in one successful call


async def test_p04_the_search_ends_with_its_call_budget():
    """Past the budget the rest is rejected and says that it may be innocent (B16)."""
    api = Fussy(*range(0, 100, 2))
    async with Batcher(api, retry=RetryPolicy(isolation_calls=10)) as batcher:
        outcomes = await batcher.submit_all(range(100))

    assert len(api.calls) <= 11
    assert {outcome.isolated for outcome in outcomes if isinstance(outcome, Rejected)} == {False}
    assert len(outcomes) == 100


async def test_p04_a_refusal_that_names_nobody_real_still_ends():
    """Positions outside of the batch are ignored; the search goes on by halving."""

    async def write(key: Any, records: list[Any]) -> Any:
        if "bad" in records:
            raise Refused(WHOLE, {99: "who?", -1: "me?"})
        return records

    async with Batcher(write) as batcher:
        outcomes = await batcher.submit_all(["a", "bad", "c"])

    assert kinds(outcomes) == ["written", "rejected", "written"]


async def test_p04_all_named_is_the_end_of_it():
    """A refusal that names everybody costs no second call."""
    api = Fussy(1, 2, names=True)
    async with Batcher(api) as batcher:
        assert kinds(await batcher.submit_all([1, 2])) == ["rejected", "rejected"]

    assert len(api.calls) == 1


async def test_p04_a_refused_returned_for_one_record_is_its_rejection():
    """Refused as a verdict of one record means that record."""
    async with Batcher(Api([Refused(WHOLE), "fine"])) as batcher:
        assert await batcher.submit_all([1, 2]) == [Rejected((WHOLE,)), Written(data="fine")]


async def test_p04_atomic_says_that_a_raise_applied_nothing():
    """Then a raise is treated as a refusal, and the culprit is found."""

    async def write(key: Any, records: list[int]) -> list[int]:
        if 5 in records:
            raise ValueError("constraint failed")
        return records

    async with Batcher(write, atomic=True) as batcher:
        outcomes = await batcher.submit_all(range(8))

    assert outcomes[5] == Rejected((ErrorDetail("constraint failed", code="ValueError"),))
    assert kinds(outcomes).count("written") == 7


async def test_p04_atomic_says_nothing_about_a_lost_answer():
    """A call that was given up on, or broke, may have been applied all the same, whoever's error says so."""
    lost = [TimeoutError(), httpx.ReadTimeout(""), trio.TooSlowError(), ExceptionGroup("", [TimeoutError()])]
    lost += [ConnectionResetError(), httpx.RemoteProtocolError(""), with_status(502)]
    api = Api(*lost)
    async with Batcher(api, atomic=True) as batcher:
        for _ in lost:
            assert kinds(await batcher.submit_all([1, 2])) == ["unknown", "unknown"]

    assert len(api.calls) == len(lost)


async def test_p04_atomic_takes_a_status_for_the_answer_that_it_is():
    """A call that was refused with 4xx applied nothing, and its culprit is found."""
    api = Api(with_status(422), with_status(422), list)
    async with Batcher(api, atomic=True) as batcher:
        assert kinds(await batcher.submit_all([1, 2])) == ["rejected", "written"]


def with_status(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://api.example.com")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(status, request=request))


async def test_p04_retry_is_per_record_and_goes_to_the_front_with_new_ones():
    """Only what asked for it goes again, before what came later, in a shared batch."""
    api = Api(lambda records: [records[0], Retry("locked", after=2), Retry("locked", after=2)])
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=100)) as batcher:
        first = [batcher.submit_nowait(n) for n in range(3)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(batcher.flush)
            await anyio.sleep(1)
            assert [receipt.done for receipt in first] == [True, False, False]
            late = batcher.submit_nowait(3)
        await late

    assert api.batches == [(0, 1, 2), (1, 2, 3)]


async def test_p04_after_is_a_minimum_and_never_shortened_by_the_backoff():
    """Retry-After is obeyed, and a time in the past counts as now."""
    api = Api([Retry("429", after=30)], [Retry("429", after=-5)])
    policy = RetryPolicy(backoff_base=0.5)
    async with Batcher(api, retry=policy, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        await batcher.submit("a")

    first, second, third = (call.at for call in api.calls)
    assert second - first >= 30
    assert 0 <= third - second <= 1


async def test_p04_a_retry_after_beyond_the_deadline_fails_at_once():
    """Nobody waits for a try that will not be made."""
    api = Api([Retry("429", after=61)])
    async with Batcher(api, auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        start = anyio.current_time()
        outcomes = await batcher.submit_all(["a"])
        assert anyio.current_time() == start

    assert outcomes == [NotWritten("429; to be sent again in 61 s, beyond the deadline of 60 s of the RetryPolicy", 1)]


async def test_p04_who_is_given_up_learns_why_it_was_to_be_sent_again():
    """The words, the end that was in the way, the number of calls, and the exception that wanted the retry."""
    error = ConnectionError("hunter2")
    api = Api([Retry(error, after=100)], [Retry("locked")], [Retry("locked")])
    async with Batcher(api, retry=RetryPolicy(deadline=1)) as batcher:
        with pytest.raises(RecordNotWritten) as caught:
            await batcher.submit("a")
    assert str(caught.value) == (
        "the record was not written: ConnectionError; to be sent again in 100 s, beyond the deadline of 1 s of the "
        "RetryPolicy (after 1 attempt)"
    )
    assert caught.value.__cause__ is error
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.__cause__) == (str(caught.value), None)


async def test_p04_who_finds_the_retry_budget_used_up_learns_why_it_needed_one():
    """What the last call said, and its exception, are told together with the budget."""
    error = ConnectionError("hunter2")
    policy = RetryPolicy(deadline=5, budget=0, budget_floor=0, backoff_base=0.5)
    async with Batcher(Api([Retry(error)]), retry=policy) as batcher:
        with pytest.raises(RecordNotWritten, match="the retry budget is used up; the last: ConnectionError") as caught:
            await batcher.submit("a")
    assert caught.value.__cause__ is error


async def test_p04_a_raised_retry_is_for_the_whole_batch():
    """All records of the call go again together, at one time (one timer per batch)."""
    events: list[Event] = []
    api = Api(Retry("503"))
    async with Batcher(api, on_event=events.append) as batcher:
        assert kinds(await batcher.submit_all(range(50))) == ["written"] * 50

    assert api.sizes == [50, 50]
    assert [event.retried for event in events if event.kind == "answered"] == [50, 0]


async def test_p04_retries_end_with_the_attempts():
    """After max_attempts calls the record is known not to be written, and says how often it was tried."""
    api = Api(*[Retry("503")] * 10)
    async with Batcher(api, retry=RetryPolicy(max_attempts=3)) as batcher:
        outcomes = await batcher.submit_all(["a"])

    assert outcomes == [NotWritten("503", 3)]
    assert len(api.calls) == 3


async def test_p04_retries_end_with_the_deadline():
    """A throttled provider is not asked for longer than the deadline."""
    api = Api(*[Retry("503", after=7)] * 100)
    async with Batcher(api, retry=RetryPolicy(deadline=20), auto_batch=AutoBatchPolicy(max_delay=0)) as batcher:
        start = anyio.current_time()
        (outcome,) = await batcher.submit_all(["a"])
        assert anyio.current_time() - start <= 20

    assert outcome.kind == "not_written"
    assert len(api.calls) == 3


async def test_p04_poison_is_not_retried_for_ever():
    """A batch that is refused after a retry still finds its culprit and ends (B15)."""
    api = Api(Retry("503"), Refused(WHOLE), Retry("503"), Refused(WHOLE))
    async with Batcher(api) as batcher:
        outcomes = await batcher.submit_all(["a", "b"])

    assert set(kinds(outcomes)) <= {"written", "rejected"}
    assert len(api.calls) < 12
