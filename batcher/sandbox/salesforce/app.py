"""A stand-in for Salesforce's REST API: collections, single records, a little SOQL, tokens."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import anyio
import attrs
from starlette.requests import Request
from starlette.responses import Response

from batcher.destinations._http.decoding import NotJSON
from batcher.sandbox._app import Sandbox
from batcher.sandbox._calls import Call, Handler, Refused
from batcher.sandbox._faults import Fault, Faults
from batcher.sandbox._tokens import bearer_of
from batcher.sandbox.salesforce.answers import CallError, not_found
from batcher.sandbox.salesforce.batches import Batches
from batcher.sandbox.salesforce.handlers import BatchHandlers, QueryHandlers, RecordHandlers
from batcher.sandbox.salesforce.inputs import wanted
from batcher.sandbox.salesforce.records import DEFAULT_OBJECTS, Records, SalesforceObject
from batcher.sandbox.salesforce.tokens import Grants, Verify

_DATA: Final = "/services/data/{version}"
_SET: Final = f"{_DATA}/composite/sobjects"
_ONE: Final = f"{_DATA}/sobjects/{{type}}"
_OLDEST: Final = 31
_MAX_ADDRESS: Final = 16_384
_CODES: Final = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 415: "UNSUPPORTED_MEDIA_TYPE", 503: "SERVER_UNAVAILABLE"}


class SalesforceSandbox(Sandbox):
    """An ASGI app that stands in for one Salesforce organization; see :class:`Sandbox` for what all sandboxes have.

    :param objects: what the organization knows of types; custom ones, with names in ``__c``, need no entry
    :param calls_a_day: that are answered
    :param latency: seconds that each write takes. Meanwhile it holds the rows it writes, and their parents; others that
        want one of them are told so
    :param verify: tells of what was signed, and the signature, whether a JWT is right; None takes any signature
    """

    TOKEN: ClassVar[str] = "00D000000000001!sandbox"  # noqa: S105

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        objects: Mapping[str, SalesforceObject] = DEFAULT_OBJECTS,
        calls_a_day: int = 100_000,
        latency: float = 0.0,
        verify: Verify | None = None,
        faults: Faults | Fault | Iterable[Fault] | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        token_lifetime: float = 7200.0,
    ) -> None:
        super().__init__(path, faults=faults, seed=seed, clock=clock, token_lifetime=token_lifetime)
        self._calls, self._most_calls = 0, calls_a_day
        self._latency = latency
        self._held: set[str] = set()
        self._grants = Grants(self.CLIENT_ID, self.CLIENT_SECRET, verify)
        self._records = Records(self.store, objects, clock)
        batches = Batches(self._records)
        many = BatchHandlers(batches, self.faults)
        self._serve(many, RecordHandlers(batches, self._records, self.faults), QueryHandlers(self._records))

    def _serve(self, many: BatchHandlers, one: RecordHandlers, queries: QueryHandlers) -> None:
        self._route("/services/oauth2/token", "POST", self._issue, admitted=True)
        routes: list[tuple[str, str, Handler]] = [
            ("POST", _SET, many.create),
            ("PATCH", _SET, many.update),
            ("DELETE", _SET, many.delete),
            ("PATCH", f"{_SET}/{{type}}/{{field}}", many.upsert),
            ("GET", f"{_SET}/{{type}}", many.read),
            ("POST", f"{_SET}/{{type}}", many.read),
            ("POST", _ONE, one.create),
            ("POST", f"{_ONE}/", one.create),
            ("GET", f"{_ONE}/{{id}}", one.read),
            ("PATCH", f"{_ONE}/{{id}}", one.update),
            ("DELETE", f"{_ONE}/{{id}}", one.delete),
            ("GET", f"{_ONE}/{{field}}/{{value}}", one.read),
            ("PATCH", f"{_ONE}/{{field}}/{{value}}", one.upsert),
            ("GET", f"{_DATA}/query", queries.query),
            ("GET", f"{_DATA}/query/", queries.query),
            ("POST", f"{_DATA}/composite", queries.composite),
        ]
        for method, path, handler in routes:
            self._route(path, method, handler)

    # Whom it lets in

    def _admit(self, request: Request) -> None:
        if not self.tokens.admits(bearer_of(request)):
            raise self._expired()
        if self._calls >= self._most_calls:
            raise self._throttled("")
        self._calls += 1
        if len(str(request.url)) > _MAX_ADDRESS:
            raise CallError(414, "URI_TOO_LONG", "URI is too long")
        version = re.fullmatch(r"v(\d+)\.0", request.path_params["version"])
        if version is None:
            raise not_found()
        if int(version[1]) < _OLDEST:
            raise CallError(410, "UNSUPPORTED_API_VERSION", "The requested API version was retired")

    def _headers(self) -> dict[str, str]:
        return {"Sforce-Limit-Info": f"api-usage={self._calls}/{self._most_calls}"}

    def _failure(self, status: int, message: str, code: str = "") -> Refused:
        return CallError(status, code or _CODES.get(status, "UNKNOWN_EXCEPTION"), message)

    def _unreadable(self, error: NotJSON) -> Refused:
        return CallError(400, "JSON_PARSER_ERROR", error.detail("the body").message)

    def _expired(self) -> Refused:
        return CallError(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def _throttled(self, code: str) -> Refused:
        return CallError(403, "REQUEST_LIMIT_EXCEEDED", f"{code or 'TotalRequests'} Limit exceeded.")

    def _grant(self, form: Mapping[str, str], request: Request) -> dict[str, Any]:
        self._grants.check(form, request.headers.get("authorization", ""), self.clock())
        base = str(request.base_url).rstrip("/")
        return {
            "signature": "c2FuZGJveA==",
            "token_format": "opaque",
            "instance_url": base,
            "id": f"{base}/id/00D000000000001AAA/005000000000001AAA",
            "token_type": "Bearer",
            "issued_at": f"{self.clock() * 1000:.0f}",
        }

    # Rows that are held

    async def _apply(self, call: Call, handler: Handler) -> Response:
        if not self._latency or call.request.method == "GET":
            return handler(call)
        ids = wanted(call, self._records)
        mine, locked = ids - self._held, frozenset(ids & self._held)
        self._held |= mine
        try:
            await anyio.sleep(self._latency)
            return handler(attrs.evolve(call, locked=locked))
        finally:
            self._held -= mine
