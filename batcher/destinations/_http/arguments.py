"""What callers give, checked: addresses, secrets, names, header fields, associations. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from batcher.errors import InvalidRecord
from batcher.writes import Association

# RFC 9110, section 5.6.2.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Secret:
    """A text that shows in no repr."""

    __slots__ = ("_text",)

    def __init__(self, name: str, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a string, not {type(text).__name__}")
        # What RFC 9110, section 5.5, lets a header field hold, without spaces and obsolete text.
        if not _visible(text):
            raise ValueError(f"{name} must be visible ASCII characters without spaces: strip line ends and quotes")
        self._text = text

    def __repr__(self) -> str:
        return "'***'"

    def reveal(self) -> str:
        """Return the text, to be sent."""
        return self._text

    @classmethod
    def field(cls, value: str) -> Secret:
        """Return the value of a header field that has been checked, which may hold spaces."""
        field = cls.__new__(cls)  # past the check
        field._text = value
        return field

    def bearer(self) -> Secret:
        """Return the ``Authorization`` field that shows this token: RFC 6750, section 2.1."""
        return Secret.field(f"Bearer {self._text}")


def at_least_one(name: str, value: object, most: int | None = None) -> int:
    """Return *value* if it is a whole number from 1 to *most*.

    :raises TypeError: no whole number
    :raises ValueError: out of range
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 1 or (most is not None and value > most):
        allowed = "at least 1" if most is None else f"from 1 to {most}"
        raise ValueError(f"{name} must be {allowed}, not {value}")
    return value


def checked_base_url(name: str, value: object) -> str:
    """Return *value* without a slash at its end, if it is the address of a server.

    :raises TypeError: no string
    :raises ValueError: not http or https, no host, or with credentials, a query or a fragment
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    parts = urlsplit(value) if _visible(value) else urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{name} must be the address of a server, such as 'https://api.example.com'")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{name} must hold no credentials, query or fragment: give the scheme, host and path only")
    return value.rstrip("/")


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


def _visible(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" for character in text)
