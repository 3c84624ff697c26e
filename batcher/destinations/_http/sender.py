"""One HTTP request, and what is known after it. Besides the demo of the command, the only module that imports httpx.

========================  ==================================================================
what happened             what comes of it
========================  ==================================================================
the request never left    ``Retry(applied="no")``: nothing can have been applied
the answer was lost       ``Retry(applied="maybe")``: the request left, its answer did not come
the answer came in part   :class:`Answer` with its status and ``flaw``: refused is refused
an answer came            :class:`Answer`
========================  ==================================================================

Errors name the kind of trouble only. The exceptions of httpx hold the request, and so the key, and are not chained.
"""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import lru_cache
from math import isinf
from types import TracebackType
from typing import Any, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

import anyio

from batcher.destinations._http.answers import Answer
from batcher.destinations._http.arguments import Secret, at_least_one
from batcher.errors import BatcherNotOpen
from batcher.outcomes import Retry
from batcher.policies import to_seconds

# By name: the exceptions of httpx and httpx2 are two families with the same names.
_NEVER_LEFT = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol"})
_OF_THE_CLIENT = "RequestError"
# Trouble to connect shows early, and is then known to be harmless.
_MAX_CONNECT_SECONDS = 10.0
# Addresses that are kept ready: one for each object and verb, so there are few.
_KNOWN_URLS = 256
# How deep an error of the operating system is looked for.
_MAX_CAUSES = 8

_Fields: TypeAlias = Mapping[str, str | Secret]


class Client(Protocol):
    """An ``httpx.AsyncClient``, an ``httpx2.AsyncClient``, or anything that streams as they do."""

    def stream(
        self, method: str, url: Any, *, content: bytes | None, headers: dict[str, str], follow_redirects: bool
    ) -> AbstractAsyncContextManager[Any]:
        """Send a request; the context is the response, whose body has not been read.

        :param url: a string, or that as an object of the type that the ``base_url`` of the client has, if it has one
        """


class Sender:
    """Sends requests and reads bounded answers.

    :param client: used and not closed, with its own timeouts; None makes an ``httpx.AsyncClient`` and closes it
    :param timeout: seconds or timedelta that a request may take, its answer included
    :param max_answer_bytes: a longer body is not read to its end
    :param secrets: header fields that every request carries
    """

    def __init__(
        self, client: Client | None, *, timeout: float | timedelta, max_answer_bytes: int, secrets: Mapping[str, Secret]
    ) -> None:
        if client is not None and not callable(getattr(client, "stream", None)):
            raise TypeError(f"client must be an AsyncClient of httpx or httpx2, not {type(client).__name__}")
        self._timeout = to_seconds("timeout", timeout)
        if self._timeout == 0 or isinf(self._timeout):
            raise ValueError(f"timeout must be more than 0 seconds and finite, not {self._timeout}")
        self._max_answer_bytes = at_least_one("max_answer_bytes", max_answer_bytes)
        self._secrets = dict(secrets)
        self._given = client
        self._client: Client | None = None
        self._parsed: Callable[[str], Any] = str
        self._own: Any = None

    async def open(self) -> None:
        """Make the client, unless one was given.

        :raises BatcherNotOpen: it is open already
        """
        if self._client is not None:
            raise BatcherNotOpen("the destination is open already: enter it once")
        if self._given is None:
            import httpx

            connect = min(_MAX_CONNECT_SECONDS, self._timeout / 2)
            timeout = httpx.Timeout(self._timeout, connect=connect, pool=connect)
            self._own = httpx.AsyncClient(timeout=timeout, follow_redirects=False)
            await self._own.__aenter__()
        self._client = self._given or cast(Client, self._own)
        base_url = getattr(self._client, "base_url", None)
        if base_url is not None:
            # The clients parse an address for every request, and ask much of it, which takes as long as ten records.
            self._parsed = lru_cache(maxsize=_KNOWN_URLS)(type(base_url))

    async def close(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client that was made here."""
        own, self._own, self._client = self._own, None, None
        if own is not None:
            await own.__aexit__(kind, error, trace)

    async def request(self, method: str, url: str, body: bytes | None = None, headers: _Fields | None = None) -> Answer:
        """Make one request and return its answer, whatever its status. Redirects are not followed.

        :param body: JSON, unless *headers* name another ``content-type``
        :param headers: header fields of this request, names in lower case; they win over those of every request
        :raises Retry: the request never left, or its answer was lost
        :raises BatcherNotOpen: outside of ``async with``
        """
        if self._client is None:
            raise BatcherNotOpen("the destination is not open: use it inside 'async with'")
        reading = _Reading(self._max_answer_bytes)
        trouble = f"no answer within {self._timeout:g} s"
        never_left = False
        with anyio.move_on_after(self._timeout):
            try:
                await self._exchange(self._client, reading, method, url, body, headers or {})
                trouble = ""
            except Exception as error:
                names = {kind.__name__ for kind in type(error).__mro__}
                if _OF_THE_CLIENT not in names:
                    raise
                never_left = bool(names & _NEVER_LEFT)
                trouble = _words(error)
        # Outside of the except block, so that the exception of the client is not chained.
        if not trouble:
            return reading.answer()
        if reading.status is not None:
            reading.flaw = reading.flaw or f"the answer broke off ({trouble})"
            return reading.answer()
        if never_left:
            raise Retry(f"the request to {urlsplit(url).netloc} never left ({trouble})", applied="no")
        raise Retry(f"the request left and its answer was lost ({trouble})", applied="maybe")

    async def _exchange(
        self, client: Client, reading: _Reading, method: str, url: str, body: bytes | None, own: _Fields
    ) -> None:
        # In a frame of its own, so that the traceback of a Retry by request() has none that holds the key.
        # Uncompressed, so that the limit on what is read is also one on what is held.
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        if body is not None:
            headers["content-type"] = "application/json"
        for name, value in (*self._secrets.items(), *own.items()):
            headers[name] = value.reveal() if isinstance(value, Secret) else value
        # What has no body is asked once, about these records.
        to = url if body is None else self._parsed(url)
        async with client.stream(method, to, content=body, headers=headers, follow_redirects=False) as response:
            await reading.read(response)


class _Reading:
    """An answer as it comes in: what is known of it when it breaks off."""

    def __init__(self, max_bytes: int) -> None:
        self.status: int | None = None
        self.flaw: str | None = None
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._max_bytes = max_bytes

    async def read(self, response: Any) -> None:
        self.status = int(response.status_code)
        self._headers = {name.lower(): value for name, value in response.headers.items()}
        if self._headers.get("content-encoding", "identity").lower() != "identity":
            self.flaw = "the answer is compressed although that was not asked for"
            return
        async for piece in response.aiter_bytes():
            if self.flaw is None:
                self._body += piece
            if self.flaw is None and len(self._body) > self._max_bytes:
                self.flaw = f"the answer is longer than {self._max_bytes} bytes"
                # The loop is not left but ended from below: trio warns of generators that are left unfinished.
                await response.aclose()

    def answer(self) -> Answer:
        assert self.status is not None, "asked for before the head of the answer was there"
        return Answer(self.status, self._headers, b"" if self.flaw else bytes(self._body), self.flaw)


def _words(error: BaseException) -> str:
    """Return what kind of trouble it is, and what the operating system calls it. What the client says may hold more."""
    name, reason = type(error).__name__, ""
    # The cause of a cause of an error of the client; two attempts at one host come as a group of errors.
    cause: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, ssl.SSLError):
            reason = cause.reason or reason
        elif isinstance(cause, OSError) and cause.errno is not None:
            known = errno.errorcode.get(cause.errno)  # those of name resolution are not among them
            reason = (os.strerror(cause.errno) if known else cause.strerror) or reason
        cause = cause and (cause.__cause__ or cause.__context__)
    return f"{name}: {reason}" if reason else name
