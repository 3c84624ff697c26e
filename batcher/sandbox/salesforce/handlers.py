"""Salesforce's requests for many records: from JSON to the verbs of a collection and back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeAlias

import attrs
from starlette.responses import JSONResponse, Response

from batcher.destinations._http.decoding import NotJSON
from batcher.sandbox._app import Call
from batcher.sandbox._faults import FaultKind, Faults
from batcher.sandbox._reading import object_in
from batcher.sandbox._store import Row
from batcher.sandbox.salesforce.collections import ID_FIELD, Collections, RolledBack, Strikes, Work
from batcher.sandbox.salesforce.query import shown
from batcher.sandbox.salesforce.records import ATTRIBUTES, LOCKED, CallError, ItemError, Records

Items: TypeAlias = list[dict[str, Any]]
_MAX_READ = 2000


@attrs.frozen
class Handlers:
    """One method for each kind of request."""

    records: Records
    collections: Collections
    faults: Faults

    def create(self, call: Call) -> Response:
        """Add records."""
        return self._carry_out(call, self.collections.create)

    def update(self, call: Call) -> Response:
        """Change records."""
        return self._carry_out(call, self.collections.update)

    def upsert(self, call: Call) -> Response:
        """Add records of one type or change them, by an external id."""
        type, field = call.name("type"), call.name("field")
        if field != ID_FIELD and not self.records.addresses(type, field):
            words = f"Provided external ID field does not exist or is not accessible: {field}"
            raise CallError(404, "NOT_FOUND", words)

        def upsert(works: list[Work], strikes: Strikes, *, all_or_none: bool) -> Items:
            if any(work.type != type for work in works):
                raise CallError(400, "INVALID_INPUT", "all records must be of the type in the address")
            return self.collections.upsert(field, works, strikes, all_or_none=all_or_none)

        return self._carry_out(call, upsert)

    def delete(self, call: Call) -> Response:
        """Take records away. Only here the flag is part of the address."""
        works = self.collections.works_of_ids(_listed(call.query("ids")))
        return self._answer(call, works, self.collections.delete, call.query("allOrNone").lower() == "true")

    def read(self, call: Call) -> Response:
        """Return records of one type in the order of their ids, null for those that are not there."""
        given = object_of(call.body) if call.body else {}
        ids = given.get("ids", _listed(call.query("ids")))
        fields = given.get("fields", _listed(call.query("fields")))
        if not _are_texts(ids) or not _are_texts(fields) or len(ids) > _MAX_READ:
            raise CallError(400, "INVALID_INPUT", f"ids and fields must be lists of texts, of at most {_MAX_READ} ids")
        found = [self._find(call.name("type"), id) for id in ids]
        return JSONResponse([None if row is None else shown(row, call.name("version"), fields) for row in found])

    def _find(self, type: str, id: object) -> Row | None:
        try:
            return self.records.target(type, id)
        except ItemError:
            return None

    def _carry_out(self, call: Call, verb: Callable[..., Items]) -> Response:
        body = object_of(call.body)
        works = self.collections.works_of(body.get("records"))
        return self._answer(call, works, verb, body.get("allOrNone") is True)

    def _answer(self, call: Call, works: list[Work], verb: Callable[..., Items], all_or_none: bool) -> Response:
        dropped = self.faults.pick(call.fault, len(works), FaultKind.DROP)
        skipped = dropped if call.fault is not None and not call.fault.applied else ()
        strikes = self.strikes(call, works, skipped)
        try:
            with self.records.store.transaction():
                items = verb(works, strikes, all_or_none=all_or_none)
        except RolledBack as back:
            items = back.items
        items = [item for index, item in enumerate(items) if index not in dropped]
        if call.fault is not None and call.fault.kind is FaultKind.SHUFFLE:
            self.faults.shuffle(items)
        return JSONResponse(items)

    def strikes(self, call: Call, works: list[Work], skipped: Collection[int] = ()) -> Strikes:
        """Return what faults and held rows do to single records."""
        errors = {
            index: ItemError(LOCKED, "unable to obtain exclusive access to this record or 1 records")
            for index, work in enumerate(works)
            if call.locked & self.records.locks(work.type, work.record)
        }
        fault = call.fault
        if fault is not None:
            usual = LOCKED if fault.kind is FaultKind.LOCK else "FIELD_CUSTOM_VALIDATION_EXCEPTION"
            error = ItemError(fault.code or usual, fault.message or "as ordered")
            errors |= dict.fromkeys(self.faults.pick(fault, len(works), FaultKind.REJECT, FaultKind.LOCK), error)
        return Strikes(errors, skipped)


def object_of(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    :raises CallError: it is none
    """
    try:
        return object_in(body)
    except NotJSON as error:
        raise CallError(400, "JSON_PARSER_ERROR", error.detail("the body").message) from None


def wanted(call: Call, records: Records) -> set[str]:
    """Return the ids of the rows that a request will hold while it is applied; none if it cannot be read."""
    try:
        body = object_of(call.body) if call.body else {}
    except CallError:
        return set()
    ids = [call.name("id"), *_listed(call.query("ids"))]
    held = [records.locks("", {"id": id}) for id in ids]
    given = body.get("records", [body])
    for record in given if isinstance(given, list) else ():
        if isinstance(record, dict):
            attributes = record.get(ATTRIBUTES)
            type = attributes.get("type") if isinstance(attributes, dict) else call.name("type")
            held.append(records.locks(str(type), record))
    return set().union(*held)


def _are_texts(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, str) for each in given)


def _listed(given: str) -> list[str]:
    return [each.strip() for each in given.split(",") if each.strip()]
