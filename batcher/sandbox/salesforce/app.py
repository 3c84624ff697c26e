"""A stand-in for Salesforce's REST API: collections, single records, a little SOQL, tokens."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Final

import anyio
import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batcher.sandbox._app import Call, Handler, Sandbox
from batcher.sandbox._faults import Fault, Faults
from batcher.sandbox._refusals import Refused
from batcher.sandbox.salesforce.collections import Collections
from batcher.sandbox.salesforce.handlers import Handlers, wanted
from batcher.sandbox.salesforce.records import DEFAULT_OBJECTS, CallError, Records, SalesforceObject
from batcher.sandbox.salesforce.rows import Rows
from batcher.sandbox.salesforce.tokens import GrantError, Grants, Verify

_DATA: Final = "/services/data/{version}"
_SET: Final = f"{_DATA}/composite/sobjects"
_ROWS: Final = f"{_DATA}/sobjects/{{type}}"
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
    CLIENT_ID: ClassVar[str] = "sandbox-client"
    CLIENT_SECRET: ClassVar[str] = "sandbox-secret"  # noqa: S105

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
        handlers = Handlers(self._records, Collections(self._records), self.faults)
        self._serve(handlers, Rows(handlers))

    def _serve(self, handlers: Handlers, rows: Rows) -> None:
        self._route("/services/oauth2/token", "POST", self._token, admitted=True)
        routes: list[tuple[str, str, Handler]] = [
            ("POST", _SET, handlers.create),
            ("PATCH", _SET, handlers.update),
            ("DELETE", _SET, handlers.delete),
            ("PATCH", f"{_SET}/{{type}}/{{field}}", handlers.upsert),
            ("GET", f"{_SET}/{{type}}", handlers.read),
            ("POST", f"{_SET}/{{type}}", handlers.read),
            ("POST", _ROWS, rows.create),
            ("POST", f"{_ROWS}/", rows.create),
            ("GET", f"{_ROWS}/{{id}}", rows.read),
            ("PATCH", f"{_ROWS}/{{id}}", rows.update),
            ("DELETE", f"{_ROWS}/{{id}}", rows.delete),
            ("GET", f"{_ROWS}/{{field}}/{{value}}", rows.read),
            ("PATCH", f"{_ROWS}/{{field}}/{{value}}", rows.upsert),
            ("GET", f"{_DATA}/query", rows.query),
            ("GET", f"{_DATA}/query/", rows.query),
            ("POST", f"{_DATA}/composite", rows.composite),
        ]
        for method, path, handler in routes:
            self._route(path, method, handler)

    # Whom it lets in

    def _admit(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self.tokens.admits(token):
            raise self._expired()
        if self._calls >= self._most_calls:
            raise self._throttled("")
        self._calls += 1
        if len(str(request.url)) > _MAX_ADDRESS:
            raise CallError(414, "URI_TOO_LONG", "URI is too long")
        version = re.fullmatch(r"v(\d+)\.0", request.path_params["version"])
        if version is None:
            raise CallError(404, "NOT_FOUND", "The requested resource does not exist")
        if int(version[1]) < _OLDEST:
            raise CallError(410, "UNSUPPORTED_API_VERSION", "The requested API version was retired")

    def _headers(self) -> dict[str, str]:
        return {"Sforce-Limit-Info": f"api-usage={self._calls}/{self._most_calls}"}

    def _failure(self, status: int, message: str, code: str = "") -> Refused:
        return CallError(status, code or _CODES.get(status, "UNKNOWN_EXCEPTION"), message)

    def _expired(self) -> Refused:
        return CallError(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def _throttled(self, code: str) -> Refused:
        return CallError(403, "REQUEST_LIMIT_EXCEEDED", f"{code or 'TotalRequests'} Limit exceeded.")

    def _token(self, call: Call) -> Response:
        try:
            self._grants.check(call.body, call.request.headers.get("authorization", ""), self.clock())
        except GrantError as error:
            return JSONResponse({"error": error.code, "error_description": str(error)}, 400)
        base = str(call.request.base_url).rstrip("/")
        issued = {
            "access_token": self.tokens.issue(),
            "signature": "c2FuZGJveA==",
            "token_format": "opaque",
            "instance_url": base,
            "id": f"{base}/id/00D000000000001AAA/005000000000001AAA",
            "token_type": "Bearer",
            "issued_at": f"{self.clock() * 1000:.0f}",
        }
        return JSONResponse(issued)

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
