"""Synchronous writes: they wait for their own fate, and travel together."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from batcher import AutoBatchPolicy, InvalidRecord, Limits, NotWritten, Refused, Rejected, Retry, Written
from batcher.destinations import SQLite, Table
from batcher.policies import LaneRules
from batcher.server._problems import timestamp
from tests.api import gather
from tests.server.helpers import (
    EPOCH,
    MINUTE,
    Scripted,
    asynchronous,
    batch_of,
    check_problem,
    create,
    group,
    serving,
    update,
    windowed,
)

pytestmark = pytest.mark.anyio


async def test_p01_p02_two_hundred_callers_share_two_calls_and_each_gets_its_own_record():
    """This is what it is for."""
    destination = Scripted(lambda items: [Written(f"id of {item['n']}") for item in items])
    destination.script *= 2
    async with serving(destination) as client:
        responses = await gather(*(partial(client.write, create(n=n)) for n in range(200)))
    assert [each.json()["result"]["recordId"] for each in responses] == [f"id of {n}" for n in range(200)]
    assert len({each.json()["operationId"] for each in responses}) == 200
    assert destination.sizes == [100, 100]


async def test_p04_a_bad_record_costs_nobody_else_anything():
    """Over the real database: one of three callers is refused."""
    async with serving(SQLite(":memory:", objects={"contacts": Table(unique=["email"])})) as client:
        emails = ["ada@x", "bob@x", "ada@x"]
        responses = await gather(*(partial(client.write, create(email=email)) for email in emails))
        assert sorted(each.status_code for each in responses) == [200, 200, 422]
        assert responses[1].status_code == 200
        (refused,) = (each for each in responses if each.status_code == 422)
        assert refused.json()["result"]["data"]["errors"][0]["code"] == "DUPLICATE_VALUE"


async def test_all_types_of_writes_reach_the_database():
    """Create, update and delete of one record, seen in its rows."""
    database = SQLite(":memory:")
    async with serving(database, deletion_enabled=["contacts"]) as client:
        (one, two) = (await client.write(batch_of({"n": 1}, {"n": 2}))).json()["results"]
        assert (await client.write(update(one["recordId"], n=3))).status_code == 200
        delete = {"groupRef": "g", "type": "delete", "record": {"id": two["recordId"]}}
        assert (await client.write(delete)).status_code == 200
        assert (await client.write(delete)).status_code == 422
        assert await database.rows("contacts") == [{"id": one["recordId"], "n": 3}]


async def test_a_batch_leaves_at_once():
    """All that will come are in; there is nobody to wait for."""
    destination = Scripted()
    async with serving(destination, auto_batch=AutoBatchPolicy(max_delay=3600)) as client:
        assert (await client.write(batch_of({"n": 1}, {"n": 2}))).status_code == 200
    assert destination.times == [0.0]


async def test_the_policy_of_the_server_says_how_long_a_single_record_waits():
    """For company that comes by itself."""
    destination = Scripted()
    async with serving(destination, auto_batch=AutoBatchPolicy(max_delay=0.5, max_records=2)) as client:
        await client.write(create())
        await gather(partial(client.write, create(n=1)), partial(client.write, create(n=2)))
    assert destination.times == [0.5, 0.5]


async def test_a_member_of_a_batch_that_can_never_be_written_fails_alone():
    """It is refused by the rules of all destinations or of this one; the others are written."""
    async with serving(SQLite(":memory:")) as client:
        response = await client.write(batch_of({"n": 1}, {}, {"id": "7"}, {"n": 2}))
    shown = response.json()
    assert (response.status_code, shown["successCount"], shown["failureCount"]) == (200, 2, 2)
    assert [each.get("recordId") for each in shown["results"]] == ["1", None, None, "2"]
    assert shown["results"][1]["data"]["errors"] == [{"message": "record is empty: give it at least one field"}]
    assert shown["results"][2]["data"]["errors"][0]["fields"] == ["id"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (create(id="7"), "'id' is given by the database: leave it out, or update"),
        ({**create(), "record": {}}, "record is empty: give it at least one field"),
        (update("7") | {"record": {"n": 1}}, "'id' is missing: update needs the id of the record"),
        (update("7") | {"record": {"id": 7, "n": 1}}, "'id' must be a non-empty string, not int"),
        (create(n=2**70), "field 'n' holds an integer beyond 2**53 - 1"),
        (create() | {"headers": [{"key": "k", "value": "v"}]}, "SQLite takes no headers: leave them out"),
        (
            create() | {"associations": [{"to": {"id": "7"}, "types": [{"associationTypeId": 1}]}]},
            "SQLite takes no associations: leave them out",
        ),
    ],
)
@pytest.mark.parametrize("form", [dict, asynchronous, windowed])
async def test_a_single_record_that_can_never_be_written_is_a_bad_request(body, words, form):
    """In every mode it is told at once, and nothing was accepted."""
    async with serving(SQLite(":memory:")) as client:
        response = await client.write(form(body))
        assert (response.status_code, response.headers["content-type"]) == (400, "text/plain; charset=utf-8")
        assert response.text.startswith(words)
        assert (await client.operations())["results"] == []
        assert "batcher_open_windows 0.0" in await client.metrics()


async def test_p05_a_group_is_written_together_or_not_at_all():
    """One call of its own; over the database a culprit undoes the rest."""
    database = SQLite(":memory:", objects={"contacts": Table(unique=["email"])})
    async with serving(database) as client:
        assert (await client.write(group({"email": "a"}, {"email": "b"}))).json()["successCount"] == 2
        response = await client.write(group({"email": "c"}, {"email": "a"}))
        assert response.status_code == 422
        outcomes = [each["data"]["outcome"] for each in response.json()["results"]]
        assert outcomes == ["rolled_back", "rejected"]
        assert await database.count("contacts") == 2


async def test_p05_a_group_with_members_that_can_never_be_written_is_not_sent():
    """All of them are named, the others are told that there are others."""
    destination = Scripted(encoding=_refuse_odd)
    async with serving(destination) as client:
        response = await client.write(group({"n": 0}, {"n": 1}, {}, {"n": 4}))
        shown = response.json()
        outcomes = await client.outcomes(shown["operationId"])
    assert (response.status_code, shown["failureCount"], destination.calls) == (422, 4, [])
    kinds = ["rolled_back", "rejected", "rejected", "rolled_back"]
    assert [each["data"]["outcome"] for each in shown["results"]] == kinds
    assert shown["results"][1]["data"]["errors"] == [{"message": "n is odd"}]
    assert shown["results"][2]["data"]["errors"] == [{"message": "record is empty: give it at least one field"}]
    assert [each["outcome"] for each in outcomes["results"]] == kinds


@pytest.mark.parametrize(
    ("body", "rules", "words"),
    [
        (
            group({"id": "7", "n": 1}, {"id": "7", "n": 2}, type="update"),
            LaneRules(),
            "two writes of the group touch the same record",
        ),
        (group({"n": 1}, {"n": 2}), LaneRules(max_records=1), "2 records"),
        (group({"n": 1}, {"n": 2}), LaneRules(all_or_none=False), "cannot apply these writes all or none"),
    ],
)
async def test_p05_a_group_that_breaks_a_rule_is_a_bad_request(body, rules, words):
    """No member is at fault; the sentence says the rule, and nothing was accepted."""
    destination = Scripted(rules=rules)
    async with serving(destination) as client:
        response = await client.write(body)
        assert (response.status_code, response.headers["content-type"]) == (400, "text/plain; charset=utf-8")
        assert words in response.text
        assert (await client.operations())["results"] == []
    assert destination.calls == []


async def test_a_synchronous_write_never_waits_for_the_company_of_a_window():
    """Records of a window of the same object wait a day; this one does not wait with them."""
    destination = Scripted()
    async with serving(destination) as client:
        await client.joined(windowed(create(n=1), minutes=1440))
        assert (await client.write(create(n=2))).status_code == 200
        assert anyio.current_time() == pytest.approx(0.05)
        assert destination.batches == [({"n": 2},)]
        assert (await client.write(batch_of({"n": 3}))).status_code == 200
        assert anyio.current_time() == pytest.approx(0.05)
    assert destination.batches == [({"n": 2},), ({"n": 3},), ({"n": 1},)]


async def test_a_synchronous_write_is_not_tried_beyond_its_deadline():
    """It was not written, and the client may come again."""
    destination = Scripted(*[[Retry("locked", after=7)]] * 9)
    async with serving(destination) as client:
        response = await client.write(create())
        check_problem(response, 503, response.json()["detail"])
        assert anyio.current_time() <= 10
        assert [call.at for call in destination.calls] == pytest.approx([0.05, 7.05])


async def test_the_deadline_is_the_servers_to_set():
    """And it holds for what waits while all the calls are out that may be."""
    destination = Scripted(seconds=5)
    async with serving(destination, synchronous_deadline=3, limits=Limits(max_in_flight=1)) as client:
        responses = await gather(partial(client.write, create()), partial(client.write, create(), object="deals"))
        # trio says not which of them comes first.
        first, second = sorted(responses, key=lambda response: response.status_code)
        problem = check_problem(second, 503, second.json()["detail"])
        assert problem["detail"].startswith("nothing was written: the record was not written (")
        assert first.status_code == 200
    assert [call.at for call in destination.calls] == pytest.approx([0.05])


async def test_a_batch_leaves_in_time_for_the_deadline():
    """However long the policy lets it wait for company: the request would be answered by 503 otherwise."""
    destination = Scripted()
    policy = AutoBatchPolicy(max_delay=MINUTE)
    async with serving(destination, synchronous_deadline=3, auto_batch=policy) as client:
        response = await client.write(create())
        assert response.status_code == 200
        assert anyio.current_time() == pytest.approx(2.99)


async def test_p09_synchronous_writes_wait_for_a_place():
    """Above the ceiling they come in turn; nobody is sent away before the deadline."""
    destination = Scripted(seconds=1)
    limits = Limits(max_pending_records=2, max_lane_records=2)
    async with serving(destination, limits=limits) as client:
        responses = await gather(*(partial(client.write, create(n=n)) for n in range(6)))
    assert [each.status_code for each in responses] == [200] * 6
    assert sum(destination.sizes) == 6


async def test_p08_a_caller_that_goes_away_takes_its_record_along_if_it_was_not_sent():
    """And nobody else's."""
    destination = Scripted()
    async with serving(destination) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.write, create(n=1))
            tasks.start_soon(client.write, create(n=2))
            await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        assert (await client.write(create(n=3))).status_code == 200
    assert destination.batches == [({"n": 3},)]


async def test_a_synchronous_write_has_an_operation_that_has_ended():
    """Its id is in the answer; it tells the same afterwards."""
    script = [Written("7", {"secret": 1}), Rejected("no"), NotWritten("late")]
    async with serving(Scripted(script)) as client:
        await anyio.sleep(1)
        shown = (await client.write(batch_of(*[{"n": 1}] * 3))).json()
        operation = await client.operation(shown["operationId"])
        outcomes = await client.outcomes(shown["operationId"])
    assert operation["createTime"] == operation["updateTime"] == _time(1)
    assert (operation["status"], operation["result"]) == ("success", "Batch write completed (1 succeeded, 2 failed)")
    assert operation["metadata"] == {"objects": ["contacts"], "successfulRecordIds": ["7"]}
    assert [each["applied"] for each in outcomes["results"]] == ["yes", "no", "no"]
    assert "secret" not in str(outcomes)


async def test_a_group_that_the_destination_refuses_without_names_is_rolled_back():
    """Everybody is told, nobody is blamed."""
    async with serving(Scripted(Refused("no"))) as client:
        response = await client.write(group({"n": 1}, {"n": 2}))
    assert response.status_code == 422
    assert [each["data"]["outcome"] for each in response.json()["results"]] == ["rolled_back"] * 2


def _refuse_odd(write: Any) -> None:
    if write.record.get("n", 0) % 2:
        raise InvalidRecord("n is odd")


def _time(seconds: int) -> str:
    return timestamp(EPOCH + seconds)
