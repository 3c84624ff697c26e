"""Salesforce's requests: from HTTP to collections, records and queries, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._calls import Call
from batcher.sandbox._faults import FaultKind, Faults
from batcher.sandbox._store import Row
from batcher.sandbox.salesforce.answers import CallError, ItemError, bad_field, not_found, success, to_json, unsupported
from batcher.sandbox.salesforce.batches import ID_FIELD, Act, Batches
from batcher.sandbox.salesforce.inputs import Input, inputs_of, inputs_of_ids, listed
from batcher.sandbox.salesforce.query import Query
from batcher.sandbox.salesforce.records import Records

_LOCKED: Final = "UNABLE_TO_LOCK_ROW"
_MAX_READ: Final = 2000
_MAX_QUERIES: Final = 5
_MAX_SOQL: Final = 100_000
# What is replaced by a part of the answer to a request before.
_REFERENCE: Final = re.compile(r"@\{")


@attrs.frozen
class BatchHandlers:
    """What answers requests for many records: one method for each kind."""

    batches: Batches
    faults: Faults

    def create(self, call: Call) -> Response:
        """Add records."""
        return self._carry_out(call, self.batches.create, *self._given(call))

    def update(self, call: Call) -> Response:
        """Change records."""
        return self._carry_out(call, self.batches.update(), *self._given(call))

    def upsert(self, call: Call) -> Response:
        """Add records of one type or change them, by an external id."""
        type, field = call.name("type"), call.name("field")
        if field != ID_FIELD and not self.batches.records.addresses(type, field):
            raise bad_field(field)
        inputs, all_or_none = self._given(call)
        if any(input.type != type for input in inputs):
            raise CallError(400, "INVALID_INPUT", "all records must be of the type in the address")
        return self._carry_out(call, self.batches.upsert(field, inputs), inputs, all_or_none)

    def delete(self, call: Call) -> Response:
        """Take records away. Only here the flag is part of the address."""
        inputs = inputs_of_ids(self.batches.records, listed(call.query("ids")))
        return self._carry_out(call, self.batches.delete, inputs, call.query("allOrNone").lower() == "true")

    def read(self, call: Call) -> Response:
        """Return records of one type in the order of their ids, null for those that are not there."""
        given = call.content() if call.body else {}
        ids = given.get("ids", listed(call.query("ids")))
        fields = given.get("fields", listed(call.query("fields")))
        if not _are_texts(ids) or not _are_texts(fields) or len(ids) > _MAX_READ:
            raise CallError(400, "INVALID_INPUT", f"ids and fields must be lists of texts, of at most {_MAX_READ} ids")
        found = [self._find(call.name("type"), id) for id in ids]
        return JSONResponse([None if row is None else to_json(row, call.name("version"), fields) for row in found])

    def _find(self, type: str, id: object) -> Row | None:
        try:
            return self.batches.records.target(type, id)
        except ItemError:
            return None

    def _given(self, call: Call) -> tuple[list[Input], bool]:
        body = call.content()
        return inputs_of(self.batches.records, body.get("records")), body.get("allOrNone") is True

    def _carry_out(self, call: Call, act: Act, inputs: list[Input], all_or_none: bool) -> Response:
        errors = _struck(call, inputs, self.batches.records, self.faults)
        strikes = self.faults.strikes(call.fault, len(inputs), errors)
        items = self.batches.carry_out(act, inputs, strikes, all_or_none=all_or_none)
        items = [item for index, item in enumerate(items) if index not in strikes.dropped]
        if call.fault is not None and call.fault.kind is FaultKind.SHUFFLE:
            self.faults.shuffle(items)
        return JSONResponse(items)


@attrs.frozen
class RecordHandlers:
    """What answers requests for single records."""

    batches: Batches
    records: Records
    faults: Faults

    def create(self, call: Call) -> Response:
        """Add a record."""
        type = call.name("type")
        body = self._body(call)
        with self.records.store.transaction():
            row = self.records.create(type, self.records.fields_of(type, body))
        return JSONResponse(success(row), 201)

    def read(self, call: Call) -> Response:
        """Return a record."""
        self._check_type(call)
        return JSONResponse(to_json(self._target(call), call.name("version")))

    def update(self, call: Call) -> Response:
        """Change a record."""
        body = self._body(call)
        row = self._target(call)
        with self.records.store.transaction():
            self.records.update(row, self.records.fields_of(row.type, body))
        return Response(status_code=204)

    def delete(self, call: Call) -> Response:
        """Take a record away."""
        self._body(call)
        row = self._target(call)
        with self.records.store.transaction():
            self.records.delete(row)
        return Response(status_code=204)

    def upsert(self, call: Call) -> Response:
        """Add a record or change it, by an external id; 300 if there are several."""
        body = self._body(call)
        rows = self._by_address(call)
        if len(rows) > 1:
            address = f"/services/data/{call.name('version')}/sobjects/{call.name('type')}"
            return JSONResponse([f"{address}/{row.id}" for row in rows], 300)
        with self.records.store.transaction():
            row, created = self.batches.upsert_one(call.name("type"), call.name("field"), call.name("value"), body)
        return JSONResponse({**success(row), "created": created}, 201 if created else 200)

    def _body(self, call: Call) -> dict[str, Any]:
        """Return what a request carries, once it is clear that nothing strikes its record.

        :raises CallError: no such type
        :raises ItemError: something strikes it
        """
        self._check_type(call)
        body = call.content() if call.body else {}
        input = Input(call.name("type"), {**body, "id": call.name("id")})
        for error in _struck(call, [input], self.records, self.faults).values():
            raise error
        return body

    def _check_type(self, call: Call) -> None:
        if self.records.describe(call.name("type")) is None:
            raise not_found()

    def _target(self, call: Call) -> Row:
        if call.name("field"):
            rows = self._by_address(call)
            if not rows:
                raise not_found()
            return rows[0]
        try:
            return self.records.target(call.name("type"), call.name("id"))
        except ItemError as error:
            if error.code == "ENTITY_IS_DELETED":
                raise CallError(404, error.code, error.message) from None
            raise not_found() from None

    def _by_address(self, call: Call) -> list[Row]:
        type, field = call.name("type"), call.name("field")
        if not self.records.addresses(type, field):
            raise bad_field(field)
        return self.records.find(type, field, call.name("value"))


@attrs.frozen
class QueryHandlers:
    """What answers queries, one or several."""

    records: Records

    def query(self, call: Call) -> Response:
        """Find records."""
        return JSONResponse(self._found(call, call.query("q")))

    def composite(self, call: Call) -> Response:
        """Answer several requests, each on its own. Only queries are known here."""
        given = call.content().get("compositeRequest")
        if not isinstance(given, list) or not 1 <= len(given) <= _MAX_QUERIES:
            raise CallError(400, "INVALID_INPUT", f"compositeRequest must be a list of 1 to {_MAX_QUERIES} queries")
        return JSONResponse({"compositeResponse": [self._inner(call, each) for each in given]})

    def _inner(self, call: Call, given: Any) -> dict[str, Any]:
        given = given if isinstance(given, dict) else {}
        url = urlsplit(str(given.get("url")))
        try:
            if given.get("method") != "GET" or url.path.rstrip("/") != f"/services/data/{call.name('version')}/query":
                raise CallError(400, "INVALID_INPUT", "this sandbox knows no other subrequests than queries")
            if _REFERENCE.search(unquote(url.query)):
                raise CallError(400, "PROCESSING_HALTED", "Invalid reference specified.")
            status, body = 200, self._found(call, parse_qs(url.query).get("q", [""])[0])
        except CallError as error:
            status, body = error.status, error.body
        return {"body": body, "httpHeaders": {}, "httpStatusCode": status, "referenceId": given.get("referenceId")}

    def _found(self, call: Call, soql: str) -> Any:
        if len(soql) > _MAX_SOQL:
            raise CallError(400, "QUERY_TOO_COMPLICATED", "the query is too long")
        try:
            query = Query.parse(soql)
        except ValueError as error:
            raise CallError(400, "MALFORMED_QUERY", str(error)) from None
        if self.records.describe(query.type) is None:
            raise unsupported(query.type)
        return query.answer(self.records.store.rows(query.type), call.name("version"))


def _struck(call: Call, inputs: Sequence[Input], records: Records, faults: Faults) -> dict[int, ItemError]:
    """Return why faults and held rows refuse single records, by their index."""
    errors = {
        index: ItemError(_LOCKED, "unable to obtain exclusive access to this record or 1 records")
        for index, input in enumerate(inputs)
        if call.locked & records.locks(input.type, input.record)
    }
    fault = call.fault
    if fault is not None:
        usual = _LOCKED if fault.kind is FaultKind.LOCK else "FIELD_CUSTOM_VALIDATION_EXCEPTION"
        error = ItemError(fault.code or usual, fault.message or "as ordered")
        errors |= dict.fromkeys(faults.pick(fault, len(inputs), FaultKind.REJECT, FaultKind.LOCK), error)
    return errors


def _are_texts(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, str) for each in given)
