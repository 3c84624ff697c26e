"""P7 three-valued honesty: applied, not applied, or nobody knows."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from batcher import (
    Batcher,
    ErrorDetail,
    Limits,
    NotWritten,
    RecordRejected,
    RecordUnknown,
    Rejected,
    Retry,
    RetryPolicy,
    Unknown,
    Written,
)
from tests.api import Api, results_of

pytestmark = pytest.mark.anyio


async def test_p07_what_a_call_raises_while_it_is_cut_off_is_no_refusal():
    """Not even under atomic: where the caller allows it the batch goes again whole, without a search for culprits."""
    batches: list[list[Any]] = []

    async def write(key: Any, records: list[Any]) -> list[Any]:
        batches.append(records)
        if len(batches) == 1:
            try:
                await anyio.sleep(100)
            finally:
                raise ValueError("cleanup failed")
        return records

    retry, limits = RetryPolicy(on_unknown="retry"), Limits(call_timeout=5)
    async with Batcher(write, atomic=True, retry=retry, limits=limits) as batcher:
        assert [outcome.ok for outcome in await batcher.submit_all(["a", "b"])] == [True, True]
    assert batches == [["a", "b"]] * 2


async def test_p07_refused_after_a_doubtful_attempt_is_still_doubtful():
    """A duplicate may be a duplicate of itself: maybe is not taken back by a later no."""
    api = Api([Retry("504", applied="maybe")], [Rejected(ErrorDetail("exists", code="DUPLICATE"))])
    async with Batcher(api, retry=RetryPolicy(on_unknown="retry")) as batcher:
        with pytest.raises(RecordUnknown, match="RecordRejected") as caught:
            await batcher.submit("a")
    assert isinstance(caught.value.__cause__, RecordRejected)
    assert "DUPLICATE" in str(caught.value.__cause__)


async def test_p07_every_failure_says_whether_the_record_was_applied():
    """no, or maybe: never silence."""
    api = Api([Rejected("x"), Unknown("lost"), NotWritten("late")])
    async with Batcher(api) as batcher:
        failures = await results_of([batcher.submit_nowait(n) for n in range(3)])

    assert [failure.applied for failure in failures] == ["no", "maybe", "no"]


async def test_p07_what_may_have_been_applied_is_not_sent_again_on_its_own():
    """Retry(applied="maybe") under the default policy is Unknown at once."""
    api = Api([Retry("timeout", applied="maybe"), "fine"])
    async with Batcher(api) as batcher:
        outcomes = await batcher.submit_all(["a", "b"])

    assert outcomes == [Unknown("timeout"), Written(data="fine")]
    assert api.batches == [("a", "b")]


async def test_p07_what_may_have_been_applied_is_sent_again_if_the_caller_says_so():
    """RetryPolicy(on_unknown="retry") covers verdicts, raises and timeouts."""
    api = Api([Retry("504", applied="maybe")], ConnectionError())
    async with Batcher(api, retry=RetryPolicy(on_unknown="retry")) as batcher:
        assert await batcher.submit("a") == "a"

    assert api.batches == [("a",)] * 3


LOST = [TimeoutError(), ConnectionResetError(), httpx.ReadError(""), ExceptionGroup("", [httpx.ReadTimeout("")])]


@pytest.mark.parametrize("lost", LOST, ids=lambda error: type(error).__name__)
async def test_p07_an_item_that_is_a_lost_answer_is_in_doubt(lost: Exception):
    """One call per record, gathered with return_exceptions=True: the record whose call broke may be there."""
    api = Api([lost, "fine", ValueError("no")])
    async with Batcher(api) as batcher:
        outcomes = await batcher.submit_all(["a", "b", "c"])

    assert [outcome.applied for outcome in outcomes] == ["maybe", "yes", "no"]
    assert outcomes[0] == Unknown(lost)
    assert api.batches == [("a", "b", "c")]


@pytest.mark.parametrize("lost", LOST, ids=lambda error: type(error).__name__)
async def test_p07_an_item_that_is_a_lost_answer_is_sent_again_if_the_caller_says_so(lost: Exception):
    """As a call is that raises it, and alone; but an Unknown that the write answers with is its last word."""
    api = Api([lost, Unknown(lost), "fine"])
    async with Batcher(api, retry=RetryPolicy(on_unknown="retry")) as batcher:
        outcomes = await batcher.submit_all(["a", "b", "c"])

    assert [outcome.kind for outcome in outcomes] == ["written", "unknown", "written"]
    assert api.batches == [("a", "b", "c"), ("a",)]


async def test_p07_an_item_that_is_a_lost_answer_is_asked_about():
    """Under on_unknown="verify" as much as an Unknown is, and only what is absent goes again."""
    asked: list[Any] = []

    async def verify(key: Any, records: list[Any]) -> list[Any]:
        asked.append(list(records))
        if len(asked) == 1:
            return [OSError()] * len(records)  # its own answer was lost
        return [NotWritten("absent") if record == "b" else Written("7") for record in records]

    api = Api([TimeoutError(), ConnectionError(), "c"])
    async with Batcher(api, verify=verify, retry=RetryPolicy(on_unknown="verify")) as batcher:
        outcomes = await batcher.submit_all(["a", "b", "c"])

    assert outcomes == [Written("7"), Written(data="b"), Written(data="c")]
    assert asked == [["a", "b"]] * 2
    assert api.batches == [("a", "b", "c"), ("b",)]


async def test_p07_a_member_of_a_group_whose_answer_was_lost_is_in_doubt():
    """And is told so, while the others learn what happened to them."""
    async with Batcher(Api([TimeoutError(), ValueError("no")])) as batcher:
        outcomes = await batcher.submit_all(["a", "b"], all_or_none=True)

    assert [outcome.kind for outcome in outcomes] == ["unknown", "rejected"]


async def test_p07_out_of_tries_after_a_doubtful_one_is_unknown():
    """A record that may have been applied once stays doubtful, however the last try ended."""
    api = Api([Retry("504", applied="maybe")], [Retry("429")])
    async with Batcher(api, retry=RetryPolicy(on_unknown="retry", max_attempts=2)) as batcher:
        with pytest.raises(RecordUnknown) as caught:
            await batcher.submit("a")

    assert caught.value.outcome == Unknown("429")
