"""HttpBatch: what an answer means before, or without, the user's own reading. Pure.

==============================  =========================================================================
answer                          verdicts
==============================  =========================================================================
2xx, and the statuses named     what ``read`` says
2xx that broke off              may have been applied, try again
408, 425, 429                   nothing was applied, try again; after 429 the lane pauses
503 with a time to come back    the same, and the lane pauses
other 5xx, 503 without a time   may have been applied, try again
401, 407                        not written: the credentials are refused, and no record is at fault
402, 403, 405, 415              rejected: each record would be, also alone; a group is refused
other 4xx                       refused as a whole: the batcher looks for the culprit
redirects                       301, 307, 308 rejected (the address is wrong), others unknown
anything else                   unknown
==============================  =========================================================================

404 and 410 may be about one record, or about the path: the search for the culprit is right for both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

from batcher._core.verdicts import listed
from batcher.destinations._http.answers import HAS_MOVED, MOVED, Answer, refused, succeeded, wait_of
from batcher.destinations.http_batch.details import details, reasons_of
from batcher.destinations.http_batch.matching import is_verdict
from batcher.destinations.http_batch.requests import Call
from batcher.outcomes import Refused, Retry, Unknown, Verdict

Read: TypeAlias = Callable[[Answer, Call], object]
"""Makes an answer verdicts, one per item; what it returns is checked."""

_NOT_NOW = frozenset({408, 425, 429})
_SAME_FOR_EACH = frozenset({402, 403, 405, 415})
_CREDENTIALS = ("credentials", "check the headers, and auth= of the client")


def verdicts_of(answer: Answer, call: Call, read: Read, *, statuses: Collection[int], now: float) -> list[Verdict]:
    """Return one verdict per item, or raise as :meth:`Destination.send` does.

    :param statuses: those besides 2xx of which *read* is asked; if it returns None, they mean what they mean by default
    :param now: seconds since 1970, to which a time to come back is compared
    """
    if answer.flaw is None and (succeeded(answer) or answer.status in statuses):
        read_by_user = _read(answer, call, read)
        if read_by_user is not None:
            return read_by_user
    if succeeded(answer):
        raise Retry(f"HTTP {answer.status}: {answer.flaw}", applied="maybe")
    return _by_status(answer, call, now)


def _read(answer: Answer, call: Call, read: Read) -> list[Verdict] | None:
    """Return what *read* says, if it is fit to be believed; None if it leaves the answer to its status."""
    count = len(call.items)
    try:
        verdicts = read(answer, call)
    except (Retry, Refused):
        raise
    except Exception as error:
        return [Unknown(error)] * count
    if verdicts is None and not succeeded(answer):
        return None
    checked = listed(verdicts, count, "read()")
    if isinstance(checked, Unknown):
        return [checked] * count
    for verdict in checked:
        if not is_verdict(verdict):
            # One that is misread makes the reading of the others doubtful.
            return [Unknown(f"read() returned {type(verdict).__name__} for a record, which is no verdict")] * count
    return checked


def _by_status(answer: Answer, call: Call, now: float) -> list[Verdict]:
    status, count, words = answer.status, len(call.items), f"HTTP {answer.status}"
    after = wait_of(answer, now)
    if status in _NOT_NOW or (status == 503 and after is not None):
        raise Retry(words, after, pause_lane=status in (429, 503))
    if status >= 500:
        # A bare 503 may be a proxy's word for a connection that broke after the request went through.
        raise Retry(words, after, pause_lane=status == 503, applied="maybe")
    errors = details(HAS_MOVED, f"HTTP_{status}") if status in MOVED else reasons_of(answer)
    alike = status in MOVED | _SAME_FOR_EACH
    return refused(status, errors, count, alike=alike, all_or_none=call.all_or_none, credentials=_CREDENTIALS)
