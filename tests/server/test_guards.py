"""What a request may not do: too much, too odd, too many at a time. Refused in words, and nothing else is hurt."""

from __future__ import annotations

import json
import logging
from functools import partial
from typing import Any
from urllib.parse import unquote

import anyio
import httpx
import pytest

from batcher.destinations import SQLite
from tests.api import gather
from tests.server.helpers import INTEGRATION, Client, Scripted, asynchronous, check_problem, create, serving

pytestmark = pytest.mark.anyio

URL = f"{INTEGRATION}/objects/contacts"
JSON = {"content-type": "application/json"}
LONG = "the body is longer than 2000000 bytes"


class Pieces(httpx.AsyncByteStream):
    """A body of unknown length: bytes, and seconds to wait between them."""

    def __init__(self, *pieces: bytes | float) -> None:
        self.left = list(pieces)

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        while self.left:
            piece = self.left.pop(0)
            if isinstance(piece, bytes):
                return piece
            await anyio.sleep(piece)
        raise StopAsyncIteration

    async def post(self, client: Client) -> httpx.Response:
        request = client.http.build_request("POST", URL, headers=JSON)
        del request.headers["content-length"]
        request.stream = self
        return await client.http.send(request)


async def text_of(client: Any, body: bytes) -> str:
    response = await client.http.post(URL, content=body, headers=JSON)
    assert (response.status_code, response.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    text: str = response.text
    return text


def body_with(record: bytes) -> bytes:
    return b'{"groupRef":"g","type":"create","record":' + record + b"}"


async def test_a_body_of_10_mb_is_refused():
    """By the length that it announces, before anything of it is read."""
    destination = Scripted()
    async with serving(destination) as client:
        response = await client.write(create(text="x" * 10_000_000))
        problem = check_problem(response, 413, LONG)
        assert (problem["remedy"], response.headers["connection"]) == ("send fewer records", "close")
        assert (await client.write(create())).status_code == 200
    assert destination.sizes == [1]


async def test_a_body_of_10_mb_without_announcement_is_refused():
    """As soon as it is too long; the rest is not read."""
    body = Pieces(*[b"x" * 100_000] * 100)
    async with serving(Scripted()) as client:
        check_problem(await body.post(client), 413, LONG)
    assert len(body.left) == 79


async def test_the_longest_body_is_the_servers_to_set():
    """To the byte."""
    body = json.dumps(create()).encode()
    async with serving(Scripted(), max_body_bytes=len(body)) as client:
        assert (await client.http.post(URL, content=body, headers=JSON)).status_code == 200
        assert (await Pieces(body[:9], body[9:]).post(client)).status_code == 200
        words = f"the body is longer than {len(body)} bytes"
        check_problem(await client.http.post(URL, content=body + b" ", headers=JSON), 413, words)
        check_problem(await Pieces(body, b" ").post(client), 413, words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is not JSON"),
        (b"\xef\xbb\xbf{}", "the body is not JSON"),
        (body_with(b"[" * 200_000), "the body is not usable JSON: RecursionError"),
        (body_with(b'{"a":' * 100 + b"1" + b"}" * 100), "is nested deeper than 32 levels"),
        (body_with(b'{"a":1,"a":2}'), "the body names a field more than once"),
        (b'{"groupRef":"g","groupRef":"h"}', "the body names a field more than once"),
        (body_with(b'{"a":NaN}'), "the body holds NaN, which is no number in JSON"),
        (body_with(b'{"a":1e999}'), "field 'a' holds a float that is not finite"),
        (body_with(b'{"a":' + b"9" * 400 + b"}"), "field 'a' holds an integer beyond 2**53 - 1"),
        (body_with(b'{"a":' + b"9" * 10_000 + b"}"), "the body is not usable JSON: ValueError"),
        (body_with(b'{"a":"\\ud800"}'), "field 'a' has a lone surrogate"),
        (body_with(b'{"\\ud800":1}'), "has a lone surrogate"),
    ],
)
async def test_a_body_that_others_would_read_otherwise_is_refused(body, words):
    """Depth, doubles, numbers: told in words that hold no value, and the server serves on."""
    async with serving(SQLite(":memory:")) as client:
        assert words in await text_of(client, body)
        assert (await client.write(create())).status_code == 200


async def test_a_lone_surrogate_in_a_batch_costs_only_its_record():
    """It cannot be answered in UTF-8, so it is answered escaped."""
    body = b'{"groupRef":"g","type":"create","batch":[{"record":{"\\ud800":1}},{"record":{"a":1}}]}'
    async with serving(SQLite(":memory:")) as client:
        response = await client.http.post(URL, content=body, headers=JSON)
    assert (response.status_code, response.json()["successCount"]) == (200, 1)


@pytest.mark.parametrize("value", ["v\r\nX-Admin: 1", "v\nX", "v\x00", "\x7f"])
async def test_headers_for_the_provider_cannot_break_out_of_their_line(value):
    """Neither in the value nor in the name."""
    async with serving(Scripted()) as client:
        for header in ({"key": "k", "value": value}, {"key": value, "value": "v"}):
            body = {**create(), "headers": [header]}
            assert (await text_of(client, json.dumps(body).encode())).startswith("headers[]: the ")


async def test_a_group_ref_cannot_break_out_of_a_line():
    """It appears in paths and logs of others."""
    async with serving(Scripted()) as client:
        for ref in ("g\r\nX: 1", "g\x00", "..", "\u2028", "\u202e"):
            body = json.dumps({**create(), "groupRef": ref}).encode()
            assert (await text_of(client, body)).startswith("groupRef must be 1 to 255 printable characters")


@pytest.mark.parametrize(
    ("segment", "status"),
    [
        ("a%0d%0aX-Admin:1", 400),
        ("%00", 400),
        ("%2e%2e", 400),
        ("%2e", 400),
        ("%c3%28", 400),
        ("%ff", 400),
        ("x" * 256, 400),
        ("%2e%2e%2fetc", 200),
        ("..%2Fcompanies", 200),
        ("..%5cwindows", 200),
        ("a%2Fb", 200),
        ("%252F", 200),
        ("a%3Fb%23c", 200),
        ("caf%C3%A9", 200),
        ("';DROP%20TABLE%20contacts", 200),
    ],
)
async def test_a_segment_is_one_name_and_never_a_path(segment, status):
    """A name with a slash is one name; what is no name is refused in words. In every place of the path."""
    destination = Scripted()
    async with serving(destination) as client:
        found = [
            await client.write(create(), object=segment),
            await client.write(create(), integration=f"/v1/projects/{segment}/integrations/i"),
            await client.write(create(), integration=f"/v1/projects/p/integrations/{segment}"),
        ]
        listed = await client.http.get(f"{INTEGRATION}/installations/{segment}/operations")
    assert {each.status_code for each in (*found, listed)} == {status}
    if status == 200:
        assert destination.calls[0].key == (unquote(segment), "create")


async def test_dots_in_a_path_lead_nowhere():
    """What is left after a client or a proxy has removed them is another address, with a key like all."""
    async with serving(Scripted()) as client:
        for path in (f"{INTEGRATION}/objects/../x", f"{INTEGRATION}/objects/", f"{URL}/", f"/{URL}", f"{URL}/7"):
            request = client.http.build_request("POST", "http://server/", json=create())
            request.url = request.url.copy_with(raw_path=path.encode())
            check_problem(await client.http.send(request), 404, "there is nothing at this address")


async def test_sqlite_refuses_names_that_are_no_tables():
    """Also when they come encoded."""
    async with serving(SQLite(":memory:")) as client:
        for segment in ("a%2Fb", "sqlite_master", "%22;--", "caf%C3%A9"):
            response = await client.write(create(), segment)
            assert (response.status_code, response.text[:7]) == (400, "object ")


async def test_a_server_without_raw_paths_serves_too():
    """They are optional in ASGI; then a slash in a name cannot be told from one between names."""
    destination = Scripted()
    async with serving(destination) as client:
        app = client.http._transport.app  # type: ignore[attr-defined]

        async def without(scope, receive, send):
            scope.pop("raw_path")
            await app(scope, receive, send)

        client.http._transport.app = without  # type: ignore[attr-defined]
        assert (await client.write(create(), "caf%C3%A9%25")).status_code == 200
        assert (await client.write(create(), "日本")).status_code == 200
        assert (await client.write(create(), "a%2Fb")).status_code == 404
    assert [call.key for call in destination.calls] == [("café%", "create"), ("日本", "create")]


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, "the body must be JSON"),
        ({"content-type": "text/plain"}, "the body must be JSON"),
        ({"content-type": "application/x-www-form-urlencoded"}, "the body must be JSON"),
        ({"content-type": "application/jsonp"}, "the body must be JSON"),
        ({**JSON, "content-encoding": "gzip"}, "the body must not be compressed"),
        ({**JSON, "content-encoding": "identity, gzip"}, "the body must not be compressed"),
    ],
)
async def test_another_type_or_encoding_is_refused(headers, detail):
    """The server unpacks nothing that somebody packed to be large."""
    async with serving(Scripted()) as client:
        response = await client.http.post(URL, content=json.dumps(create()).encode(), headers=headers)
        assert check_problem(response, 415, detail)["remedy"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json; charset=utf-8"},
        {"content-type": "Application/JSON"},
        {**JSON, "content-encoding": "Identity"},
    ],
)
async def test_json_is_json_however_it_is_announced(headers):
    """Upper and lower case and parameters do not count."""
    async with serving(Scripted()) as client:
        response = await client.http.post(URL, content=json.dumps(create()).encode(), headers=headers)
        assert response.status_code == 200


async def test_a_body_that_does_not_arrive_in_time_is_given_up():
    """And its place is free again."""
    async with serving(Scripted(), max_requests=1, body_timeout=7) as client:
        response = await Pieces(b"{", 1000.0).post(client)
        check_problem(response, 408, "the body did not arrive within 7 s")
        assert (anyio.current_time(), response.headers["connection"]) == (7, "close")
        assert (await client.write(create())).status_code == 200


async def test_more_requests_than_allowed_are_sent_away_with_a_time():
    """The others are served; afterwards all places are free."""
    async with serving(Scripted(seconds=10), max_requests=3) as client:
        for _ in range(2):
            responses = await gather(*(partial(client.write, create(n=n)) for n in range(5)))
            refused = [each for each in responses if each.status_code != 200]
            assert len(refused) == 2
            for response in refused:
                check_problem(response, 503, "3 requests are being served")
                assert response.headers["retry-after"] == "1"


async def test_those_who_run_it_can_look_while_it_is_busy():
    """Health and metrics take no place and need no key."""
    async with serving(Scripted(seconds=10), max_requests=1) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.write, create())
        await anyio.sleep(1)
        del client.http.headers["x-api-key"]
        assert (await client.http.get("/healthz")).json() == {"status": "ok"}
        assert "batcher_calls_in_flight 1.0" in await client.metrics()


@pytest.mark.parametrize("form", [dict, asynchronous])
async def test_a_failure_of_the_server_is_told_and_logged_without_payload(caplog, form):
    """500 as a problem that may not be retried; the log says where. And the server serves on."""

    def broken(write: Any) -> None:
        if "secret" in write.record:
            raise RuntimeError(f"cannot encode {write.record}")

    async with serving(Scripted(encoding=broken), max_requests=1) as client:
        response = await client.write(form(create(secret="swordfish")))
        problem = check_problem(response, 500, "the server failed; what became of the records is not known")
        assert problem["title"] == "Internal Server Error" and "retryAfter" not in problem
        assert "swordfish" not in response.text
        assert (await client.write(create())).status_code == 200
    (record,) = (each for each in caplog.records if each.levelno >= logging.ERROR)
    assert record.name == "batcher.server"
    assert "RuntimeError" in caplog.text and "in broken" in caplog.text and "swordfish" not in caplog.text
