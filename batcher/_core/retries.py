"""When to try again, and when to stop trying. A pure function of the policy and the record's past."""

from __future__ import annotations

from batcher._core.entries import Entry, Unit
from batcher._core.lanes import Lane
from batcher.outcomes import NotWritten, Outcome, Retry, Unknown
from batcher.policies import RetryPolicy


def retry_at(policy: RetryPolicy, retry: Retry, retries: int, now: float, jitter: float) -> float:
    """Return the time of the next try.

    Full jitter: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. What the
    provider asked for (``retry.after``) is a minimum.

    :param retries: how often this record was sent back before
    :param jitter: drawn evenly from 0 to 1
    """
    # 2.0 ** 1024 overflows; long before that the cap has won.
    ceiling = min(policy.backoff_cap, policy.backoff_base * 2.0 ** min(retries, 60))
    return now + max(jitter * ceiling, retry.after or 0.0)


def may_try_again(policy: RetryPolicy, unit: Unit, at: float, closes_at: float) -> bool:
    """Return whether a try at *at* is within the deadline, the attempts and the time left to live."""
    attempts_left = all(member.extras.attempts < policy.max_attempts for member in unit.members)
    return attempts_left and may_ask(policy, unit, at, closes_at)


def may_ask(policy: RetryPolicy, unit: Unit, at: float, closes_at: float) -> bool:
    """Return whether the destination may be asked at *at* what became of *unit*. That is no attempt."""
    if at > min(unit.accepted_at + policy.deadline, closes_at):
        return False
    return all(at < member.extras.expires_at for member in unit.members)


def asks(policy: RetryPolicy, lane: Lane) -> bool:
    """Return whether the destination is asked what became of records of *lane* whose answer was lost."""
    return policy.on_unknown == "verify" and lane.verifiable and not lane.idempotent


def given_up(entry: Entry, retry: Retry) -> Outcome:
    """Return the fate of a record that will not be sent again."""
    if entry.extras.maybe or retry.applied == "maybe":
        return Unknown(retry.cause)
    return NotWritten(retry.cause, entry.extras.attempts)


def not_sent(entry: Entry, cause: str) -> Outcome:
    """Return the fate of a record that is taken out while no call carries it."""
    return Unknown(cause) if entry.extras.maybe else NotWritten(cause, entry.extras.attempts)
