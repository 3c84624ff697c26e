"""``Retry-After``, the one header field that whoever calls an HTTP API has to read: RFC 9110, section 10.2.3."""

from __future__ import annotations

from datetime import UTC, datetime


def retry_after(text: str, now: float) -> float | None:
    """Return what a ``Retry-After`` field asks for, in seconds; None if it says nothing.

    It has seconds or a time.

    :param now: seconds since 1970
    """
    seconds = whole_number(text)
    if seconds is not None:
        return float(seconds)
    moment = moment_of(text)
    return None if moment is None else seconds_until(moment, now)


def moment_of(text: str) -> datetime | None:
    """Return the date that a header field holds; None if it holds none."""
    from email.utils import parsedate_to_datetime  # here: it loads sockets, and few need it

    try:
        moment = parsedate_to_datetime(text.strip())
        seconds_since_1970(moment)
    except (ValueError, OverflowError):  # no date, or none that a calendar holds
        return None
    return moment


def whole_number(text: str) -> int | None:
    """Return the number that a header field holds; None if it holds none."""
    text = text.strip()
    # Nine digits of seconds are 30 years; more would only be a way to overflow.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def seconds_until(moment: datetime, now: float) -> float:
    """Return the seconds from *now* to *moment*, in UTC unless it says otherwise; 0 if it has passed."""
    return max(0.0, seconds_since_1970(moment) - now)


def seconds_since_1970(moment: datetime) -> float:
    """Return *moment*, in UTC unless it says otherwise, as a number."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return aware.timestamp()
