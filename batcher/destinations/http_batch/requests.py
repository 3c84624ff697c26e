"""HttpBatch: one call, and the request that carries it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

import attrs

from batcher.destinations._http.arguments import checked_headers
from batcher.destinations._http.decoding import decode
from batcher.destinations._http.encoding import check_json, encode
from batcher.errors import InvalidRecord
from batcher.outcomes import ErrorDetail
from batcher.writes import Write, WriteType

_FORM, _JSON, _LINES = "application/x-www-form-urlencoded", "application/json", "application/x-ndjson"
# They say where a message ends, who is asked, and how it is packed: not for those who write records.
_FRAMING = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
_PACKING = frozenset({"accept-encoding", "content-encoding", "content-type"})
# They end a segment of a path, or hide what does.
_NOT_IN_SEGMENTS = frozenset("/\\?#%;")


@attrs.frozen(cache_hash=True)
class Lane:
    """All that the records of one call share."""

    keeps_its_hash: ClassVar[bool] = True

    object: str
    type: WriteType
    by: str | None = None
    """The field that an upsert matches on."""
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    """Header fields that the writes gave."""


@attrs.frozen
class Item:
    """One record of a call, checked and encoded when it was submitted.

    Within the ``json`` and the ``lines`` of a :class:`Request` an item stands for its record, and is not encoded again.
    """

    json: bytes = attrs.field(repr=False)
    """The record as compact JSON in UTF-8."""

    @property
    def record(self) -> dict[str, Any]:
        """The record: a fresh copy each time."""
        record: dict[str, Any] = decode(self.json)
        return record


@attrs.frozen
class Call:
    """What one request is to carry. All its records share all but themselves."""

    object: str
    """The name of the object that the records are of; fit to be one segment of a path."""
    type: WriteType
    """Create, update, upsert or delete."""
    items: tuple[Item, ...]
    """The records. Of an update or a delete each has an ``id``."""
    all_or_none: bool = False
    """Whether they are a group, to be applied together or not at all."""
    by: str | None = None
    """The field that an upsert matches on."""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Header fields that the writes gave, names in lower case. They are sent without further ado."""


@attrs.frozen
class Request:
    """An HTTP request, with at most one of ``json``, ``lines``, ``form`` and ``body``.

    :raises TypeError: a *body* that is no bytes
    :raises ValueError: more than one body, or a method that is no word
    """

    method: str
    """``"POST"``, say."""
    path: str = attrs.field(repr=False)
    """What follows the base URL, from its slash on, a query included. Or a whole URL of the same server."""
    json: Any = attrs.field(default=None, kw_only=True, repr=False)
    """A value to be sent as JSON; an :class:`Item` anywhere in it stands for its record."""
    lines: Sequence[Any] | None = attrs.field(default=None, kw_only=True, repr=False)
    """Values to be sent as JSON, one a line (NDJSON); an :class:`Item` anywhere stands for its record."""
    form: Mapping[str, str] | None = attrs.field(default=None, kw_only=True, repr=False)
    """Fields to be sent as an HTML form is."""
    body: bytes | None = attrs.field(default=None, kw_only=True, repr=False)
    """Bytes to be sent as they are; name their ``content-type`` in *headers*."""
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, repr=False)
    """Header fields of this request. They win over those of the writes and of the destination."""

    def __attrs_post_init__(self) -> None:
        given = [each for each in (self.json, self.lines, self.form, self.body) if each is not None]
        if len(given) > 1:
            raise ValueError("a request has one body: give json, lines, form or body")
        if self.body is not None and not isinstance(self.body, bytes):
            raise TypeError(f"body must be bytes, not {type(self.body).__name__}")
        if not self.method.isalpha():
            raise ValueError("method must be a word, such as 'POST'")

    def content(self) -> tuple[bytes | None, dict[str, str]]:
        """Return the body, None if there is none, and the header fields with their names in lower case.

        :raises ValueError: a value that JSON does not hold, or a header field that cannot be sent
        """
        body, kind = self._body()
        typed = {} if kind is None else {"content-type": kind}
        return body, typed | checked_headers(self.headers)

    def _body(self) -> tuple[bytes | None, str | None]:
        if self.json is not None:
            return dumped(self.json), _JSON
        if self.lines is not None:
            return b"".join(dumped(each) + b"\n" for each in self.lines), _LINES
        if self.form is not None:
            return urlencode(dict(self.form)).encode(), _FORM
        return self.body, None if self.body is None else "application/octet-stream"


def dumped(value: Any) -> bytes:
    """Return *value* as JSON, with the ready JSON of each item that it holds.

    :raises InvalidRecord: a value that JSON does not hold
    """
    if isinstance(value, Item):
        return value.json
    if isinstance(value, Mapping):
        members = (_scalar(_checked_name(name)) + b":" + dumped(each) for name, each in value.items())
        return b"{" + b",".join(members) + b"}"
    if isinstance(value, (list, tuple)):
        return b"[" + b",".join(map(dumped, value)) + b"]"
    return _scalar(value)


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the names of members must be strings in JSON, not {type(name).__name__}")
    return name


def _scalar(value: object) -> bytes:
    return encode(check_json({"value": value})["value"])


def lane_of(write: Write, types: Collection[WriteType], own_headers: Collection[str]) -> Lane:
    """Return the lane of a write.

    :param types: those that the endpoint takes
    :param own_headers: the names of the header fields that writes cannot give, in lower case
    :raises InvalidRecord: it can never be written here; the message holds no value
    """
    if write.type not in types:
        raise InvalidRecord(f"this endpoint takes no {write.type.value}: name it in types= if it does")
    if write.associations:
        raise InvalidRecord("this endpoint takes no associations: leave them out")
    name = write.object
    if name in (".", "..") or not name.isprintable() or not _NOT_IN_SEGMENTS.isdisjoint(name):
        raise InvalidRecord("the name of the object must be fit for a path: printable, without any of / \\ ? # % ;")
    headers = checked_headers(write.headers)
    for header in headers:
        if header in _FRAMING | _PACKING or header in own_headers:
            raise InvalidRecord(f"the header {header!r} is not for writes to give: leave it out")
    return Lane(name, write.type, write.by, tuple(sorted(headers.items())))


def sent_as(
    request: object, base_url: str, call: Call, max_bytes: int
) -> tuple[str, str, bytes | None, dict[str, str]]:
    """Return method, URL, body and header fields of a request.

    :raises TypeError: it is none
    :raises ValueError: it cannot be sent as it is; the message holds no value
    """
    if not isinstance(request, Request):
        raise TypeError(f"request() must return a Request, not {type(request).__name__}")
    url = _url(request.path, base_url)
    body, headers = request.content()
    if body is not None and len(body) > max_bytes:
        problem = f"the body of the request has {len(body)} bytes, and max_bytes is {max_bytes}"
        raise InvalidRecord(ErrorDetail(problem, "BODY_TOO_LONG"))
    return request.method, url, body, {**call.headers, **headers}


def _url(path: str, base_url: str) -> str:
    if not path.isprintable():
        raise ValueError("a path must be printable: quote what comes from records")
    if path.startswith("/"):
        return base_url + path
    wanted, base = urlsplit(path), urlsplit(base_url)
    if (wanted.scheme, wanted.netloc.lower()) != (base.scheme, base.netloc.lower()):
        # With the header fields, credentials would go there too.
        raise ValueError("a path begins with a slash, and a whole URL is one of the server of base_url")
    return path
