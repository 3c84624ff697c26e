"""HubSpot: through the writer, with both clients, on both loops."""

import json
import random
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from batcher import (
    AutoBatchPolicy,
    InvalidGroup,
    RecordNotWritten,
    RecordUnknown,
    Rejected,
    RetryPolicy,
    RolledBack,
    Unknown,
    Write,
    Writer,
    Written,
)
from batcher.destinations import HubSpot
from batcher.errors import BatcherNotOpen
from tests.api import gather
from tests.destinations import loopback
from tests.destinations.hubspot.helpers import FAR, TOKEN, bad, create, delete, done, good, hubspot, update, upsert
from tests.destinations.loopback import answers, response, served

pytestmark = pytest.mark.anyio

# One try per record, so that no test waits for a backoff.
ONCE = RetryPolicy(max_attempts=1)
AT_ONCE = AutoBatchPolicy(max_delay=0.0)


class Service:
    """A scripted HubSpot behind a mock transport; by default it writes everything, and answers in random order."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.script: list[Callable[[Any], tuple[int, Any]]] = []
        self.requests: list[Any] = []
        self.order = random.Random(7)
        self.client = module.AsyncClient(transport=module.MockTransport(self.answer))

    def answer(self, request: Any) -> Any:
        self.requests.append(request)
        inputs = json.loads(request.content)["inputs"]
        status, reply = self.script.pop(0)(inputs) if self.script else (200, self.written(inputs))
        if isinstance(reply, Exception):
            raise reply
        return self.module.Response(status, content=b"" if request.url.path.endswith("/archive") else json.dumps(reply))

    def written(self, inputs: Any) -> Any:
        results = [good(each.get("id") or f"id of {each['properties']['email']}", self.stored(each)) for each in inputs]
        self.order.shuffle(results)
        return done(results)

    def stored(self, each: Any) -> dict[str, str]:
        key = {each["idProperty"]: each["id"]} if "idProperty" in each else {}
        return {name: value.lower() for name, value in {**each.get("properties", {}), **key}.items()}

    def says(self, status: int, reply: Any) -> None:
        self.script.append(lambda inputs: (status, reply))

    @property
    def calls(self) -> list[tuple[str, Any]]:
        return [(each.url.path, json.loads(each.content)["inputs"]) for each in self.requests]

    def destination(self, **options: Any) -> HubSpot:
        return hubspot(client=self.client, **options)

    def writer(self, **options: Any) -> Writer:
        return Writer(self.destination(**options), retry=ONCE, auto_batch=AT_ONCE)


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    service = Service(request.param)
    async with service.client:
        yield service


async def test_p02_a_batch_travels_in_one_call_and_each_caller_gets_its_own_id(service: Service) -> None:
    """
    150 callers, two calls, answered in random order: each gets the id of its own record.
    """
    async with service.writer() as crm:
        calls = [partial(crm.create, "contacts", {"email": f"{n}@x"}) for n in range(150)]
        results = await gather(*calls)

    assert [each.record_id for each in results] == [f"id of {n}@x" for n in range(150)]
    assert [len(inputs) for _, inputs in service.calls] == [100, 50]
    assert str(service.requests[0].url) == "https://api.hubapi.com/crm/objects/2026-03/contacts/batch/create"
    assert service.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert service.requests[0].headers["content-type"] == "application/json"


async def test_the_four_verbs(service: Service) -> None:
    """
    Create, update, upsert and delete, as the first example has them.
    """
    service.says(201, done([good("512", {"email": "ada@example.com"})]))
    service.says(200, done([good("512")]))
    service.says(200, done([good("512", {"email": "ada@example.com"}, new=False)]))
    service.says(204, None)
    async with service.writer(api_version="v3") as crm:
        written = await crm.create("contacts", {"email": "ada@example.com"})
        outcomes = [
            written,
            await crm.update("contacts", {"id": written.record_id, "phone": "1"}),
            await crm.upsert("contacts", {"email": "Ada@example.com"}, by="email"),
            await crm.delete("contacts", written.record_id),
        ]

    assert [each.record_id for each in outcomes] == ["512"] * 4
    assert [path.rpartition("/")[2] for path, _ in service.calls] == ["create", "update", "upsert", "archive"]


async def test_p04_one_bad_record_costs_its_own_caller_an_error(service: Service) -> None:
    """
    Its error names it, and everybody else is written.
    """
    service.says(207, done([good("2", {"email": "b"}), good("1", {"email": "a"})], [bad(objectWriteTraceId=["1"])]))
    async with service.writer() as crm:
        outcomes = await crm.submit_all([create({"email": each}) for each in "acb"])

    assert [type(each) for each in outcomes] == [Written, Rejected, Written]
    assert [each.record_id for each in outcomes if isinstance(each, Written)] == ["1", "2"]


async def test_p04_a_refused_batch_costs_only_its_culprit(service: Service) -> None:
    """
    HubSpot refuses the whole call without saying which record: it is found by halving.
    """

    def picky(inputs: Any) -> tuple[int, Any]:
        if any(each["properties"]["email"] == "3" for each in inputs):
            return 409, bad("Contact already exists. Existing ID: 5551", existingId=["5551"])
        return 201, service.written(inputs)

    service.script = [picky] * 20
    async with service.writer() as crm:
        outcomes = await crm.submit_all([create({"email": str(n)}) for n in range(8)])

    assert [type(each) for each in outcomes] == [Written] * 3 + [Rejected] + [Written] * 4


async def test_p04_two_records_that_hubspot_takes_for_one_are_both_written(service: Service) -> None:
    """
    HubSpot may see one id where we see two; apart from each other both are fine.
    """

    def one_at_a_time(inputs: Any) -> tuple[int, Any]:
        if len(inputs) > 1:
            return 400, bad("Duplicate IDs found in batch input: [1]. IDs must be unique", ids=["1"])
        return 200, service.written(inputs)

    service.script = [one_at_a_time] * 5
    async with service.writer() as crm:
        outcomes = await crm.submit_all([update("1"), update("01")])

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == ["1", "01"]


async def test_p05_a_group_is_one_call_without_trace_ids(service: Service) -> None:
    """
    One bad record rejects all; where HubSpot writes a part of a call, a group is refused and nothing is sent.
    """
    service.says(409, bad("Contact already exists"))
    async with service.writer() as crm:
        outcomes = await crm.submit_all([create({"email": "a"}), create({"email": "b"})], all_or_none=True)
        for group in ([update("1"), update("2")], [delete("1"), delete("2")]):
            with pytest.raises(InvalidGroup, match="all or none"):
                await crm.submit_all(group, all_or_none=True)

    assert [type(each) for each in outcomes] == [RolledBack, RolledBack]
    assert [inputs for _, inputs in service.calls] == [[{"properties": {"email": "a"}}, {"properties": {"email": "b"}}]]


async def test_p06_one_record_is_never_twice_in_a_call(service: Service) -> None:
    """
    Two upserts of one address, in whichever letters, and an update and a delete of one id keep their order.
    """
    async with service.writer() as crm:
        await crm.submit_all([upsert("a@x"), upsert("A@x"), upsert("b@x")])
        await crm.submit_all([update("1"), delete("1"), delete("2")])

    upserts = [[each["id"] for each in inputs] for path, inputs in service.calls if path.endswith("upsert")]
    first = [path.rpartition("/")[2] for path, inputs in service.calls if {"id": "1"}.items() <= inputs[0].items()]
    assert [each for call in upserts for each in call if each != "b@x"] == ["a@x", "A@x"]
    assert all(len(call) == len({each.lower() for each in call}) for call in upserts)
    assert first == ["update", "archive"]


async def test_p07_throttled_is_not_written_and_broken_is_unknown(service: Service) -> None:
    """
    429 applied nothing; after 502 nobody can say; and what was dropped without a word is unknown.
    """
    service.says(429, {"policyName": "TEN_SECONDLY_ROLLING"})
    service.says(502, None)
    service.says(207, done([]))
    service.says(429, {"policyName": "DAILY"})
    async with service.writer() as crm:
        for n, error in enumerate((RecordNotWritten, RecordUnknown, RecordUnknown, RecordNotWritten)):
            with pytest.raises(error) as caught:
                await crm.create(f"object{n}", {"email": "a"})

    assert "daily limit" in str(caught.value)


async def test_p13_the_token_and_the_payload_stay_out_of_errors(service: Service) -> None:
    """
    A wrong token is told in words of our own.
    """
    service.says(401, bad(f"the token {TOKEN} is wrong", "INVALID_AUTHENTICATION"))
    async with service.writer() as crm:
        with pytest.raises(RecordNotWritten) as caught:
            await crm.create("contacts", {"email": "a"})

    assert TOKEN not in str(caught.value) + repr(caught.value) + repr(caught.value.outcome) + repr(crm)
    assert "HTTP 401: the service does not accept the access token" in str(caught.value)


async def test_associations_follow_an_update(service: Service) -> None:
    """
    A second call makes them; what it says of them is a warning to their own callers.
    """
    service.says(200, done([good("2"), good("1"), good("3")]))
    linked = done(
        [{"fromObjectId": "2", "toObjectId": "101"}], [bad("no company 101", "NOT_FOUND", fromObjectId=["1"])]
    )
    service.says(207, linked)
    writes = [update("1", associations=[FAR]), update("2", associations=[FAR]), update("3")]
    async with service.writer() as crm:
        outcomes = await crm.submit_all(writes)

    warning = "the association with companies 101 may not have been made: no company 101 (NOT_FOUND)"
    assert [each.warnings for each in outcomes if isinstance(each, Written)] == [(warning,), (), ()]
    assert [path for path, _ in service.calls] == [
        "/crm/objects/2026-03/contacts/batch/update",
        "/crm/associations/2026-03/contacts/companies/batch/create",
    ]


async def test_associations_of_an_upsert_start_at_the_id_that_came_back(service: Service) -> None:
    """
    The value that it matches on is no id.
    """
    service.says(200, done([good("512", {"email": "a@x"}, new=True)]))
    service.says(200, done([{"fromObjectId": 512, "toObjectId": 101}]))
    async with service.writer() as crm:
        written = await crm.submit(upsert("A@x", associations=[FAR]))

    assert (written.record_id, service.calls[1][1][0]["from"]) == ("512", {"id": "512"})
    assert isinstance(written, Written)
    assert written.warnings == ()


@pytest.mark.parametrize(("status", "calls", "warned"), [(400, 1 + 1 + 8, 2), (403, 1 + 1, 8), (500, 1 + 1, 8)])
async def test_p04_a_bad_association_costs_nobody_else_theirs(
    service: Service, status: int, calls: int, warned: int
) -> None:
    """
    HubSpot refuses the second call as a whole: the association that it minds is found by halving, unless each would
    meet the same.
    """

    def picky(inputs: Any) -> tuple[int, Any]:
        if {"5", "6"} & {each["from"]["id"] for each in inputs}:
            return status, bad("no such company", "VALIDATION_ERROR")
        return 201, done([{}] * len(inputs))

    service.says(200, done([good(str(n)) for n in range(8)]))
    service.script += [picky] * 20
    async with service.writer() as crm:
        outcomes = await crm.submit_all([update(str(n), associations=[FAR]) for n in range(8)])

    told = [each.record_id for each in outcomes if isinstance(each, Written) and each.warnings]
    assert told == (["5", "6"] if warned == 2 else [str(n) for n in range(8)])
    assert len(service.calls) == calls


async def test_associations_with_an_object_that_is_unknown_are_not_searched(service: Service) -> None:
    """
    Each of them would meet the same.
    """
    service.says(200, done([good("1"), good("2")]))
    service.script += [lambda inputs: (400, bad("Unable to infer object type from: companys", None))] * 9
    async with service.writer() as crm:
        outcomes = await crm.submit_all([update(str(n), associations=[FAR]) for n in (1, 2)])

    assert all(isinstance(each, Written) and len(each.warnings) == 1 for each in outcomes)
    assert len(service.calls) == 2


async def test_the_search_for_bad_associations_has_a_budget(service: Service) -> None:
    """
    If all are bad, it ends after 50 calls, and everybody is told.
    """
    service.says(200, done([good(str(n)) for n in range(100)]))
    service.script += [lambda inputs: (400, bad("no", "VALIDATION_ERROR"))] * 200
    async with service.writer() as crm:
        outcomes = await crm.submit_all([update(str(n), associations=[FAR]) for n in range(100)])

    assert all(isinstance(each, Written) and len(each.warnings) == 1 for each in outcomes)
    assert len(service.calls) == 1 + 1 + 50


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (lambda module: module.ConnectError("x"), "the request to api.hubapi.com never left (ConnectError)"),
        (lambda module: module.ReadError("x"), "the request left and its answer was lost (ReadError)"),
        (lambda module: ZeroDivisionError("secret"), "ZeroDivisionError"),
    ],
)
async def test_trouble_with_associations_costs_no_outcome(service: Service, trouble: Any, words: str) -> None:
    """
    Whatever happens to the second call, the record is written, and its caller is told of the rest.
    """
    service.says(200, done([good("1")]))
    service.says(0, trouble(service.module))
    async with service.writer() as crm:
        written = await crm.submit(update("1", associations=[FAR]))

    assert isinstance(written, Written)
    assert written.warnings == (f"the association with companies 101 may not have been made: {words}",)


async def test_associations_end_in_time() -> None:
    """
    A second call that says nothing does not turn what is written into what nobody knows.
    """
    behaviours = [answers(response(done([good("1")]))), loopback.says_nothing]
    async with served(*behaviours) as url:
        with anyio.fail_after(20):
            async with Writer(hubspot(base_url=url, timeout=1.0), retry=ONCE, auto_batch=AT_ONCE) as crm:
                written = await crm.submit(update("1", associations=[FAR]))

    assert isinstance(written, Written)
    assert "there was no answer in time" in written.warnings[0]


async def test_a_destination_that_is_not_open() -> None:
    """
    It says so, and is not tried again.
    """
    db = hubspot()
    prepared = db.encode(create())
    with pytest.raises(BatcherNotOpen):
        await db.send(prepared.lane, [prepared.item], all_or_none=False)


async def test_over_a_real_socket_each_trouble_has_its_outcome() -> None:
    """
    The client made here, a server that writes, breaks, refuses, babbles and stops half-way: every caller is told.
    """
    behaviours = [
        answers(response(done([good("7")]), 201)),
        loopback.resets_before_reading,
        loopback.resets_after_reading,
        answers(b"garbage\r\n\r\n"),
        answers(response(b'{"results"', 207, 1000)),
        loopback.never_ends,
        answers(response(bad(), 409)),
        answers(response(b"", 423)),
    ]
    outcomes: list[Any] = []
    async with served(*behaviours) as url:
        destination = hubspot(base_url=url, max_answer_bytes=100_000)
        async with Writer(destination, retry=ONCE, auto_batch=AT_ONCE) as crm:
            for n in range(len(behaviours)):
                outcomes += await crm.submit_all([Write(f"o{n}", "create", {"email": "a"})])

    kinds = [each.kind for each in outcomes]
    assert kinds == ["written"] + ["unknown"] * 5 + ["rejected", "not_written"]
    assert all(isinstance(each, Unknown) for each in outcomes[1:6])
