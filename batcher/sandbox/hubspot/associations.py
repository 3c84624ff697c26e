"""HubSpot's associations: links that come with a new record, and links between records that exist. No HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from batcher.sandbox.hubspot.answers import Done, Problem, bad_json, not_found
from batcher.sandbox.hubspot.records import Records, type_id_of

Types: TypeAlias = list[tuple[str, int]]
"""Category and number of each."""
# What a number of a type can be: 32 bits.
_MANY: Final = 2**31


def links_of(records: Records, input: dict[str, Any]) -> list[tuple[str, Types]]:
    """Return to which records a new one is to be linked, and how.

    :raises Problem: not in the form that HubSpot reads, or there is no such record
    """
    given = input.get("associations") or []
    if not isinstance(given, list):
        raise bad_json("Cannot deserialize value of type `java.util.ArrayList`")
    links = []
    for each in given:
        to, types = _link(each)
        if not types or not records.store.exists(to):
            raise Problem(400, "VALIDATION_ERROR", "One or more associations are not valid", {"id": [to]})
        links.append((to, types))
    return links


def associate(records: Records, ends: Sequence[str], given: dict[str, Any], done: Done) -> None:
    """Link two records, if both exist, and add to *done* what is said of it.

    :param ends: from and to which type
    :raises Problem: not in the form that HubSpot reads
    """
    # Version 3 names one type and has no list of them.
    source, _ = _link({"to": given.get("from"), "types": []})
    to, types = _link({"types": [], **given})
    for type, id in zip(ends, (source, to), strict=True):
        if records.find(type, id) is None:
            done.errors.append(not_found(type, [id]).to_error({"fromObjectId": [source], "toObjectId": [to]}))
            return
    records.store.associate(ends[0], source, ends[1], to, types or [("HUBSPOT_DEFINED", 0)])
    result = {
        "fromObjectTypeId": type_id_of(ends[0]),
        "fromObjectId": source,
        "toObjectTypeId": type_id_of(ends[1]),
        "toObjectId": to,
        "labels": [],
    }
    done.results.append(result)


def _link(given: Any) -> tuple[str, Types]:
    try:
        types = [(str(each["associationCategory"]), int(each["associationTypeId"])) for each in given["types"]]
        if any(abs(number) >= _MANY for _, number in types):
            raise ValueError("more than HubSpot's numbers hold")
        return str(given["to"]["id"]), types
    except (KeyError, TypeError, ValueError):
        raise bad_json("Some required fields were not set: [to, types]") from None
