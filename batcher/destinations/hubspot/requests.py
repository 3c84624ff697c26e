"""HubSpot's batch endpoints: what they can, and what to send. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import attrs

from batcher.destinations._http.arguments import link_of, quoted
from batcher.destinations._http.encoding import MAX_INTEGER, check_json, encode
from batcher.errors import InvalidRecord
from batcher.outcomes import ErrorDetail
from batcher.writes import Association, Write, WriteType


@attrs.frozen
class Verb:
    """What one batch endpoint of an object can do."""

    name: str
    """The last segment of its path."""
    traced: bool = False
    """Whether its inputs take an ``objectWriteTraceId``. With it a call is written in part, without it all or none."""
    inline_links: bool = False
    """Whether its inputs take associations. Where they do not, another call makes them afterwards."""
    linked: bool = False
    """Whether there can be associations at all."""
    item_bytes: int = attrs.field(init=False)
    """What an input adds to its piece: a comma, and a trace id of two digits."""

    @item_bytes.default
    def _item_bytes(self) -> int:
        return len(b',"objectWriteTraceId":"99",') if self.traced else len(b",")


VERBS = {
    WriteType.CREATE: Verb("create", traced=True, inline_links=True, linked=True),
    # What it takes of a batch with an unknown id is written, of one with a bad property nothing.
    WriteType.UPDATE: Verb("update", linked=True),
    WriteType.UPSERT: Verb("upsert", traced=True, linked=True),
    WriteType.DELETE: Verb("archive"),
}

# The property that HubSpot itself keeps the id in. It is unique, and refused as idProperty all the same.
_ID_PROPERTIES = frozenset({"id", "hs_object_id"})
_DATED = re.compile(r"20\d\d-\d\d")
INPUTS = b'{"inputs":['
# What a call adds to its inputs.
BATCH_BYTES = len(INPUTS + b"]}")


@attrs.frozen
class Link:
    """An association to be made when its record has been written."""

    object: str
    """The kind of the other record."""
    to: str = attrs.field(repr=False)
    """Its id."""
    piece: bytes = attrs.field(repr=False)
    """The input of the call for associations, from the other record on."""


@attrs.frozen(cache_hash=True)
class Lane:
    """All that one call has in common."""

    keeps_its_hash: ClassVar[bool] = True

    object: str
    type: WriteType
    by: str | None
    """The property that an upsert matches on."""
    path: str = attrs.field(repr=False)

    @property
    def verb(self) -> Verb:
        """What it can do."""
        return VERBS[self.type]


@attrs.define
class Item:
    """One record, encoded. Not frozen: one is made for every record, and that would take three times as long."""

    piece: bytes = attrs.field(repr=False)
    """The input of the call, without a trace id."""
    key: str | None = attrs.field(default=None, repr=False)
    """The id that is updated or archived, or the value that an upsert matches on."""
    links: tuple[Link, ...] = attrs.field(default=(), repr=False)
    """Associations to be made when the record has been written."""


@attrs.frozen
class Paths:
    """Where things are in one version of the API, ``"v3"`` or a dated one such as ``"2026-03"``.

    :raises ValueError: no such form of a version
    """

    version: str = attrs.field()

    @version.validator
    def _check(self, _: object, value: object) -> None:
        if value != "v3" and not (isinstance(value, str) and _DATED.fullmatch(value)):
            raise ValueError(f"api_version must be 'v3' or a date such as '2026-03', not {value!r}")

    def batch(self, object: str, verb: Verb) -> str:
        """Return the path of a batch of objects."""
        root = "/crm/v3/objects" if self.version == "v3" else f"/crm/objects/{self.version}"
        return f"{root}/{quoted('object', object)}/batch/{verb.name}"

    def links(self, source: str, target: str) -> str:
        """Return the path of a batch of associations; those of v3 have no types with a category, those of v4 do."""
        root = "/crm/v4/associations" if self.version == "v3" else f"/crm/associations/{self.version}"
        return f"{root}/{quoted('object', source)}/{quoted('object', target)}/batch/create"


def request_of(lane: Lane, items: Sequence[Item], all_or_none: bool) -> tuple[str, str, bytes]:
    """Return the method, the path and the body of one call: a join of ready pieces.

    The trace ids, which ask for partial success, are the positions in the call: unique in it, and that is all
    that HubSpot wants.
    """
    pieces: Iterable[bytes] = (item.piece for item in items)
    if lane.verb.traced and not all_or_none:
        pieces = (b'{"objectWriteTraceId":"%d",%b' % (index, item.piece[1:]) for index, item in enumerate(items))
    return "POST", lane.path, b"".join((INPUTS, b",".join(pieces), b"]}"))


def item_of(write: Write) -> Item:
    """Validate what is special here, and encode.

    :raises InvalidRecord: it can never be written here; the message names fields, not values
    """
    verb = VERBS[write.type]
    if write.headers:
        raise InvalidRecord("headers are for Salesforce only: leave them out")
    if write.associations and not verb.linked:
        raise InvalidRecord("a delete takes no associations: leave them out")
    record = check_json(write.record)
    members, key = _addressed(write, record)
    if write.type is not WriteType.DELETE:
        members["properties"] = {
            name: value if type(value) is str else _text(name, value) for name, value in record.items()
        }
    if not verb.inline_links:
        return Item(encode(members), key, _links(write.associations))
    if write.associations:
        links = [link_of(each) for each in write.associations]
        members["associations"] = check_json({"links": links})["links"]
    return Item(encode(members), key)


def _addressed(write: Write, record: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return what says which record is meant, and take it out of *record*."""
    if write.type in (WriteType.UPDATE, WriteType.DELETE):
        key: str = record.pop("id")
        return {"id": key}, key
    if write.by in _ID_PROPERTIES:
        raise InvalidRecord("an upsert cannot match on the id of a record: update the record, or match on another one")
    if "id" in record:
        raise InvalidRecord(ErrorDetail("'id' is given by HubSpot: leave it out, or update", fields=("id",)))
    if write.by is None:
        return {}, None
    key = _text(write.by, record.pop(write.by))
    return {"id": key, "idProperty": write.by}, key


def _text(name: str, value: Any) -> str:
    """Return a value as HubSpot takes it: every property is a string, and an empty one clears."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        shape = "list" if isinstance(value, list) else "mapping"
        way_out = "join several values with ';'" if isinstance(value, list) else "spread it over several fields"
        raise InvalidRecord(
            ErrorDetail(f"field {name!r} holds a {shape}, and HubSpot takes text only: {way_out}", fields=(name,))
        )
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_INTEGER:
        value = int(value)  # as HubSpot writes it
    return encode(value).decode()


def _links(associations: Sequence[Association]) -> tuple[Link, ...]:
    """Return one link for each other record, with all types of association to it."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in associations:
        link = link_of(each)
        if not isinstance(each.object, str) or not each.object:
            raise InvalidRecord(
                "an association of a record that may exist needs object=, the kind of the other record, such as "
                "'companies' (to.objectType in the Write API): HubSpot makes it by a call of its own"
            )
        try:
            quoted("object of an association", each.object)
        except ValueError as error:
            raise InvalidRecord(str(error)) from None
        known = found.setdefault((each.object, each.to), link)
        if known is not link:
            known["types"] += link["types"]
    return tuple(Link(kind, to, encode(check_json(link))[1:]) for (kind, to), link in found.items())


def folded(key: str) -> str:
    """Return what two ways to write one value of an ``idProperty`` have in common: HubSpot lowers e-mail addresses."""
    return key.strip().casefold()
