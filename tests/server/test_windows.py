"""Windows of auto-batched writes: who shares one, when it closes, and when its operation ends."""

from __future__ import annotations

import anyio
import pytest

from batcher import AutoBatchPolicy, Limits, Rejected, Retry, Written
from batcher.destinations import SQLite
from batcher.policies import LaneRules
from tests.server.helpers import HOUR, MINUTE, Scripted, check_problem, create, serving, update, windowed

pytestmark = pytest.mark.anyio

COMPLETED = "Batch write completed ({} succeeded, {} failed)"


async def test_records_of_one_window_share_an_operation_and_a_call():
    """Each is told its index in it, in the order in which they came."""
    destination = Scripted()
    async with serving(destination) as client:
        joined = [await client.joined(windowed(create(n=n), minutes=5)) for n in range(3)]
        (operation_id,) = {each for each, _ in joined}
        assert [index for _, index in joined] == [0, 1, 2]
        await anyio.sleep(5 * MINUTE - 1)
        assert (await client.operation(operation_id))["status"] == "in_progress"
        assert destination.calls == []
        await anyio.sleep(2)
        operation = await client.operation(operation_id)
    assert (destination.sizes, destination.times) == ([3], [5 * MINUTE])
    assert (operation["status"], operation["result"]) == ("success", COMPLETED.format(3, 0))
    assert operation["metadata"]["successfulRecordIds"] == ["new-1", "new-2", "new-3"]
    assert operation["updateTime"] == "2023-11-14T22:18:20.000000Z"


async def test_the_outcomes_tell_whose_record_was_whose():
    """By the index that each was told: what the hosted service cannot tell."""
    destination = Scripted([Written("a"), Rejected("no"), Written("c", warnings=("hm",))])
    async with serving(destination) as client:
        for n in range(3):
            operation_id, index = await client.joined(windowed(create(n=n)))
            assert index == n
        before = await client.outcomes(operation_id)
        await anyio.sleep(MINUTE + 1)
        after = await client.outcomes(operation_id)
    assert before["results"] == [{"index": n, "outcome": "in_progress", "applied": "maybe"} for n in range(3)]
    assert after == {
        "results": [
            {"index": 0, "outcome": "written", "applied": "yes", "recordId": "a"},
            {"index": 1, "outcome": "rejected", "applied": "no", "errors": [{"message": "no"}]},
            {"index": 2, "outcome": "written", "applied": "yes", "recordId": "c", "warnings": [{"message": "hm"}]},
        ],
        "pagination": {"done": True},
    }


async def test_a_window_of_a_hundred_leaves_at_once():
    """It is closed with its last record; the next one opens another, which counts from 0 again."""
    destination = Scripted()
    async with serving(destination) as client:
        joined = [await client.joined(windowed(create(n=n), minutes=1440)) for n in range(101)]
        first, second = joined[0][0], joined[100][0]
        await anyio.sleep(1)
        assert (destination.sizes, destination.times) == ([100], [0])
        assert {each for each, _ in joined[:100]} == {first} != {second}
        assert [index for _, index in joined] == [*range(100), 0]
        assert (await client.operation(first))["result"] == COMPLETED.format(100, 0)
        assert (await client.operation(second))["status"] == "in_progress"
        await anyio.sleep(24 * HOUR)
        assert (await client.operation(second))["result"] == COMPLETED.format(1, 0)
    assert destination.times == [0, 24 * HOUR]


async def test_the_policy_of_the_server_may_close_windows_earlier_but_not_later():
    """A call never carries more than a window; a window never holds more than the API's 100."""
    destination = Scripted()
    async with serving(destination, auto_batch=AutoBatchPolicy(max_records=2)) as client:
        indices = [(await client.joined(windowed(create(n=n))))[1] for n in range(4)]
    assert (indices, destination.sizes) == ([0, 1, 0, 1], [2, 2])
    async with serving(Scripted(), auto_batch=AutoBatchPolicy(max_records=500)) as client:
        indices = [(await client.joined(windowed(create(n=n))))[1] for n in range(101)]
    assert indices == [*range(100), 0]


@pytest.mark.parametrize("later", [1, 60])
async def test_the_opener_fixes_the_delay(later):
    """A later record changes nothing, whether it asks for less or for more."""
    destination = Scripted()
    async with serving(destination) as client:
        first, _ = await client.joined(windowed(create(n=1), minutes=10))
        await anyio.sleep(MINUTE)
        second, index = await client.joined(windowed(create(n=2), minutes=later))
        assert (second, index) == (first, 1)
        await anyio.sleep(HOUR * 2)
    assert (destination.times, destination.sizes) == ([10 * MINUTE], [2])


@pytest.mark.parametrize(
    "other",
    [
        {**create(n=2), "groupRef": "other"},
        update("7", n=2),
        {**create(n=2), "headers": [{"key": "k", "value": "v"}]},
    ],
)
async def test_a_window_is_of_one_installation_type_and_headers(other):
    """What differs in one of them is in another window, another operation and another call."""
    destination = Scripted()
    async with serving(destination) as client:
        first, _ = await client.joined(windowed(create(n=1)))
        second, index = await client.joined(windowed(other))
        assert (second == first, index) == (False, 0)
        assert await client.joined(windowed(other)) == (second, 1)
        assert await client.joined(windowed(create(n=3))) == (first, 1)
        await anyio.sleep(MINUTE * 2)
    # The two updates are of one record: one after the other.
    sizes = [2, 1, 1] if other["type"] == "update" else [2, 2]
    assert sorted(destination.sizes, reverse=True) == sizes


async def test_a_window_is_of_one_object_and_integration():
    """The same name elsewhere is another one."""
    destination = Scripted()
    async with serving(destination) as client:
        first, _ = await client.joined(windowed(create(n=1)))
        second, index = await client.joined(windowed(create(n=2)), "companies")
        assert (second == first, index) == (False, 0)
        for integration in ("/v1/projects/p/integrations/i2", "/v1/projects/p2/integrations/i"):
            response = await client.write(windowed(create(n=3)), integration=integration)
            assert response.json()["operationId"] not in (first, second)
            assert response.headers["batcher-record-index"] == "0"
    assert destination.sizes == [1, 1, 1, 1]


async def test_headers_that_mean_the_same_share_a_window():
    """Upper and lower case and order do not count."""
    one = [{"key": "A", "value": "1"}, {"key": "b", "value": "2"}]
    other = [{"key": "B", "value": "2"}, {"key": "a", "value": "1"}]
    async with serving(Scripted()) as client:
        first, _ = await client.joined(windowed({**create(), "headers": one}))
        assert await client.joined(windowed({**create(), "headers": other})) == (first, 1)


async def test_a_refused_record_opens_no_window_and_joins_none():
    """The index of the next one is as if it had not been."""
    async with serving(SQLite(":memory:")) as client:
        assert (await client.write(windowed(create(id="7"), minutes=3))).status_code == 400
        assert (await client.operations())["results"] == []
        operation_id, _ = await client.joined(windowed(create(n=1), minutes=1))
        assert (await client.write(windowed(create(id="7")))).status_code == 400
        assert await client.joined(windowed(create(n=2))) == (operation_id, 1)
        await anyio.sleep(MINUTE + 1)
        assert (await client.operation(operation_id))["result"] == COMPLETED.format(2, 0)


async def test_p09_an_overloaded_server_takes_no_record_into_a_window():
    """The client is told when to come again; the window and the operation are as before."""
    destination = Scripted()
    async with serving(destination, limits=Limits(max_pending_records=2, max_lane_records=2)) as client:
        operation_id, _ = await client.joined(windowed(create(n=1)))
        await client.joined(windowed(create(n=2)))
        response = await client.write(windowed(create(n=3)))
        check_problem(response, 503, "too many records are pending")
        response = await client.write(windowed(create(n=3)), "companies")
        check_problem(response, 503, "too many records are pending")
        assert "batcher_open_windows 1.0" in await client.metrics()
        await anyio.sleep(MINUTE + 1)
        assert (await client.operation(operation_id))["result"] == COMPLETED.format(2, 0)
        assert (await client.write(windowed(create(n=3)))).status_code == 200


async def test_a_window_ends_in_whichever_calls_its_records_travelled():
    """The destination takes three in a call, and one of them is sent twice: the operation waits for all."""
    destination = Scripted([Written("1"), Retry("locked", after=100), Written("3")], rules=LaneRules(max_records=3))
    async with serving(destination) as client:
        for n in range(8):
            operation_id, _ = await client.joined(windowed(create(n=n)))
        await anyio.sleep(MINUTE + 10)
        operation = await client.operation(operation_id)
        assert (operation["status"], len((await client.outcomes(operation_id))["results"])) == ("in_progress", 8)
        await anyio.sleep(100)
        operation = await client.operation(operation_id)
    assert sum(destination.sizes) == 9 and max(destination.sizes) == 3
    assert operation["result"] == COMPLETED.format(8, 0)
    assert len(set(operation["metadata"]["successfulRecordIds"])) == 8


async def test_records_of_a_window_that_are_too_long_for_one_call_still_share_its_operation():
    """Split by bytes; what is sent early does not end it."""
    destination = Scripted(rules=LaneRules(max_bytes=250))
    async with serving(destination) as client:
        for _ in range(5):
            operation_id, index = await client.joined(windowed(create(text="x" * 80)))
        await anyio.sleep(1)
        assert destination.sizes == [2, 2]
        assert (await client.operation(operation_id))["status"] == "in_progress"
        assert await client.joined(windowed(create(n=1))) == (operation_id, index + 1)
        await anyio.sleep(MINUTE + 1)
        assert (await client.operation(operation_id))["result"] == COMPLETED.format(6, 0)
    assert destination.sizes == [2, 2, 2]


async def test_a_window_in_which_nothing_was_written_is_a_failure():
    """And one of which a part was written is a success, in the API's words."""
    destination = Scripted([Rejected("no"), Rejected("no")], [Rejected("no"), Written("7")])
    async with serving(destination) as client:
        for status, result in (("failure", COMPLETED.format(0, 2)), ("success", COMPLETED.format(1, 1))):
            await client.joined(windowed(create(n=1)))
            operation_id, _ = await client.joined(windowed(create(n=2)))
            await anyio.sleep(MINUTE + 1)
            operation = await client.operation(operation_id)
            assert (operation["status"], operation["result"]) == (status, result)


async def test_a_record_that_comes_when_the_time_is_over_is_in_the_next_window():
    """Not a moment later is the first one open."""
    destination = Scripted()
    async with serving(destination) as client:
        first, _ = await client.joined(windowed(create(n=1)))
        await anyio.sleep(MINUTE)
        second, index = await client.joined(windowed(create(n=2)))
        assert (first == second, index) == (False, 0)


async def test_what_a_client_asks_for_only_when_it_has_no_window_waits_for_no_window():
    """An asynchronous write without autoBatchPolicy goes at once, in an operation of its own."""
    destination = Scripted()
    async with serving(destination) as client:
        waiting, _ = await client.joined(windowed(create(n=1)))
        alone = await client.accepted({**create(n=2), "mode": "asynchronous"})
        await anyio.sleep(1)
        assert (await client.operation(alone))["status"] == "success"
        assert (await client.operation(waiting))["status"] == "in_progress"


async def test_the_time_of_a_window_that_was_full_says_nothing_to_the_next_one():
    """Its end is dropped with it: neither does it close another one, nor is it missed."""
    async with serving(Scripted(), auto_batch=AutoBatchPolicy(max_records=2)) as client:
        for n in range(2):
            await client.joined(windowed(create(n=n)))
        await anyio.sleep(MINUTE / 2)
        second, _ = await client.joined(windowed(create(n=2), minutes=10))
        await anyio.sleep(MINUTE)
        assert await client.joined(windowed(create(n=3))) == (second, 1)
        await anyio.sleep(10 * MINUTE)
        assert "batcher_open_windows 0.0" in await client.metrics()


async def test_an_operation_ends_with_its_last_record_if_that_is_later_than_its_window():
    """Whenever somebody looks."""
    async with serving(Scripted(seconds=10)) as client:
        operation_id, _ = await client.joined(windowed(create()))
        await anyio.sleep(HOUR)
        assert (await client.operation(operation_id))["updateTime"] == "2023-11-14T22:14:30.000000Z"
