"""Which exceptions leave it open whether a record was applied: those that say that an answer was lost.

By class alone, never by words. Libraries that are not imported are known by the names of their classes, which any
ancestor may have: nothing is imported to be asked.
"""

from __future__ import annotations

from batcher.errors import RecordError

# An error for each status but a success. Whoever has an answer has lost none, so the status decides.
_STATUS_ERRORS = {
    "httpx": {"HTTPStatusError"},
    "httpx2": {"HTTPStatusError"},
    "aiohttp": {"ClientResponseError"},
    "requests": {"HTTPError"},
    "niquests": {"HTTPError"},
    "urllib": {"HTTPError"},
    "tornado": {"HTTPClientError"},
}

# What is raised if a call went wrong on its way there or back. (All of requests are OSErrors.)
_LOST_ANSWERS = {
    "httpx": {"RequestError", "StreamError"},
    "httpx2": {"RequestError", "StreamError"},
    "httpcore": {"NetworkError", "ProtocolError", "ProxyError", "ConnectionNotAvailable"},
    "httpcore2": {"NetworkError", "ProtocolError", "ProxyError", "ConnectionNotAvailable"},
    "h11": {"ProtocolError"},
    "h2": {"ProtocolError"},
    "aiohttp": {"ClientConnectionError", "ClientPayloadError"},
    "urllib3": {"HTTPError"},
    "http": {"HTTPException"},
    "botocore": {"HTTPClientError", "ConnectionError"},
    "pycurl": {"error"},
    "websockets": {"ConnectionClosed"},
    "trio": {"BrokenResourceError", "ClosedResourceError", "EndOfChannel"},
    "anyio": {"BrokenResourceError", "ClosedResourceError", "EndOfStream", "IncompleteRead", "BrokenWorkerProcess"},
    # Work that was handed to others, and of which nothing is heard any more.
    "concurrent": {"CancelledError", "BrokenExecutor"},
}


def leaves_doubt(error: BaseException) -> bool:
    """Return whether a record that *error* stands for may have been applied all the same.

    So do timeouts, ``OSError``, the end of a stream, errors of transports, and whatever is no ``Exception``, such as a
    cancellation; a group does if one of its errors does. An error that carries an HTTP status does unless that is 4xx,
    which is a refusal.
    """
    errors = [error]
    for each in errors:  # which grows: groups nest as deep as they like
        if isinstance(each, BaseExceptionGroup):
            errors += each.exceptions
        elif _is_doubtful(each):
            return True
    return False


def _is_doubtful(error: BaseException) -> bool:
    if isinstance(error, RecordError):  # of another batcher
        return error.outcome.applied == "maybe"
    if _is_one_of(_STATUS_ERRORS, error):
        return not 400 <= _status_of(error) < 500
    if isinstance(error, (OSError, EOFError)) or not isinstance(error, Exception):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    # By name in whatever library, because httpx's and trio's are no TimeoutError.
    return any("Timeout" in name or name == "TooSlowError" for name in names) or _is_one_of(_LOST_ANSWERS, error)


def _is_one_of(table: dict[str, set[str]], error: BaseException) -> bool:
    return any(kind.__name__ in table.get(_library_of(kind), ()) for kind in type(error).__mro__)


def _library_of(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


def _status_of(error: BaseException) -> int:
    """Return the status that an error carries; 0 if it has none."""
    for holder in (_get(error, "response"), error):
        for name in ("status_code", "status", "code"):
            status = _get(holder, name)
            if isinstance(status, int):
                return status
    return 0


def _get(holder: object, name: str) -> object:
    try:
        return getattr(holder, name, None)
    except Exception:  # urllib's errors do, for one, if they were made without a body
        return None
