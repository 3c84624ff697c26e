"""Ampersand's Write API: whose result is whose. Pure.

A result of a batch names no record. It belongs to a record only if one of these holds:

* there is one record and one result;
* it is an update, and the result carries the id of the record;
* the provider is Salesforce, the results are complete, and nothing in them is at odds with Salesforce: it never echoes
  data, and names each record that it updated. It answers in the order of the request, and the service keeps that order
  as long as nothing is missing;
* its echoed data are those of one record and contradict each of the others. (HubSpot answers creates in random order.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from batcher.destinations._http.echoes import Echoes
from batcher.destinations.ampersand.requests import Item, Provider, record_of
from batcher.outcomes import ErrorDetail
from batcher.writes import WriteType


@attrs.define
class Result:
    """What the API says of one record, whichever it is. Not frozen, as an :class:`Item` is not."""

    success: bool
    record_id: str | None
    data: Any
    errors: tuple[ErrorDetail, ...]
    outcome: str | None = None
    """Of a record that was not written, where the server says more than the hosted one can: see ``batcher serve``."""


def whose(results: Sequence[Result], items: Sequence[Item], type: WriteType, provider: Provider) -> dict[int, Result]:
    """Return position in the batch to the result of that record, for each result whose record is known.

    :param results: no two of them of one record
    """
    if _in_order(results, items, provider):
        return dict(enumerate(results))
    if type is WriteType.CREATE:
        return _by_echo(results, items)
    positions = {same_id(item.record_id, provider): index for index, item in enumerate(items)}
    found = {positions.get(same_id(result.record_id, provider)): result for result in results if result.record_id}
    return {index: result for index, result in found.items() if index is not None}


def same_id(record_id: str | None, provider: Provider) -> str | None:
    """Return what two ways to write one id have in common.

    Salesforce writes an id in 15 characters, or in 18, of which the last three are a checksum.
    """
    return record_id[:15] if record_id is not None and provider == "salesforce" and len(record_id) == 18 else record_id


def _in_order(results: Sequence[Result], items: Sequence[Item], provider: Provider) -> bool:
    if len(results) != len(items):
        return False
    pairs = list(zip(items, results, strict=True))
    # What is at odds with its position shows that there is another order.
    if any(item.record_id and result.record_id and not _same(item, result, provider) for item, result in pairs):
        return False
    if len(items) == 1:
        return True
    return provider == "salesforce" and all(
        # Data would show that this is not Salesforce, whatever the argument says; and it names what it updated.
        not result.success or (result.data is None and (item.record_id is None or result.record_id is not None))
        for item, result in pairs
    )


def _same(item: Item, result: Result, provider: Provider) -> bool:
    return same_id(item.record_id, provider) == same_id(result.record_id, provider)


def _by_echo(results: Sequence[Result], items: Sequence[Item]) -> dict[int, Result]:
    echoes = [result for result in results if result.success and isinstance(result.data, Mapping)]
    matched = Echoes([record_of(item) for item in items]).matched([_properties(echo.data) for echo in echoes])
    return {owner: echoes[index] for owner, index in matched.items()}


def _properties(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of an echo: HubSpot's answer to one record nests them, its answer to a batch does not."""
    nested = data.get("properties")
    return nested if isinstance(nested, Mapping) and "id" in data else data
