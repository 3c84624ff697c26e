"""What requests of the destinations that speak HTTP are made of. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batcher.errors import InvalidRecord
from batcher.writes import Association

# RFC 9110, section 5.6.2.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* with their names in lower case.

    :raises InvalidRecord: a name or value that no header can have; the message holds no value
    """
    checked: dict[str, str] = {}
    for key, value in headers.items():
        if not isinstance(key, str) or not _HEADER_NAME.fullmatch(key):
            raise InvalidRecord("the name of a header must be letters, digits and hyphens")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise InvalidRecord(f"the header {key!r} must have a value of printable ASCII characters")
        if key.lower() in checked:
            raise InvalidRecord(f"the header {key!r} is there twice, in other upper and lower case: keep one")
        checked[key.lower()] = value
    return checked


def link_of(association: Association) -> dict[str, Any]:
    """Return an association as HubSpot writes it.

    :raises InvalidRecord: it can never be made; the message holds no value
    """
    number = association.type_id
    if not isinstance(association.to, str) or not association.to:
        raise InvalidRecord("to of an association must be the id of a record, a non-empty string")
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidRecord(f"type_id of an association must be a whole number, not {type(number).__name__}")
    if not isinstance(association.category, str) or not association.category:
        raise InvalidRecord("category of an association must be a non-empty string")
    return {
        "to": {"id": association.to},
        "types": [{"associationCategory": association.category, "associationTypeId": number}],
    }
