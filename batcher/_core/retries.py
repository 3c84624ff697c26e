"""When to try again, when to stop, and what a record is told that is not sent again. Pure functions of its past."""

from __future__ import annotations

from batcher._core.model.entries import Entry, Lane, Unit
from batcher.outcomes import Cause, NotWritten, Outcome, Retry, Unknown, describe_cause
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
    return policy.on_unknown == "verify" and lane.rules.verifiable and not lane.rules.idempotent


def too_late(policy: RetryPolicy, unit: Unit, retry: Retry, now: float, closes_at: float) -> str | None:
    """Return that *retry* asks for a try that nobody may wait for, in words; None if it asks for no such thing."""
    after = retry.after
    doubtful = retry.applied == "maybe" and not policy.sends_again(idempotent=unit.lane.rules.idempotent)
    if not after or doubtful:  # which is not sent again however soon
        return None
    end = now + after
    if end > closes_at:
        limit = "the end of the batcher, which is closing"
    elif end > unit.accepted_at + policy.deadline:
        limit = f"the deadline of {policy.deadline:g} s of the RetryPolicy"
    elif any(end >= member.extras.expires_at for member in unit.members):
        limit = "its own deadline"
    else:
        return None
    return f"to be sent again in {after:g} s, beyond {limit}"


def given_up(entry: Entry, retry: Retry, why: str | None = None) -> Outcome:
    """Return the fate of a record that will not be sent again.

    :param why: what keeps it from that, where the cause of *retry* does not say all
    """
    cause, error = retry.cause, None
    if why is not None:
        cause, error = f"{describe_cause(cause)}; {why}", _exception(cause)
    if entry.extras.maybe or retry.applied == "maybe":
        return Unknown(cause, last_error=error)
    return NotWritten(cause, entry.extras.attempts, last_error=error)


def not_sent(entry: Entry, cause: str, *, name_last: bool = False) -> Outcome:
    """Return the fate of a record that is taken out while no call carries it.

    :param name_last: say also why the last call asked to send it again
    """
    last = entry.extras.last if name_last else None
    if last is not None:
        cause = f"{cause}; the last: {describe_cause(last)}"
    error = _exception(last)
    if entry.extras.maybe:
        return Unknown(cause, last_error=error)
    return NotWritten(cause, entry.extras.attempts, last_error=error)


def _exception(cause: Cause | None) -> BaseException | None:
    return cause if isinstance(cause, BaseException) else None
