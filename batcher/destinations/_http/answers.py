"""An answer over HTTP, and what it means wherever it comes from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs

from batcher._retry_after import moment_of, retry_after, seconds_since_1970, whole_number
from batcher.destinations._http.decoding import NotJSON, decode
from batcher.outcomes import ErrorDetail, NotWritten, Refused, Rejected, Unknown, Verdict

# The credentials are refused, by the service or by a proxy: RFC 9110, sections 15.5.2 and 15.5.8.
UNAUTHORIZED = frozenset({401, 407})
_OF_A_PROXY = 407
# The call is too large, whatever it carries: RFC 9110, section 15.5.14.
_TOO_LARGE = 413
# Redirects of whatever is sent, which are not followed.
MOVED = frozenset({301, 307, 308})
HAS_MOVED = "the API has moved: check base_url; redirects are not followed"


class Contradiction(Exception):
    """The answer contradicts itself or the request. Its words are counts only."""


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


def succeeded(answer: Answer) -> bool:
    """Return whether the status is a success."""
    return 200 <= answer.status < 300


def told_at(answer: Answer, now: float) -> float:
    """Return when the answer was given, in seconds since 1970: on the clock of who gave it, if its ``Date`` says so.

    Its other times are on that clock too, and ours may be set: RFC 9110, section 6.6.1.

    :param now: what it is by our own clock
    """
    moment = moment_of(answer.headers.get("date", ""))
    return now if moment is None else seconds_since_1970(moment)


def wait_of(answer: Answer, now: float, field: str = "retry-after") -> float | None:
    """Return the seconds after which the API wants to be asked again; None if it does not say.

    :param now: seconds since 1970, to which a time to come back is compared if the answer has no time of its own
    """
    text = answer.headers.get(field, "")
    seconds = whole_number(text)
    if seconds is not None or not text:
        return seconds
    return retry_after(text, told_at(answer, now))


def refused(
    status: int,
    errors: Sequence[ErrorDetail],
    count: int,
    *,
    alike: bool,
    all_or_none: bool,
    credentials: tuple[str, str],
    named: Mapping[int, Sequence[ErrorDetail]] | None = None,
) -> list[Verdict]:
    """Return the verdicts of *count* records of a call that was not carried out, if the service means what HTTP says.

    :param alike: each of them would be, also alone, so that looking for a culprit is no use
    :param credentials: what is not accepted if it is that, and what to do about it: see :func:`unauthorized`
    :param named: the culprits that the answer names
    :raises Refused: there may be a culprit, or they are a group, which is refused as one
    """
    if status in UNAUTHORIZED:
        return [unauthorized(status, *credentials)] * count
    if not 400 <= status < 500 and status not in MOVED:
        return [Unknown(f"HTTP {status}")] * count
    if alike and not all_or_none:
        return [Rejected(errors)] * count
    raise Refused(errors, named, too_large=status == _TOO_LARGE)


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
