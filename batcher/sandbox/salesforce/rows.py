"""Salesforce's requests for single records, and queries."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._app import Call
from batcher.sandbox._store import Row
from batcher.sandbox.salesforce.collections import Work
from batcher.sandbox.salesforce.handlers import Handlers, object_of
from batcher.sandbox.salesforce.query import Query, shown
from batcher.sandbox.salesforce.records import CallError, ItemError

_MOST_QUERIES: Final = 5
_MOST_SOQL: Final = 100_000
# What is replaced by a part of the answer to a request before.
_REFERENCE: Final = re.compile(r"@\{")


@attrs.frozen
class Rows:
    """One method for each kind of request."""

    many: Handlers

    def create(self, call: Call) -> Response:
        """Add a record."""
        records, type = self.many.records, call.name("type")
        body = self._body(call)
        with records.store.transaction():
            row = records.create(type, records.fields_of(type, body))
        return JSONResponse({"id": row.id, "success": True, "errors": []}, 201)

    def read(self, call: Call) -> Response:
        """Return a record."""
        self._check_type(call)
        return JSONResponse(shown(self._target(call), call.name("version")))

    def update(self, call: Call) -> Response:
        """Change a record."""
        records = self.many.records
        body = self._body(call)
        row = self._target(call)
        with records.store.transaction():
            records.update(row, records.fields_of(row.type, body))
        return Response(status_code=204)

    def delete(self, call: Call) -> Response:
        """Take a record away."""
        self._body(call)
        row = self._target(call)
        with self.many.records.store.transaction():
            self.many.records.delete(row)
        return Response(status_code=204)

    def upsert(self, call: Call) -> Response:
        """Add a record or change it, by an external id; 300 if there are several."""
        body = self._body(call)
        rows = self._by_address(call)
        if len(rows) > 1:
            address = f"/services/data/{call.name('version')}/sobjects/{call.name('type')}"
            return JSONResponse([f"{address}/{row.id}" for row in rows], 300)
        with self.many.records.store.transaction():
            row, created = self.many.collections.upsert_one(
                call.name("type"), call.name("field"), call.name("value"), body
            )
        answer = {"id": row.id, "success": True, "errors": [], "created": created}
        return JSONResponse(answer, 201 if created else 200)

    def query(self, call: Call) -> Response:
        """Find records."""
        return JSONResponse(self._found(call, call.query("q")))

    def composite(self, call: Call) -> Response:
        """Answer several requests, each on its own. Only queries are known here."""
        given = object_of(call.body).get("compositeRequest")
        if not isinstance(given, list) or not 1 <= len(given) <= _MOST_QUERIES:
            raise CallError(400, "INVALID_INPUT", f"compositeRequest must be a list of 1 to {_MOST_QUERIES} queries")
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
        if len(soql) > _MOST_SOQL:
            raise CallError(400, "QUERY_TOO_COMPLICATED", "the query is too long")
        try:
            query = Query.parse(soql)
        except ValueError as error:
            raise CallError(400, "MALFORMED_QUERY", str(error)) from None
        if self.many.records.describe(query.type) is None:
            raise CallError(400, "INVALID_TYPE", f"sObject type '{query.type}' is not supported.")
        return query.answer(self.many.records.store.rows(query.type), call.name("version"))

    def _body(self, call: Call) -> dict[str, Any]:
        """Return what a request carries, once it is clear that nothing strikes its record.

        :raises CallError: no such type, or not JSON
        :raises ItemError: something strikes it
        """
        self._check_type(call)
        body = object_of(call.body) if call.body else {}
        work = Work(call.name("type"), {**body, "id": call.name("id")})
        self.many.strikes(call, [work]).check(0)
        return body

    def _check_type(self, call: Call) -> None:
        if self.many.records.describe(call.name("type")) is None:
            raise _not_found()

    def _target(self, call: Call) -> Row:
        if call.name("field"):
            rows = self._by_address(call)
            if not rows:
                raise _not_found()
            return rows[0]
        try:
            return self.many.records.target(call.name("type"), call.name("id"))
        except ItemError as error:
            if error.code == "ENTITY_IS_DELETED":
                raise CallError(404, error.code, error.message) from None
            raise _not_found() from None

    def _by_address(self, call: Call) -> list[Row]:
        type, field = call.name("type"), call.name("field")
        if not self.many.records.addresses(type, field):
            raise CallError(
                404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {field}"
            )
        return self.many.records.find(type, field, call.name("value"))


def _not_found() -> CallError:
    return CallError(404, "NOT_FOUND", "The requested resource does not exist")
