"""Ampersand's Write API: what to send. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from batcher.destinations._http.arguments import link_of
from batcher.destinations._http.encoding import check_and_encode, check_json, encode
from batcher.errors import InvalidRecord
from batcher.outcomes import ErrorDetail
from batcher.writes import CREATE, UPSERT, Write, WriteType

Provider: TypeAlias = Literal["salesforce", "hubspot"] | None

_ALL_OR_NONE = b',"batchPolicy":{"allOrNone":true}'
# What a batch adds to the envelope and the items, all-or-none or not; and each item to its piece.
_BATCH_BYTES = len(_ALL_OR_NONE + b',"batch":[]}')
ITEM_BYTES = len(b'{"record":},')


@attrs.frozen(cache_hash=True)
class Lane:
    """All that one call has in common."""

    keeps_its_hash: ClassVar[bool] = True

    object: str
    type: WriteType
    path: str = attrs.field(repr=False)
    envelope: bytes = attrs.field(repr=False)
    """The body up to the records; its last brace is open."""

    @property
    def batch_bytes(self) -> int:
        """What a batch adds to its items."""
        return len(self.envelope) + _BATCH_BYTES


@attrs.define
class Item:
    """One record, encoded. Not frozen: one is made for every record, and that would take three times as long."""

    piece: bytes = attrs.field(repr=False)
    """The record; behind it, if there are any, the associations, as another member of the object around it."""
    record_id: str | None = attrs.field(default=None, repr=False)
    """The id of the record that is updated or deleted."""
    linked: bool = False
    """Whether associations go with it, whose failure the API reports apart."""


def request_of(lane: Lane, items: Sequence[Item], all_or_none: bool) -> tuple[str, str, bytes]:
    """Return the method, the path and the body of one call: a join of ready pieces.

    One record travels as ``record``, whose answer says the most about it; more travel as ``batch``.
    """
    if len(items) == 1:
        return "POST", lane.path, b"".join((lane.envelope, b',"record":', items[0].piece, b"}"))
    policy, pieces = _ALL_OR_NONE if all_or_none else b"", b'},{"record":'.join([item.piece for item in items])
    return "POST", lane.path, b"".join((lane.envelope, policy, b',"batch":[{"record":', pieces, b"}]}"))


def record_of(item: Item) -> dict[str, Any]:
    """Return the record that was sent."""
    record: dict[str, Any] = json.loads(b'{"record":%b}' % item.piece)["record"]
    return record


def item_of(write: Write, provider: Provider) -> Item:
    """Validate what is special here, and encode.

    :raises InvalidRecord: it can never be written here; the message names fields, not values
    """
    record, piece = check_and_encode(write.record)
    what = write.type
    if what is UPSERT:
        raise InvalidRecord("the Write API has no upsert: create or update the record")
    creates = what is CREATE
    if creates and "id" in record:
        # The service tells an update from a create by the id.
        raise InvalidRecord(ErrorDetail("'id' is given by the provider: leave it out, or update", fields=("id",)))
    record_id = None if creates else record["id"]
    if not write.associations:
        return Item(piece, record_id)
    if provider != "hubspot":
        raise InvalidRecord("associations are for provider='hubspot' only: leave them out")
    if what is WriteType.DELETE:
        raise InvalidRecord("a delete takes no associations: leave them out")
    links = [link_of(each) for each in write.associations]
    piece += b',"associations":' + encode(check_json({"links": links})["links"])
    return Item(piece, record_id, True)


def envelope_of(
    group_ref: str, type: WriteType, headers: tuple[tuple[str, str], ...], asynchronous: Mapping[str, Any]
) -> bytes:
    """Return the body of a call up to its records.

    :param asynchronous: the members of an asynchronous request; a delete is always synchronous and has no mode
    """
    body: dict[str, Any] = {"groupRef": group_ref, "type": type.value}
    if type is not WriteType.DELETE:
        body |= asynchronous or {"mode": "synchronous"}
    if headers:
        body["headers"] = [{"key": key, "value": value} for key, value in headers]
    return encode(check_json(body))[:-1]
