"""Writes: one single-record request to a SaaS system, and the rules that hold everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import attrs

from batcher.errors import InvalidRecord


class WriteType(str, Enum):
    """What a write does to its record."""

    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"

    # As it is equal to its text. That of an enum is another one, and takes four times as long.
    __hash__ = str.__hash__


# Looking up a member of an enum takes longer than all else that is asked of most writes.
CREATE, UPDATE, UPSERT, DELETE = WriteType


@attrs.frozen
class Association:
    """A link from the written record to another one (HubSpot only)."""

    to: str
    """The id of the other record."""
    type_id: int
    """The provider's number of the association type."""
    category: str = "HUBSPOT_DEFINED"
    """Who defined the association type, in the provider's words."""
    object: str | None = attrs.field(default=None, kw_only=True)
    """The provider's name of the kind of the other record. Needed where HubSpot links a record that exists already."""


def _to_type(value: WriteType | str) -> WriteType:
    if type(value) is WriteType:  # nearly always, and looking it up takes four times as long
        return value
    try:
        return WriteType(value)
    except ValueError:
        allowed = ", ".join(each.value for each in WriteType)
        raise ValueError(f"type must be one of {allowed}, not {value!r}") from None


def _to_associations(value: Iterable[Association]) -> tuple[Association, ...]:
    return tuple(value)


def _check_object(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"object must be the name of an object, not {type(value).__name__}")
    if not value:
        raise ValueError("object must be the name of an object, not an empty string")


@attrs.frozen(init=False)
class Write:
    """One single-record request. Validated and encoded when it is submitted, not when it is made."""

    # Classes that attrs makes of this one have an __init__ by attrs: for them the converters and the validator.
    object: str = attrs.field(validator=_check_object)
    """The provider's name of the kind of record, for example ``"contacts"``."""
    type: WriteType = attrs.field(converter=_to_type)
    """What to do; a string such as ``"create"`` is converted."""
    record: Mapping[str, Any] = attrs.field(repr=False)
    """Field to value. An update holds ``id``; a delete holds nothing else."""
    by: str | None = attrs.field(default=None, kw_only=True)
    """The field that an upsert matches on."""
    associations: tuple[Association, ...] = attrs.field(default=(), converter=_to_associations, kw_only=True)
    """Links to make together with the write; HubSpot only."""
    headers: Mapping[str, str] = attrs.field(factory=dict, kw_only=True, repr=False)
    """Headers of the call that carries the write; Salesforce only."""

    def __init__(
        self,
        object: str,
        type: WriteType | str,
        record: Mapping[str, Any],
        *,
        by: str | None = None,
        associations: Iterable[Association] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # By hand, because one is made for every record, and what attrs would write for it takes half as long again.
        if not isinstance(object, str) or not object:
            _check_object(self, None, object)
        _set_object(self, object)
        _set_type(self, _to_type(type))
        _set_record(self, record)
        _set_by(self, by)
        _set_associations(self, tuple(associations))
        _set_headers(self, {} if headers is None else headers)


_set_object, _set_type, _set_record, _set_by, _set_associations, _set_headers = (
    vars(Write)[field.name].__set__ for field in attrs.fields(Write)
)


def check_write(write: Write) -> None:
    """Refuse what no destination can write. The message names fields, never values.

    :raises InvalidRecord: always, if a rule is broken
    """
    record = write.record
    if write.type is CREATE and write.by is None and type(record) is dict and record:
        return  # nearly always
    if not isinstance(record, Mapping):
        raise InvalidRecord(f"record must be a mapping of field to value, not {type(record).__name__}")
    if not record:
        raise InvalidRecord("record is empty: give it at least one field")
    what = write.type
    if what is UPSERT:
        _check_by(write.by, record)
    elif write.by is not None:
        raise InvalidRecord(f"'by' belongs to an upsert, not to a {what.value}: leave it out")
    if what in (UPDATE, DELETE):
        if "id" not in record:
            raise InvalidRecord(f"'id' is missing: {what.value} needs the id of the record")
        if not isinstance(record["id"], str) or not record["id"]:
            raise InvalidRecord(f"'id' must be a non-empty string, not {type(record['id']).__name__}")
    if what is UPDATE and len(record) == 1:
        raise InvalidRecord("an update needs at least one field besides 'id'")
    if what is DELETE and len(record) > 1:
        raise InvalidRecord(f"a delete takes 'id' and nothing else; found {len(record) - 1} more fields")


def _check_by(by: str | None, record: Mapping[str, Any]) -> None:
    if not by:
        raise InvalidRecord("an upsert needs by=, the field to match on")
    if by not in record:
        raise InvalidRecord("the field that the upsert matches on is missing from the record")
    if record[by] is None or record[by] == "":
        raise InvalidRecord("the field that the upsert matches on is empty in the record")
