"""Single members of the objects in a request, or a BadRequest. Pure.

null is the same as a member that is not there. *where* is what its name stands behind in messages.
"""

from __future__ import annotations

from typing import Any, Final

# Ours: no name of a project, an object or a customer is longer.
MAX_NAME: Final = 255
_KINDS: Final[dict[type[Any], str]] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "true or false",
    int: "a whole number",
}


class BadRequest(Exception):
    """The request breaks a rule of the API, and nothing was accepted. Its words name fields and rules, not values."""


def member(members: dict[str, Any], name: str, kind: type[Any], where: str = "") -> Any:
    """Return a member of a *kind*; None if it is not there."""
    value = members.get(name)
    if value is None:
        return None
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)  # in JSON 5.0 is as whole a number as 5, and some writers know no other form
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadRequest(f"{where}{name} must be {_KINDS[kind]}, not {_kind_of(value)}")
    return value


def checked_object(place: str, value: Any) -> dict[str, Any]:
    """Return an element of a list that must be an object."""
    if not isinstance(value, dict):
        raise BadRequest(f"{place} must be an object, not {_kind_of(value)}")
    return value


def text(members: dict[str, Any], name: str, where: str = "", *, empty: bool = False) -> str:
    """Return a text that must be there."""
    value = member(members, name, str, where)
    if value is None or (value == "" and not empty):
        raise BadRequest(f"{where}{name}: required field not found")
    return str(value)


def one_of(members: dict[str, Any], name: str, allowed: tuple[str, ...], default: str | None = None) -> str:
    """Return one of the *allowed* texts."""
    value = members.get(name)
    if value is None and default is not None:
        return default
    if value is None:
        raise BadRequest(f"{name}: required field not found")
    if not isinstance(value, str) or value not in allowed:
        raise BadRequest(f"{name} must be one of {', '.join(allowed)}")
    return value


def whole(members: dict[str, Any], name: str, where: str, most: int) -> int | None:
    """Return a whole number from 1 to *most*; None if it is not there."""
    value = member(members, name, int, where)
    if value is not None and not 1 <= value <= most:
        raise BadRequest(f"{where}{name} must be from 1 to {most}")
    return None if value is None else int(value)


def checked_name(what: str, name: str) -> str:
    """Return a name that a path can carry."""
    # Dots alone are no name in a path: clients and servers remove them (RFC 3986, section 5.2.4).
    if name in ("", ".", "..") or len(name) > MAX_NAME or not name.isprintable():
        raise BadRequest(f"{what} must be 1 to {MAX_NAME} printable characters, and not dots alone")
    return name


def _kind_of(value: Any) -> str:
    return _KINDS.get(type(value), "a number" if isinstance(value, float) else "null")
