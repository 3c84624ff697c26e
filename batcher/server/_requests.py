"""The Write API's request: the bytes of a body become writes, or a sentence that says what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import attrs

from batcher.destinations._http.arguments import checked_headers
from batcher.destinations._http.decoding import NotJSON, decode
from batcher.errors import InvalidRecord
from batcher.writes import Association, Write, WriteType

# The API's own bounds.
MAX_RECORDS = 100
MAX_HOURS = 48
MAX_MINUTES = 1440
_TYPES = tuple(each.value for each in WriteType if each is not WriteType.UPSERT)
_MODES = ("synchronous", "asynchronous")
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


@attrs.frozen
class Installation:
    """Whose records: one customer of one integration of one project."""

    project: str
    """Id or name of the project."""
    integration: str
    """Id or name of the integration."""
    group_ref: str
    """The customer."""


@attrs.frozen
class WriteRequest:
    """A checked request. What only the destination can refuse is still to be seen."""

    installation: Installation
    object: str
    type: WriteType
    writes: tuple[Write, ...]
    is_batch: bool
    """Whether the records came as ``batch``, and are answered so."""
    all_or_none: bool
    asynchronous: bool
    retry_deadline: float
    """Seconds for which an asynchronous write is tried again."""
    max_delay: float | None
    """Seconds that the window of an auto-batched write stays open; None without ``autoBatchPolicy``."""
    headers: tuple[tuple[str, str], ...]
    """Of the call to the provider, names in lower case, sorted."""


def name_of(segment: str) -> str:
    """Return the name that one segment of a path stands for, percent-encoded as it came, a character for a byte.

    :raises BadRequest: it is none
    """
    try:
        name = unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise BadRequest("the path holds bytes that are not UTF-8") from None
    return checked_name("a name in the path", name)


def request_of(project: str, integration: str, object: str, body: bytes) -> WriteRequest:
    """Return the request that came to this path with this body.

    :raises BadRequest: it breaks a rule
    """
    try:
        members = decode(body)
    except NotJSON as error:
        raise BadRequest(f"the body {error}") from None
    if not isinstance(members, dict):
        raise BadRequest("the body must be a JSON object")
    installation = Installation(project, integration, checked_name("groupRef", text(members, "groupRef")))
    kind = WriteType(one_of(members, "type", _TYPES))
    # A delete is always synchronous, whatever its mode says.
    mode = one_of(members, "mode", _MODES, "synchronous")
    asynchronous = mode == "asynchronous" and kind is not WriteType.DELETE
    is_batch = members.get("batch") is not None
    if is_batch == (members.get("record") is not None):
        raise BadRequest("exactly one of record and batch is required")
    if is_batch and kind is WriteType.DELETE:
        raise BadRequest("batch is for create and update only: delete records one by one")
    if is_batch and member(members, "associations", list):
        raise BadRequest("associations of a batch belong to its records: move them to batch[].associations")
    headers = _headers(members)
    hours, minutes = _policies(members, asynchronous=asynchronous, is_batch=is_batch)
    items = _batch(members) if is_batch else [("", members)]
    return WriteRequest(
        installation,
        object,
        kind,
        tuple(_write(where, item, object, kind, headers) for where, item in items),
        is_batch,
        bool(member(member(members, "batchPolicy", dict) or {}, "allOrNone", bool, "batchPolicy.")) and is_batch,
        asynchronous,
        hours * 3600.0,
        None if minutes is None else minutes * 60.0,
        tuple(sorted(headers.items())),
    )


def _write(where: str, item: dict[str, Any], object: str, type: WriteType, headers: Mapping[str, str]) -> Write:
    record = member(item, "record", dict, where)
    if record is None:
        raise BadRequest(f"{where}record: required field not found")
    links = member(item, "associations", list, where) or []
    associations = [each for link in links for each in _associations(link, where)]
    return Write(object, type, record, associations=associations, headers=headers)


def _batch(members: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    items = member(members, "batch", list)
    assert items is not None, "the caller has seen it"
    if not 1 <= len(items) <= MAX_RECORDS:
        raise BadRequest(f"batch must hold 1 to {MAX_RECORDS} records, not {len(items)}")
    return [(f"batch[{index}].", checked_object(f"batch[{index}]", item)) for index, item in enumerate(items)]


def _associations(link: Any, where: str) -> list[Association]:
    """Return what one member of ``associations`` asks for: one link of each of its types."""
    place = f"{where}associations[]"
    target = member(checked_object(place, link), "to", dict, f"{place}.") or {}
    to = text(target, "id", f"{place}.to.")
    # Ours: HubSpot links a record that exists already only if it knows the object of the other one.
    kind = member(target, "objectType", str, f"{place}.to.")
    types = member(link, "types", list, f"{place}.")
    if not types:
        raise BadRequest(f"{place}.types must hold at least one association type")
    found = []
    for each in types:
        number = member(checked_object(f"{place}.types[]", each), "associationTypeId", int, f"{place}.types[].")
        if number is None:
            raise BadRequest(f"{place}.types[].associationTypeId: required field not found")
        category = member(each, "associationCategory", str, f"{place}.types[].")
        named = {} if category is None else {"category": category}
        found.append(Association(to, number, object=kind, **named))
    return found


def _headers(members: dict[str, Any]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for each in member(members, "headers", list) or []:
        checked_object("headers[]", each)
        try:
            header = checked_headers({text(each, "key", "headers[]."): text(each, "value", "headers[].", empty=True)})
        except InvalidRecord as error:
            raise BadRequest(f"headers[]: {error}") from None
        if header.keys() & headers.keys():
            raise BadRequest("headers names a header twice: keep one")
        headers |= header
    return headers


def _policies(members: dict[str, Any], *, asynchronous: bool, is_batch: bool) -> tuple[int, int | None]:
    """Return the hours of retrying, and the minutes of the auto-batch policy if there is one."""
    retry = member(members, "retryPolicy", dict) or {}
    hours = whole(retry, "deadlineHours", "retryPolicy.", MAX_HOURS) or 1
    auto_batch = member(members, "autoBatchPolicy", dict)
    if auto_batch is None:
        return hours, None
    if not asynchronous or is_batch:
        raise BadRequest("autoBatchPolicy is for mode asynchronous with a single record: leave it out")
    minutes = whole(auto_batch, "maxDelayMinutes", "autoBatchPolicy.", MAX_MINUTES)
    if minutes is None:
        raise BadRequest("autoBatchPolicy.maxDelayMinutes: required field not found")
    return whole(auto_batch, "retryDeadlineHours", "autoBatchPolicy.", MAX_HOURS) or 1, minutes


# Single members of the objects in a request. null is the same as a member that is not there. `where` is what its name
# stands behind in messages.


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
