"""Asynchronous writes: an operation at once, and what became of it later."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

from batcher import BatcherClosed, ErrorDetail, Limits, NotWritten, Refused, Rejected, Retry, Unknown, Writer, Written
from batcher.destinations import SQLite
from batcher.policies import LaneRules
from batcher.server import write_api
from tests.server.helpers import (
    HOUR,
    KEY,
    MINUTE,
    Scripted,
    asynchronous,
    batch_of,
    check_problem,
    client_of,
    create,
    group,
    serving,
    update,
    windowed,
)

pytestmark = pytest.mark.anyio

FORMS = [asynchronous(create()), windowed(create()), asynchronous(batch_of({"n": 1})), asynchronous(group({"n": 1}))]


async def test_a_single_write_is_answered_at_once_and_ends_later():
    """in_progress, then success with the id."""
    destination = Scripted(seconds=10)
    async with serving(destination) as client:
        operation_id = await client.accepted(asynchronous(create()))
        assert anyio.current_time() == 0
        operation = await client.operation(operation_id)
        assert operation == {
            "id": operation_id,
            "projectId": "p",
            "integrationId": "i",
            "installationId": "g",
            "configId": "default",
            "actionType": "write",
            "status": "in_progress",
            "resource": "contacts",
            "metadata": {"objects": ["contacts"]},
            "createTime": "2023-11-14T22:13:20.000000Z",
            "updateTime": "2023-11-14T22:13:20.000000Z",
        }
        await anyio.sleep(11)
        assert await client.operation(operation_id) == {
            **operation,
            "status": "success",
            "result": "Write completed",
            "metadata": {"objects": ["contacts"], "successfulRecordIds": ["new-1"]},
            "updateTime": "2023-11-14T22:13:30.050000Z",
        }


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [
        (Rejected("no"), {"outcome": "rejected", "applied": "no", "errors": [{"message": "no"}]}),
        (Unknown("lost"), {"outcome": "unknown", "applied": "maybe"}),
        (NotWritten("late"), {"outcome": "not_written", "applied": "no"}),
    ],
)
async def test_a_single_write_that_fails_says_why_in_its_outcomes(verdict, shown):
    """The operation has the API's words for it."""
    async with serving(Scripted([verdict])) as client:
        operation_id = await client.accepted(asynchronous(create()))
        await anyio.sleep(1)
        operation = await client.operation(operation_id)
        (outcome,) = (await client.outcomes(operation_id))["results"]
    assert (operation["status"], operation["result"]) == ("failure", "[contacts] Error writing to provider")
    assert operation["metadata"]["successfulRecordIds"] == []
    assert outcome | shown == outcome
    assert outcome["errors"][0]["message"]


async def test_p04_a_bad_member_of_a_batch_fails_alone():
    """Refused here or there, the others are written; the ids are those of the written ones, in order."""
    destination = Scripted([Written("a"), Rejected("no"), Written(None), Written("d")])
    async with serving(destination) as client:
        operation_id = await client.accepted(asynchronous(batch_of({"n": 1}, {}, {"n": 2}, {"n": 3}, {"n": 4})))
        in_progress = (await client.outcomes(operation_id))["results"]
        await anyio.sleep(1)
        operation = await client.operation(operation_id)
        outcomes = (await client.outcomes(operation_id))["results"]
    assert [each["outcome"] for each in in_progress] == [
        *("in_progress", "rejected"),
        *("in_progress",) * 3,
    ]
    assert [each["outcome"] for each in outcomes] == ["written", "rejected", "rejected", "written", "written"]
    assert [each["index"] for each in outcomes] == list(range(5))
    assert outcomes[1]["errors"] == [{"message": "record is empty: give it at least one field"}]
    assert (operation["status"], operation["result"]) == ("success", "Batch write completed (3 succeeded, 2 failed)")
    assert operation["metadata"]["successfulRecordIds"] == ["a", "d"]


async def test_a_batch_of_nothing_but_bad_members_has_failed_at_once():
    """There is nothing to wait for."""
    async with serving(SQLite(":memory:")) as client:
        operation_id = await client.accepted(asynchronous(batch_of({}, {"id": "7"})))
        operation = await client.operation(operation_id)
    assert (operation["status"], operation["result"]) == ("failure", "Batch write completed (0 succeeded, 2 failed)")


async def test_writes_without_a_policy_share_calls_all_the_same():
    """Their operations end one by one."""
    destination = Scripted([Written("1"), Rejected("no")])
    async with serving(destination) as client:
        one = await client.accepted(asynchronous(create(n=1)))
        two = await client.accepted(asynchronous(create(n=2)))
        await anyio.sleep(1)
        statuses = [(await client.operation(each))["status"] for each in (one, two)]
    assert (statuses, destination.sizes) == (["success", "failure"], [2])


@pytest.mark.parametrize("hours", [None, 1, 48])
@pytest.mark.parametrize("body", [create(), batch_of({"n": 1}), group({"n": 1})])
async def test_an_asynchronous_write_is_tried_again_until_its_deadline(body, hours):
    """One hour unless the request says otherwise, far beyond what a synchronous one would get."""
    destination = Scripted(*[[Retry("locked", after=20 * MINUTE)]] * 200)
    async with serving(destination) as client:
        operation_id = await client.accepted(asynchronous(body, hours))
        end = (hours or 1) * HOUR
        await anyio.sleep(end - 20 * MINUTE)
        assert (await client.operation(operation_id))["status"] == "in_progress"
        await anyio.sleep(20 * MINUTE + 1)
        assert (await client.operation(operation_id))["status"] == "failure"
        (outcome,) = (await client.outcomes(operation_id))["results"]
    assert (outcome["outcome"], outcome["applied"]) == ("not_written", "no")
    assert len(destination.calls) == (hours or 1) * 3


async def test_p05_a_group_is_one_call_and_one_operation():
    """Written together, or rolled back with the culprit named."""
    destination = Scripted([Written("1"), Written("2")], Refused("no", {1: "taken"}), seconds=1)
    async with serving(destination) as client:
        good = await client.accepted(asynchronous(group({"n": 1}, {"n": 2})))
        bad = await client.accepted(asynchronous(group({"n": 3}, {"n": 4})))
        assert (await client.operation(good))["status"] == "in_progress"
        await anyio.sleep(3)
        assert (await client.operation(good))["metadata"]["successfulRecordIds"] == ["1", "2"]
        assert (await client.operation(bad))["result"] == "Batch write completed (0 succeeded, 2 failed)"
        outcomes = (await client.outcomes(bad))["results"]
    assert [each["outcome"] for each in outcomes] == ["rolled_back", "rejected"]
    assert (destination.sizes, destination.groups) == ([2, 2], [True, True])


@pytest.mark.parametrize(
    ("body", "kinds", "words"),
    [
        (group({"n": 1}, {}), ["rolled_back", "rejected"], "record is empty: give it at least one field"),
        (
            group({"id": "7", "n": 1}, {"id": "7", "n": 2}, type="update"),
            ["rejected", "rejected"],
            "two writes of the group touch the same record: merge them into one",
        ),
    ],
)
async def test_p05_a_group_that_breaks_a_rule_is_a_failure_of_all(body, kinds, words):
    """Nothing is sent; the members that are at fault have the reason, or all of them if it is the group's."""
    destination = Scripted()
    async with serving(destination) as client:
        operation_id = await client.accepted(asynchronous(body))
        await anyio.sleep(1)
        assert (await client.operation(operation_id))["status"] == "failure"
        outcomes = (await client.outcomes(operation_id))["results"]
    assert [each["outcome"] for each in outcomes] == kinds
    assert outcomes[1]["errors"] == [{"message": words}]
    assert destination.calls == []


async def test_a_group_that_breaks_the_destination_takes_nobody_along(caplog):
    """Its members are in doubt, the log says where, and the server serves on."""

    def broken(write: Any) -> None:
        if "secret" in write.record:
            raise RuntimeError(f"cannot encode {write.record}")

    async with serving(Scripted(encoding=broken)) as client:
        operation_id = await client.accepted(asynchronous(group({"n": 1}, {"secret": "swordfish"})))
        await anyio.sleep(1)
        outcomes = (await client.outcomes(operation_id))["results"]
        assert [each["applied"] for each in outcomes] == ["maybe", "maybe"]
        assert (await client.write(create())).status_code == 200
    (record,) = (each for each in caplog.records if each.levelno >= logging.ERROR)
    assert record.name == "batcher.server"
    assert "RuntimeError" in caplog.text and "in broken" in caplog.text and "swordfish" not in caplog.text


@pytest.mark.parametrize("body", FORMS)
async def test_p09_an_overloaded_server_accepts_nothing_and_says_when_to_come_again(body):
    """No operation is opened for what was not accepted."""
    destination = Scripted(seconds=10)
    limits = Limits(max_pending_records=1, max_lane_records=1)
    async with serving(destination, limits=limits) as client:
        await client.accepted(asynchronous(update("7")))
        response = await client.write(body)
        problem = check_problem(response, 503, "too many records are pending")
        assert problem["retryAfter"] == "2023-11-14T22:13:21.000000Z"
        assert response.headers["retry-after"] == "1"
        assert len((await client.operations())["results"]) == 1
        await anyio.sleep(11)
        assert (await client.write(body)).status_code == 200
        await anyio.sleep(1)
    assert sum(destination.sizes) == 2


async def test_p09_a_batch_is_taken_in_as_a_whole_or_not_at_all():
    """Two places are free and three are needed; nobody's record is accepted and then lost."""
    destination = Scripted(seconds=10)
    limits = Limits(max_pending_records=3, max_lane_records=3)
    for form in (batch_of, group):
        async with serving(destination, limits=limits) as client:
            await client.accepted(asynchronous(update("7")))
            response = await client.write(asynchronous(form(*[{"n": 1}] * 3)))
            check_problem(response, 503, "too many records are pending")
            await client.accepted(asynchronous(form(*[{"n": 1}] * 2)))


async def test_p09_asynchronous_writes_do_not_overtake_those_who_wait():
    """A synchronous group waits for its place; what comes later is sent away, even if it would fit."""
    destination = Scripted(seconds=10)
    limits = Limits(max_pending_records=2, max_lane_records=2)
    async with serving(destination, limits=limits) as client, anyio.create_task_group() as tasks:
        await client.accepted(asynchronous(update("7")))
        tasks.start_soon(client.write, group({"n": 1}, {"n": 2}))
        await anyio.sleep(1)
        for body in FORMS:
            check_problem(await client.write(body), 503, "too many records are pending")


async def test_p09_members_for_which_a_lane_has_no_place_are_not_written():
    """The ceiling of one lane is seen only record by record: their outcomes say so."""
    destination = Scripted(seconds=10)
    async with serving(destination, limits=Limits(max_pending_records=10, max_lane_records=2)) as client:
        operation_id = await client.accepted(asynchronous(batch_of({"n": 1}, {"n": 2}, {"n": 3})))
        await anyio.sleep(11)
        outcomes = (await client.outcomes(operation_id))["results"]
    assert [each["outcome"] for each in outcomes] == ["written", "written", "not_written"]
    assert outcomes[2]["errors"][0]["message"] == "the record was not written (too many records were pending)"


@pytest.mark.parametrize("body", [*FORMS, create(), batch_of({"n": 1}), group({"n": 1})])
async def test_p11_a_server_that_is_stopping_accepts_nothing(body):
    """While it drains, and after: the client may try another one."""
    app = write_api(Scripted(seconds=10), api_keys=[KEY])
    async with client_of(app) as client, anyio.create_task_group() as tasks:

        async def live() -> None:
            async with app.router.lifespan_context(app):
                await client.accepted(asynchronous(update("7")))

        tasks.start_soon(live)
        await anyio.sleep(5)
        check_problem(await client.write(body), 503, "the server is stopping")
        await anyio.sleep(20)
        check_problem(await client.write(body), 503, "the server is stopping")
        assert len((await client.operations())["results"]) == 1


async def test_p11_a_group_that_waits_for_its_place_when_the_server_stops_is_not_written():
    """It was answered with an operation, so it has a fate: not written, and known so."""
    destination = Scripted(seconds=10)
    limits = Limits(max_pending_records=10, max_lane_records=2)
    app = write_api(destination, api_keys=[KEY], limits=limits)
    async with client_of(app) as client:
        async with app.router.lifespan_context(app):
            first = await client.accepted(asynchronous(group({"n": 1}, {"n": 2})))
            second = await client.accepted(asynchronous(group({"n": 3}, {"n": 4})))
            await anyio.sleep(1)
        statuses = [(await client.operation(each))["status"] for each in (first, second)]
        outcomes = (await client.outcomes(second))["results"]
    assert statuses == ["success", "failure"]
    assert [(each["outcome"], each["applied"]) for each in outcomes] == [("not_written", "no")] * 2


async def test_a_rule_of_the_destination_about_groups_is_told_in_the_operation():
    """A destination that cannot."""
    async with serving(Scripted(rules=LaneRules(all_or_none=False))) as client:
        operation_id = await client.accepted(asynchronous(group({"n": 1})))
        await anyio.sleep(1)
        (outcome,) = (await client.outcomes(operation_id))["results"]
    assert outcome["outcome"] == "rejected"
    assert "cannot apply these writes all or none" in outcome["errors"][0]["message"]


async def test_p06_what_comes_after_a_group_stays_behind_it():
    """An answer with an operation means that the group has its place in the order of each of its records."""
    destination = Scripted(seconds=1)
    async with serving(destination) as client:
        for n in range(3):
            await client.accepted(asynchronous(group({"id": "ada", "n": n}, {"id": f"bob {n}", "n": n}, type="update")))
            await client.accepted(asynchronous(update("ada", n=n + 0.5)))
        await client.write(update("ada", n=9))
    assert [batch[0].get("n") for batch in destination.batches if batch[0]["id"] == "ada"] == [
        0,
        0.5,
        1,
        1.5,
        2,
        2.5,
        9,
    ]


async def test_p09_a_full_lane_takes_no_single_write_either():
    """Told at once, with a time; another object has its own lane."""
    async with serving(Scripted(seconds=10), limits=Limits(max_pending_records=10, max_lane_records=1)) as client:
        await client.accepted(asynchronous(create()))
        check_problem(await client.write(asynchronous(create())), 503, "too many records are pending")
        await client.accepted(asynchronous(create()), "companies")


async def test_p11_a_group_that_the_writer_takes_no_more_is_not_written():
    """The server stopped in the very step between its request and its place."""
    app = write_api(Scripted(), api_keys=[KEY])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "submit_all", _closed)
        async with app.router.lifespan_context(app), client_of(app) as client:
            operation_id = await client.accepted(asynchronous(group({"n": 1}, {"n": 2})))
            outcomes = (await client.outcomes(operation_id))["results"]
    assert [(each["outcome"], each["applied"]) for each in outcomes] == [("not_written", "no")] * 2


async def _closed(*_: Any, **__: Any) -> Any:
    raise BatcherClosed("closed")


@pytest.mark.parametrize("shape", [batch_of, group])
async def test_windows_that_hold_every_place_make_room_for_a_batch_that_comes_back(shape):
    """They are due then, as for anybody who waits: a batch is not refused for a day because windows fill up slowly."""
    destination = Scripted()
    async with serving(destination, limits=Limits(max_pending_records=4)) as client:
        for n in range(4):
            await client.accepted({**windowed(create(), minutes=1440), "groupRef": f"g{n}"})
        body = asynchronous(shape({"name": "Ada"}, {"name": "Bob"}))
        check_problem(await client.write(body), 503, "too many records are pending")
        await anyio.sleep(1.0)
        assert destination.sizes == [1, 1, 1, 1]
        await client.accepted(body)


async def test_room_is_made_again_while_a_record_is_tried_for_hours():
    """Making room waits for nobody's outcome longer than those who were refused stay away."""
    destination = Scripted([Retry("busy", after=HOUR)])
    async with serving(destination, limits=Limits(max_pending_records=4)) as client:
        body = asynchronous(batch_of({"name": "Ada"}, {"name": "Bob"}))
        for n in range(4):
            await client.accepted({**windowed(create(), minutes=1440, hours=48), "groupRef": f"g{n}"})
        check_problem(await client.write(body), 503, "too many records are pending")
        await anyio.sleep(1.0)
        for n in range(3):
            await client.accepted({**windowed(create(), minutes=1440), "groupRef": f"g{n}"})
        check_problem(await client.write(body), 503, "too many records are pending")
        await anyio.sleep(1.0)
        await client.accepted(body)


async def test_refused_credentials_cost_only_those_who_were_sent():
    """Who waits in a window, or for another try, still has hours: the server tells nobody in advance to give up."""
    refused = [[NotWritten("credentials refused")]] * 6
    destination = Scripted([Retry("locked", after=10 * MINUTE)], *refused)
    async with serving(destination) as client:
        patient = await client.accepted(asynchronous(create(n=0)))
        await anyio.sleep(1)
        for number in range(6):
            failed = await client.accepted(asynchronous(create(n=number)))
            await anyio.sleep(1)
            assert (await client.operation(failed))["status"] == "failure"
        late = await client.accepted(asynchronous(create(n=7)))
        await anyio.sleep(HOUR)
        statuses = [(await client.operation(each))["status"] for each in (patient, late)]
    assert (statuses, len(destination.calls)) == (["success", "success"], 9)


async def test_a_window_does_not_learn_from_the_calls_of_windows_before_it():
    """Five windows in a row met refused credentials; the sixth is sent when its time has come."""
    destination = Scripted(*[[NotWritten("credentials refused")]] * 5)
    async with serving(destination) as client:
        for _ in range(5):
            await client.accepted(windowed(create()))
            await anyio.sleep(MINUTE + 1)
        operation_id = await client.accepted(windowed(create()))
        await anyio.sleep(2 * MINUTE)
        status = (await client.operation(operation_id))["status"]
    assert (status, len(destination.calls)) == ("success", 6)


@pytest.mark.parametrize("request_of", FORMS, ids=["single", "window", "batch", "group"])
async def test_an_asynchronous_record_that_fails_is_a_line_with_object_operation_and_code(request_of, caplog):
    """Nobody is answered with it. And no word of the provider, who may quote the record."""
    refusals = [[Rejected(ErrorDetail("no hunter2", code="DUPLICATE"))]] * 3
    async with serving(Scripted(*refusals)) as client:
        operation_id = await client.accepted(request_of)
        await anyio.sleep(HOUR)
        await client.operation(operation_id)
        lines = [each.getMessage() for each in caplog.records if each.name == "batcher.server"]
    assert lines == [f"operation {operation_id} on contacts: of 1 records 1 rejected, codes DUPLICATE"]
    assert "hunter2" not in caplog.text


async def test_operations_that_fail_alike_are_one_line_a_minute(caplog):
    """A thousand of them fill no disk; how many there were is said."""
    async with serving(Scripted(*[[Rejected(ErrorDetail("no", code="DUPLICATE"))]] * 5)) as client:
        for _ in range(5):
            await client.accepted(asynchronous(create()))
            await anyio.sleep(1)
        await client.write(create())
    lines = [each.getMessage() for each in caplog.records if each.name == "batcher.server"]
    assert len(lines) == 2
    assert lines[1] == "4 more lines like these were kept back in the last minute"


async def test_a_synchronous_write_that_fails_is_no_line_of_the_server(caplog):
    """Its caller is told."""
    async with serving(Scripted([Rejected(ErrorDetail("no", code="DUPLICATE"))])) as client:
        await client.write(create())
    assert [each for each in caplog.records if each.name.startswith("batcher")] == []
