"""HubSpot: whose result is whose. Pure.

HubSpot answers in random order, so the position of a result says nothing. A result belongs to a record if it

* has the trace id of the record (HubSpot may leave trace ids out of results), or
* has its id (updates), or its value of the property that an upsert matches on.

If moreover the answer accounts for every record, results and records that are left over are those of each other. Then a
result also belongs to a record if it

* has the data of this record and contradicts each other one that is left over, or
* is the only one that is left over.

An answer that lacks something proves nothing by its data: HubSpot rewrites values, so that the data of one record may
come back looking like those of another, whose own result is the one that is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from batcher.destinations._http.echoes import Echoes
from batcher.destinations.hubspot.requests import Item, Lane, folded
from batcher.writes import WriteType


@attrs.frozen
class Result:
    """A record that HubSpot says it has written, whichever it is."""

    record_id: str
    trace: str | None
    properties: Mapping[str, Any]
    data: Any


def by_key(keys: Iterable[str | None]) -> dict[str, int]:
    """Return key to position, for the keys that one record has and no other."""
    listed = list(keys)
    times = Counter(listed)
    return {key: index for index, key in enumerate(listed) if key is not None and times[key] == 1}


def keys_of(lane: Lane, items: Sequence[Item]) -> dict[str, int]:
    """Return what names a record of this call to its position; see :func:`key_in`."""
    return by_key(None if item.key is None else key_in(lane, item.key) for item in items)


def key_in(lane: Lane, key: str) -> str:
    """Return a key as it is compared in this lane."""
    return folded(key) if lane.type is WriteType.UPSERT else key


def claims_of(results: Sequence[Result], items: Sequence[Item], lane: Lane, traced: bool) -> dict[int, list[Result]]:
    """Return position in the call to the results that name this record.

    :param traced: whether the call had trace ids, which are positions
    """
    claims: dict[int, list[Result]] = {}
    positions = keys_of(lane, items)
    traces = by_key(str(index) for index in range(len(items))) if traced else {}
    for result in results:
        if traced and result.trace is not None:
            index = traces.get(result.trace)
        elif lane.type is WriteType.UPDATE:
            index = positions.get(result.record_id)
        else:
            value = result.properties.get(lane.by or "")
            index = positions.get(folded(value)) if isinstance(value, str) else None
        if index is not None:
            claims.setdefault(index, []).append(result)
    return claims


def left_over(results: Sequence[Result], items: Sequence[Item], rest: Sequence[int]) -> dict[int, Result]:
    """Return position in the call to the result of that record, for records that no result names.

    :param results: those of these records, one of each, in any order
    :param rest: positions of the records that no result names
    """
    echoes = Echoes([json.loads(items[index].piece)["properties"] for index in rest])
    matched = echoes.matched([result.properties for result in results])
    found = {rest[owner]: results[index] for owner, index in matched.items()}
    if len(found) == len(rest) - 1:
        (last,) = set(rest) - found.keys()
        taken = {result.record_id for result in found.values()}
        (found[last],) = (result for result in results if result.record_id not in taken)
    return found
