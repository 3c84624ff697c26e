"""What a provider says of what went wrong, in JSON that may be of any form. Pure; it never raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batcher.outcomes import ErrorDetail

NO_REASON = ErrorDetail("the API gave no reason", "NO_REASON_GIVEN")
# A plain-text answer is one sentence; what is longer is a page of some proxy.
_MAX_TEXT_CHARACTERS = 1000


def listed(value: Any) -> list[Any]:
    """Return *value* if it is a list, and nothing else."""
    return value if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """Return the texts of a value that is one or a list of them."""
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]


def text_in(members: Mapping[str, Any], *names: str) -> str:
    """Return the first text that is not empty among the members of these names, or an empty one."""
    return next((text for name in names for text in texts([members.get(name)]) if text), "")


def sentence(text: str) -> str:
    """Return what a plain-text answer says; nothing if it is a page."""
    return "" if text.startswith("<") else text[:_MAX_TEXT_CHARACTERS]


def detail_of(error: Any, messages: tuple[str, ...], codes: tuple[str, ...]) -> ErrorDetail:
    """Return an error as the detail that it is.

    :param messages: names of the member with the words
    :param codes: names of the member with the code
    """
    if not isinstance(error, dict):
        return NO_REASON
    message, code = text_in(error, *messages), text_in(error, *codes)
    names = texts(listed(error.get("fields")))
    return ErrorDetail(message or NO_REASON.message, code or (None if message else NO_REASON.code), names)
