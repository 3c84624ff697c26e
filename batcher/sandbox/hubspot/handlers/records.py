"""HubSpot's requests for single records."""

from __future__ import annotations

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._calls import Call
from batcher.sandbox._store import Row
from batcher.sandbox._strikes import Strikes
from batcher.sandbox.hubspot.answers import Problem, to_json
from batcher.sandbox.hubspot.batches import Batches
from batcher.sandbox.hubspot.handlers.batches import check_lock
from batcher.sandbox.hubspot.records import Records, check_all, name_of


@attrs.frozen
class RecordHandlers:
    """One method for each kind of request."""

    batches: Batches
    records: Records

    def create(self, call: Call) -> Response:
        """Add a record."""
        check_lock(call)
        with self.records.store.transaction():
            done = self.batches.create(name_of(call.name("type")), [call.content()], Strikes())
        return JSONResponse(done.results[0], 201)

    def read(self, call: Call) -> Response:
        """Return a record."""
        return JSONResponse(to_json(self._found(call)))

    def update(self, call: Call) -> Response:
        """Change a record."""
        check_lock(call)
        row = self._found(call)
        values = self.records.values(call.content().get("properties"))
        check_all(self.records.problems(row.type, values))
        with self.records.store.transaction():
            return JSONResponse(to_json(self.records.update(row, values, named=False)))

    def archive(self, call: Call) -> Response:
        """Take a record away, if it is there."""
        check_lock(call)
        row = self.records.find(name_of(call.name("type")), call.name("id"))
        if row is not None:
            with self.records.store.transaction():
                self.records.store.archive(row, self.records.clock())
        return Response(status_code=204)

    def _found(self, call: Call) -> Row:
        row = self.records.find(name_of(call.name("type")), call.name("id"), call.query("idProperty") or None)
        if row is None:
            raise Problem(404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
        return row
