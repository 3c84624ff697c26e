"""What those who run the server see: health, metrics, the document, and what is not there."""

from __future__ import annotations

import json
import subprocess
import sys

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from batcher import Limits, Rejected, Retry, Unknown, Written
from tests.server.helpers import (
    INTEGRATION,
    Scripted,
    asynchronous,
    batch_of,
    check_problem,
    create,
    serving,
    update,
    windowed,
)

pytestmark = pytest.mark.anyio


async def samples(client) -> dict[str, float]:
    """Return all samples, by name and labels as in the text."""
    response = await client.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_health_says_ok():
    """To whoever asks."""
    async with serving(Scripted()) as client:
        del client.http.headers["x-api-key"]
        response = await client.http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_the_metrics_count_what_happened():
    """Requests by endpoint and status, calls, records by outcome, and what is held right now."""
    script = [[Written("1"), Rejected("no")], [Retry("locked", after=1)], [Written("2")]]
    destination = Scripted(*script, seconds=0.25)
    async with serving(destination) as client:
        await client.write(batch_of({"n": 1}, {"n": 2}))
        await client.write(create())
        await client.write([])
        client.http.headers["x-api-key"] = "wrong"
        await client.write(create())
        client.http.headers["x-api-key"] = "key-of-the-tests"
        await client.joined(windowed(create(n=1)))
        await client.http.get("/v1/projects/p/operations/x")
        await client.accepted(asynchronous(update("7")))
        await anyio.sleep(0.1)
        found = await samples(client)
    expected = {
        "batcher_requests_total endpoint=write status=200": 4,
        "batcher_requests_total endpoint=write status=400": 1,
        "batcher_requests_total endpoint=write status=401": 1,
        "batcher_requests_total endpoint=operation status=404": 1,
        "batcher_request_seconds_count endpoint=write": 6,
        "batcher_request_seconds_bucket endpoint=write le=0.25": 5,
        "batcher_flushes_total reason=submit_all": 1,
        "batcher_call_records_count": 4,
        "batcher_call_records_sum": 5,
        "batcher_call_seconds_count": 3,
        "batcher_call_seconds_sum": 0.75,
        "batcher_retried_records_total": 1,
        "batcher_records_total outcome=written": 2,
        "batcher_records_total outcome=rejected": 1,
        "batcher_calls_total": 4,
        "batcher_pending_records": 2,
        "batcher_waiting_submits": 0,
        "batcher_calls_in_flight": 1,
        "batcher_lanes": 2,
        "batcher_open_windows": 1,
        "batcher_operations_in_progress": 2,
        "batcher_operations_kept": 2,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found["batcher_pending_bytes"] > 0


async def test_the_time_of_a_request_is_measured():
    """From its arrival to its answer, on the clock of the loop."""
    async with serving(Scripted(seconds=3)) as client:
        await client.write(batch_of({"n": 1}))
        found = await samples(client)
    assert found["batcher_request_seconds_sum endpoint=write"] == 3


async def test_waiting_is_seen():
    """Submits that wait for a place."""
    limits = Limits(max_pending_records=1, max_lane_records=1)
    async with serving(Scripted(seconds=3), limits=limits) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.write, create(n=1))
        tasks.start_soon(client.write, create(n=2))
        await anyio.sleep(1)
        assert (await samples(client))["batcher_waiting_submits"] == 1


async def test_a_client_that_goes_away_is_counted_once():
    """Its record is written, and in no other figure twice."""
    async with serving(Scripted(seconds=3)) as client:
        with anyio.move_on_after(1):
            await client.write(create())
        await anyio.sleep(5)
        found = await samples(client)
    assert (found["batcher_records_total outcome=written"], found["batcher_calls_total"]) == (1, 1)
    assert (found["batcher_call_records_count"], found["batcher_call_seconds_count"]) == (1, 1)


async def test_p13_no_metric_names_an_object_a_customer_or_a_record():
    """However many there are, the number of lines stays the same."""
    async with serving(Scripted()) as client:
        await client.write(create(n=0), "first")
        before = await samples(client)
        for n in range(20):
            await client.write({**create(swordfish=n), "groupRef": f"swordfish {n}"}, f"swordfish {n}")
        await client.joined(windowed({**create(), "groupRef": "swordfish"}), "swordfish")
        assert "swordfish" not in await client.metrics()
        assert len(await samples(client)) == len(before)


async def test_the_document_is_served():
    """To whoever asks; with the limit of this server."""
    async with serving(Scripted(), max_body_bytes=12345) as client:
        del client.http.headers["x-api-key"]
        response = await client.http.get("/openapi.json")
        document = response.json()
    assert (response.status_code, document["openapi"]) == (200, "3.1.0")
    assert "12345 bytes" in document["info"]["description"]
    assert len(document["paths"]) == 7


async def test_what_is_not_there_is_told_as_a_problem():
    """With a key or without: there is nothing to protect."""
    async with serving(Scripted()) as client:
        for path in ("/", "/v1", "/v2/projects/p", "/healthz/", "/docs", f"{INTEGRATION}/objects/a/b", "/healthz%2F"):
            check_problem(await client.http.get(path), 404, "there is nothing at this address")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", f"{INTEGRATION}/objects/contacts", "POST"),
        ("PUT", f"{INTEGRATION}/objects/contacts", "POST"),
        ("POST", "/v1/projects/p/operations/x", "GET"),
        ("DELETE", "/v1/projects/p/operations/x", "GET"),
        ("POST", "/healthz", "GET"),
        ("OPTIONS", "/metrics", "GET"),
    ],
)
async def test_another_method_is_told_which_there_are(method, path, allowed):
    """As a problem, with the header that says it."""
    async with serving(Scripted()) as client:
        response = await client.http.request(method, path)
        problem = check_problem(response, 405, "this address takes other methods")
    assert problem["title"] == "Method Not Allowed"
    assert set(response.headers["allow"].split(", ")) - {"HEAD"} == {allowed}


async def test_names_that_are_none_are_told_in_every_address():
    """As the API tells bad requests: text."""
    async with serving(Scripted()) as client:
        for path in ("/v1/projects/%00/operations/x", "/v1/projects/p/operations/%ff/outcomes"):
            response = await client.http.get(path)
            assert (response.status_code, response.headers["content-type"]) == (400, "text/plain; charset=utf-8")


IMPORTING = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
try:
    import batcher.server
except ModuleNotFoundError as error:
    import json
    print(json.dumps([str(error), error.name]))
"""
WAY_OUT = "batcher.server needs the extra 'server': pip install 'saas-batcher[server]', or '.[server]' in a clone"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("starlette", WAY_OUT),
        ("prometheus_client", WAY_OUT),
        ("anyio", "No module named 'anyio'"),
    ],
)
def test_without_the_extra_the_import_says_how_to_get_it(missing, message):
    """And hides no other module that is missing."""
    code = IMPORTING.format(missing=missing)
    if missing == "anyio":  # the library needs it before the server does
        code = code.replace("import batcher.server\n", "import batcher.server._app\n").replace(
            "sys.meta_path.insert",
            "import batcher.writer\nfor name in [n for n in sys.modules if n == 'anyio']:\n"
            "    del sys.modules[name]\nsys.meta_path.insert",
        )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    told, name = json.loads(result.stdout)
    assert (told, name.partition(".")[0]) == (message, missing)


async def test_the_log_says_how_many_records_a_call_left_in_doubt(caplog):
    """Whoever is called at night reads it there first; no payload is in it (P13)."""
    destination = Scripted([Unknown("lost")], [Retry("busy", after=100)])
    caplog.set_level("INFO", "batcher.server")
    async with serving(destination) as client:
        await client.write(create(email="ada@example.com"))
        await client.write(create(email="ada@example.com"))
    assert "Scripted, contacts: a call with 1 records failed (lost): 1 unknown" in caplog.text
    assert "Scripted, contacts: a call with 1 records failed (busy): 1 not_written" in caplog.text
    assert "ada@" not in caplog.text


async def test_the_log_says_that_records_will_be_sent_again(caplog):
    """As a remark: nothing is lost."""
    caplog.set_level("INFO", "batcher.server")
    async with serving(Scripted([Retry("busy")])) as client:
        assert (await client.write(create())).status_code == 200
    assert "of a call with 1 records 1 will be sent again" in caplog.text
