"""Ampersand's Write API: what it says of what went wrong. Pure."""

from __future__ import annotations

from typing import Any

from batcher.destinations._http.answers import Answer
from batcher.destinations._http.details import NO_REASON, detail_of, listed, sentence, text_in, texts
from batcher.outcomes import ErrorDetail

_MESSAGES = ("message",)
_CODES = ("statusCode", "errorCode", "code", "category")


def details_of(value: Any) -> tuple[ErrorDetail, ...]:
    """Return the errors or warnings of an answer; the schema promises each a message, the service does not."""
    if not value:  # as in nearly every result
        return ()
    return tuple(
        ErrorDetail(each) if isinstance(each, str) and each else detail_of(each, _MESSAGES, _CODES)
        for each in listed(value)
    )


def reasons_of(answer: Answer, body: Any) -> tuple[ErrorDetail, ...]:
    """Return what an answer that is no success says: as plain text, or as the problem+json of RFC 9457."""
    code = f"HTTP_{answer.status}"
    if not isinstance(body, dict):
        text = body if isinstance(body, str) else answer.body.decode(errors="replace").strip()
        return (ErrorDetail(sentence(text) or NO_REASON.message, code),)
    first = text_in(body, "detail", "title", "message", "error")
    words = [first] * bool(first) + texts(listed(body.get("causes")))
    named = details_of(body.get("errors"))
    return (*(ErrorDetail(each, code) for each in words), *named) or (ErrorDetail(NO_REASON.message, code),)
