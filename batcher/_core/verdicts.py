"""What a verdict means: the answers of a destination, read as outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Coroutine, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from batcher._core.doubts import leaves_doubt
from batcher._core.model.breakers import GOOD, Signal
from batcher._core.model.entries import Group
from batcher._core.retries import given_up
from batcher.errors import RecordError, error_for
from batcher.outcomes import (
    Accepted,
    ErrorDetail,
    NotWritten,
    Outcome,
    Refused,
    Rejected,
    Retry,
    RolledBack,
    Unknown,
    Written,
)


def listed(answer: object, count: int, who: str = "the write function") -> list[Any] | Unknown:
    """Return the verdicts that *who* returned, or why they cannot be read, in words without payload.

    Verdicts belong to records by position alone. With one missing nobody knows whose verdict is
    whose, so none of them can be trusted.
    """
    if not isinstance(answer, Sequence) or isinstance(answer, (str, bytes, bytearray, memoryview)):
        return Unknown(f"{who} returned {type(answer).__name__}, not a list with one item per record{_hint(answer)}")
    try:
        verdicts = answer if isinstance(answer, list) else list(answer)
    except Exception as error:  # a lazy one, say, that decodes as it goes
        return Unknown(error)
    if len(verdicts) != count:
        return Unknown(f"{who} returned {len(verdicts)} items for {count} records")
    return verdicts


def _hint(answer: object) -> str:
    """Return how to make a list of *answer*; but not where that would give each record something of another."""
    if isinstance(answer, Mapping):
        return "; if its keys are the records, return [answer[record] for record in records]"
    if isinstance(answer, AbstractSet):
        return "; it has no order, so build a list in the order of the records"
    if isinstance(answer, AsyncIterable):
        return "; return [item async for item in ...]"
    return "; use list(...)" if isinstance(answer, Iterable) and not isinstance(answer, Sequence) else ""


# Of these read() makes nothing else, and no earlier doubt does.
_SUCCESSES = frozenset({Written, Accepted})


def plain(verdicts: Sequence[Any]) -> bool:
    """Return whether all are plain values or successes, so that there is nothing to interpret."""
    kinds = set(map(type, verdicts))
    return kinds <= _USUAL or not any(issubclass(kind, _NOT_PLAIN) for kind in kinds - _SUCCESSES)


_USUAL = frozenset({type(None), bool, int, float, str, bytes, dict, list, tuple})  # seen in less time
_NOT_PLAIN = (Outcome, BaseException, type, Awaitable)


def read(verdict: Any, who: str = "the write function") -> Any:
    """Return what a verdict of *who* means: a plain value, an :class:`Outcome`, or a :class:`Retry`."""
    match verdict:
        case RolledBack(_, errors):
            return Rejected(errors)  # exists only inside a group
        case Written() | Accepted() | Rejected() | Unknown() | NotWritten() | Retry():
            return verdict
        case Outcome():
            return Unknown(f"{who} returned {type(verdict).__name__}, which is no outcome of this library")
        case type() if issubclass(verdict, (Outcome, BaseException)):
            return Unknown(f"{who} returned the class {verdict.__name__}, not an instance of it")
        case Refused():
            return Rejected(verdict.errors)
        case RecordError():
            return read(verdict.outcome)
        case Exception() if leaves_doubt(verdict):
            return Retry(verdict, applied="maybe")  # what it would be for the whole call if the call had raised it
        case Exception():
            return Rejected(detail_of(verdict), cause=verdict)
        case BaseException():
            return Unknown(verdict)  # a cancellation or an exit says nothing about the record
        case Awaitable():
            _close(verdict)
            return Unknown(f"{who} returned a {type(verdict).__name__} for the record: await it")
    return verdict


def _close(verdict: Any) -> None:
    """Spare a coroutine that nobody will await the warning of the interpreter: the record's outcome says more."""
    if isinstance(verdict, Coroutine):
        try:
            verdict.close()
        except Exception:  # it had begun; how it ends is nobody's outcome
            return


def doubted(fate: Any) -> Any:
    """Return the fate of a record of which an earlier attempt may have been applied.

    That it was refused now, perhaps as a duplicate of itself, does not say that it is not there.
    """
    if isinstance(fate, Outcome) and fate.applied == "no":
        return Unknown(error_for(fate))
    return fate


# Types of verdicts that may not be about the record; what they mean, only read() knows.
_SAYS_NOTHING = (BaseException, Unknown, NotWritten, type, Awaitable)


def sign_of(verdicts: Sequence[Any]) -> Signal:
    """Return what an answer says of the destination.

    Whoever asks to be sent something again has too much to do. Whoever has looked at one record, if only to refuse it,
    is well; who has written none for no record's fault is not, and will not be.
    """
    if not any(issubclass(kind, _SAYS_NOTHING) for kind in set(map(type, verdicts))):
        return GOOD  # the usual case, without a look at each
    told = [read(verdict) for verdict in verdicts]
    congested = any(isinstance(fate, Retry) for fate in told)
    causes = [fate.cause for fate in told if isinstance(fate, (Retry, Unknown, NotWritten))]
    if len(causes) < len(told):
        return Signal(congested) if congested else GOOD
    return Signal(congested, causes[-1], for_good=all(isinstance(fate, NotWritten) for fate in told))


def is_doubtful(fate: Any, *, maybe: bool) -> bool:
    """Return whether nobody knows what became of a record that was told *fate*.

    :param maybe: an earlier attempt may have been applied
    """
    if not isinstance(fate, Outcome) or fate.ok:
        return False
    return maybe or fate.applied == "maybe"


def verified(answer: object, count: int) -> list[Any]:
    """Return what ``verify()`` says of each record: a success, ``NotWritten``, ``Unknown``, or a Retry to ask again."""
    if isinstance(answer, Retry):
        return [answer] * count
    if isinstance(answer, BaseException):
        return [Retry(answer)] * count
    told = listed(answer, count, "verify()")
    if isinstance(told, Unknown):
        return [Retry(told.cause)] * count
    return [_found(read(each, "verify()")) for each in told]


def _found(fate: Any) -> Any:
    if not isinstance(fate, Outcome) or fate.ok or isinstance(fate, (NotWritten, Unknown)):
        return fate
    return Unknown(f"verify() returned {type(fate).__name__}, which does not say whether the record is there")


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


def settled_group(group: Group, fates: Sequence[Any]) -> list[Any]:
    """Return the outcomes of a group that is not sent again, from what was read of its members' verdicts.

    If the destination kept a part of it all the same, they say what happened.
    """
    culprits = tuple(index for index, fate in enumerate(fates) if isinstance(fate, Rejected))
    errors: tuple[ErrorDetail, ...] = tuple(error for index in culprits for error in fates[index].errors)
    whole = kept_nothing(fates)
    outcomes: list[Any] = []
    for member, fate in zip(group.members, fates, strict=True):
        if culprits and (isinstance(fate, RolledBack) or (whole and isinstance(fate, Retry))):
            outcomes.append(RolledBack(culprits, errors))
        else:
            outcomes.append(given_up(member, fate) if isinstance(fate, Retry) else fate)
    return outcomes


def kept_nothing(fates: Sequence[Any]) -> bool:
    """Return whether no member of a group can have been applied."""
    return all(isinstance(fate, (Outcome, Retry)) and fate.applied == "no" for fate in fates)
