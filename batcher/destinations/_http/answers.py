"""An answer over HTTP, and what it means wherever it comes from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import attrs

from batcher.destinations._http.decoding import NotJSON, decode
from batcher.outcomes import NotWritten

# The credentials are refused, by the service or by a proxy: RFC 9110, sections 15.5.2 and 15.5.8.
UNAUTHORIZED = frozenset({401, 407})
_OF_A_PROXY = 407
# The call is too large, whatever it carries: RFC 9110, section 15.5.14.
TOO_LARGE = 413


@attrs.frozen
class Answer:
    """What came back."""

    status: int
    """The status code."""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """The header fields, names in lower case."""
    body: bytes = attrs.field(default=b"", repr=False)
    """The body, or nothing if it is flawed."""
    flaw: str | None = None
    """Why the body is missing, in words without payload; None if it is whole."""

    @cached_property
    def json(self) -> Any:
        """The body as JSON, read when first asked for.

        :raises ValueError: it is none, or none that others would read in the same way
        """
        return decode(self.body)


def json_of(answer: Answer) -> Any:
    """Return the body as JSON, or None if it is none, or none that others would read in the same way."""
    try:
        return answer.json
    except NotJSON:
        return None


def unauthorized(status: int, shown: str, way_out: str) -> NotWritten:
    """Return the verdict of each record of a call that was refused because of its credentials: it is not their fault.

    :param shown: what the service does not accept, without its value
    :param way_out: what to do about it
    """
    if status == _OF_A_PROXY:
        words = "a proxy does not accept the credentials of the client: check its proxy"
    else:
        words = f"the service does not accept the {shown}: {way_out}"
    return NotWritten(f"HTTP {status}: {words}", attempts=1)
