"""The errors of this library.

.. code-block:: text

    BatcherError
    +-- BatcherClosed               the batcher takes no more records
    +-- BatcherNotOpen              used before ``async with``, entered twice, or from another loop
    +-- NestedSubmit                waiting for the same batcher from inside its own write function
    +-- Overloaded                  submit_nowait(): no place; await submit() instead
    +-- InvalidRecord (ValueError)  can never be written as it is; joined no batch
    |   +-- InvalidGroup            the group breaks a rule; nothing of it was accepted
    +-- RecordError                 the outcome of one accepted record that is not a success
        +-- RecordRejected          applied: no     the destination refused this record
        +-- RecordRolledBack        applied: no     its group failed because of other members
        +-- RecordNotWritten        applied: no     withdrawn, closed, expired, retries used up
        +-- RecordUnknown           applied: maybe  the answer was lost; look before you send it again

Messages carry codes and counts, never payloads. A :class:`RecordError` is made fresh for every
waiter, and copies and pickles.
"""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from batcher.outcomes import Applied, ErrorDetail, NotWritten, Outcome, Rejected, RolledBack, Unknown, describe_cause
from batcher.timing import Timing


class BatcherError(Exception):
    """The base of everything this library raises on purpose."""


class BatcherClosed(BatcherError):
    """The batcher is closing or closed; the record was not accepted."""


class BatcherNotOpen(BatcherError, RuntimeError):
    """The batcher is not open here: not entered, entered already, or opened in another event loop."""


class NestedSubmit(BatcherError, RuntimeError):
    """A write function waits for its own batcher, which may wait for that write function."""


class Overloaded(BatcherError):
    """No place is free and this call may not wait for one; the record was not accepted."""


class InvalidRecord(BatcherError, ValueError):
    """The record can never be written as it is; it was not accepted and joined no batch.

    The message names fields and rules, not values.

    :param detail: what is wrong: its message becomes the message of this error
    """

    def __init__(self, detail: str | ErrorDetail) -> None:
        super().__init__(detail)
        self.detail = detail if isinstance(detail, ErrorDetail) else ErrorDetail(detail)

    def __str__(self) -> str:
        return self.detail.message


class InvalidGroup(InvalidRecord):
    """The all-or-none group breaks a rule; nothing of it was accepted."""


class RecordError(BatcherError):
    """One accepted record did not make it, or nobody can say whether it did.

    :param outcome: the fate of the record
    :param record: what the caller submitted
    """

    outcome_type: ClassVar[type[Outcome]]
    timing: Timing | None = None
    """Where the time of the record went, in seconds; None if no batcher raised this."""

    def __init__(self, outcome: Outcome, record: Any = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.record = record
        for cause in (getattr(outcome, "last_error", None), getattr(outcome, "cause", None)):
            if isinstance(cause, BaseException):
                self.__cause__ = cause

    @property
    def applied(self) -> Applied:
        """Whether the destination holds the effect of the record."""
        return self.outcome.applied

    def __str__(self) -> str:
        return _describe(self.outcome)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # A cause may hold sockets or tasks. Its name travels instead.
        return type(self), (_portable(self.outcome), self.record), {"timing": self.timing}


class RecordRejected(RecordError):
    """The destination looked at the record and refused it."""

    outcome_type = Rejected

    @property
    def errors(self) -> tuple[ErrorDetail, ...]:
        """Why, in the destination's words: ``.errors[0].message``, and ``code`` and ``fields`` as far as it named them.

        The words may quote the record, so ``str()`` of this error shows codes and fields only.
        """
        return _errors_of(self.outcome)


class RecordRolledBack(RecordError):
    """The group of this record was rolled back because of other members."""

    outcome_type = RolledBack

    @property
    def errors(self) -> tuple[ErrorDetail, ...]:
        """The errors of the members at fault, or of the call if none was named; see :attr:`RecordRejected.errors`."""
        return _errors_of(self.outcome)


class RecordNotWritten(RecordError):
    """The record is known not to be applied, and may be submitted again."""

    outcome_type = NotWritten


class RecordUnknown(RecordError):
    """Nobody can say whether the record was applied. Look before you send it again."""

    outcome_type = Unknown


_ERROR_OF: dict[type[Outcome], type[RecordError]] = {
    error.outcome_type: error for error in (RecordRejected, RecordRolledBack, RecordNotWritten, RecordUnknown)
}


def error_for(outcome: Outcome, record: Any = None) -> RecordError:
    """Return a fresh exception for an outcome that is not a success."""
    for kind, error in _ERROR_OF.items():
        if isinstance(outcome, kind):
            return error(outcome, record)
    raise TypeError(f"{type(outcome).__name__} is no failure")


def _portable(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Rejected):
        return attrs.evolve(outcome, cause=None)
    if isinstance(outcome, (NotWritten, Unknown)):
        return attrs.evolve(outcome, cause=describe_cause(outcome.cause), last_error=None)
    return outcome


def _describe(outcome: Outcome) -> str:
    match outcome:
        case Rejected(errors, isolated):
            doubt = "" if isolated else ", perhaps because of another record of its batch"
            return f"the destination refused the record: {_codes(errors)}{doubt}"
        case RolledBack(culprits, errors):
            blame = f"{len(culprits)} of its members" if culprits else "the call"
            return f"the group was rolled back because of {blame}: {_codes(errors)}"
        case NotWritten(cause, attempts):
            tried = "1 attempt" if attempts == 1 else f"{attempts} attempts"
            return f"the record was not written: {describe_cause(cause)} (after {tried})"
        case Unknown(cause):
            return f"the record may or may not have been written: {describe_cause(cause)}"
    raise AssertionError(f"{outcome!r} is a success")


def _errors_of(outcome: Outcome) -> tuple[ErrorDetail, ...]:
    assert isinstance(outcome, (Rejected, RolledBack)), "an error has an outcome of its type"
    return outcome.errors


def _codes(errors: tuple[ErrorDetail, ...]) -> str:
    def one(error: ErrorDetail) -> str:
        name = error.code or "no code given, its words are in .errors"
        return f"{name} ({', '.join(error.fields)})" if error.fields else name

    shown = "; ".join(one(error) for error in errors[:5])
    more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
    return (shown or "no reason given") + more
