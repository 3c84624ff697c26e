"""HttpBatch: what APIs say of what went wrong, in whichever words they use. Pure; it never raises."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from batcher.destinations._http.answers import Answer
from batcher.destinations._http.decoding import NotJSON
from batcher.destinations._http.details import NO_REASON, sentence, text_in
from batcher.outcomes import ErrorDetail, Refused, Retry

_MESSAGES = ("message", "detail", "description", "error_description", "reason", "title", "error_message")
_CODES = ("code", "errorcode", "error_code", "statuscode", "type", "__type", "name")
_FIELDS = ("field", "fields", "parameter", "property")
_NESTED = ("error", "errors", "details", "reasons", "causes")
# Codes are shown in logs: only what looks like a name or a number is one, and nothing that may be a value.
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/#\-]{0,79}")
_MAX_DEPTH = 4


def details(said: object, code: str = "NO_REASON_GIVEN") -> tuple[ErrorDetail, ...]:
    """Return what an API says of a failure: at least one detail.

    The usual names of members are known (``message``, ``detail``, ``reason``; ``code``, ``type``, ``errorCode``;
    ``field``), in upper or lower case, also within ``error`` and ``errors``. That guesses words, never whose they are.

    :param said: an error, or a list of them: JSON of any form
    :param code: the code where nothing, or nothing with a code of its own, is said
    """
    found = tuple(dict.fromkeys(_details(said, code, _MAX_DEPTH)))
    return found or (ErrorDetail(NO_REASON.message, code),)


def failed_call(said: object, *, retry: Mapping[str, float | None] | None = None) -> NoReturn:
    """Raise what HTTP 200 with a failure of the whole call in its body means. For APIs that then applied nothing.

    :param said: the errors, as :func:`details` takes them
    :param retry: code to the seconds to wait, or None: of the errors that will pass. The lane pauses
    :raises Retry: each of the errors will pass
    :raises Refused: another one will not; the batcher looks for the culprit
    """
    errors = details(said)
    waits = retry or {}
    if all(error.code in waits for error in errors):
        codes = [error.code or "" for error in errors]
        longest = max((waits[code] or 0.0 for code in codes), default=0.0)
        raise Retry(", ".join(codes), longest or None, pause_lane=True)
    raise Refused(errors)


def reasons_of(answer: Answer) -> tuple[ErrorDetail, ...]:
    """Return what an answer says that refuses the whole call: as JSON, or as plain text."""
    code = f"HTTP_{answer.status}"
    try:
        return details(answer.json, code)
    except NotJSON:
        said = sentence(answer.body.decode(errors="replace").strip())
        return (ErrorDetail(said or NO_REASON.message, code),)


def _details(said: object, code: str, depth: int) -> Iterator[ErrorDetail]:
    if isinstance(said, str):
        if said:
            yield ErrorDetail(said, code)
    elif depth and isinstance(said, list):
        for each in said:
            yield from _details(each, code, depth - 1)
    elif depth and isinstance(said, dict):
        members = {name.lower(): value for name, value in said.items() if isinstance(name, str)}
        own = _code(members) or code
        message = text_in(members, *_MESSAGES)
        if message or own != code:
            yield ErrorDetail(message or NO_REASON.message, own, _fields(members))
        for name in _NESTED:
            yield from _details(members.get(name), own, depth - 1)


def _code(members: Mapping[str, Any]) -> str | None:
    for name in _CODES:
        value = members.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str) and _CODE.fullmatch(value):
            return value
    return None


def _fields(members: Mapping[str, Any]) -> tuple[str, ...]:
    for name in _FIELDS:
        value = members.get(name)
        names = value if isinstance(value, list) else [value]
        if found := tuple(each for each in names if isinstance(each, str) and each):
            return found
    return ()
