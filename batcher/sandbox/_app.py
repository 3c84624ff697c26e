"""What both sandboxes are: an ASGI app over a store, with faults to order and a way to look inside.

How a request travels: the fault that strikes it is drawn; what happens instead of applying happens; the provider's
handler applies it and answers; what happens to the answer happens.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from batcher.destinations._http.decoding import NotJSON
from batcher.sandbox._breaking import Half, Reset
from batcher.sandbox._calls import Call, Handler, Refused
from batcher.sandbox._control import routes, to_json
from batcher.sandbox._faults import Fault, FaultKind, Faults, faults_of
from batcher.sandbox._store import Store
from batcher.sandbox._tokens import Tokens, bearer_of
from batcher.server._asgi import CLIENT_CLOSED_REQUEST, Reader, app_of
from batcher.server._problems import Problem

# Far more than the largest batch of either provider.
_READER = Reader(max_bytes=50_000_000, timeout=60.0)


class Sandbox(ABC):
    """An ASGI app that stands in for a provider.

    One object lives in one event loop at a time and works without a thread, so that virtual time can drive it. Close
    it, or use it in a ``with`` statement.

    :param path: of the database; in memory by default
    :param faults: what goes wrong: a list of :class:`Fault`; nothing by default. Also settable later, by
        ``faults.order()`` and through ``POST /sandbox/faults``
    :param seed: of whatever the provider does at random
    :param clock: returns seconds since 1970, for what is stored
    """

    TOKEN: ClassVar[str]
    """The token that is always valid."""
    CLIENT_ID: ClassVar[str] = "sandbox-client"
    CLIENT_SECRET: ClassVar[str] = "sandbox-secret"  # noqa: S105

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        faults: Faults | Fault | Iterable[Fault] | None = None,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        token_lifetime: float,
    ) -> None:
        self.faults = faults_of(faults, seed)
        self.store = Store(path)
        self.tokens = Tokens(self.TOKEN, token_lifetime)
        self.dice = Random(seed)
        self.clock = clock
        self.app = app_of(routes(self.faults, self.store), self._not_routed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an ASGI app."""
        await self.app(scope, receive, send)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    def credentials(self) -> dict[str, str]:
        """Return name and value of whatever is let in: well known, and no secrets."""
        names = ("TOKEN", "CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN")
        return {name.replace("_", " ").capitalize(): getattr(self, name) for name in names if hasattr(self, name)}

    def records(self, type: str, *, archived: bool = False) -> list[dict[str, Any]]:
        """Return the records of a type with their id, to be compared with what was written.

        :param archived: also those that were archived or deleted
        """
        return [to_json(row) for row in self.store.rows(type, archived=archived)]

    # What a provider adds

    @abstractmethod
    def _admit(self, request: Request) -> None:
        """Check token and limits.

        :raises Refused: not let in
        """

    @abstractmethod
    def _grant(self, form: Mapping[str, str], request: Request) -> dict[str, Any]:
        """Return what is said of a new token, besides the token.

        :param form: what the request for it holds
        :raises Refused: there is none for it
        """

    @abstractmethod
    def _headers(self) -> dict[str, str]:
        """Return what every answer carries."""

    @abstractmethod
    def _failure(self, status: int, message: str, code: str = "") -> Refused:
        """Return what is said of a request that fails as a whole, in the provider's shape."""

    @abstractmethod
    def _unreadable(self, error: NotJSON) -> Refused:
        """Return what is said of a body that is no JSON object."""

    @abstractmethod
    def _throttled(self, code: str) -> Refused:
        """Return what is said of one request too many."""

    @abstractmethod
    def _expired(self) -> Refused:
        """Return what is said of a token that is no longer valid."""

    async def _apply(self, call: Call, handler: Handler) -> Response:
        """Apply a request. A provider that takes its time overrides this."""
        return handler(call)

    # The way of a request

    def _route(self, path: str, method: str, handler: Handler, *, admitted: bool = False) -> None:
        """Send requests to *handler*.

        :param admitted: everybody is let in, and the body may be of any type: where tokens are given out
        """

        async def answer(request: Request) -> Response:
            try:
                response = await self._visit(request, handler, admitted=admitted)
            except Refused as refused:
                response = refused.to_response()
            except Problem as problem:
                response = self._failure(problem.status, problem.detail).to_response()
            except ClientDisconnect:
                return Response(status_code=CLIENT_CLOSED_REQUEST)
            response.headers.update(self._headers())
            return response

        self.app.router.routes.append(Route(path, answer, methods=[method]))

    async def _visit(self, request: Request, handler: Handler, *, admitted: bool) -> Response:
        fault = self.faults.next(request.method, request.url.path)
        if fault is not None and not fault.applied and (instead := await self._instead(fault, request)) is not None:
            return instead
        if not admitted:
            self._admit(request)
        is_json = not admitted and request.method in ("POST", "PATCH", "PUT")
        body = await (_READER.read(request) if is_json else request.body())
        try:
            response = await self._apply(Call(request, body, fault), handler)
        except Refused as refused:  # whose answer can be lost as well
            response = refused.to_response()
        except NotJSON as error:
            response = self._unreadable(error).to_response()
        return response if fault is None else await self._afterwards(fault, response)

    def _issue(self, call: Call) -> Response:
        """Give out a token."""
        form = {name: values[0] for name, values in parse_qs(call.body.decode("latin-1")).items()}
        said = self._grant(form, call.request)
        return JSONResponse({"access_token": self.tokens.issue(), **said})

    async def _instead(self, fault: Fault, request: Request) -> Response | None:
        """Return what comes instead of applying the request, if anything does."""
        if fault.kind is FaultKind.EXPIRE:
            self.tokens.revoke(bearer_of(request))
            raise self._expired()
        if fault.kind is FaultKind.THROTTLE:
            raise self._throttled(fault.code)
        if fault.kind is FaultKind.RESET:
            await request.body()  # else some clients notice while they send, and see an orderly end
        return await self._befalls(fault)

    async def _afterwards(self, fault: Fault, response: Response) -> Response:
        """Return what comes of the answer to a request that was applied."""
        if fault.kind is FaultKind.HALF:
            return Half(response)
        return (await self._befalls(fault) if fault.applied else None) or response

    async def _befalls(self, fault: Fault) -> Response | None:
        """Return the answer that is ordered, if one is."""
        if fault.kind is FaultKind.DELAY:
            await anyio.sleep(fault.seconds)
        elif fault.kind is FaultKind.RESET:
            return Reset()
        elif fault.kind is FaultKind.ERROR:
            return self._ordered(fault)
        return None

    def _ordered(self, fault: Fault) -> Response:
        if fault.html:
            response: Response = HTMLResponse(f"<html><body>{fault.status}</body></html>", fault.status)
        else:
            response = self._failure(fault.status, fault.message or "ordered", fault.code).to_response()
        if fault.retry_after is not None:
            response.headers["retry-after"] = str(fault.retry_after)
        return response

    def _not_routed(self, status: int, headers: dict[str, str]) -> Response:
        response = self._failure(status, "there is nothing at this address").to_response()
        response.headers.update(headers)
        return response
