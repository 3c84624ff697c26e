"""JSON objects that come in. Pure."""

from __future__ import annotations

import json
from typing import Any

from batcher.destinations._http.decoding import NotJSON, decode


def object_in(body: bytes) -> dict[str, Any]:
    """Return the object that a body is the JSON of.

    :raises NotJSON: none, or one with a value that no answer could show again: half a character, a number too large
    """
    given = decode(body)
    if not isinstance(given, dict):
        raise NotJSON("is no object", "not_an_object")
    try:
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise NotJSON("holds a value that is no text or number", "not_json") from None
    return given
