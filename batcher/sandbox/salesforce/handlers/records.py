"""Salesforce's requests for single records."""

from __future__ import annotations

from typing import Any

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._calls import Call
from batcher.sandbox._faults import Faults
from batcher.sandbox._store import Row
from batcher.sandbox.salesforce.answers import CallError, ItemError, bad_field, not_found, success, to_json
from batcher.sandbox.salesforce.batches import Batches
from batcher.sandbox.salesforce.handlers.batches import struck
from batcher.sandbox.salesforce.inputs import Input
from batcher.sandbox.salesforce.records import Records


@attrs.frozen
class RecordHandlers:
    """One method for each kind of request."""

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
        for error in struck(call, [input], self.records, self.faults).values():
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
