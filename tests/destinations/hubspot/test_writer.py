"""HubSpot: through the writer, with both clients, on both loops."""

from typing import Any

import anyio
import pytest

from batcher import (
    InvalidGroup,
    RecordNotWritten,
    RecordUnknown,
    Rejected,
    RolledBack,
    Writer,
    Written,
)
from tests.destinations import loopback
from tests.destinations.hubspot.helpers import FAR, bad, create, delete, done, good, hubspot, update, upsert
from tests.destinations.hubspot.helpers import written as all_written
from tests.destinations.loopback import answers, response, served
from tests.destinations.service import ONCE, Service

pytestmark = pytest.mark.anyio


async def test_the_four_verbs(service: Service) -> None:
    """Create, update, upsert and delete, as the first example has them."""
    service.says(201, done([good("512", {"email": "ada@example.com"})]))
    service.says(200, done([good("512")]))
    service.says(200, done([good("512", {"email": "ada@example.com"}, new=False)]))
    service.says(204, b"")
    async with service.writer(api_version="v3") as crm:
        written = await crm.create("contacts", {"email": "ada@example.com"})
        outcomes = [
            written,
            await crm.update("contacts", {"id": written.record_id, "phone": "1"}),
            await crm.upsert("contacts", {"email": "Ada@example.com"}, by="email"),
            await crm.delete("contacts", written.record_id),
        ]

    assert [each.record_id for each in outcomes] == ["512"] * 4
    assert [path.rpartition("/")[2] for path in service.paths] == ["create", "update", "upsert", "archive"]


async def test_p04_one_bad_record_costs_its_own_caller_an_error(service: Service) -> None:
    """Its error names it, and everybody else is written."""
    service.says(207, done([good("2", {"email": "b"}), good("1", {"email": "a"})], [bad(objectWriteTraceId=["1"])]))
    async with service.writer() as crm:
        outcomes = await crm.submit_all([create({"email": each}) for each in "acb"])

    assert [type(each) for each in outcomes] == [Written, Rejected, Written]
    assert [each.record_id for each in outcomes if isinstance(each, Written)] == ["1", "2"]


async def test_p04_two_records_that_hubspot_takes_for_one_are_both_written(service: Service) -> None:
    """HubSpot may see one id where we see two; apart from each other both are fine."""

    def one_at_a_time(inputs: Any) -> tuple[int, Any]:
        if len(inputs) > 1:
            return 400, bad("Duplicate IDs found in batch input: [1]. IDs must be unique", ids=["1"])
        return all_written(inputs)

    service.script = [one_at_a_time] * 5
    async with service.writer() as crm:
        outcomes = await crm.submit_all([update("1"), update("01")])

    assert [each.record_id for each in outcomes if isinstance(each, Written)] == ["1", "01"]


async def test_p05_a_group_is_one_call_without_trace_ids(service: Service) -> None:
    """One bad record rejects all; where HubSpot writes a part of a call, a group is refused and nothing is sent."""
    service.says(409, bad("Contact already exists"))
    async with service.writer() as crm:
        outcomes = await crm.submit_all([create({"email": "a"}), create({"email": "b"})], all_or_none=True)
        for group in ([update("1"), update("2")], [delete("1"), delete("2")]):
            with pytest.raises(InvalidGroup, match="all or none"):
                await crm.submit_all(group, all_or_none=True)

    assert [type(each) for each in outcomes] == [RolledBack, RolledBack]
    assert service.calls == [[{"properties": {"email": "a"}}, {"properties": {"email": "b"}}]]


async def test_p06_one_record_is_never_twice_in_a_call(service: Service) -> None:
    """Two upserts of one address, in whichever letters, and an update and a delete of one id keep their order."""
    async with service.writer() as crm:
        await crm.submit_all([upsert("a@x"), upsert("A@x"), upsert("b@x")])
        await crm.submit_all([update("1"), delete("1"), delete("2")])

    calls = [(path.rpartition("/")[2], inputs) for path, inputs in zip(service.paths, service.calls, strict=True)]
    upserts = [[each["id"] for each in inputs] for verb, inputs in calls if verb == "upsert"]
    first = [verb for verb, inputs in calls if {"id": "1"}.items() <= inputs[0].items()]
    assert [each for call in upserts for each in call if each != "b@x"] == ["a@x", "A@x"]
    assert all(len(call) == len({each.lower() for each in call}) for call in upserts)
    assert first == ["update", "archive"]


async def test_p07_throttled_is_not_written_and_broken_is_unknown(service: Service) -> None:
    """429 applied nothing; after 502 nobody can say; and what was dropped without a word is unknown."""
    service.says(429, {"policyName": "TEN_SECONDLY_ROLLING"})
    service.says(502, None)
    service.says(207, done([]))
    service.says(429, {"policyName": "DAILY"})
    async with service.writer() as crm:
        for n, error in enumerate((RecordNotWritten, RecordUnknown, RecordUnknown, RecordNotWritten)):
            with pytest.raises(error) as caught:
                await crm.create(f"object{n}", {"email": "a"})

    assert "daily limit" in str(caught.value)


async def test_associations_follow_an_update(service: Service) -> None:
    """A second call makes them; what it says of them is a warning to their own callers."""
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
    assert service.paths == [
        "/crm/objects/2026-03/contacts/batch/update",
        "/crm/associations/2026-03/contacts/companies/batch/create",
    ]


async def test_associations_of_an_upsert_start_at_the_id_that_came_back(service: Service) -> None:
    """The value that it matches on is no id."""
    service.says(200, done([good("512", {"email": "a@x"}, new=True)]))
    service.says(200, done([{"fromObjectId": 512, "toObjectId": 101}]))
    async with service.writer() as crm:
        written = await crm.submit(upsert("A@x", associations=[FAR]))

    assert (written.record_id, service.calls[1][0]["from"]) == ("512", {"id": "512"})
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
    """Each of them would meet the same."""
    service.says(200, done([good("1"), good("2")]))
    service.script += [lambda inputs: (400, bad("Unable to infer object type from: companys", None))] * 9
    async with service.writer() as crm:
        outcomes = await crm.submit_all([update(str(n), associations=[FAR]) for n in (1, 2)])

    assert all(isinstance(each, Written) and len(each.warnings) == 1 for each in outcomes)
    assert len(service.calls) == 2


async def test_the_search_for_bad_associations_has_a_budget(service: Service) -> None:
    """If all are bad, it ends after 50 calls, and everybody is told."""
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
    """Whatever happens to the second call, the record is written, and its caller is told of the rest."""
    service.says(200, done([good("1")]))
    service.script.append(lambda _: trouble(service.module))
    async with service.writer() as crm:
        written = await crm.submit(update("1", associations=[FAR]))

    assert isinstance(written, Written)
    assert written.warnings == (f"the association with companies 101 may not have been made: {words}",)


async def test_associations_end_in_time() -> None:
    """A second call that says nothing does not turn what is written into what nobody knows."""
    behaviours = [answers(response(done([good("1")]))), loopback.says_nothing]
    async with served(*behaviours) as url:
        with anyio.fail_after(120):
            async with Writer(hubspot(base_url=url, timeout=3.0), retry=ONCE) as crm:
                written = await crm.submit(update("1", associations=[FAR]))

    assert isinstance(written, Written)
    assert "there was no answer in time" in written.warnings[0]
