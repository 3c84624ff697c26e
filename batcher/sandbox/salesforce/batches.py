"""Salesforce's sObject Collections: the verbs, whose items are answered in order. No HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from batcher.sandbox._faults import Strikes
from batcher.sandbox._store import Row
from batcher.sandbox.salesforce.answers import ItemError, failure, rolled_back, success
from batcher.sandbox.salesforce.inputs import Input
from batcher.sandbox.salesforce.records import Records, fold

# "Id" as an address of an upsert: with null it is a create.
ID_FIELD: Final = "Id"


Item: TypeAlias = dict[str, Any]
Act: TypeAlias = Callable[[Input], Item]


class _RollBack(Exception):
    pass


@attrs.frozen
class Batches:
    """What is done with each record of a call. It returns an item, or raises an ItemError."""

    records: Records

    def carry_out(self, act: Act, inputs: Sequence[Input], strikes: Strikes, *, all_or_none: bool) -> list[Item]:
        """Return one item for each record, in order."""
        items: list[Item] = []
        failed = False
        try:
            with self.records.store.transaction():
                for index, input in enumerate(inputs):
                    if index in strikes.skipped:
                        items.append(failure(ItemError("", "")))  # keeps the place; nobody is shown it
                        continue
                    try:
                        strikes.check(index)
                        items.append(act(input))
                    except ItemError as error:
                        failed = True
                        items.append(failure(error))
                if failed and all_or_none:
                    raise _RollBack
        except _RollBack:
            pairs = zip(inputs, items, strict=True)
            return [rolled_back(item, had_id=input.id is not None) for input, item in pairs]
        return items

    def create(self, input: Input) -> Item:
        """Add a record."""
        if input.id is not None:
            raise ItemError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", ("Id",))
        return success(self.records.create(input.type, self.records.fields_of(input.type, input.record)))

    def update(self) -> Act:
        """Change records by id. An id counts once: what Salesforce does with more is not known well enough."""
        seen: set[str] = set()

        def act(input: Input) -> Item:
            row = self.records.target(input.type, input.id)
            if row.id in seen:
                words = "Maximum number of duplicate updates in one batch. Attempt to update Id more than once"
                raise ItemError("DUPLICATE_VALUE", f"{words}: {row.id}")
            seen.add(row.id)
            return success(self.records.update(row, self.records.fields_of(input.type, input.record)))

        return act

    def upsert(self, field: str, inputs: Sequence[Input]) -> Act:
        """Add records or change them, by an external id. All that share a value are refused."""
        times = Counter(fold(input.record.get(field)) for input in inputs if input.record.get(field) is not None)

        def act(input: Input) -> Item:
            value = input.record.get(field)
            if value is not None and times[fold(value)] > 1:
                raise ItemError("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", (field,))
            row, created = self.upsert_one(input.type, field, value, input.record)
            return {**success(row), "created": created}

        return act

    def upsert_one(self, type: str, field: str, value: Any, record: Mapping[str, Any]) -> tuple[Row, bool]:
        """Add or change one record; return it, and whether it is new.

        :raises ItemError: refused
        """
        fields = self.records.fields_of(type, record)
        if field == ID_FIELD:
            if value is None:
                return self.records.create(type, fields), True
            return self.records.update(self.records.target(type, value), fields), False
        if any(name.lower() == "id" for name in record):
            raise ItemError("INVALID_FIELD", "The Id field should not be specified in the sobject data.", ("Id",))
        if value in (None, ""):
            raise ItemError("MISSING_ARGUMENT", f"{field} not specified", (field,))
        rows = self.records.find(type, field, value)
        if len(rows) > 1:
            raise ItemError("DUPLICATE_EXTERNAL_ID", f"{field}: more than one record found for external id field")
        if rows:
            return self.records.update(rows[0], fields), False
        return self.records.create(type, {**fields, field: value}), True

    def delete(self, input: Input) -> Item:
        """Take a record away."""
        row = self.records.target(input.type, input.id)
        self.records.delete(row)
        return success(row)
