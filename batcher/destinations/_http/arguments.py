"""What the constructors of destinations are given, checked. Pure."""

from __future__ import annotations

from urllib.parse import quote, urlsplit


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


def _visible(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" for character in text)
