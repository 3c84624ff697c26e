"""Salesforce's requests for queries, one or several."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._calls import Call
from batcher.sandbox.salesforce.answers import CallError, not_supported
from batcher.sandbox.salesforce.query import Query
from batcher.sandbox.salesforce.records import Records

_MAX_QUERIES: Final = 5
_MAX_SOQL: Final = 100_000
# What is replaced by a part of the answer to a request before.
_REFERENCE: Final = re.compile(r"@\{")


@attrs.frozen
class QueryHandlers:
    """One method for each kind of request."""

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
            raise not_supported(query.type)
        return query.answer(self.records.store.rows(query.type), call.name("version"))
