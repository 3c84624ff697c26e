"""Who may do what: keys, installations, deletion, and the arguments of the server."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from batcher import BatcherError
from batcher.destinations import SQLite, Table
from batcher.server import Installation, write_api
from batcher.server._guards import Keys
from tests.server.helpers import KEY, Scripted, asynchronous, check_problem, create, serving, windowed

pytestmark = pytest.mark.anyio

DELETE = {"groupRef": "g", "type": "delete", "record": {"id": "7"}}
PATHS = [
    ("POST", "/v1/projects/p/integrations/i/objects/contacts"),
    ("GET", "/v1/projects/p/operations/x"),
    ("GET", "/v1/projects/p/operations/x/outcomes"),
    ("GET", "/v1/projects/p/integrations/i/installations/g/operations"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_nobody_comes_in_without_a_key(method, path):
    """Missing, wrong, nearly right, or of another kind: 401 in words, which show no key."""
    async with serving(Scripted()) as client:
        del client.http.headers["x-api-key"]
        problem = check_problem(await client.http.request(method, path), 401, "the header X-Api-Key is missing")
        assert problem["remedy"] == "send your API key in the header X-Api-Key"
        for key in (b"", b"wrong", KEY.encode()[:-1], KEY.encode() + b"x", KEY.upper().encode(), b"\xff\xfe"):
            response = await client.http.request(method, path, headers={b"x-api-key": key})
            check_problem(response, 401, "the API key is not known")
            assert KEY not in response.text
        response = await client.http.request(method, path, headers={"authorization": f"Bearer {KEY}"})
        check_problem(response, 401, "the header X-Api-Key is missing")
        response = await client.http.request(method, path, params={"apiKey": KEY})
        check_problem(response, 401, "the header X-Api-Key is missing")


async def test_nothing_is_read_or_written_for_a_stranger():
    """The key comes before everything else, also before the body is looked at."""
    destination = Scripted()
    async with serving(destination) as client:
        client.http.headers["x-api-key"] = "wrong"
        assert (await client.write(create())).status_code == 401
        assert (await client.http.post(PATHS[0][1], content=b"{")).status_code == 401
    assert destination.calls == []


async def test_each_of_several_keys_opens():
    """So a key can be replaced without a pause."""
    async with serving(Scripted(), api_keys=["old", "new"]) as client:
        for key, status in (("old", 200), ("new", 200), ("oldnew", 401), (KEY, 401)):
            client.http.headers["x-api-key"] = key
            assert (await client.write(create())).status_code == status


@pytest.mark.parametrize("keys", [[], "a-key", [""], ["a key"], ["key\n"], ["schlüssel"], [7]])
def test_a_server_without_usable_keys_does_not_start(keys):
    """The message shows none of them."""
    with pytest.raises(ValueError, match="key") as caught:
        write_api(Scripted(), api_keys=keys)
    assert not any(str(key) in str(caught.value) for key in keys if key and len(str(key)) > 2)


def test_keys_are_not_printed():
    """Not even in a debugger."""
    assert repr(Keys(["a", "b"])) == "<2 keys>"
    assert not any("swordfish" in repr(each) for each in vars(Keys(["swordfish"])).values())


async def test_neither_keys_nor_payloads_are_logged(caplog):
    """At no level, for good requests and bad ones."""
    caplog.set_level(logging.DEBUG)
    async with serving(SQLite(":memory:")) as client:
        await client.write(create(name="swordfish"))
        await client.write(create(id="swordfish"))
        await client.write(windowed(create(name="swordfish")))
        await client.http.post(PATHS[0][1], content=b'{"swordfish"', headers={"content-type": "application/json"})
        client.http.headers["x-api-key"] = "not-a-key-of-ours"
        await client.write(create(name="swordfish"))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("batcher")]
    assert not any(word in message for message in ours for word in ("swordfish", KEY, "not-a-key-of-ours"))


@pytest.mark.parametrize("mode", [{}, {"mode": "synchronous"}, {"mode": "asynchronous"}])
async def test_deletion_is_refused_unless_it_is_enabled_for_the_object(mode):
    """By the very name; for other objects it changes nothing."""
    destination = Scripted()
    async with serving(destination, deletion_enabled=["contacts"]) as client:
        for name in ("companies", "Contacts", "contacts%2F"):
            response = await client.write(DELETE | mode, name)
            problem = check_problem(response, 403, "deletion is not enabled for this object")
            assert problem["remedy"].startswith("name the object where the server is started")
        response = await client.write(DELETE | mode)
        # A delete is always synchronous.
        assert (response.status_code, response.json()["result"]) == (200, {"success": True})
    assert destination.sizes == [1]


async def test_deletion_is_off_by_default():
    """As in the API."""
    async with serving(Scripted()) as client:
        assert (await client.write(DELETE)).status_code == 403


@pytest.mark.parametrize("form", [dict, asynchronous, windowed])
async def test_only_installations_that_are_named_are_written_for(form):
    """If any are named; project, integration and group all count."""
    destination = Scripted()
    async with serving(destination, installations={Installation("p", "i", "g")}) as client:
        body = form(create())
        assert (await client.write(body)).status_code == 200
        others = [
            await client.write({**body, "groupRef": "other"}),
            await client.write(body, integration="/v1/projects/p/integrations/other"),
            await client.write(body, integration="/v1/projects/other/integrations/i"),
        ]
        for response in others:
            problem = check_problem(response, 404, "no such installation")
            assert problem["remedy"] == "check the project, the integration and the groupRef"
    assert sum(destination.sizes) == 1


async def test_what_keeps_the_destination_from_opening_is_told_bare():
    """The message of the destination, not a group of errors around it."""
    app = write_api(SQLite("/nowhere/crm.db"), api_keys=[KEY])
    with pytest.raises(BatcherError, match="give a path in a directory that exists"):
        async with app.router.lifespan_context(app):
            raise AssertionError("never begins")


async def test_an_app_does_not_run_twice_at_the_same_time():
    """Nor does its destination; and the one that runs goes on."""
    app = write_api(Scripted(), api_keys=[KEY])
    async with app.router.lifespan_context(app):
        with pytest.raises(BatcherError, match="this app runs already, and cannot twice at the same time"):
            async with app.router.lifespan_context(app):
                raise AssertionError("never begins")


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_an_app_may_live_again_and_again(ends: str, tmp_path: Path):
    """In an event loop of its own each time, as in a test client that is used twice. What was written is there."""
    app = write_api(SQLite(tmp_path / "crm.db", objects={"contacts": Table(unique=["email"])}), api_keys=[KEY])
    body = {"groupRef": "acme", "type": "create", "record": {"email": "ada@example.com"}}
    path = "/v1/projects/p/integrations/i/objects/contacts"
    codes = []
    for _ in range(3):
        with suppress(ZeroDivisionError), TestClient(app, headers={"X-Api-Key": KEY}) as client:
            codes.append(client.post(path, json=body).status_code)
            if ends == "badly":
                raise ZeroDivisionError
    assert codes == [200, 422, 422]


async def test_an_app_that_could_not_begin_may_try_again(tmp_path: Path):
    """When the folder is there."""
    app = write_api(SQLite(tmp_path / "new" / "crm.db"), api_keys=[KEY])
    with pytest.raises(BatcherError, match="give a path in a directory that exists"):
        async with app.router.lifespan_context(app):
            raise AssertionError("never begins")
    (tmp_path / "new").mkdir()
    async with app.router.lifespan_context(app):
        pass


@pytest.mark.parametrize(
    "option",
    [
        {"keep_records": 0},
        {"max_body_bytes": 0},
        {"max_requests": 0},
        {"keep_for": -1},
        {"body_timeout": -1},
        {"synchronous_deadline": float("nan")},
    ],
)
def test_an_option_out_of_range_is_refused(option):
    """By its name."""
    with pytest.raises(ValueError, match=next(iter(option))):
        write_api(Scripted(), api_keys=[KEY], **option)
