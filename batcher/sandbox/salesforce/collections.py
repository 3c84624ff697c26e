"""Salesforce's sObject Collections: up to 200 records of up to 10 runs of a type, answered in order. No HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import attrs

from batcher.sandbox._store import Row
from batcher.sandbox.salesforce.ids import to_long
from batcher.sandbox.salesforce.records import ATTRIBUTES, ROLLED_BACK, CallError, ItemError, Records, fold

MAX_RECORDS: Final = 200
_MAX_RUNS: Final = 10
# "Id" as an address of an upsert: with null it is a create.
ID_FIELD: Final = "Id"


class RolledBack(Exception):
    """Takes back what was written; carries the answer that says so."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        super().__init__("rolled back")
        self.items = items


@attrs.frozen
class Strikes:
    """What faults do to single records: index to the error that it meets."""

    errors: Mapping[int, ItemError] = attrs.field(factory=dict)
    skipped: Collection[int] = ()
    """Records that are not even looked at."""

    def check(self, index: int) -> None:
        """Refuse a record that is to be refused.

        :raises ItemError: it is
        """
        if index in self.errors:
            raise self.errors[index]


@attrs.frozen
class Work:
    """One record of a call."""

    type: str
    record: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def id(self) -> Any:
        """The id that it carries, if any."""
        return self.record.get("id", self.record.get("Id"))


@attrs.frozen
class Collections:
    """The verbs.

    Call them inside of a transaction: what is raised means that nothing was written.
    """

    records: Records

    def works_of(self, given: Any) -> list[Work]:
        """Return the records of a call.

        :raises CallError: none, too many, in too many runs, or one without a type that exists
        """
        if not isinstance(given, list) or not given:
            raise CallError(400, "REQUIRED_FIELD_MISSING", "At least 1 record is required")
        if len(given) > MAX_RECORDS:
            raise _too_many()
        works = [Work(_type_of(each), each) for each in given]
        self._check_types(works)
        return works

    def works_of_ids(self, ids: Sequence[str]) -> list[Work]:
        """Return the records that a call names by id.

        :raises CallError: as above, or an id that is none
        """
        if not ids:
            raise CallError(400, "REQUIRED_FIELD_MISSING", "At least 1 record is required")
        if len(ids) > MAX_RECORDS:
            raise _too_many()
        works = []
        for given in ids:
            id = to_long(given)
            if id is None:
                raise CallError(400, "MALFORMED_ID", f"malformed id {given}")
            # The prefix of an id tells the type; what has no record has none that matters.
            works.append(Work(self.records.store.type_of(id) or id[:3], {"id": id}))
        self._check_runs(works)
        return works

    def create(self, works: Sequence[Work], strikes: Strikes, *, all_or_none: bool) -> list[dict[str, Any]]:
        """Add records.

        :raises RolledBack: one failed
        """

        def act(work: Work) -> dict[str, Any]:
            if work.id is not None:
                raise ItemError("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", ("Id",))
            return _success(self.records.create(work.type, self.records.fields_of(work.type, work.record)))

        return _each(works, strikes, act, all_or_none=all_or_none)

    def update(self, works: Sequence[Work], strikes: Strikes, *, all_or_none: bool) -> list[dict[str, Any]]:
        """Change records by id. An id counts once: what Salesforce does with more is not known well enough.

        :raises RolledBack: one failed
        """
        seen: set[str] = set()

        def act(work: Work) -> dict[str, Any]:
            row = self.records.target(work.type, work.id)
            if row.id in seen:
                words = (
                    f"Maximum number of duplicate updates in one batch. Attempt to update Id more than once: {row.id}"
                )
                raise ItemError("DUPLICATE_VALUE", words)
            seen.add(row.id)
            return _success(self.records.update(row, self.records.fields_of(work.type, work.record)))

        return _each(works, strikes, act, all_or_none=all_or_none)

    def upsert(self, field: str, works: Sequence[Work], strikes: Strikes, *, all_or_none: bool) -> list[dict[str, Any]]:
        """Add records or change them, by an external id. All that share a value are refused.

        :raises RolledBack: one failed
        """
        times = Counter(fold(work.record.get(field)) for work in works if work.record.get(field) is not None)

        def act(work: Work) -> dict[str, Any]:
            value = work.record.get(field)
            if value is not None and times[fold(value)] > 1:
                raise ItemError("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", (field,))
            row, created = self.upsert_one(work.type, field, value, work.record)
            return {**_success(row), "created": created}

        return _each(works, strikes, act, all_or_none=all_or_none)

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

    def delete(self, works: Sequence[Work], strikes: Strikes, *, all_or_none: bool) -> list[dict[str, Any]]:
        """Take records away.

        :raises RolledBack: one failed
        """

        def act(work: Work) -> dict[str, Any]:
            row = self.records.target(work.type, work.id)
            self.records.delete(row)
            return _success(row)

        return _each(works, strikes, act, all_or_none=all_or_none)

    def _check_types(self, works: Sequence[Work]) -> None:
        for work in works:
            if self.records.describe(work.type) is None:
                raise CallError(400, "INVALID_TYPE", f"sObject type '{work.type}' is not supported.")
        self._check_runs(works)

    def _check_runs(self, works: Sequence[Work]) -> None:
        runs = sum(1 for _ in groupby(works, key=lambda work: work.type))
        if runs > _MAX_RUNS:
            words = (
                f"Cannot have more than {_MAX_RUNS} chunks in a single operation. "
                "Please rearrange the data to reduce chunking."
            )
            raise CallError(400, "LIMIT_EXCEEDED", words)


def _each(
    works: Sequence[Work], strikes: Strikes, act: Callable[[Work], dict[str, Any]], *, all_or_none: bool
) -> list[dict[str, Any]]:
    """Carry out each record that is not skipped; return one item for each, in order."""
    items = []
    failed = False
    for index, work in enumerate(works):
        if index in strikes.skipped:
            items.append(_failure(ItemError("", "")))  # keeps the place; nobody is shown it
            continue
        try:
            strikes.check(index)
            items.append(act(work))
        except ItemError as error:
            failed = True
            items.append(_failure(error))
    if failed and all_or_none:
        raise RolledBack([_rolled_back(work, item) for work, item in zip(works, items, strict=True)])
    return items


def _success(row: Row) -> dict[str, Any]:
    return {"id": row.id, "success": True, "errors": []}


def _failure(error: ItemError) -> dict[str, Any]:
    return {"success": False, "errors": [error.to_item()]}


def _rolled_back(work: Work, item: dict[str, Any]) -> dict[str, Any]:
    if not item["success"]:
        return item
    words = "Record rolled back because not all records were valid and the request was using AllOrNone header"
    failure = _failure(ItemError(ROLLED_BACK, words))
    # What existed before keeps its id in the answer: an id is no proof of success.
    existed = work.id is not None or item.get("created") is False
    return {"id": item["id"], **failure} if existed else failure


def _type_of(record: Any) -> str:
    attributes = record.get(ATTRIBUTES) if isinstance(record, dict) else None
    type = attributes.get("type") if isinstance(attributes, dict) else None
    if not isinstance(type, str):
        raise CallError(400, "INVALID_INPUT", "each record must have attributes with its type")
    return type


def _too_many() -> CallError:
    words = f"record limit reached. cannot submit more than {MAX_RECORDS} records into this call"
    return CallError(400, "EXCEEDED_ID_LIMIT", words)
