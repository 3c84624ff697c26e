"""What the codecs of the HTTP destinations share. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from batcher.destinations._http import Answer
from batcher.errors import InvalidRecord
from batcher.writes import Association


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
    """Return the body as JSON, or None if it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):  # deep nesting exhausts the parser
        return None


def retry_after(text: str, now: float) -> float | None:
    """Return what a ``Retry-After`` field asks for, in seconds; None if it says nothing.

    It has seconds or a time: RFC 9110, section 10.2.3.

    :param now: seconds since 1970
    """
    seconds = whole_number(text)
    if seconds is not None:
        return float(seconds)
    try:
        return seconds_until(parsedate_to_datetime(text.strip()), now)
    except ValueError:
        return None


def whole_number(text: str) -> int | None:
    """Return the number that a header field holds; None if it holds none."""
    text = text.strip()
    # Nine digits of seconds are 30 years; more would only be a way to overflow.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def seconds_until(moment: datetime, now: float) -> float:
    """Return the seconds from *now* to *moment*, in UTC unless it says otherwise; 0 if it has passed."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, aware.timestamp() - now)
