"""Operations: found, listed in pages, and forgotten in time."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import anyio
import pytest

from batcher import Written
from batcher.server import Installation
from batcher.server._fates import fate_of
from batcher.server._operations import Operations
from tests.server.helpers import (
    INTEGRATION,
    Scripted,
    asynchronous,
    batch_of,
    check_problem,
    create,
    serving,
    windowed,
)

pytestmark = pytest.mark.anyio

GONE = "Operation not found for the given operation ID."
HERE = Installation("p", "i", "g")
DONE = fate_of(Written("7", {"a": 1}))


class Kept:
    """Operations on a clock that stands until it is set."""

    def __init__(self, keep_for: float = 100.0, keep_records: int = 10) -> None:
        self.now = 1000.0
        self.set_by = 0.0  # how far the wall clock was set
        self.operations = Operations(
            lambda: self.now + self.set_by, keep_for=keep_for, keep_records=keep_records, timer=lambda: self.now
        )

    def begin(self, records: int = 1, installation: Installation = HERE):
        operation = self.operations.begin(installation, "contacts", is_batch=records > 1)
        for _ in range(records):
            operation.join()
        return operation

    def end(self, operation):
        for index in range(len(operation.fates)):
            self.operations.settle(operation, index, DONE)

    def ended(self, records: int = 1, installation: Installation = HERE):
        operation = self.begin(records, installation)
        self.end(operation)
        return operation

    def holds(self, operation) -> bool:
        return self.operations.find(operation.installation.project, operation.id) is operation


def test_an_ended_operation_is_kept_for_a_time():
    """Counted from its end; then nobody finds it any more, and nothing is left of it."""
    kept = Kept(keep_for=100)
    slow, quick = kept.begin(), kept.ended()
    kept.now += 99.5
    assert kept.holds(quick)
    kept.end(slow)
    kept.now += 0.5
    assert not kept.holds(quick)
    assert kept.holds(slow)
    kept.now += 99.5
    assert kept.operations.page(HERE, None, 9) == ([], None)
    assert (kept.operations.ended, kept.operations.in_progress) == (0, 0)
    assert not kept.operations._by_installation and not kept.operations._by_id and not kept.operations._records


@pytest.mark.parametrize("day", [86_400.0, -86_400.0])
def test_a_wall_clock_that_is_set_ages_no_operation(day):
    """A day ahead or back, before its end or after: it is kept as long as ever, and its times agree."""
    kept = Kept(keep_for=100)
    ended, under_way = kept.ended(), kept.begin()
    kept.set_by = day
    kept.now += 5
    kept.end(under_way)
    assert kept.holds(ended) and kept.holds(under_way)
    assert (under_way.to_json()["createTime"], under_way.to_json()["updateTime"]) == (
        "1970-01-01T00:16:40.000000Z",
        "1970-01-01T00:16:45.000000Z",
    )
    kept.now += 95
    assert not kept.holds(ended) and kept.holds(under_way)
    kept.now += 5
    assert not kept.holds(under_way)


def test_operations_under_way_are_never_forgotten():
    """However old, and however many records there are."""
    kept = Kept(keep_records=2)
    slow = kept.begin(records=50)
    kept.now += 10_000
    for _ in range(5):
        kept.ended()
    assert kept.holds(slow)
    assert kept.operations.in_progress == 1


def test_the_records_of_ended_operations_are_bounded_and_the_oldest_go_first():
    """Those that ended first, whenever they began."""
    kept = Kept(keep_records=10)
    first = kept.begin(records=4)
    second, third = kept.ended(4), kept.ended(2)
    kept.end(first)
    assert all(map(kept.holds, (first, second, third)))
    fourth = kept.ended(1)
    assert [kept.holds(each) for each in (second, third, first, fourth)] == [False, True, True, True]
    assert kept.operations.ended == 3
    for _ in range(50):  # although nobody looks
        kept.ended()
    assert kept.operations.ended == 10


def test_one_operation_is_kept_however_large():
    """The latest can be read."""
    kept = Kept(keep_records=1)
    first, second = kept.ended(100), kept.ended(100)
    assert (kept.holds(first), kept.holds(second)) == (False, True)


def test_forgetting_one_leaves_its_siblings():
    """In the listing of its installation too."""
    kept = Kept(keep_records=2)
    elsewhere = Installation("p", "i", "other")
    first, under_way, last, other = kept.ended(), kept.begin(), kept.ended(), kept.ended(1, elsewhere)
    assert not kept.holds(first)
    assert kept.operations.page(HERE, None, 9) == ([last, under_way], None)
    assert kept.operations.page(elsewhere, None, 9) == ([other], None)


def test_what_is_kept_holds_no_data():
    """Ids and reasons, not what the provider returned."""
    assert Kept().ended().fates[0].data is None


def test_an_operation_that_takes_more_has_not_ended():
    """Although each of its records has its fate."""
    kept = Kept()
    operation = kept.operations.begin(HERE, "contacts", is_batch=True, takes_more=True)
    operation.join()
    kept.operations.settle(operation, 0, DONE)
    assert operation.status == "in_progress"
    operation.takes_more = False
    kept.operations.end_if_done(operation, 10.0)
    kept.operations.end_if_done(operation)
    assert (operation.status, operation.ended, kept.operations.ended) == ("success", 990.0, 1)


async def test_the_bounds_are_the_servers_to_set():
    """By time and by records, over HTTP."""
    async with serving(Scripted(), keep_for=60, keep_records=2) as client:
        ids = [(await client.write(create())).json()["operationId"] for _ in range(3)]
        check_problem(await client.http.get(f"/v1/projects/p/operations/{ids[0]}"), 404, GONE)
        await client.operation(ids[1])
        await client.operation(ids[2])
        await anyio.sleep(61)
        check_problem(await client.http.get(f"/v1/projects/p/operations/{ids[2]}"), 404, GONE)
        assert (await client.operations())["results"] == []


async def test_an_operation_is_found_in_its_own_project_only():
    """In the contract's words, with the way out."""
    async with serving(Scripted()) as client:
        operation_id = (await client.write(create())).json()["operationId"]
        await client.operation(operation_id)
        for path in (
            f"other/operations/{operation_id}",
            "p/operations/nothing",
            f"other/operations/{operation_id}/outcomes",
        ):
            problem = check_problem(await client.http.get(f"/v1/projects/{path}"), 404, GONE)
            assert problem["title"] == "Not Found"
            assert problem["remedy"] == (
                "Verify the operation ID and project are correct, or list operations to find a valid ID."
            )
            assert problem["retryable"] is False


async def test_the_listing_has_the_newest_first_in_pages():
    """Each page says where the next one begins; operations that come in between shift nothing."""
    async with serving(Scripted()) as client:
        ids = [await client.accepted(asynchronous(create(n=n))) for n in range(5)]
        first = await client.operations(pageSize=2)
        assert [each["id"] for each in first["results"]] == ids[:2:-1]
        assert first["pagination"]["done"] is False
        await client.accepted(asynchronous(create()))
        second = await client.operations(pageSize=2, pageToken=first["pagination"]["nextPageToken"])
        third = await client.operations(pageSize=2, pageToken=second["pagination"]["nextPageToken"])
    assert [each["id"] for each in second["results"]] == [ids[2], ids[1]]
    assert [each["id"] for each in third["results"]] == [ids[0]]
    assert third["pagination"] == {"done": True}


async def test_a_page_that_is_just_full_is_the_last_one():
    """No empty page follows."""
    async with serving(Scripted()) as client:
        for _ in range(2):
            await client.accepted(asynchronous(create()))
        assert (await client.operations(pageSize=2))["pagination"] == {"done": True}


async def test_the_listing_is_of_one_installation():
    """Project, integration and group."""
    async with serving(Scripted()) as client:
        await client.write(create())
        await client.joined(windowed(create()))
        listed = (await client.operations())["results"]
        assert [each["status"] for each in listed] == ["in_progress", "success"]
        assert (await client.operations("other"))["results"] == []
        for base in ("/v1/projects/p2/integrations/i", "/v1/projects/p/integrations/i2"):
            response = await client.http.get(f"{base}/installations/g/operations")
            assert response.json() == {"results": [], "pagination": {"done": True}}


async def test_a_page_has_200_unless_asked_otherwise():
    """And 1000 at most."""
    async with serving(Scripted()) as client:
        for _ in range(3):
            operation_id = await client.accepted(asynchronous(batch_of(*({"n": n} for n in range(100)))))
        for _ in range(198):
            await client.accepted(asynchronous(create()))
        assert len((await client.operations())["results"]) == 200
        assert len((await client.operations(pageSize=1000))["results"]) == 201
        assert len((await client.outcomes(operation_id))["results"]) == 100


async def test_outcomes_come_in_pages_too():
    """In the order of the records."""
    async with serving(Scripted()) as client:
        operation_id = (await client.write(batch_of(*({"n": n} for n in range(5))))).json()["operationId"]
        found: list[list[int]] = []
        paging: dict[str, str] = {}
        for _ in range(3):
            page = await client.outcomes(operation_id, pageSize=2, **paging)
            found.append([each["index"] for each in page["results"]])
            paging = {"pageToken": page["pagination"].get("nextPageToken", "")}
        assert (found, page["pagination"]) == ([[0, 1], [2, 3], [4]], {"done": True})
        assert (await client.outcomes(operation_id, pageSize=5))["pagination"] == {"done": True}
        beyond = await client.outcomes(operation_id, pageToken=_token("9" * 19))
        assert beyond == {"results": [], "pagination": {"done": True}}


@pytest.mark.parametrize("size", ["0", "1001", "-1", "1.5", "", "ten", "٣", "1e2", "9" * 5000, "00001"])
@pytest.mark.parametrize("path", ["operations", "outcomes"])
async def test_a_page_size_out_of_range_is_told_with_its_name(size, path):
    """As an issue of the query."""
    words = "pageSize must be a whole number from 1 to 1000"
    async with serving(Scripted()) as client:
        problem = check_problem(
            await client.http.get(await _paged(client, path), params={"pageSize": size}), 400, words
        )
    assert problem["issues"] == [{"in": "query", "name": "pageSize", "detail": words}]


@pytest.mark.parametrize("token", ["", "x", "!!!!", "é", "-1", "1" * 20, "\x00"])
@pytest.mark.parametrize("encoded", [True, False])
async def test_a_page_token_that_the_server_did_not_give_is_told_with_its_name(token, encoded):
    """Whatever it decodes to."""
    words = "pageToken must be the nextPageToken of an earlier page"
    async with serving(Scripted()) as client:
        for path in ("operations", "outcomes"):
            params = {"pageToken": _token(token) if encoded else token}
            problem = check_problem(await client.http.get(await _paged(client, path), params=params), 400, words)
            assert problem["issues"] == [{"in": "query", "name": "pageToken", "detail": words}]


async def _paged(client, path: str) -> str:
    if path == "operations":
        return f"{INTEGRATION}/installations/g/operations"
    operation_id = (await client.write(create())).json()["operationId"]
    return f"/v1/projects/p/operations/{operation_id}/outcomes"


def _token(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()
