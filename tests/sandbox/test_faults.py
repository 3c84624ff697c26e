"""Faults to order: which requests they strike, what comes of them, and what they leave in the database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf, nan
from typing import Any

import anyio
import httpx
import pytest

from batcher.sandbox import ConnectionLost, Fault, FaultKind, Faults, HubSpotSandbox, SalesforceSandbox, Sandbox
from batcher.sandbox._breaking import BREAK, Reset
from tests.sandbox.transport import client_of

pytestmark = pytest.mark.anyio
LOST = "the connection was reset"


class Provider:
    """Three records in one batch, for either provider."""

    def __init__(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.client = client
        self.is_hubspot = isinstance(sandbox, HubSpotSandbox)

    async def write(self) -> httpx.Response:
        if self.is_hubspot:
            inputs = [{"properties": {"lastname": name}, "objectWriteTraceId": name} for name in "abc"]
            return await self.client.post("/crm/v3/objects/contacts/batch/create", json={"inputs": inputs})
        records = [{"attributes": {"type": "Contact"}, "LastName": name} for name in "abc"]
        return await self.client.post("/services/data/v60.0/composite/sobjects", json={"records": records})

    def written(self) -> int:
        return len(self.sandbox.records("contacts" if self.is_hubspot else "Contact"))

    def answered(self, answer: httpx.Response) -> list[str]:
        """The records of which the answer speaks."""
        if self.is_hubspot:
            results = [result["properties"]["lastname"] for result in answer.json()["results"]]
            return results + [error["context"]["objectWriteTraceId"][0] for error in answer.json().get("errors", ())]
        return [item.get("id") or item["errors"][0]["statusCode"] for item in answer.json()]


@asynccontextmanager
async def provider(name: str, *faults: Fault, seed: int = 0, timeout: float = 60.0) -> AsyncIterator[Provider]:
    kind = HubSpotSandbox if name == "hubspot" else SalesforceSandbox
    with kind(faults=Faults(*faults, seed=seed)) as sandbox:
        async with client_of(sandbox, timeout=timeout) as client:
            yield Provider(sandbox, client)


BOTH = pytest.mark.parametrize("name", ["hubspot", "salesforce"])


@BOTH
@pytest.mark.parametrize(
    ("fault", "hubspot", "salesforce", "written"),
    [
        (Fault("throttle"), 429, 403, 0),
        (Fault("error"), 503, 503, 0),
        (Fault("error", status=502, html=True), 502, 502, 0),
        (Fault("error", status=500, applied=True), 500, 500, 3),
        (Fault("expire"), 401, 401, 0),
        (Fault("delay", seconds=5.0), 201, 200, 3),
        (Fault("delay", seconds=5.0, applied=True), 201, 200, 3),
        (Fault("shuffle"), 201, 200, 3),
    ],
)
async def test_a_fault_answers_and_leaves_what_it_says(name, fault, hubspot, salesforce, written):
    """Status and database agree with the order; the next request fares well, and the fault is counted."""
    async with provider(name, fault) as it:
        began = anyio.current_time()
        answer = await it.write()
        assert answer.status_code == (hubspot if name == "hubspot" else salesforce)
        assert it.written() == written
        assert anyio.current_time() - began == (5.0 if fault.kind is FaultKind.DELAY else 0.0)
        assert answer.headers["content-type"].startswith("text/html" if fault.html else "application/json")
        assert (await it.write()).is_success
        assert it.sandbox.faults.struck == {fault.name: 1}
        assert it.sandbox.faults.standing == []


@BOTH
@pytest.mark.parametrize(
    ("fault", "written"),
    [(Fault("reset"), 0), (Fault("reset", applied=True), 3), (Fault("half"), 3)],
)
async def test_a_broken_connection_is_an_error_of_the_transport(name, fault, written):
    """Before or after the request was applied; without a socket it is ConnectionLost."""
    async with provider(name, fault, fault) as it:
        with pytest.raises(httpx.ReadError, match=LOST):
            await it.write()
        assert it.written() == written
        async with httpx.AsyncClient(transport=httpx.ASGITransport(it.sandbox), base_url="http://sandbox") as bare:
            bare.headers = it.client.headers
            with pytest.raises(ConnectionLost):
                await Provider(it.sandbox, bare).write()
        assert it.written() == 2 * written


@BOTH
async def test_who_gives_up_waiting_does_not_stop_the_request(name):
    """A request that is delayed beyond the client's patience is applied all the same."""
    async with provider(name, Fault("delay", seconds=5.0), timeout=2.0) as it:
        with pytest.raises(httpx.ReadTimeout):
            await it.write()
        assert (anyio.current_time(), it.written()) == (2.0, 0)
        await anyio.sleep(3.5)
        assert it.written() == 3


@BOTH
@pytest.mark.parametrize(("applied", "written"), [(False, 1), (True, 3)])
async def test_dropped_records_are_not_spoken_of(name, applied, written):
    """Two of three: neither result nor error; written or not, as ordered."""
    async with provider(name, Fault("drop", records=2, applied=applied)) as it:
        answer = await it.write()
        assert answer.is_success
        assert len(it.answered(answer)) == 1
        assert it.written() == written


@BOTH
async def test_more_records_than_there_are(name):
    """All of them are dropped: an empty answer, and success by its status."""
    async with provider(name, Fault("drop", records=9)) as it:
        answer = await it.write()
        assert (answer.is_success, it.answered(answer), it.written()) == (True, [], 0)


@BOTH
async def test_rejected_records_have_the_ordered_code(name):
    """One of three; the others are written."""
    async with provider(name, Fault("reject", code="STRING_TOO_LONG", message="too long")) as it:
        answer = await it.write()
        assert len(it.answered(answer)) == 3
        assert "STRING_TOO_LONG" in answer.text
        assert "too long" in answer.text
        assert it.written() == 2


@pytest.mark.parametrize(("applied", "phones"), [(False, 1), (True, 2)])
async def test_hubspot_drops_updates_too(applied, phones):
    """Of two records that are there, one has no result."""
    async with provider("hubspot", Fault("drop", path="/batch/update", applied=applied)) as it:
        await it.write()
        inputs = [{"id": row["id"], "properties": {"phone": "1"}} for row in it.sandbox.records("contacts")[:2]]
        answer = await it.client.post("/crm/v3/objects/contacts/batch/update", json={"inputs": inputs})
        assert (answer.status_code, len(answer.json()["results"])) == (200, 1)
        assert sum("phone" in row["fields"] for row in it.sandbox.records("contacts")) == phones


async def test_a_refusal_can_be_lost_as_well():
    """Half of an answer that refuses, and nothing written."""
    async with provider("salesforce", Fault("half")) as it:
        with pytest.raises(httpx.ReadError):
            await it.client.post("/services/data/v60.0/composite/sobjects", json={"records": []})


async def test_a_server_is_told_to_break_and_waited_for():
    """The app does not return before the server has noticed, and sends nothing."""
    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    broken: list[bool] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await Reset()({"type": "http", "extensions": {BREAK: broken.append}}, receive, send)
    assert (broken, messages) == ([False], [])


async def test_who_hangs_up_while_sending_is_not_answered():
    """499, which nobody reads; nothing is written, and no traceback."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    with HubSpotSandbox() as sandbox:
        path = "/crm/v3/objects/contacts"
        headers = {"authorization": f"Bearer {sandbox.TOKEN}", "content-type": "application/json"}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw}
        await sandbox(scope, receive, send)
        assert sent[0]["status"] == 499
        assert sandbox.records("contacts") == []


def test_without_the_extra_it_says_what_to_install():
    """A sentence with the extra's name."""
    code = "import sys; sys.modules['starlette'] = None; import batcher.sandbox"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'saas-batcher[server]', or '.[server]' in a clone" in result.stderr


async def test_hubspot_locks_the_whole_request():
    """423, and nothing is written."""
    async with provider("hubspot", Fault("lock")) as it:
        assert ((await it.write()).status_code, it.written()) == (423, 0)


async def test_salesforce_in_another_order():
    """Against its promise, so that a client that trusts the order is seen to."""
    orders = set()
    for seed in range(8):
        async with provider("salesforce", Fault("shuffle"), seed=seed) as it:
            ids = it.answered(await it.write())
            assert sorted(ids) == [row["id"] for row in it.sandbox.records("Contact")]
            orders.add(tuple(ids))
    assert len(orders) > 1


async def test_the_providers_own_limits_by_name():
    """HubSpot's daily limit, Salesforce's concurrent requests."""
    async with provider("hubspot", Fault("throttle", code="DAILY")) as it:
        assert (await it.write()).json()["policyName"] == "DAILY"
    async with provider("salesforce", Fault("throttle", code="ConcurrentRequests (Concurrent API Requests)")) as it:
        words = (await it.write()).json()[0]["message"]
        assert words == "ConcurrentRequests (Concurrent API Requests) Limit exceeded."


async def test_an_expired_token_stays_expired_if_it_was_issued():
    """The fixed one is refused once only."""
    async with provider("hubspot", Fault("expire"), Fault("expire")) as it:
        assert [(await it.write()).status_code for _ in range(3)] == [401, 401, 201]
        token = it.sandbox.tokens.issue()
        async with client_of(it.sandbox, token) as client:
            issued = Provider(it.sandbox, client)
            assert (await issued.write()).status_code == 201
            it.sandbox.faults.order(Fault("expire"))
            assert [(await issued.write()).status_code for _ in range(2)] == [401, 401]


@BOTH
async def test_an_error_says_when_to_come_back(name):
    """Only if ordered; code and message are the order's."""
    fault = Fault("error", status=477, retry_after=7, code="MIGRATION", message="moving")
    async with provider(name, fault) as it:
        answer = await it.write()
        assert (answer.status_code, answer.headers["retry-after"]) == (477, "7")
        assert "MIGRATION" in answer.text
        assert "moving" in answer.text


def test_the_first_that_matches_strikes():
    """By method and a part of the path; each as often as ordered, then the next; at most one at a time."""
    faults = Faults(
        Fault("reset", path="/update"), Fault("error", times=2, method="POST"), Fault("delay", times=None, applied=True)
    )
    requests = [("POST", "/create"), ("POST", "/update"), ("POST", "/create"), ("POST", "/create"), ("GET", "/update")]
    struck = [fault.name if (fault := faults.next(*request)) else None for request in requests]
    assert struck == ["error", "reset", "error", "delay_applied", "delay_applied"]
    assert faults.requests == 5
    assert faults.struck == {"error": 2, "reset": 1, "delay_applied": 2}
    assert faults.standing == [Fault("delay", times=None, applied=True)]
    faults.clear()
    assert faults.next("POST", "/create") is None
    assert faults.struck["error"] == 2


def test_dice_with_a_seed():
    """The same seed strikes the same requests, about as many as the probability says; clearing begins anew."""

    def strikes(faults: Faults) -> list[bool]:
        return [faults.next("POST", "/") is not None for _ in range(2_000)]

    rare = Fault("reset", times=None, probability=0.05)
    faults = Faults(rare, seed=3)
    first = strikes(faults)
    assert 60 < sum(first) < 140
    faults.clear(3)
    faults.order(rare)
    assert strikes(faults) == first
    assert strikes(Faults(rare, seed=4)) != first
    assert not any(strikes(Faults(Fault("reset", times=None, probability=0.0))))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "nothing"},
        {},
        [],
        {"kind": "reset", "often": 1},
        {"kind": "reset", "times": 0},
        {"kind": "reset", "times": 1.5},
        {"kind": "reset", "times": True},
        {"kind": "reset", "probability": 2},
        {"kind": "reset", "probability": "x"},
        {"kind": "reset", "probability": nan},
        {"kind": "delay", "seconds": inf},
        {"kind": "delay", "seconds": -1},
        {"kind": "error", "status": 200},
        {"kind": "reset", "applied": 1},
        {"kind": "reset", "path": 1},
        {"kind": "drop", "records": 0},
        {"kind": "error", "retry_after": 0},
    ],
)
def test_what_is_no_fault_is_refused(wrong):
    """With a ValueError or a TypeError that says which."""
    with pytest.raises((TypeError, ValueError)):
        Fault.from_json(wrong)


def test_a_fault_survives_json():
    """What is shown can be ordered again."""
    fault = Fault("drop", times=None, probability=0.5, path="/x", applied=True, records=3)
    assert Fault.from_json(fault.to_json()) == fault


@BOTH
async def test_the_side_door_takes_orders(name):
    """Ordered, counted and withdrawn over HTTP, without a token; its own requests do not count."""
    async with provider(name) as it:
        side = it.client
        del side.headers["authorization"]
        ordered = await side.post("/sandbox/faults", json={"faults": [{"kind": "error", "times": 2}]})
        assert ordered.json()["standing"][0]["times"] == 2
        assert (await it.write()).status_code == 503
        shown = (await side.get("/sandbox/faults")).json()
        assert (shown["requests"], shown["struck"], shown["standing"][0]["times"]) == (1, {"error": 1}, 1)
        assert (await side.delete("/sandbox/faults")).json()["standing"] == []
        again = await side.post("/sandbox/faults", json={"seed": 1, "faults": [{"kind": "reset"}]})
        assert [each["kind"] for each in again.json()["standing"]] == ["reset"]
        seeded = await side.post("/sandbox/faults", json={"seed": 1})
        assert seeded.json()["standing"] == []


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        ("{", 400, "the body is not JSON"),
        ("[]", 400, "an object with 'faults'"),
        ('{"fault": []}', 400, "an object with 'faults'"),
        ('{"faults": 1}', 400, "'faults' a list"),
        ('{"seed": "x"}', 400, "'seed' must be a whole number"),
        ('{"faults": [1]}', 400, "a fault must be an object"),
        ('{"faults": [{"kind": "x"}]}', 400, "not a valid FaultKind"),
        ('{"faults": [{"kind": "reset"}, {"kind": "reset", "times": "x"}]}', 400, "'times' must be a whole number"),
        (" " * 1_000_001, 413, "longer than"),
    ],
)
async def test_the_side_door_refuses_in_words(content, status, words):
    """And then nothing of the order stands."""
    async with provider("hubspot") as it:
        headers = {"content-type": "application/json"}
        answer = await it.client.post("/sandbox/faults", content=content, headers=headers)
        assert (answer.status_code, words in answer.json()["error"]) == (status, True)
        assert it.sandbox.faults.standing == []


async def test_the_side_door_shows_the_records():
    """As the database has them; those that are gone if asked."""
    async with provider("salesforce") as it:
        await it.write()
        first, *_ = it.sandbox.records("Contact")
        await it.client.delete("/services/data/v60.0/composite/sobjects", params={"ids": first["id"]})
        shown: Any = (await it.client.get("/sandbox/records/Contact")).json()["records"]
        assert shown == it.sandbox.records("Contact")
        everything = (await it.client.get("/sandbox/records/Contact?archived=true")).json()["records"]
        assert [record["archived"] for record in everything] == [True, False, False]


@pytest.mark.parametrize("sandbox", [HubSpotSandbox, SalesforceSandbox])
def test_faults_are_given_as_one_several_or_those_that_stand(sandbox):
    """A list does; so does a single one, and what another sandbox has."""
    reset, lock = Fault("reset"), Fault("lock")
    for given, standing in ((None, []), (reset, [reset]), ([reset, lock], [reset, lock]), (iter([lock]), [lock])):
        with sandbox(faults=given) as stand_in:
            assert stand_in.faults.standing == standing
    shared = Faults(reset)
    with sandbox(faults=shared) as stand_in:
        assert stand_in.faults is shared


@pytest.mark.parametrize("given", [7, "reset", {"kind": "reset"}])
def test_what_is_no_fault_is_refused_in_words(given):
    """Where the sandbox is made: a fault that never strikes would make a test pass that should not."""
    with pytest.raises(TypeError, match=r"faults must be Faults\(...\) or a list of Fault\(...\), .*not"):
        HubSpotSandbox(faults=given)
    with pytest.raises(TypeError, match=r"a fault must be Fault\(...\), such as Fault\('reset'\), not"):
        HubSpotSandbox(faults=[given])
