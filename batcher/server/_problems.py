"""Problems: what goes wrong with a call and not with a record. RFC 9457, with the members that the Write API adds."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from http import HTTPStatus
from traceback import format_tb
from typing import Any

import attrs

from batcher.events import Event

logger = logging.getLogger("batcher.server")


def log_failure(what: str, error: Exception) -> None:
    """Log *what* failed and where. Not what the error says, which may quote a payload."""
    logger.error("%s: %s\n%s", what, type(error).__name__, "".join(format_tb(error.__traceback__)))


def log_event(event: Event) -> None:
    """Log that records will be sent again. Counts only; of what is not written the batcher's own lines tell."""
    if event.retried:
        logger.info("of a call with %d records %d will be sent again", event.records, event.retried)


def timestamp(seconds: float) -> str:
    """Return a time as the API writes it, such as ``"2024-04-22T18:55:28.456076Z"``.

    :param seconds: since 1970
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@attrs.frozen
class Problem(Exception):
    """Ends a request with ``application/problem+json``."""

    status: int
    """The status code, 400 to 599."""
    detail: str
    """A sentence: what is wrong, without payload."""
    remedy: str | None = None
    """A sentence: the way out."""
    retry_after: float | None = attrs.field(default=None, kw_only=True)
    """Seconds after which the same request may pass; None if it never will."""
    headers: dict[str, str] = attrs.field(factory=dict, kw_only=True)
    extra: dict[str, Any] = attrs.field(factory=dict, kw_only=True)
    """More members of the body."""

    def to_json(self, now: float, request_id: str) -> dict[str, Any]:
        """Return the body.

        :param now: seconds since 1970
        """
        body: dict[str, Any] = {
            "type": f"https://httpstatuses.com/{self.status}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "subsystem": "write",
            "time": timestamp(now),
            "requestId": request_id,
            "retryable": self.retry_after is not None,
        }
        if self.remedy is not None:
            body["remedy"] = self.remedy
        if self.retry_after is not None:
            body["retryAfter"] = timestamp(now + self.retry_after)
        return body | self.extra
