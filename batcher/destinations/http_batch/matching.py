"""HttpBatch: the forms that answers have, and whose verdict is whose. Pure.

==================  ==========================================  =====================================================
function            the answer has                              what is missing, or there twice
==================  ==========================================  =====================================================
:func:`in_order`    an entry per record, in the order sent      all unknown, unless there are as many as records
:func:`by_key`      an entry per record, each with its key      this record is unknown
:func:`by_lists`    the same in several lists, by their fate    this record is unknown, also if it is in two lists
:func:`all_but`     the failures; all others succeeded          all that is not named is unknown, if a failure names
                                                                no record, or the count is another one
:func:`unprocessed` what is to be sent again; all others        as above
                    succeeded
==================  ==========================================  =====================================================

None of them trusts what it is given: entries may be any JSON, and what is no list is no answer. *fate* makes one entry
a verdict; what it raises makes this one record unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from batcher.destinations.http_batch.requests import Call, Item
from batcher.outcomes import Outcome, Rejected, Retry, Unknown, Verdict, Written
from batcher.writes import WriteType

Fate: TypeAlias = Callable[[Any], Verdict]
"""Makes the entry of one record, which may be any JSON, a verdict."""
EntryKey: TypeAlias = str | Callable[[Any], Any]
"""The member of an entry that says whose it is, or a function of the entry."""
ItemKey: TypeAlias = str | Callable[[Item], Any] | None
"""The field of a record that entries name it by, or a function of its item; None for its position: 0, 1, 2, ..."""


def in_order(
    entries: object, call: Call, fate: Fate, *, matches: Callable[[Any, Item], bool] | None = None
) -> list[Verdict]:
    """Return the verdicts of an answer that has one entry per record, in the order of the records.

    Right where the API promises the order. One entry less or more than records: all are unknown.

    :param matches: for entries that show something of their record, such as an id it was sent with: whether an entry is
        that of an item. If it says no once, the order is not kept, and all are unknown
    """
    if not isinstance(entries, list):
        return _unknown(call, "the answer has no list of results")
    if len(entries) != len(call.items):
        return _unknown(call, f"the answer has {len(entries)} results for {len(call.items)} records")
    if matches is not None:
        pairs = zip(entries, call.items, strict=True)
        if not all(_called(matches, entry, item) is True for entry, item in pairs):
            return _unknown(call, "a result is not that of the record at its position")
    return [verdict_of(fate, entry) for entry in entries]


def by_key(entries: object, call: Call, fate: Fate, *, key: EntryKey = "id", item_key: ItemKey = None) -> list[Verdict]:
    """Return the verdicts of an answer whose entries say whose they are, in any order.

    A record that no entry names, or several, is unknown; so are records of one key, which ``HttpBatch(identity=)``
    keeps out of one call. What names no record is ignored.

    :param key: where an entry has the key: whole numbers and texts, ``7`` being the same as ``"7"``
    :param item_key: where a record has it
    """
    return by_lists(call, (entries, fate), key=key, item_key=item_key)


def by_lists(call: Call, *lists: tuple[object, Fate], key: EntryKey = "id", item_key: ItemKey = None) -> list[Verdict]:
    """Return the verdicts of an answer with several lists, such as created, updated and failed ones.

    A list that is not there is an empty one: nothing follows from what is missing. Else as :func:`by_key`.

    :param lists: the entries of each list, and what they mean
    """
    positions = _positions(call, item_key)
    found: dict[int, list[tuple[Fate, Any]]] = {}
    for entries, fate in lists:
        for entry in entries if isinstance(entries, list) else ():
            index = positions.get(_key(key, entry))
            if index is not None:
                found.setdefault(index, []).append((fate, entry))
    verdicts: list[Verdict] = []
    for index in range(len(call.items)):
        claims = found.get(index, [])
        if len(claims) == 1:
            verdicts.append(verdict_of(*claims[0]))
        else:
            verdicts.append(Unknown(f"{len(claims)} results of the answer name this record"))
    return verdicts


def all_but(
    errors: object,
    call: Call,
    fate: Fate,
    *,
    key: EntryKey = "index",
    item_key: ItemKey = None,
    failed: int | None = None,
    written: Callable[[Item], Verdict] | None = None,
) -> list[Verdict]:
    """Return the verdicts of an answer that lists what failed: all other records are written.

    Right only where the API promises that. Give *errors* as they are: if their absence means that there are none, that
    is ``body.get("errors", [])``. Several errors of one record are joined. If one names no record, or two, it may be
    that of any: all that are not named are unknown.

    :param failed: how many records failed, if the answer counts them. If it is another number than those named, all
        others are unknown. Without it, an error that got lost goes unnoticed
    :param written: makes the verdict of the others; by default ``Written``, with the id of an update or a delete
    """
    named, problem = _named(errors, call, fate, key, item_key)
    if not problem and failed is not None and (type(failed) is not int or failed != len(named)):
        problem = f"the answer names {len(named)} failures and counts others"
    rest = written or (lambda item: written_as_sent(item, call))
    others = Unknown(problem)
    return [
        named[index] if index in named else others if problem else verdict_of(rest, item)
        for index, item in enumerate(call.items)
    ]


def unprocessed(
    entries: object,
    call: Call,
    *,
    key: EntryKey = "index",
    item_key: ItemKey = None,
    after: float | None = None,
    pause_lane: bool = True,
    failed: int | None = None,
    written: Callable[[Item], Verdict] | None = None,
) -> list[Verdict]:
    """Return the verdicts of an answer that lists what the API did not get to: it is sent again, the rest is written.

    Otherwise as :func:`all_but`. Where the entries are the records themselves, give functions as *key* and *item_key*.

    :param after: seconds to wait at least; None leaves it to the policy
    :param pause_lane: hold the lane until then, because the API is short of capacity
    """

    def again(_: Any) -> Retry:
        return Retry("the API did not get to it", after, pause_lane)

    return all_but(entries, call, again, key=key, item_key=item_key, failed=failed, written=written)


def written_as_sent(item: Item, call: Call) -> Written:
    """Return the success of a record of which the answer says nothing more; with its id if it was sent with one."""
    return Written(item.record["id"]) if call.type in (WriteType.UPDATE, WriteType.DELETE) else Written()


def is_verdict(value: object) -> bool:
    """Return whether *value* says what became of a record. A plain value does not: ``False`` is easily a failure."""
    return isinstance(value, (Outcome, Exception))


def verdict_of(fate: Callable[..., Verdict], entry: Any) -> Verdict:
    """Return what *fate* makes of an entry; unknown if it cannot read it."""
    try:
        verdict = fate(entry)
    except Retry as retry:
        return retry
    except Exception as error:
        return Unknown(error)
    return verdict if is_verdict(verdict) else Unknown(f"fate() returned {type(verdict).__name__}, which is no verdict")


def _named(errors: object, call: Call, fate: Fate, key: EntryKey, item_key: ItemKey) -> tuple[dict[int, Verdict], str]:
    """Return the verdicts of the records that errors name, and why the others cannot be said to be written."""
    if not isinstance(errors, list):
        return {}, "the answer has no list of failures"
    positions = _positions(call, item_key)
    named: dict[int, Verdict] = {}
    problem = ""
    for error in errors:
        index = positions.get(_key(key, error))
        if index is None:
            problem = "a failure names no record of the call"
            continue
        verdict = verdict_of(fate, error)
        named[index] = _joined(named[index], verdict) if index in named else verdict
    return named, problem


def _joined(first: Verdict, second: Verdict) -> Verdict:
    if isinstance(first, Rejected) and isinstance(second, Rejected):
        return Rejected(dict.fromkeys(first.errors + second.errors))
    if isinstance(first, Retry) and isinstance(second, Retry):
        return first
    return Unknown("the failures of this record contradict each other")


def _positions(call: Call, item_key: ItemKey) -> Mapping[object, int]:
    """Return key to position, without the keys that several records have, and without None."""
    if item_key is None:
        return {str(index): index for index in range(len(call.items))}
    read = item_key if callable(item_key) else lambda item: item.record[item_key]
    keys = [_normal(_called(read, item)) for item in call.items]
    counts = Counter(keys)
    return {key: index for index, key in enumerate(keys) if key is not None and counts[key] == 1}


def _key(key: EntryKey, entry: object) -> str | None:
    return _normal(_called(key, entry) if callable(key) else entry.get(key) if isinstance(entry, dict) else None)


def _normal(value: object) -> str | None:
    """Return a key by which an answer can name a record; None if it is none. APIs turn numbers into texts."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value)


def _called(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception:
        return None


def _unknown(call: Call, cause: str) -> list[Verdict]:
    return [Unknown(cause)] * len(call.items)
