"""Windows and the order of writes of one record; their deadlines; and how they end."""

from __future__ import annotations

import json

import anyio
import pytest

from batcher import Limits, Retry, WriteType, Written
from batcher.destinations import SQLite
from batcher.server import Installation
from batcher.server._fates import fate_of
from batcher.server._guards import Rules
from batcher.server._requests import request_of
from batcher.server._service import Service
from tests.server.helpers import HOUR, MINUTE, Scripted, asynchronous, create, group, serving, update, windowed

pytestmark = pytest.mark.anyio


async def test_p06_two_updates_of_one_record_in_one_window_go_in_order():
    """In two calls, the second one when the first has its outcome; one operation, ended with the last."""
    destination = Scripted(seconds=7)
    async with serving(destination) as client:
        for n in range(3):
            operation_id, index = await client.joined(windowed(update("ada", n=n)))
            assert index == n
        await client.joined(windowed(update("bob", n=9)))
        await anyio.sleep(MINUTE + 20)
        assert (await client.operation(operation_id))["status"] == "in_progress"
        await anyio.sleep(2)
        operation = await client.operation(operation_id)
    assert [[record["n"] for record in batch] for batch in destination.batches] == [[0, 9], [1], [2]]
    assert destination.times == [60, 67, 74]
    assert operation["result"] == "Batch write completed (4 succeeded, 0 failed)"


async def test_p06_a_synchronous_update_makes_the_record_that_waits_in_a_window_leave_first():
    """It does not wait a day for it, and does not overtake it; the window stays open for others."""
    database = SQLite(":memory:")
    async with serving(database) as client:
        await client.write(create(n=0))
        operation_id, _ = await client.joined(windowed(update("1", n=1, early=True), minutes=1440))
        assert (await client.write(update("1", n=2))).status_code == 200
        assert anyio.current_time() < 1
        assert await database.rows("contacts") == [{"id": "1", "n": 2, "early": True}]
        assert (await client.operation(operation_id))["status"] == "in_progress"
        assert (await client.outcomes(operation_id))["results"][0]["outcome"] == "written"
        assert await client.joined(windowed(update("1", n=3))) == (operation_id, 1)
        await anyio.sleep(2 * MINUTE)  # the opener's delay holds, although its record has left
        assert (await client.outcomes(operation_id))["results"][1]["outcome"] == "in_progress"
        await anyio.sleep(24 * HOUR)
        operation = await client.operation(operation_id)
        assert operation["result"] == "Batch write completed (2 succeeded, 0 failed)"
        assert await database.rows("contacts") == [{"id": "1", "n": 3, "early": True}]


async def test_p06_a_delete_goes_after_the_update_that_waits_in_a_window():
    """They are of different types, and of one record."""
    destination = Scripted()
    async with serving(destination, deletion_enabled=["contacts"]) as client:
        await client.joined(windowed(update("7"), minutes=1440))
        delete = {"groupRef": "other", "type": "delete", "record": {"id": "7"}}
        assert (await client.write(delete)).status_code == 200
    assert [call.key for call in destination.calls] == [("contacts", "update"), ("contacts", "delete")]


async def test_a_window_closes_by_time_even_if_nobody_asks_and_nothing_else_happens():
    """Its record left early and has its outcome; the operation ends when the time is over, not when somebody looks."""
    destination = Scripted()
    async with serving(destination) as client:
        operation_id, _ = await client.joined(windowed(update("7", n=1), minutes=10))
        await client.write(update("7", n=2))
        assert "batcher_open_windows 1.0" in await client.metrics()
        await anyio.sleep(10 * MINUTE + 5)
        metrics = await client.metrics()
        assert "batcher_open_windows 0.0" in metrics
        assert "batcher_operations_in_progress 0.0" in metrics
        await anyio.sleep(HOUR)
        operation = await client.operation(operation_id)
    assert operation["status"] == "success"
    assert operation["updateTime"] == "2023-11-14T22:23:20.000000Z"


@pytest.mark.parametrize("reader", ["operation", "operations", "another"])
async def test_a_window_whose_time_is_over_is_closed_for_whoever_comes(reader):
    """Reading it, listing it, or writing something else."""
    service = _service()
    async with service.running(), anyio.create_task_group() as tasks:
        operations = service.operations
        window = service.windows.open(_key(), anyio.current_time())
        window.operation.join()
        operations.settle(window.operation, 0, _written())
        assert window.operation.status == "in_progress"
        if reader == "operation":
            found = service.operations.find("p", window.operation.id)
            assert found is not None
            assert found.status == "success"
        elif reader == "operations":
            assert [each.status for each in service.operations.page(_key()[0], None, 9)[0]] == ["success"]
        else:
            service.windows.find(_key("another"), anyio.current_time())
            assert window.operation.status == "success"
        assert len(service.windows) == 0
        tasks.cancel_scope.cancel()


async def test_the_deadline_of_retries_is_counted_from_the_end_of_the_window():
    """10 minutes of waiting and 1 hour of trying."""
    destination = Scripted(*[[Retry("locked", after=20 * MINUTE)]] * 9)
    async with serving(destination) as client:
        operation_id, _ = await client.joined(windowed(create(), minutes=10))
        await anyio.sleep(70 * MINUTE - 1)
        assert len(destination.calls) == 3  # after 10, 30 and 50 minutes; 70 would be too late
        await anyio.sleep(2)
        operation = await client.operation(operation_id)
        (outcome,) = (await client.outcomes(operation_id))["results"]
    assert (operation["status"], len(destination.calls)) == ("failure", 3)
    assert (outcome["outcome"], outcome["applied"]) == ("not_written", "no")


async def test_a_record_that_joins_late_has_the_same_deadline_and_may_ask_for_a_longer_one():
    """48 hours after the end of the window, whatever the writer's own policy would say."""
    destination = Scripted(*[lambda items: [Retry("locked", after=HOUR)] * len(items)] * 100)
    async with serving(destination) as client:
        await client.joined(windowed(create(n=1), minutes=1440, hours=1))
        await anyio.sleep(23.5 * HOUR)
        operation_id, _ = await client.joined(windowed(create(n=2), hours=48))
        await anyio.sleep(3 * HOUR)
        outcomes = (await client.outcomes(operation_id))["results"]
        assert [each["outcome"] for each in outcomes] == ["not_written", "in_progress"]
        await anyio.sleep(44 * HOUR)
        assert (await client.operation(operation_id))["status"] == "in_progress"
        await anyio.sleep(2 * HOUR)
        assert (await client.operation(operation_id))["status"] == "failure"
    assert 45 <= len(destination.calls) <= 49


async def test_the_longest_window_and_the_longest_deadline_add_up():
    """A day of waiting and two of trying; nothing of the server ends it earlier."""
    destination = Scripted(*[[Retry("locked", after=HOUR)]] * 100)
    async with serving(destination) as client:
        operation_id, _ = await client.joined(windowed(create(), minutes=1440, hours=48))
        await anyio.sleep(70.5 * HOUR)
        assert (await client.operation(operation_id))["status"] == "in_progress"
        await anyio.sleep(HOUR)
        assert (await client.operation(operation_id))["status"] == "failure"


async def test_a_window_that_closes_while_a_record_is_taken_in_does_not_get_it():
    """Encoding takes time, and what settles meanwhile may close windows: the record gets an operation of its own."""
    closed: list[int] = []

    def slow(write):
        if write.record["n"] == 2:
            service.windows.close_due(2 * MINUTE)
            closed.append(2)

    service = _service(encoding=slow)
    async with service.running():
        first = await service.write(_request(1))
        second = await service.write(_request(2))
        assert (len(closed), second.headers) == (1, {"batcher-record-index": "0"})
        assert first.body["operationId"] != second.body["operationId"]
        await anyio.sleep(MINUTE + 1)
        assert [each.status for each in service.operations.page(_key()[0], None, 9)[0]] == ["success"] * 2


async def test_p11_leaving_writes_what_waits_in_windows():
    """Nobody waits for the end of a window of a day."""
    database = Scripted()
    async with serving(database) as client:
        await client.joined(windowed(create(n=1), minutes=1440))
        await client.joined(windowed(update("7", n=2), minutes=1440))
    assert sorted(database.sizes) == [1, 1]
    assert database.closed


async def test_p01_p11_a_destination_that_hangs_does_not_keep_the_server_from_ending():
    """After the time for shutting down each record of each operation has its fate: those that were out are in doubt."""
    service = _service(seconds=10 * HOUR, limits=Limits(shutdown_timeout=20, max_lane_in_flight=1))
    async with service.running():
        await service.write(_request(1))
        await anyio.sleep(MINUTE + 1)
        await service.write(_request(2))
        await service.write(_request(3, window=False))
        await anyio.sleep(1)
        began = anyio.current_time()
    assert anyio.current_time() == began + 20
    operations, _ = service.operations.page(_key()[0], None, 9)
    fates = [[fate.outcome for fate in each.fates if fate is not None] for each in operations]
    assert fates == [["unknown"] * 2, ["not_written"], ["unknown"]]
    assert service.writer.statistics().pending == 0


def _service(*script, limits=None, **options) -> Service:
    rules = Rules(
        deletion_enabled=(), installations=None, synchronous_deadline=25.0, keep_for=86_400.0, keep_records=1000
    )
    return Service(Scripted(*script, **options), rules, limits=limits, clock=anyio.current_time)


def _request(n: int, *, window: bool = True):
    body = windowed(create(n=n)) if window else asynchronous(group({"n": n}, {"n": n}))
    return request_of("p", "i", "contacts", json.dumps(body).encode())


def _key(name: str = "contacts"):
    return Installation("p", "i", "g"), name, WriteType.CREATE, ()


def _written():
    return fate_of(Written("7"))
