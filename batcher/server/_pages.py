"""Pages of long lists: what a request asks for, and how the next page is named."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from starlette.requests import Request

from batcher.server._problems import Problem

_DEFAULT_PAGE, _MAX_PAGE = 200, 1000


def paging(request: Request) -> tuple[int, int | None]:
    """Return the size of the page, and where it begins.

    :raises Problem: a parameter is none that the API gave or knows
    """
    given = request.query_params.get("pageSize", str(_DEFAULT_PAGE))
    if not (given.isdecimal() and given.isascii() and len(given) < 5 and 1 <= int(given) <= _MAX_PAGE):
        raise _issue("pageSize", f"pageSize must be a whole number from 1 to {_MAX_PAGE}")
    token = request.query_params.get("pageToken")
    return int(given), None if token is None else _position(token)


def page_of(results: list[dict[str, Any]], following: int | None) -> dict[str, Any]:
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
