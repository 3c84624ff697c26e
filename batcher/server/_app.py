"""The Write API as an ASGI app: routes, and how answers, pages of them and problems become responses."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from uuid import uuid4

import anyio
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from batcher.destinations import Destination
from batcher.destinations._http.arguments import at_least_one
from batcher.events import Event
from batcher.policies import AutoBatchPolicy, Limits, Seconds, to_seconds
from batcher.server._asgi import CLIENT_CLOSED_REQUEST, Reader, app_of
from batcher.server._guards import Keys, Rules, Turnstile
from batcher.server._metrics import Metrics
from batcher.server._openapi.document import document
from batcher.server._operations import Operation
from batcher.server._problems import Problem, log_event, log_failure
from batcher.server._requests import BadRequest, Installation, name_of, request_of
from batcher.server._service import SYNCHRONOUS_DEADLINE, Service

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
_INTEGRATION = "/v1/projects/{project}/integrations/{integration}"
_OPERATION = "/v1/projects/{project}/operations/{operation}"
_DEFAULT_PAGE, _MAX_PAGE = 200, 1000


class _JSON(JSONResponse):
    """Escapes lone surrogates, which a provider may answer and UTF-8 cannot carry."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
            errors="backslashreplace"
        )


class Api:
    """The endpoints."""

    def __init__(self, service: Service, keys: Keys, turnstile: Turnstile, reader: Reader, metrics: Metrics) -> None:
        self._service = service
        self._keys = keys
        self._turnstile = turnstile
        self._reader = reader
        self._metrics = metrics
        self._document = document(reader.max_bytes)

    def app(self) -> Starlette:
        """Return the app."""
        secured = [
            ("write", "POST", f"{_INTEGRATION}/objects/{{object}}", self._write),
            ("operation", "GET", _OPERATION, self._operation),
            ("outcomes", "GET", f"{_OPERATION}/outcomes", self._outcomes),
            ("operations", "GET", f"{_INTEGRATION}/installations/{{installation}}/operations", self._operations),
        ]
        routes = [
            *(Route(path, self._guarded(name, endpoint), methods=[method]) for name, method, path, endpoint in secured),
            Route("/healthz", self._health),
            Route("/metrics", self._show_metrics),
            Route("/openapi.json", self._openapi),
        ]
        app = app_of(routes, self._not_routed, self._lifespan)
        app.router.redirect_slashes = False  # an address with one slash more is another address
        app.state.end_within = self._service.end_within
        return app

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self._service.running():
            yield

    def _guarded(self, name: str, endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            began = anyio.current_time()
            response = await self._answer(request, endpoint)
            self._metrics.observe_request(name, response.status_code, anyio.current_time() - began)
            return response

        return answer

    async def _answer(self, request: Request, endpoint: Endpoint) -> Response:
        try:
            self._keys.check(request)
            with self._turnstile.passing():
                return await endpoint(request)
        except BadRequest as error:
            return PlainTextResponse(str(error), 400)
        except Problem as problem:
            return self._problem(problem)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:
            log_failure("a request could not be served", error)
            return self._problem(Problem(500, "the server failed; what became of the records is not known"))

    # The Write API

    async def _write(self, request: Request) -> Response:
        project, integration, name = _names(request, "project", "integration", "object")
        body = await self._reader.read(request)
        answer = await self._service.write(request_of(project, integration, name, body))
        return _JSON(answer.body, answer.status, answer.headers)

    async def _operation(self, request: Request) -> Response:
        return _JSON(self._named(request).to_json())

    async def _outcomes(self, request: Request) -> Response:
        operation = self._named(request)
        size, token = _paging(request)
        first = token or 0
        following = first + size if first + size < len(operation.fates) else None
        return _JSON(_page_of(operation.outcomes(first, size), following))

    async def _operations(self, request: Request) -> Response:
        installation = Installation(*_names(request, "project", "integration", "installation"))
        size, token = _paging(request)
        found, following = self._service.operations.page(installation, token, size)
        return _JSON(_page_of([each.to_json() for each in found], following))

    def _named(self, request: Request) -> Operation:
        project, name = _names(request, "project", "operation")
        operation = self._service.operations.find(project, name)
        if operation is None:
            raise Problem(
                404,
                "Operation not found for the given operation ID.",
                "Verify the operation ID and project are correct, or list operations to find a valid ID.",
            )
        return operation

    # For those who run it

    async def _health(self, request: Request) -> Response:
        return _JSON({"status": "ok"})

    async def _show_metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def _openapi(self, request: Request) -> Response:
        return _JSON(self._document)

    def _problem(self, problem: Problem) -> Response:
        headers = dict(problem.headers)
        if problem.retry_after is not None:
            headers["retry-after"] = f"{problem.retry_after:.0f}"
        body = problem.to_json(self._service.clock(), str(uuid4()))
        return _JSON(body, problem.status, headers, "application/problem+json")

    def _not_routed(self, status: int, headers: dict[str, str]) -> Response:
        detail = "this address takes other methods" if status == 405 else "there is nothing at this address"
        return self._problem(Problem(status, detail, headers=headers))


def write_api(
    destination: Destination,
    *,
    api_keys: Collection[str],
    deletion_enabled: Collection[str] = (),
    installations: Collection[Installation] | None = None,
    auto_batch: AutoBatchPolicy | None = None,
    limits: Limits | None = None,
    synchronous_deadline: Seconds = SYNCHRONOUS_DEADLINE,
    keep_for: Seconds = 86_400.0,
    keep_records: int = 200_000,
    max_body_bytes: int = 2_000_000,
    body_timeout: Seconds = 30.0,
    max_requests: int = 1000,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Return an ASGI app that speaks the Write API and writes to *destination*.

    Its lifespan opens the destination, and at the end drains. It may begin again, in another event loop as well, as
    under test clients and adapters that have a lifespan for each use; operations are forgotten with the one before.
    ``app.state.end_within(seconds)`` is ``Writer.end_within()`` of its Writer: for the moment when the host begins to
    shut down, and waits for requests that wait for their records.

    :param destination: where to, for example ``SQLite("crm.db")``
    :param api_keys: those who show one of them in ``X-Api-Key`` are let in
    :param deletion_enabled: names of objects whose records may be deleted, as in the requests
    :param installations: those whose records may be written; None for any. All go to the one destination
    :param auto_batch: when a batch is due that nobody gave a window of its own; by default 100 records, 1 MB, 0.05 s
    :param limits: ceilings of what is pending and in flight; by default those of :class:`Limits`, with 20 s for a call
    :param synchronous_deadline: seconds or timedelta for which a synchronous write is sent and tried again. With 20 s
        for the last call it is answered within the 30 s after which Ampersand's own SDK for agents gives up
    :param keep_for: seconds or timedelta after its end for which an operation can be read
    :param keep_records: of ended operations, in all; the oldest operations are forgotten first
    :param max_body_bytes: the longest body that is read
    :param body_timeout: seconds or timedelta that a body may take to arrive
    :param max_requests: that are served at the same time; others get a 503
    :param clock: returns seconds since 1970, for the times that are shown; ages are measured on that of the event loop
    :raises ValueError: an argument out of range
    """
    rules = Rules(
        deletion_enabled=deletion_enabled,
        installations=installations,
        synchronous_deadline=to_seconds("synchronous_deadline", synchronous_deadline),
        keep_for=to_seconds("keep_for", keep_for),
        keep_records=at_least_one("keep_records", keep_records),
    )
    metrics = Metrics()

    def tell(event: Event) -> None:
        metrics.observe(event)
        log_event(event)

    service = Service(destination, rules, auto_batch=auto_batch, limits=limits, on_event=tell, clock=clock)
    metrics.watch(service)
    turnstile = Turnstile(at_least_one("max_requests", max_requests))
    reader = Reader(at_least_one("max_body_bytes", max_body_bytes), to_seconds("body_timeout", body_timeout))
    return Api(service, Keys(api_keys), turnstile, reader, metrics).app()


def _names(request: Request, *parameters: str) -> list[str]:
    return [name_of(request.path_params[each]) for each in parameters]


def _paging(request: Request) -> tuple[int, int | None]:
    """Return the size of the page, and where it begins."""
    given = request.query_params.get("pageSize", str(_DEFAULT_PAGE))
    if not (given.isdecimal() and given.isascii() and len(given) < 5 and 1 <= int(given) <= _MAX_PAGE):
        raise _issue("pageSize", f"pageSize must be a whole number from 1 to {_MAX_PAGE}")
    token = request.query_params.get("pageToken")
    return int(given), None if token is None else _position(token)


def _page_of(results: list[dict[str, Any]], following: int | None) -> dict[str, Any]:
    """Return a page of *results*; *following* is where the next one begins, if there is one."""
    if following is None:
        return {"results": results, "pagination": {"done": True}}
    token = urlsafe_b64encode(str(following).encode()).decode()
    return {"results": results, "pagination": {"done": False, "nextPageToken": token}}


def _position(token: str) -> int:
    try:
        position = urlsafe_b64decode(token.encode()).decode("ascii")
    except ValueError:
        position = ""
    if not (position.isdecimal() and len(position) < 20):
        raise _issue("pageToken", "pageToken must be the nextPageToken of an earlier page")
    return int(position)


def _issue(name: str, detail: str) -> Problem:
    issue = {"in": "query", "name": name, "detail": detail}
    return Problem(400, detail, extra={"issues": [issue]})
