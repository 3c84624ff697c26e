"""A request as a handler sees it, and what ends it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias
from urllib.parse import unquote

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batcher.destinations._http.decoding import NotJSON, decode
from batcher.sandbox._faults import Fault


class Refused(Exception, ABC):
    """Ends a request; what was written in its transaction is taken back. Each provider has its own shape."""

    @abstractmethod
    def to_response(self) -> Response:
        """Return the answer."""


@attrs.frozen
class PlainRefusal(Refused):
    """A refusal whose answer is known as it stands."""

    status: int
    body: Any

    def to_response(self) -> Response:
        """Return it."""
        return JSONResponse(self.body, self.status)


@attrs.frozen
class Call:
    """One request."""

    request: Request = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    fault: Fault | None
    """What strikes it while it is applied."""
    locked: frozenset[str] = frozenset()
    """Ids of rows that other requests hold."""

    def name(self, parameter: str) -> str:
        """Return a part of the path; nothing if this path has no such part."""
        # Routed as it was sent: the value of an external id may hold a slash.
        return unquote(str(self.request.path_params.get(parameter, "")))

    def query(self, parameter: str) -> str:
        """Return a parameter of the query; nothing if it has none of this name."""
        return str(self.request.query_params.get(parameter, ""))

    def content(self) -> dict[str, Any]:
        """Return the object that the body is the JSON of.

        :raises NotJSON: none, or one with a value that no answer could show again: half a character, a number too large
        """
        given = decode(self.body)
        if not isinstance(given, dict):
            raise NotJSON("is no object", "not_an_object")
        try:
            json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
        except ValueError:
            raise NotJSON("holds a value that is no text or number", "not_json") from None
        return given


Handler: TypeAlias = Callable[[Call], Response]
