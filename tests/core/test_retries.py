"""When to try again, and when to stop trying."""

from __future__ import annotations

from math import inf

import pytest

from batcher._core.model.entries import Entry, Group
from batcher._core.retries import given_up, may_try_again, not_sent, retry_at, too_late
from batcher.outcomes import Cause, NotWritten, Retry, Unknown
from batcher.policies import RetryPolicy
from tests.core.building import make_lane, record

POLICY = RetryPolicy(deadline=60, backoff_base=0.5, backoff_cap=20)
SOON = Retry("throttled")


def accepted(attempts: int = 1, at: float = 0.0, expires_at: float = inf, maybe: bool = False) -> Entry:
    entry = record(expires_at=expires_at)
    entry.accepted_at = at
    entry.own_extras().attempts = attempts
    entry.own_extras().maybe = maybe
    return entry


@pytest.mark.parametrize(
    ("retries", "ceiling"), [(0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (6, 20.0), (60, 20.0), (10**9, 20.0)]
)
def test_full_jitter(retries: int, ceiling: float) -> None:
    """
    The delay is drawn from 0 to the base, doubled with each retry and capped; no number of retries overflows.
    """
    assert retry_at(POLICY, SOON, retries, 100.0, 0.0) == 100.0
    assert retry_at(POLICY, SOON, retries, 100.0, 0.5) == 100.0 + ceiling / 2
    assert retry_at(POLICY, SOON, retries, 100.0, 1.0) == 100.0 + ceiling


def test_the_exponent_is_bounded() -> None:
    """
    Without a cap the ceiling grows up to sixty doublings, and then stays finite.
    """
    endless = RetryPolicy(backoff_base=1.0, backoff_cap=inf)
    assert retry_at(endless, SOON, 59, 0.0, 1.0) == 2.0**59
    assert retry_at(endless, SOON, 60, 0.0, 1.0) == 2.0**60
    assert retry_at(endless, SOON, 5000, 0.0, 1.0) == 2.0**60


def test_what_the_provider_asked_for_is_a_minimum() -> None:
    """
    A Retry-After is never shortened by the backoff, nor does it shorten it.
    """
    assert retry_at(POLICY, Retry("throttled", after=3), 0, 100.0, 1.0) == 103.0
    assert retry_at(POLICY, Retry("throttled", after=3), 4, 100.0, 1.0) == 108.0


def test_the_deadline_itself_is_in_time() -> None:
    """
    No retry starts past the deadline, counted from acceptance; one that starts at it is made.
    """
    entry = accepted(at=10.0)
    assert may_try_again(POLICY, entry, 70.0, inf)
    assert not may_try_again(POLICY, entry, 70.5, inf)


def test_no_retry_outlives_the_batcher() -> None:
    """
    A try that would start after closing is over is not made; it starts at the very end at the latest.
    """
    assert may_try_again(POLICY, accepted(), 5.0, 5.0)
    assert not may_try_again(POLICY, accepted(), 5.5, 5.0)


def test_attempts_are_capped() -> None:
    """
    With three attempts allowed there is a third call, and no fourth.
    """
    policy = RetryPolicy(max_attempts=3)
    assert may_try_again(policy, accepted(attempts=2), 1.0, inf)
    assert not may_try_again(policy, accepted(attempts=3), 1.0, inf)


def test_an_expired_record_is_not_tried_again() -> None:
    """
    The record's own deadline bounds retries as well: at that very time it has expired.
    """
    assert may_try_again(POLICY, accepted(expires_at=5.0), 4.5, inf)
    assert not may_try_again(POLICY, accepted(expires_at=5.0), 5.0, inf)


def test_a_group_goes_again_only_if_all_members_may() -> None:
    """
    One member that may not be tried again keeps the whole group.
    """
    policy = RetryPolicy(max_attempts=3)
    assert may_try_again(policy, Group([accepted(2), accepted(2)]), 1.0, inf)
    assert not may_try_again(policy, Group([accepted(2), accepted(3)]), 1.0, inf)


def test_given_up() -> None:
    """
    A record out of retries is known not to be written, unless any attempt may have been applied.
    """
    error = OSError("reset")
    assert given_up(accepted(attempts=4), Retry(error)) == NotWritten(error, 4)
    assert given_up(accepted(attempts=4), Retry(error, applied="maybe")) == Unknown(error)
    assert given_up(accepted(attempts=4, maybe=True), Retry(error)) == Unknown(error)


def test_what_asks_for_a_try_beyond_an_end_names_it() -> None:
    """
    The first end that comes in between, with figures; nothing where another reason keeps the record from going again.
    """
    later = Retry("429", after=30)
    patient, own = accepted(), accepted(expires_at=30.0)
    for entry in (patient, own):
        entry.lane = make_lane()
    again = "to be sent again in 30 s, beyond"
    assert too_late(POLICY, patient, later, 0.0, inf) is None
    assert too_late(POLICY, patient, later, 30.5, inf) == f"{again} the deadline of 60 s of the RetryPolicy"
    assert too_late(POLICY, patient, later, 0.0, 29.0) == f"{again} the end of the batcher, which is closing"
    assert too_late(POLICY, own, later, 0.0, inf) == f"{again} its own deadline"
    assert too_late(POLICY, patient, SOON, 60.5, inf) is None
    assert too_late(POLICY, patient, Retry("lost", after=90, applied="maybe"), 0.0, inf) is None


def test_given_up_for_a_reason() -> None:
    """
    In words, with the name of an exception that wanted the retry; it is kept besides.
    """
    error = OSError("reset")
    fate = given_up(accepted(attempts=1), Retry(error, after=90), "too late")
    assert fate == NotWritten("OSError; too late", 1)
    assert isinstance(fate, NotWritten) and fate.last_error is error
    doubt = given_up(accepted(maybe=True), Retry(error, after=90), "too late")
    assert isinstance(doubt, Unknown) and (doubt.cause, doubt.last_error) == ("OSError; too late", error)


@pytest.mark.parametrize(
    ("last", "words"), [("locked", "used up; the last: locked"), (OSError("x"), "used up; the last: OSError")]
)
def test_not_sent_after_a_retry(last: Cause, words: str) -> None:
    """
    Why the last call wanted a retry is told where that is asked for, and its exception kept.
    """
    for maybe in (False, True):
        entry = accepted(maybe=maybe)
        entry.extras.last = last
        fate = not_sent(entry, "used up", name_last=True)
        assert isinstance(fate, (NotWritten, Unknown))
        assert (fate.cause, fate.last_error) == (words, last if isinstance(last, OSError) else None)
        assert not_sent(entry, "withdrawn").cause == "withdrawn"  # type: ignore[attr-defined]


def test_not_sent() -> None:
    """
    A record taken out while no call carries it is not written, unless an earlier call may have done it.
    """
    assert not_sent(accepted(attempts=2), "withdrawn") == NotWritten("withdrawn", 2)
    assert not_sent(record(), "withdrawn") == NotWritten("withdrawn", 0)
    assert not_sent(accepted(attempts=2, maybe=True), "withdrawn") == Unknown("withdrawn")
