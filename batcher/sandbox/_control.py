"""The side door under ``/sandbox``: order and count faults, look at the records. It asks for no token."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batcher.destinations._http.decoding import NotJSON, decode
from batcher.sandbox._faults import Fault, Faults
from batcher.sandbox._store import Row, Store
from batcher.server._asgi import Reader
from batcher.server._problems import Problem

_READER = Reader(max_bytes=1_000_000, timeout=60.0)


def to_json(row: Row) -> dict[str, Any]:
    """Return a record as it is shown to those who compare databases."""
    return {"id": row.id, "archived": row.archived, "fields": row.fields}


def routes(faults: Faults, store: Store) -> list[Route]:
    """Return the routes of the side door."""

    async def show(request: Request) -> Response:
        return JSONResponse(_state(faults))

    async def order(request: Request) -> Response:
        try:
            seed, ordered = _orders(decode(await _READER.read(request)))
        except Problem as problem:
            return _refusal(problem.detail, problem.status)
        except NotJSON as error:
            return _refusal(str(error.detail("the body").message))
        except (TypeError, ValueError) as error:
            return _refusal(str(error))
        if seed is not None:
            faults.clear(seed)
        faults.order(*ordered)
        return JSONResponse(_state(faults))

    async def clear(request: Request) -> Response:
        faults.clear()
        return JSONResponse(_state(faults))

    async def records(request: Request) -> Response:
        archived = request.query_params.get("archived") == "true"
        found = store.rows(unquote(request.path_params["type"]), archived=archived)
        return JSONResponse({"records": [to_json(row) for row in found]})

    async def associations(request: Request) -> Response:
        return JSONResponse({"associations": store.associations(unquote(request.path_params["type"]))})

    return [
        Route("/sandbox/faults", show, methods=["GET"]),
        Route("/sandbox/faults", order, methods=["POST"]),
        Route("/sandbox/faults", clear, methods=["DELETE"]),
        Route("/sandbox/records/{type}", records, methods=["GET"]),
        Route("/sandbox/associations/{type}", associations, methods=["GET"]),
    ]


def _orders(given: Any) -> tuple[int | None, list[Fault]]:
    """Return the seed, if one is given, and the faults that a body orders.

    :raises ValueError: not in the form ``{"seed": 1, "faults": [{"kind": "reset"}]}``
    :raises TypeError: a value of a fault is of another type
    """
    if not isinstance(given, dict) or not given.keys() <= {"seed", "faults"}:
        raise ValueError(
            "the body must be an object with 'faults', and a 'seed' if the faults are to be withdrawn first"
        )
    seed, faults = given.get("seed"), given.get("faults", [])
    if (seed is not None and not isinstance(seed, int)) or not isinstance(faults, list):
        raise ValueError("'seed' must be a whole number, and 'faults' a list")
    return seed, [Fault.from_json(each) for each in faults]


def _state(faults: Faults) -> dict[str, Any]:
    return {
        "requests": faults.requests,
        "struck": dict(faults.struck),
        "standing": [fault.to_json() for fault in faults.standing],
    }


def _refusal(detail: str, status: int = 400) -> Response:
    return JSONResponse({"error": detail}, status)
