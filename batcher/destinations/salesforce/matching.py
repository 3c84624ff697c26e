"""Salesforce: whose result is whose. Pure.

A result of a create names nothing that was sent. It belongs to a record by its position, because Salesforce answers in
the order of the request; so the list must be complete, and nothing in it may speak against that order:

* an update or delete that succeeded names the id that was sent at its position, and one that failed names no other
* no two results name one record

What speaks against it makes the whole batch unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from batcher.destinations._http.answers import Contradiction
from batcher.destinations.salesforce.requests import Item, same_id
from batcher.outcomes import ErrorDetail


@attrs.frozen
class Result:
    """What Salesforce says of one record."""

    success: bool
    record_id: str | None
    created: bool | None
    errors: tuple[ErrorDetail, ...]


def check_order(results: Sequence[Result], items: Sequence[Item]) -> None:
    """Return if each of *results* is of the item at its position.

    :raises Contradiction: something speaks against it
    """
    if len(results) != len(items):
        raise Contradiction(f"{len(results)} results for {len(items)} records")
    for item, result in zip(items, results, strict=True):
        named, sent = result.record_id, item.record_id
        if named is not None and sent is not None and same_id(named) != same_id(sent):
            raise Contradiction("a result names another record than the one at its position")
    ids = [same_id(result.record_id) for result in results if result.record_id is not None]
    if len(set(ids)) < len(ids):
        raise Contradiction(f"{len(ids)} results name {len(set(ids))} different records")
