"""What a verdict means. The one place where a destination's answer becomes outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batcher._core.entries import Group
from batcher.errors import RecordError
from batcher.outcomes import ErrorDetail, Outcome, Refused, Rejected, Retry, RolledBack, Unknown


def misshapen(answer: object, count: int) -> str | None:
    """Return what is wrong with an answer as a whole, in words without payload; None if it may be read.

    Verdicts belong to records by position alone. With one missing nobody knows whose verdict is
    whose, so none of them can be trusted.
    """
    if not isinstance(answer, Sequence) or isinstance(answer, (str, bytes, bytearray, memoryview)):
        return f"the write function returned {type(answer).__name__}, not a list with one item per record"
    if len(answer) != count:
        return f"the write function returned {len(answer)} items for {count} records"
    return None


def plain(verdicts: Sequence[Any]) -> bool:
    """Return whether all are plain values: written, every one, and nothing to interpret."""
    return not any(issubclass(kind, (Outcome, BaseException)) for kind in set(map(type, verdicts)))


def read(verdict: Any) -> Any:
    """Return what a verdict means: a plain value, an :class:`Outcome`, or a :class:`Retry`."""
    match verdict:
        case RolledBack(_, errors):
            return Rejected(errors)  # exists only inside a group
        case Outcome() | Retry():
            return verdict
        case Refused():
            return Rejected(verdict.errors)
        case RecordError():
            return read(verdict.outcome)
        case Exception():
            return Rejected(detail_of(verdict), cause=verdict)
        case BaseException():
            return Unknown(verdict)  # a cancellation or an exit says nothing about the record
    return verdict


def detail_of(error: Exception) -> ErrorDetail:
    """Return what an exception of the write function says, even if it cannot be printed."""
    try:
        words = str(error)
    except Exception:
        words = ""
    return ErrorDetail(words, code=type(error).__name__)


def named_among(refused: Refused, count: int) -> dict[int, tuple[ErrorDetail, ...]]:
    """Return the culprits that an answer names, by position; what is no position among *count* is left out."""
    return {index: refused.named[index] for index in range(count) if index in refused.named}


def refused_group(group: Group, refused: Refused) -> list[Outcome]:
    """Return the fates of a group that was refused as a whole, with nothing applied."""
    count = len(group.members)
    named = named_among(refused, count)
    errors = tuple(error for each in named.values() for error in each) or refused.errors
    rest = RolledBack(tuple(named), errors)
    return [Rejected(named[index]) if index in named else rest for index in range(count)]


def settled_group(verdicts: Sequence[Any]) -> list[Any]:
    """Return the fates of a group from its members' verdicts; none of them is a :class:`Retry`.

    If the destination kept a part of it all the same, the fates say what happened.
    """
    fates = [verdict if isinstance(verdict, RolledBack) else read(verdict) for verdict in verdicts]
    culprits = tuple(index for index, fate in enumerate(fates) if isinstance(fate, Rejected))
    errors: tuple[ErrorDetail, ...] = tuple(error for index in culprits for error in fates[index].errors)
    return [RolledBack(culprits, errors) if isinstance(fate, RolledBack) and culprits else fate for fate in fates]


def kept_nothing(verdicts: Sequence[Any]) -> bool:
    """Return whether no member of a group can have been applied, so that it may be sent again whole."""

    def may_be_applied(fate: Any) -> bool:
        if isinstance(fate, (Outcome, Retry)):
            return fate.applied != "no"
        return True

    return not any(may_be_applied(verdict) for verdict in map(read, verdicts))
