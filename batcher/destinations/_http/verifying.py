"""What became of records whose answer was lost: a provider is asked by a property that is unique there. Pure.

========================================  ==============================================================
what the provider shows of the value      what became of the record
========================================  ==============================================================
one record, with all that was sent        written
one record, with anything else in it      unknown: it is of somebody else, or was changed since
several records                           unknown: the property is not unique
it says that there is none                not written. Sent again it makes no duplicate: should the lost
                                          call be carried out late, the provider refuses one of the two
nothing                                   unknown
========================================  ==============================================================

Of two records that were sent with one value, in whatever case, both are unknown: one may be there and the other not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from batcher.outcomes import ErrorDetail, NotWritten, Outcome, Unknown, Written

Fields: TypeAlias = Mapping[str, Any]


@attrs.frozen
class Sent:
    """A record that was sent."""

    key: str | None = attrs.field(repr=False)
    """What all ways to write its value of the unique property have in common; None if it cannot be asked for."""
    fields: Fields = attrs.field(repr=False)
    """All that was sent."""
    warnings: tuple[str, ...] = ()
    """What cannot be checked, if it is there."""


@attrs.frozen
class Question:
    """What is to be asked of the records of one call."""

    by: str
    """The unique property."""
    sent: tuple[Sent, ...] = attrs.field(repr=False)
    request: tuple[str, bytes] | None = attrs.field(repr=False)
    """The path and the body; None if no record can be asked for."""


@attrs.frozen
class Found:
    """A record that the provider shows."""

    key: str | None = attrs.field(repr=False)
    """The same of its own value; None if it shows none."""
    record_id: str
    fields: Fields = attrs.field(repr=False)
    data: Any = attrs.field(default=None, repr=False)
    """What the caller gets of it."""


def outcomes_of(
    sent: Sequence[Sent], found: Sequence[Found], absent: Collection[str], is_same: Callable[[Fields, Fields], bool]
) -> list[Outcome]:
    """Return one outcome for each record that was sent.

    :param absent: keys of which the provider says that there is no record
    :param is_same: whether what was found, the second argument, is all of what was sent, the first one
    """
    askers = Counter(each.key for each in sent)
    times = Counter(row.record_id for row in found)
    rows: dict[str | None, list[Found]] = {}
    for row in found:
        rows.setdefault(row.key, []).append(row)

    def outcome(each: Sent) -> Outcome:
        if each.key is None:
            return Unknown("the answer was lost, and the record has no unique value by which it could be looked for")
        if askers[each.key] > 1:
            return Unknown("the answer was lost, and another record was sent with its unique value")
        here = rows.get(each.key, [])
        if not here and each.key in absent:
            return NotWritten("the answer was lost, and the record is not there", attempts=1)
        if not here:
            return Unknown("the answer was lost, and it cannot be told whether the record is there")
        if len(here) > 1 or times[here[0].record_id] > 1 or each.key in absent:
            return Unknown("the answer was lost, and what is said of records with its unique value is no clear answer")
        if not is_same(each.fields, here[0].fields):
            return Unknown("the answer was lost, and a record with its unique value is there, but holds something else")
        return Written(here[0].record_id, here[0].data, each.warnings)

    return [outcome(each) for each in sent]


def unknown(count: int, why: str) -> list[Outcome]:
    """Return the outcomes of *count* records of which nothing can be learned, now or later.

    :param why: in words without payload
    """
    return [Unknown(f"the answer was lost, and it cannot be told whether the record is there: {why}")] * count


def unanswered(count: int, status: int, errors: Sequence[ErrorDetail]) -> list[Outcome]:
    """Return the outcomes of *count* records after a question that was refused: the code is told, no words."""
    return unknown(count, f"HTTP {status} ({errors[0].code or 'no code given'})")


def unique_names(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return object to unique field, as *given* by the argument ``unique``.

    :raises TypeError: not a mapping of names
    :raises ValueError: an empty name
    """
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"unique must be a mapping of object to field, not {type(given).__name__}")
    named = dict(given or {})
    if not all(isinstance(name, str) for pair in named.items() for name in pair):
        raise TypeError("unique must be a mapping of object to field, both of them strings")
    if not all(name and field for name, field in named.items()):
        raise ValueError("unique must hold names of objects and of fields, not empty strings")
    return named
