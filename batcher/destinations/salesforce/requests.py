"""Salesforce's sObject Collections: what to send. Pure."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias
from zlib import crc32

import attrs

from batcher.destinations._http.arguments import checked_headers, quoted
from batcher.destinations._http.encoding import check_and_encode, check_json, encode
from batcher.errors import InvalidRecord
from batcher.outcomes import ErrorDetail
from batcher.writes import Write, WriteType

Headers: TypeAlias = tuple[tuple[str, str], ...]


@attrs.frozen
class Verb:
    """What Salesforce offers for one type of write."""

    method: str
    """The method of the call."""
    since: int
    """The first version of the API that has it."""


# REST API Developer Guide, "sObject Collections". One call may hold ten runs of one object; a lane is of one object, so
# there is one run.
VERBS = {
    WriteType.CREATE: Verb("POST", since=42),
    WriteType.UPDATE: Verb("PATCH", since=42),
    WriteType.UPSERT: Verb("PATCH", since=46),
    WriteType.DELETE: Verb("DELETE", since=42),
}
FIRST_VERSION = min(each.since for each in VERBS.values())
# Records that one call may carry: "record limit reached" says the answer to the 201st.
MAX_RECORDS = 200

# What the call says itself, or must not say differently.
_OWN_HEADERS = {
    *("accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length"),
    *("content-type", "host", "transfer-encoding"),
}
_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")
_HEAD = {False: b'{"allOrNone":false,"records":[', True: b'{"allOrNone":true,"records":['}
# Objects whose records' beginnings are kept ready.
_READY_OBJECTS = 256
# What a batch adds to its records.
BATCH_BYTES = len(_HEAD[False] + b"]}")


@attrs.frozen(cache_hash=True)
class Lane:
    """All that one call has in common."""

    keeps_its_hash: ClassVar[bool] = True

    object: str
    type: WriteType
    path: str
    """Where the call goes. It names the external id field of an upsert."""
    headers: Headers = attrs.field(default=(), repr=False)
    """Header fields of the call, by name."""
    partition: int | None = None
    """Which of the lanes of this object and type holds the records of a parent; None if nothing is kept together."""


@attrs.define
class Item:
    """One record, encoded. Not frozen: one is made for every record, and that would take three times as long."""

    piece: bytes = attrs.field(repr=False)
    """The record with its ``attributes``; of a delete, the id."""
    record_id: str | None = attrs.field(default=None, repr=False)
    """The id of the record that is updated or deleted."""


def request_of(lane: Lane, items: Sequence[Item], all_or_none: bool) -> tuple[str, str, bytes | None]:
    """Return the method, the path and the body of one call: a join of ready pieces."""
    method, pieces = VERBS[lane.type].method, [item.piece for item in items]
    if lane.type is WriteType.DELETE:
        # 200 ids of 18 characters are a quarter of the 16,384 bytes that address and headers may have.
        ids, whole = b",".join(pieces).decode(), str(all_or_none).lower()
        return method, f"{lane.path}?ids={ids}&allOrNone={whole}", None
    return method, lane.path, b"".join((_HEAD[all_or_none], b",".join(pieces), b"]}"))


def path_of(version: str, object: str, by: str | None) -> str:
    """Return where a call goes.

    :param by: the external id field of an upsert; None for other types
    :raises ValueError: a name that a path cannot hold
    """
    name, collections = quoted("object", object), f"/services/data/v{version}/composite/sobjects"
    return collections if by is None else f"{collections}/{name}/{quoted('by', by)}"


def item_of(write: Write) -> tuple[Item, Mapping[str, Any]]:
    """Validate what is special here, and encode; return the checked record, too, which is not to be kept.

    :raises InvalidRecord: it can never be written here; the message names fields, not values
    """
    if write.associations:
        raise InvalidRecord("Salesforce has no associations: leave them out, and set the lookup field of the record")
    record, encoded = check_and_encode(write.record)
    _check_names(write, record)
    record_id = record["id"] if write.type in (WriteType.UPDATE, WriteType.DELETE) else None
    if record_id is not None and not _ID.fullmatch(record_id):
        # One such id would make Salesforce refuse the whole call.
        raise _fault("id", "'id' must be 15 or 18 letters and digits, as Salesforce writes ids")
    if record_id is not None and write.type is WriteType.DELETE:
        return Item(record_id.encode(), record_id), record
    return Item(_head_of(write.object) + (b"," + encoded[1:] if record else b"}"), record_id), record


@lru_cache(maxsize=_READY_OBJECTS)
def _head_of(object: str) -> bytes:
    """Return what the records of an object begin with; the brace around it is open."""
    return encode({"attributes": {"type": check_json({"object": object})["object"]}})[:-1]


def _check_names(write: Write, record: Mapping[str, Any]) -> None:
    """Check the names of the fields, of which Salesforce does not tell upper from lower case."""
    seen: set[str] = set()
    for name in record:
        folded = name.lower()
        if folded in seen:
            raise _fault(name, f"field {name!r} is there twice, in other upper and lower case: keep one")
        seen.add(folded)
    if "attributes" in seen:
        raise _fault("attributes", "'attributes' is set here, to the object of the write: leave it out")
    if write.type is WriteType.CREATE and "id" in seen:
        raise _fault("id", "'id' is given by Salesforce: leave it out, or update")
    if write.type is not WriteType.UPSERT:
        return
    assert write.by is not None, "checked for all destinations"
    if "id" in seen:
        raise _fault("id", "an upsert has no 'id': match on an external id field, or update")
    if isinstance(record[write.by], bool) or not isinstance(record[write.by], (str, int, float)):
        raise _fault(write.by, "the field that the upsert matches on must be a string or a number")


def _fault(name: str, words: str) -> InvalidRecord:
    return InvalidRecord(ErrorDetail(words, fields=(name,)))


def identity_of(write: Write, item: Item, record: Mapping[str, Any]) -> Hashable | None:
    """Return what two writes to one record have in common; None for a create.

    That two values which Salesforce tells apart have one identity costs time only: they travel one after the other.
    """
    kind = write.object.lower()
    if item.record_id is not None:
        return ("salesforce", kind, same_id(item.record_id))
    if write.by is None:
        return None
    value = record[write.by]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # An external id ignores case unless its field says otherwise.
    return ("salesforce", kind, write.by.lower(), str(value).strip().casefold())


def same_id(record_id: str) -> str:
    """Return what two ways to write one id have in common.

    Salesforce writes an id in 15 characters, or in 18, of which the last three are a checksum.
    """
    return record_id[:15] if len(record_id) == 18 else record_id


def partition_of(record: Mapping[str, Any], field: str, partitions: int) -> int | None:
    """Return which of the *partitions* holds the records of the parent that *field* names.

    None if the record names none, unless there is one partition for all.
    """
    if partitions == 1:
        return 0
    folded = field.lower()
    parent = next((value for name, value in record.items() if name.lower() == folded), None)
    if parent is None or parent == "":
        return None
    # Not hash(): it differs from process to process, and a partition should be found again in a log.
    return crc32(encode(same_id(parent) if isinstance(parent, str) else parent)) % partitions


def lane_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return *headers* with their names in lower case.

    :raises InvalidRecord: a name or value that no header can have, or a field that the call sets itself
    """
    checked = checked_headers(headers)
    for name in checked:
        if name in _OWN_HEADERS:
            raise InvalidRecord(f"the header {name!r} is set by the destination: leave it out")
    return checked
