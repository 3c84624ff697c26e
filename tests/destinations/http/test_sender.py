"""The HTTP sender, over real sockets: what is known after each kind of trouble."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from batcher.destinations._http.answers import Answer
from batcher.destinations._http.arguments import Secret, checked_base_url
from batcher.destinations._http.sender import Sender
from batcher.errors import BatcherNotOpen
from batcher.outcomes import Retry
from tests.destinations import loopback
from tests.destinations.loopback import Behaviour, answers, response, served

pytestmark = pytest.mark.anyio

KEY = "key-that-nobody-may-see"
CLIENTS: dict[str, Any] = {"own": None, "httpx": httpx.AsyncClient, "httpx2": httpx2.AsyncClient}


@pytest.fixture(params=CLIENTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:
        make = CLIENTS[request.param]
        yield None if make is None else await stack.enter_async_context(make())


def sender(client: Any, **options: Any) -> Sender:
    secrets = {"x-api-key": Secret("api_key", KEY)}
    return Sender(client, **{"timeout": 20.0, "max_answer_bytes": 100_000, "secrets": secrets, **options})


async def asked(client: Any, behaviour: Behaviour, **options: Any) -> Any:
    """The answer of a server that behaves so, or the trouble with it."""
    async with served(behaviour) as url:
        posting = sender(client, **options)
        await posting.open()
        try:
            return await posting.request("POST", f"{url}/a%2Fb", b"{}")
        except Retry as retry:
            return retry
        finally:
            await posting.close(None, None, None)


@pytest.mark.parametrize("status", [200, 400, 429, 503, 307])
async def test_an_answer_comes_as_it_is(client: Any, status: int) -> None:
    """Status, header fields in lower case and body, whatever the status; a redirect is not followed."""
    content = response(b'{"a": 1}', status, None, "Retry-After: 5", "Location: /elsewhere")
    got = await asked(client, answers(content))

    assert (got.status, got.body, got.flaw) == (status, b'{"a": 1}', None)
    assert got.headers["retry-after"] == "5"


async def test_what_arrives_at_the_server(client: Any) -> None:
    """The path stays encoded, the key goes in its header, and no compression is asked for."""
    heads: list[tuple[str, bytes]] = []

    async def notes(stream: Any) -> None:
        heads.append(await loopback.request_from(stream))
        await stream.send(response(b"{}"))

    await asked(client, notes)
    ((head, body),) = heads

    assert body == b"{}"
    assert head.startswith("POST /a%2Fb HTTP/1.1\r\n")
    for line in (f"x-api-key: {KEY}", "content-type: application/json", "accept-encoding: identity"):
        assert line in head.lower()


class Address(str):
    """An address, parsed."""

    __slots__ = ()


class Noting:
    """A client that notes where it is to send something; each request fails."""

    def __init__(self, **attributes: Any) -> None:
        self.asked: list[Any] = []
        self.__dict__.update(attributes)

    def stream(self, method: str, url: Any, **_: Any) -> Any:
        self.asked.append(url)
        raise httpx.ConnectError("nobody there")


@pytest.mark.parametrize(("attributes", "kind"), [({"base_url": Address("")}, Address), ({}, str)])
async def test_an_address_is_parsed_once(attributes: dict[str, Any], kind: type) -> None:
    """Calls of one lane share the address in the client's own type; a client without such a type gets the text."""
    client = Noting(**attributes)
    posting = sender(client)
    await posting.open()
    for path in ("/a", "/b", "/a"):
        with pytest.raises(Retry):
            await posting.request("POST", f"http://localhost{path}", b"{}")
    with pytest.raises(Retry):
        await posting.request("GET", "http://localhost/once?ids=1,2")

    assert client.asked == [f"http://localhost{path}" for path in ("/a", "/b", "/a", "/once?ids=1,2")]
    assert [type(url) for url in client.asked] == [kind, kind, kind, str]
    assert (client.asked[0] is client.asked[2]) or kind is str


async def test_a_request_may_have_header_fields_of_its_own(client: Any) -> None:
    """Open and secret ones, also another type of content; they win over those of every request."""
    heads: list[str] = []

    async def notes(stream: Any) -> None:
        heads.append((await loopback.request_from(stream))[0].lower())
        await stream.send(response(b"{}"))

    secret = Secret("token", "t").bearer()
    form: dict[str, str | Secret] = {"content-type": "application/x-www-form-urlencoded", "x-api-key": secret}
    async with served(notes) as url:
        posting = sender(client)
        await posting.open()
        await posting.request("POST", url, b"a=b", form)
        await posting.request("POST", url, b"{}")
        await posting.close(None, None, None)

    assert "content-type: application/x-www-form-urlencoded\r\n" in heads[0]
    assert "x-api-key: bearer t\r\n" in heads[0]
    assert heads[0].count("content-type") == heads[0].count("x-api-key") == 1
    assert f"x-api-key: {KEY}\r\n" in heads[1]
    assert "content-type: application/json\r\n" in heads[1]


@pytest.mark.parametrize(
    "behaviour",
    [
        loopback.resets_before_reading,
        loopback.resets_after_reading,
        loopback.closes_after_reading,
        answers(b"\x00\xff garbage \r\n\r\n"),
        answers(b"HTTP/1.1 200 OK\r\nconte"),
    ],
)
async def test_p07_an_answer_that_is_lost_may_follow_a_write(client: Any, behaviour: Behaviour) -> None:
    """Reset, closed, garbage or half a head: once the request left, nobody knows what was applied."""
    retry = await asked(client, behaviour)

    assert isinstance(retry, Retry)
    assert retry.applied == "maybe"
    assert "lost" in str(retry)
    _check_discreet(retry)


async def test_silence_ends(client: Any) -> None:
    """A server that takes the request and says nothing holds nobody longer than the timeout."""
    retry = await asked(client, loopback.says_nothing, timeout=3.0)

    assert isinstance(retry, Retry)
    assert retry.applied == "maybe"


async def test_silence_within_the_body_ends(client: Any) -> None:
    """Of an answer that stops half-way the status is known, and nothing else."""
    got = await asked(client, loopback.stops_within_the_body, timeout=3.0)

    assert (got.status, got.body) == (200, b"")
    assert "broke off" in str(got.flaw)


async def test_p08_cancelling_ends_the_request(client: Any) -> None:
    """A cancellation from outside passes through; it is not taken for the timeout of the request."""
    async with served(loopback.says_nothing) as url:
        posting = sender(client)
        await posting.open()
        with anyio.move_on_after(0.3) as outer:
            await posting.request("POST", url, b"{}")
        await posting.close(None, None, None)

    assert outer.cancelled_caught


async def test_half_a_body_is_no_body(client: Any) -> None:
    """A connection closed within the body leaves the status and nothing to be misread."""
    got = await asked(client, answers(response(b'{"operationId"', 401, 1000)))

    assert (got.status, got.body) == (401, b"")
    assert "broke off" in str(got.flaw)


async def test_p09_an_endless_body_is_not_read_to_its_end(client: Any) -> None:
    """What is read is bounded, not only what is used."""
    got = await asked(client, loopback.never_ends)

    assert got == Answer(200, got.headers, b"", "the answer is longer than 100000 bytes")


async def test_a_compressed_answer_is_not_unpacked(client: Any) -> None:
    """A few bytes that unpack to gigabytes would pass any limit on what is read."""
    got = await asked(client, answers(response(b"\x1f\x8b", 200, None, "Content-Encoding: gzip")))

    assert (got.status, got.body) == (200, b"")
    assert "compressed" in str(got.flaw)


async def test_p07_a_request_that_never_left_applied_nothing(client: Any) -> None:
    """Nobody listens: the record is known not to be written."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        posting = sender(client)
        await posting.open()
        with pytest.raises(Retry, match="never left") as caught:
            await posting.request("POST", f"http://127.0.0.1:{bound.getsockname()[1]}/", b"{}")
        await posting.close(None, None, None)

    assert caught.value.applied == "no"
    _check_discreet(caught.value)


def _check_discreet(retry: Retry) -> None:
    """The exceptions of the client hold the request with its key: none may be reached from here."""
    assert retry.__cause__ is None
    assert retry.__context__ is None
    assert KEY not in repr(retry) + str(retry)


async def test_a_client_that_was_given_stays_open(client: Any) -> None:
    """The sender closes what it made, and nothing else; afterwards it can be opened again."""
    posting = sender(client)
    for _ in range(2):
        async with served(answers(response(b"{}"))) as url:
            await posting.open()
            assert (await posting.request("GET", url)).status == 200
            with pytest.raises(BatcherNotOpen, match="open already"):
                await posting.open()
            await posting.close(None, None, None)
        with pytest.raises(BatcherNotOpen, match="not open"):
            await posting.request("GET", url)
        assert client is None or not client.is_closed


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_what_is_no_trouble_of_http_is_not_hidden(library: Any) -> None:
    """An exception of a hook or a transport of the user is raised as it is: the batcher makes it unknown."""

    def broken(request: Any) -> Any:
        raise ZeroDivisionError

    async with library.AsyncClient(transport=library.MockTransport(broken)) as mocked:
        posting = sender(mocked)
        await posting.open()
        with pytest.raises(ZeroDivisionError):
            await posting.request("POST", "http://x", b"{}")


def test_a_base_url_loses_its_last_slash() -> None:
    """Both ways to write an address are one."""
    assert checked_base_url("base_url", "https://x/y/") == checked_base_url("base_url", "https://x/y")


def test_importing_the_destination_does_not_load_httpx() -> None:
    """Who brings a client of httpx2 needs no httpx; it is loaded when a client is made."""
    code = "import sys; from batcher.destinations import Ampersand; print('httpx' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.strip() == "False"
