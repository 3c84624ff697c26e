"""Which exceptions say that an answer was lost."""

from __future__ import annotations

import asyncio
import concurrent.futures.process
import http.client
import json
import socket
import ssl
import urllib.error
from email.message import Message
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import httpcore
import httpx
import httpx2
import pytest
import requests
import trio
import urllib3.exceptions
from yarl import URL

from batcher._core.doubts import leaves_doubt
from batcher.errors import error_for
from batcher.outcomes import NotWritten, Rejected, Unknown

REQUEST = httpx.Request("POST", "https://api.example.com")


class PoolTimeout(Exception):
    """As some client names it."""


class Slower(PoolTimeout):
    """By its ancestor."""


class BrokeOnTheWay(httpx.ReadError):
    """An error of one's own for what a library reports."""


def known_as(module: Any, *names: str) -> Exception:
    """An error of a library that is not installed: a class of the last name, below those before it."""
    kind: type[Exception] = Exception
    for name in names:
        kind = type(name, (kind,), {"__module__": module})
    return kind()


@pytest.mark.parametrize(
    "error",
    [
        *(TimeoutError(), OSError(), ConnectionResetError(), BrokenPipeError(), EOFError()),
        *(FileNotFoundError(), PermissionError()),  # a simple rule, and no promise about files
        *(socket.gaierror(), ssl.SSLError(), ssl.SSLCertVerificationError()),
        *(asyncio.IncompleteReadError(b"", 1), asyncio.CancelledError(), concurrent.futures.CancelledError()),
        *(concurrent.futures.process.BrokenProcessPool(), KeyboardInterrupt()),
        *(httpx.ConnectError(""), httpx.RemoteProtocolError(""), httpx.ReadTimeout(""), httpx.DecodingError("")),
        *(httpx.StreamClosed(), httpx2.WriteError(""), BrokeOnTheWay(""), httpcore.ReadError(), httpcore.PoolTimeout()),
        *(aiohttp.ServerDisconnectedError(), aiohttp.ClientPayloadError(), aiohttp.ServerTimeoutError()),
        *(requests.ConnectionError(), requests.exceptions.ChunkedEncodingError(), requests.Timeout()),
        *(urllib3.exceptions.ProtocolError(), urllib3.exceptions.MaxRetryError(None, "/"), urllib.error.URLError("")),  # type: ignore[arg-type]
        *(http.client.IncompleteRead(b""), http.client.RemoteDisconnected(""), http.client.BadStatusLine("")),
        *(trio.TooSlowError(), trio.BrokenResourceError(), trio.EndOfChannel(), anyio.EndOfStream()),
        *(anyio.ClosedResourceError(), anyio.IncompleteRead(), PoolTimeout(), Slower()),
        error_for(Unknown("lost")),
        known_as("botocore.exceptions", "HTTPClientError", "ConnectionClosedError"),
        known_as("websockets.exceptions", "ConnectionClosed", "ConnectionClosedError"),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_a_lost_answer(error: BaseException) -> None:
    """
    What did not come back says nothing about what has arrived: by class, by ancestor, and alone or in company.
    """
    assert leaves_doubt(error)
    assert leaves_doubt(BaseExceptionGroup("two", [ValueError(), error]))
    assert leaves_doubt(BaseExceptionGroup("deep", [BaseExceptionGroup("one", [error])]))


@pytest.mark.parametrize(
    "error",
    [
        *(ValueError("Timeout"), KeyError("OSError"), RuntimeError(), Exception(), AssertionError()),
        *(json.JSONDecodeError("", "", 0), UnicodeDecodeError("utf-8", b"", 0, 1, ""), StopIteration()),
        *(httpx.InvalidURL(""), aiohttp.InvalidURL(""), asyncio.InvalidStateError(), anyio.WouldBlock()),
        *(error_for(Rejected("no")), error_for(NotWritten("late"))),
        known_as("mine", "RequestError"),  # as httpx's, in another library
        known_as("httpxish", "RequestError"),
        known_as(None, "HTTPException"),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_no_lost_answer(error: Exception) -> None:
    """
    Every other exception is about its record, whatever its words say and whatever others have the same name.
    """
    assert not leaves_doubt(error)
    assert not leaves_doubt(ExceptionGroup("two", [error, ValueError()]))


class Elsewhere(requests.HTTPError):
    """A status by an ancestor's word."""


class Unreadable(urllib.error.HTTPError):
    @property
    def response(self) -> Any:
        raise RuntimeError("closed")


def status_errors(status: int) -> list[Exception]:
    response, answer = httpx.Response(status, request=REQUEST), requests.Response()
    answer.status_code = status
    about: Any = SimpleNamespace(real_url=URL("https://api.example.com"))
    tornado: Any = known_as("tornado.httpclient", "HTTPClientError")
    tornado.code = status
    return [
        httpx.HTTPStatusError("", request=REQUEST, response=response),
        httpx2.HTTPStatusError("", request=response.request, response=response),  # type: ignore[arg-type]
        *(requests.HTTPError(response=answer), Elsewhere(response=answer)),
        urllib.error.HTTPError("https://api.example.com", status, "", Message(), None),
        Unreadable("https://api.example.com", status, "", Message(), None),
        aiohttp.ClientResponseError(about, (), status=status),
        tornado,
    ]


@pytest.mark.parametrize("status", [400, 404, 409, 429, 499])
def test_a_status_that_refuses(status: int) -> None:
    """
    An error with a status 4xx is an answer, also where its class is an OSError: nothing was applied.
    """
    for error in status_errors(status):
        assert not leaves_doubt(error), type(error)


@pytest.mark.parametrize("status", [200, 302, 399, 500, 503, 504, 599])
def test_a_status_that_refuses_nothing(status: int) -> None:
    """
    A server that broke down, or a gateway that speaks for one, may have carried the call out.
    """
    for error in status_errors(status):
        assert leaves_doubt(error), type(error)


def test_a_status_error_without_a_status() -> None:
    """
    If nobody can read what was answered, the answer is as good as lost.
    """
    assert leaves_doubt(requests.HTTPError())
    assert leaves_doubt(known_as("aiohttp", "ClientResponseError"))


def test_a_group_as_deep_as_it_likes() -> None:
    """
    Groups in groups cost no stack.
    """
    error: Exception = ValueError()
    for _ in range(20_000):
        error = ExceptionGroup("deeper", [error])
    assert not leaves_doubt(error)
    while isinstance(error, ExceptionGroup):  # taken apart by hand: the interpreter would do it recursively
        error = error.exceptions[0]
