"""HubSpot: what it says of what went wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batcher.destinations._http.details import listed, text_in, texts
from batcher.outcomes import ErrorDetail

_NO_REASON = "HubSpot gave no reason"


def details_of(error: Any, code: str | None = None) -> tuple[ErrorDetail, ...]:
    """Return what an error says: in its own words, and in those of the errors in it. Every member may be missing.

    :param code: what to call it if it has no name
    """
    if not isinstance(error, dict):
        return (ErrorDetail(_NO_REASON, code),)
    inner = [each for each in listed(error.get("errors")) if isinstance(each, dict)]
    return tuple(_detail(each, code) for each in (error, *inner))


def _detail(error: Mapping[str, Any], code: str | None) -> ErrorDetail:
    names = [error.get(name) for name in ("category", "code", "errorType", "status")]
    # A status is "error", except in answers about tokens, which have no other name.
    found = [name for name in names if isinstance(name, str) and name not in ("", "error")]
    context = error.get("context")
    fields = texts(context.get("propertyName")) if isinstance(context, dict) else []
    return ErrorDetail(text_in(error, "message") or _NO_REASON, found[0] if found else code, fields)
