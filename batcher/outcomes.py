"""Outcomes and verdicts: what became of one record, as values.

An *outcome* is the final fate of one record. A *verdict* is what a destination says of one
record after one call: an outcome, or :class:`Retry`.

Every outcome answers one question first, ``applied``: does the remote system now hold the
effect of this record? ``"yes"``, ``"no"``, or, honestly, ``"maybe"``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from math import inf, isnan
from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from batcher._retry_after import retry_after

Applied: TypeAlias = Literal["yes", "no", "maybe"]
Cause: TypeAlias = BaseException | str


def describe_cause(cause: Cause) -> str:
    """Return what may be printed of *cause*: an exception's words may quote a payload."""
    return cause if isinstance(cause, str) else type(cause).__name__


def _to_words(value: Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _to_texts(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(_to_text, _to_words(value)))


def _to_text(value: object) -> str:
    """Return *value* as text: providers have numbers for codes, and what is sorted and joined must be of one kind."""
    if isinstance(value, str):
        return value
    try:
        return str(value)
    except Exception:
        return type(value).__name__


def _to_text_or_none(value: object) -> str | None:
    return None if value is None else _to_text(value)


def _to_positions(value: Iterable[int]) -> tuple[int, ...]:
    return tuple(value)


def _cause_repr(cause: Cause) -> str:
    return repr(describe_cause(cause))


def _check_cause(_: object, __: object, cause: Any) -> None:
    if not isinstance(cause, (str, BaseException)):
        what = f"the class {cause.__name__}" if isinstance(cause, type) else type(cause).__name__
        raise TypeError(f"cause must be a few words or an exception, not {what}")


@attrs.frozen
class ErrorDetail:
    """One thing that is wrong with one record, in the provider's words.

    ``message`` may quote what was sent, so it is left out of ``repr()``.
    """

    message: str = attrs.field(repr=False, converter=_to_text)
    """What the provider, or the validation at the edge, said."""
    code: str | None = attrs.field(default=None, converter=_to_text_or_none)
    """The provider's machine-readable name of the problem, if it gave one."""
    fields: tuple[str, ...] = attrs.field(default=(), converter=_to_texts)
    """Names of the fields at fault, as far as they are known."""


def _to_errors(value: object) -> tuple[ErrorDetail, ...]:
    if isinstance(value, (str, ErrorDetail, BaseException)):
        value = (value,)
    if not isinstance(value, Iterable):
        raise TypeError(f"errors must be ErrorDetail, str or an iterable of them, not {type(value).__name__}")
    return tuple(_to_error(each) for each in value)


def _to_error(value: object) -> ErrorDetail:
    if isinstance(value, ErrorDetail):
        return value
    if isinstance(value, BaseException):
        return ErrorDetail(str(value), code=type(value).__name__)
    if isinstance(value, str):
        return ErrorDetail(value)
    raise TypeError(f"an error must be ErrorDetail, str or an exception, not {type(value).__name__}")


class Outcome:
    """The base of all outcomes; made only through its subclasses."""

    __slots__ = ()

    kind: ClassVar[str]
    """One lower-case word for files, counts and events, for example ``"rolled_back"``."""
    ok: ClassVar[bool] = False
    """Whether ``submit()`` returns; for every other outcome it raises."""
    applied: ClassVar[Applied]
    """Whether the destination holds the effect of the record."""


@attrs.frozen
class Written(Outcome):
    """The destination holds the record."""

    kind = "written"
    ok = True
    applied = "yes"

    record_id: str | None = None
    """The remote id, where the destination names one."""
    data: Any = attrs.field(default=None, repr=False)
    """What the destination returned for this record."""
    warnings: tuple[str, ...] = attrs.field(default=(), converter=_to_words, repr=False)
    """What the provider remarked although it wrote the record."""


@attrs.frozen
class Accepted(Outcome):
    """A service took the record over and will write it asynchronously."""

    kind = "accepted"
    ok = True
    applied = "maybe"

    operation_id: str
    """The service's handle of the request, perhaps shared with other records."""

    @property
    def record_id(self) -> None:
        """There is no remote id yet."""
        return None


@attrs.frozen
class Rejected(Outcome):
    """The destination looked at the record and refused it; nothing of it was applied."""

    kind = "rejected"
    applied = "no"

    errors: tuple[ErrorDetail, ...] = attrs.field(converter=_to_errors)
    """Why. With ``isolated=False`` these are the errors of the whole call."""
    isolated: bool = True
    """False: the call was refused as a whole, and the search for the culprit ran out of calls."""
    cause: BaseException | None = attrs.field(default=None, repr=False, eq=False, kw_only=True)
    """The exception that the write function returned for this record, if it did."""


@attrs.frozen
class RolledBack(Outcome):
    """A member of an all-or-none group that failed because of other members."""

    kind = "rolled_back"
    applied = "no"

    culprits: tuple[int, ...] = attrs.field(converter=_to_positions)
    """Positions in the group of the members that the destination named; empty if it named none."""
    errors: tuple[ErrorDetail, ...] = attrs.field(converter=_to_errors)
    """The errors of the culprits, or of the call if no culprit was named."""


@attrs.frozen
class Unknown(Outcome):
    """Nobody can say whether the record was applied: the answer was lost, late or unusable."""

    kind = "unknown"
    applied = "maybe"

    cause: Cause = attrs.field(repr=_cause_repr, validator=_check_cause)
    """What went wrong."""
    last_error: BaseException | None = attrs.field(default=None, repr=False, eq=False, kw_only=True)
    """The exception of the last call, where ``cause`` is words that name it."""


@attrs.frozen
class NotWritten(Outcome):
    """Known not applied, and not the record's fault: withdrawn, closed, expired, out of retries."""

    kind = "not_written"
    applied = "no"

    cause: Cause = attrs.field(repr=_cause_repr, validator=_check_cause)
    """What kept it from being written."""
    attempts: int = 0
    """How many calls carried the record."""
    last_error: BaseException | None = attrs.field(default=None, repr=False, eq=False, kw_only=True)
    """The exception of the last call, where ``cause`` is words that name it."""


class Retry(Exception):
    """The verdict *try this record again later*. Return it for one record, or raise it for a batch.

    :param cause: why: an exception, or a few words without payload
    :param after: the provider's ``Retry-After``: seconds, a timedelta, or the text of that header field, which has
        whole seconds or a date. It is a minimum, never shortened by the backoff. A time in the past counts as 0, and a
        text that is neither as None: a header that nobody can read is no reason to lose a batch.
    :param pause_lane: hold the whole lane until then, because the lane is throttled and not this record
    :param applied: ``"maybe"`` if the attempt may have been applied all the same. Such a record is
        sent again only under ``RetryPolicy(on_unknown="retry")``
    """

    def __init__(
        self,
        cause: Cause,
        after: float | timedelta | str | None = None,
        pause_lane: bool = False,
        applied: Literal["no", "maybe"] = "no",
    ) -> None:
        if applied not in ("no", "maybe"):
            raise ValueError(f"applied must be 'no' or 'maybe', not {applied!r}")
        _check_cause(self, None, cause)
        self.cause = cause
        self.after = _to_wait(after)
        super().__init__(cause, self.after, pause_lane, applied)  # a date means another wait where it is unpickled
        self.pause_lane = pause_lane
        self.applied: Literal["no", "maybe"] = applied

    def __str__(self) -> str:
        return describe_cause(self.cause)

    def __repr__(self) -> str:
        cause = describe_cause(self.cause)
        return f"Retry({cause!r}, after={self.after}, pause_lane={self.pause_lane}, applied={self.applied!r})"


def _to_wait(after: object) -> float | None:
    """Return for how many seconds to wait, at least."""
    seconds = after
    if isinstance(after, timedelta):
        seconds = after.total_seconds()
    elif isinstance(after, str):
        seconds = retry_after(after, time.time())
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(
            f"after must be seconds, a timedelta or the text of a Retry-After field, not {type(after).__name__}"
        )
    if isnan(seconds) or seconds == inf:
        raise ValueError(f"after must be a finite number of seconds, not {seconds}; for never, reject the record")
    return max(0.0, float(seconds))


class Refused(Exception):
    """Raised by a write function: the call was refused as a whole and nothing was applied.

    :param errors: what the provider said of the call
    :param named: position in the batch, from 0, to the errors of that record, for every culprit the answer names. One
        that is no position of the batch is left out
    :param too_large: the call carried too much, as HTTP 413 says: its records are sent again in smaller batches, and
        the lane keeps to that for an hour
    """

    def __init__(self, errors: object, named: Mapping[int, object] | None = None, *, too_large: bool = False) -> None:
        super().__init__(errors, named)
        self.too_large = too_large
        self.errors = _to_errors(errors)
        self.named = _to_named(named)

    def __str__(self) -> str:
        codes = ", ".join(error.code or "no code" for error in self.errors)
        return f"refused as a whole ({codes}), {len(self.named)} records named"

    def __repr__(self) -> str:
        return f"Refused({self.errors!r}, named={self.named!r})"


def _to_named(named: object) -> dict[int, tuple[ErrorDetail, ...]]:
    if named is None:
        return {}
    if not isinstance(named, Mapping):
        raise TypeError(
            "named must be a dict from the position of a record in the batch to its errors, such as "
            f"{{0: 'no such field'}}, not {type(named).__name__}"
        )
    for index in named:
        if isinstance(index, bool) or not isinstance(index, int):
            kind = type(index).__name__
            raise TypeError(f"the keys of named must be positions in the batch, whole numbers from 0, not {kind}")
    return {index: _to_errors(each) for index, each in named.items()}


Verdict: TypeAlias = Any
"""A plain value v (``Written(data=v)``), an :class:`Outcome`, an exception (``Rejected``, or
``Unknown`` if it says that an answer was lost), or :class:`Retry`."""
