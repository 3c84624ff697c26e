"""What the codecs of the HTTP destinations share. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from batcher._retry_after import retry_after as retry_after  # handed on to the codecs
from batcher._retry_after import seconds_until as seconds_until
from batcher._retry_after import whole_number as whole_number
from batcher.destinations._http.decoding import NotJSON
from batcher.destinations._http.sender import Answer
from batcher.errors import InvalidRecord
from batcher.outcomes import NotWritten
from batcher.writes import Association

# The credentials are refused, by the service or by a proxy: RFC 9110, sections 15.5.2 and 15.5.8.
UNAUTHORIZED = frozenset({401, 407})
_OF_A_PROXY = 407
# The call is too large, whatever it carries: RFC 9110, section 15.5.14.
TOO_LARGE = 413
# RFC 9110, section 5.6.2.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def quoted(name: str, value: object) -> str:
    """Return *value* as one segment of a path.

    :raises TypeError: no string
    :raises ValueError: no name that a path can hold
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    # Dots alone are no name in a path: clients and servers remove them (RFC 3986, section 5.2.4).
    if value in ("", ".", ".."):
        raise ValueError(f"{name} must be a name, not {value!r}")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"{name} has a lone surrogate, which UTF-8 cannot carry: repair or remove it") from None


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


def json_of(answer: Answer) -> Any:
    """Return the body as JSON, or None if it is none, or none that others would read in the same way."""
    try:
        return answer.json
    except NotJSON:
        return None


def unauthorized(status: int, shown: str, way_out: str) -> NotWritten:
    """Return the verdict of each record of a call that was refused because of its credentials: it is not their fault.

    :param shown: what the service does not accept, without its value
    :param way_out: what to do about it
    """
    if status == _OF_A_PROXY:
        words = "a proxy does not accept the credentials of the client: check its proxy"
    else:
        words = f"the service does not accept the {shown}: {way_out}"
    return NotWritten(f"HTTP {status}: {words}", attempts=1)
