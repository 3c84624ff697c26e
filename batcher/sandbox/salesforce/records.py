"""Salesforce's records: what a type requires, how records are found and written, one at a time. No HTTP."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import attrs

from batcher.sandbox._store import Row, Store
from batcher.sandbox.salesforce.answers import ItemError
from batcher.sandbox.salesforce.ids import new_id, to_long

ATTRIBUTES: Final = "attributes"
_NO_FIELDS: Final = ("id", ATTRIBUTES)


@attrs.frozen(kw_only=True)
class SalesforceObject:
    """What the organization knows of one type."""

    required: Collection[str] = ()
    external_ids: Collection[str] = ("External_Id__c",)
    """Fields whose values no two records share, whatever their case, and by which records can be upserted."""
    lookups: Collection[str] = ()
    """Fields by which records can be upserted, although several may have one value."""
    fields: Collection[str] | None = None
    """The fields that exist, besides those above; None lets any name pass that Salesforce could give."""
    parents: Collection[str] = ()
    """Fields with the id of a record that is locked while this one is written."""


DEFAULT_OBJECTS: Final[Mapping[str, SalesforceObject]] = {
    "Account": SalesforceObject(required=("Name",), parents=("ParentId",)),
    "Contact": SalesforceObject(required=("LastName",), lookups=("Email",), parents=("AccountId",)),
    "Lead": SalesforceObject(required=("LastName", "Company"), lookups=("Email",)),
    "Opportunity": SalesforceObject(required=("Name", "StageName", "CloseDate"), parents=("AccountId",)),
    "Case": SalesforceObject(parents=("AccountId", "ContactId")),
    "Task": SalesforceObject(),
}


@attrs.frozen
class Records:
    """Reads and writes records as Salesforce does."""

    store: Store
    objects: Mapping[str, SalesforceObject]
    clock: Callable[[], float]

    def describe(self, type: str) -> SalesforceObject | None:
        """Return what is known of a type; custom objects need no description."""
        return self.objects.get(type) or (SalesforceObject() if type.endswith("__c") else None)

    def addresses(self, type: str, field: str) -> bool:
        """Return whether records of a type can be upserted by a field."""
        known = self._of(type)
        return field in known.external_ids or field in known.lookups

    def fields_of(self, type: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a record, without what is none.

        :raises ItemError: a field that does not exist
        """
        fields = {name: value for name, value in record.items() if name.lower() not in _NO_FIELDS}
        known = self._of(type)
        names = None if known.fields is None else {*known.fields, *known.required, *known.external_ids, *known.lookups}
        for name in fields:
            if name not in names if names is not None else not _is_name(name):
                raise ItemError("INVALID_FIELD", f"No such column '{name}' on sobject of type {type}")
        return fields

    def target(self, type: str, given: object) -> Row:
        """Return the record that is to be changed.

        :raises ItemError: there is none
        """
        if given in (None, ""):
            raise ItemError("MISSING_ARGUMENT", "Id not specified in an update call")
        id = to_long(given)
        if id is None:
            raise ItemError("MALFORMED_ID", f"{type} ID: id value of incorrect type: {given}", ("Id",))
        row = self.store.get(type, id)
        if row is None:
            raise ItemError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if row.archived:
            raise ItemError("ENTITY_IS_DELETED", "entity is deleted")
        return row

    def find(self, type: str, field: str, value: object) -> list[Row]:
        """Return the records with a value in a field by which they can be upserted."""
        return self.store.find(type, field, fold(value))

    def create(self, type: str, fields: Mapping[str, Any]) -> Row:
        """Add a record.

        :raises ItemError: a required field is missing, or a unique value is taken
        """
        self._check_required(fields, self._of(type).required)
        self._check_unique(type, fields, None)
        number, now = self.store.next_number(), self.clock()
        row = Row(type, new_id(type, number), _without_null(fields), False, now, now)
        self.store.insert(number, row, self._keys(row))
        return row

    def update(self, row: Row, fields: Mapping[str, Any]) -> Row:
        """Change a record; null takes a value away.

        :raises ItemError: a required field is cleared, or a unique value is taken
        """
        self._check_required(fields, [name for name in self._of(row.type).required if name in fields])
        self._check_unique(row.type, fields, row.id)
        changed = attrs.evolve(row, fields=_without_null({**row.fields, **fields}), updated=self.clock())
        self.store.save(changed, self._keys(changed))
        return changed

    def delete(self, row: Row) -> None:
        """Take a record away."""
        self.store.archive(row, self.clock())

    def locks(self, type: str, record: Mapping[str, Any]) -> set[str]:
        """Return the ids of the rows that are locked while a record is written."""
        given = [record.get("id"), record.get("Id"), *(record.get(name) for name in self._of(type).parents)]
        return {id for id in map(to_long, given) if id is not None}

    def _check_required(self, fields: Mapping[str, Any], required: Collection[str]) -> None:
        missing = [name for name in required if fields.get(name) in (None, "")]
        if missing:
            words = f"Required fields are missing: [{', '.join(missing)}]"
            raise ItemError("REQUIRED_FIELD_MISSING", words, missing)

    def _check_unique(self, type: str, fields: Mapping[str, Any], own: str | None) -> None:
        for name in self._of(type).external_ids:
            for other in self.find(type, name, fields[name]) if name in fields else ():
                if other.id != own:
                    words = f"duplicate value found: {name} duplicates value on record with id: {other.id}"
                    raise ItemError("DUPLICATE_VALUE", words)

    def _keys(self, row: Row) -> dict[str, str]:
        known = self._of(row.type)
        return {name: fold(row.fields[name]) for name in (*known.external_ids, *known.lookups) if name in row.fields}

    def _of(self, type: str) -> SalesforceObject:
        return self.describe(type) or SalesforceObject()


def fold(value: object) -> str:
    """Return what two values of an external id must share to be the same."""
    return str(value).casefold()


def _without_null(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _is_name(name: str) -> bool:
    return name.isidentifier() and name.isascii() and not name.startswith("_")
