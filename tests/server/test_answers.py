"""Answers: what became of the records, in the words of the Write API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import anyio
import attrs
import pytest

from batcher import Accepted, ErrorDetail, NotWritten, Refused, Rejected, Retry, Unknown, Written
from batcher.server._fates import fate_of
from tests.server.helpers import Scripted, batch_of, check_problem, create, group, serving, update

pytestmark = pytest.mark.anyio

TAKEN = ErrorDetail("Contact already exists", "CONFLICT", ("email",))
SHOWN = {"message": "Contact already exists", "code": "CONFLICT", "fields": ["email"]}
UNKNOWN = "the record may or may not have been written (lost): look before sending again"
LATE = "the record was not written (late)"
OTHERS = "record was not processed due to other records failures"
DOUBT = "perhaps because of another record of its call"


def failed(outcome: str, applied: str, *errors: dict[str, Any]) -> dict[str, Any]:
    return {"success": False, "data": {"outcome": outcome, "applied": applied, "errors": list(errors)}}


async def answer(body: Any, *verdicts: Any, object: str = "contacts") -> tuple[int, Any]:
    """Return the status and the body without the operation's id, which must be there."""
    async with serving(Scripted(list(verdicts)), deletion_enabled=["contacts"]) as client:
        response = await client.write(body, object)
    assert response.headers["content-type"] == "application/json"
    shown = response.json()
    assert UUID(shown.pop("operationId")).version == 4
    return response.status_code, shown


WRITTEN: list[tuple[Any, dict[str, Any]]] = [
    (Written("7"), {"success": True, "recordId": "7"}),
    (Written(), {"success": True}),
    (
        Written("7", {"email": "ada@example.com"}),
        {"success": True, "recordId": "7", "data": {"email": "ada@example.com"}},
    ),
    (Written("7", ["no", "object"]), {"success": True, "recordId": "7"}),
    (Accepted("op-7"), {"success": True}),
    ({"a": 1}, {"success": True, "data": {"a": 1}}),
]
FAILED: list[tuple[Any, dict[str, Any]]] = [
    (Rejected(TAKEN), failed("rejected", "no", SHOWN)),
    (Rejected(["one", "two"]), failed("rejected", "no", {"message": "one"}, {"message": "two"})),
    (Rejected([]), failed("rejected", "no")),
    (
        Rejected(TAKEN, isolated=False),
        failed("rejected", "no", SHOWN, {"message": DOUBT, "code": "NOT_ISOLATED"}),
    ),
    (Unknown("lost"), failed("unknown", "maybe", {"message": UNKNOWN, "code": "UNKNOWN"})),
    (
        Unknown(ValueError("a secret")),
        failed("unknown", "maybe", {"message": UNKNOWN.replace("lost", "ValueError"), "code": "UNKNOWN"}),
    ),
]


@pytest.mark.parametrize(("verdict", "result"), WRITTEN)
async def test_one_record_that_was_written(verdict, result):
    """200 and its result."""
    assert await answer(create(), verdict) == (200, {"result": result})


@pytest.mark.parametrize(("verdict", "result"), FAILED)
async def test_one_record_that_was_not_written(verdict, result):
    """422 with the reasons as the API has them, and as data with what else is known."""
    messages = [{"message": error["message"]} for error in result["data"]["errors"]]
    assert await answer(create(), verdict) == (422, {"errors": messages, "result": result})


async def test_a_warning_goes_along_with_what_was_written():
    """For one record in a place of its own, for a batch among the errors, as the API does."""
    warned = Written("7", warnings=("the association failed",))
    words = [{"message": "the association failed"}]
    assert await answer(create(), warned) == (200, {"result": {"success": True, "recordId": "7"}, "warnings": words})
    assert await answer(batch_of({"a": 1}), warned) == (
        200,
        {"successCount": 1, "failureCount": 0, "results": [{"success": True, "recordId": "7"}], "errors": words},
    )


async def test_a_delete_tells_no_record_id():
    """The API has one for creates and updates only."""
    delete = {"groupRef": "g", "type": "delete", "record": {"id": "7"}}
    assert await answer(delete, Written("7")) == (200, {"result": {"success": True}})
    assert await answer(update("7"), Written("7")) == (200, {"result": {"success": True, "recordId": "7"}})


@pytest.mark.parametrize(("verdict", "result"), [*WRITTEN, *FAILED])
async def test_a_batch_of_one_is_answered_as_a_batch(verdict, result):
    """The same result, and counts."""
    good = result["success"]
    shown = {"successCount": int(good), "failureCount": int(not good), "results": [result]}
    messages = [{"message": error["message"]} for error in result.get("data", {}).get("errors", ()) if not good]
    if messages:
        shown["errors"] = messages
    assert await answer(batch_of({"a": 1}), verdict) == (200 if good else 422, shown)


async def test_a_batch_tells_the_fate_of_each_record_in_the_order_of_the_request():
    """One that was written makes it a 200; no result is left out; a reason is told once on top."""
    verdicts = [Rejected(TAKEN), Written("1"), Unknown("lost"), Rejected(TAKEN), NotWritten("late")]
    status, shown = await answer(batch_of(*({"n": n} for n in range(5))), *verdicts)
    assert (status, shown["successCount"], shown["failureCount"]) == (200, 1, 4)
    assert shown["results"] == [
        failed("rejected", "no", SHOWN),
        {"success": True, "recordId": "1"},
        failed("unknown", "maybe", {"message": UNKNOWN, "code": "UNKNOWN"}),
        failed("rejected", "no", SHOWN),
        failed("not_written", "no", {"message": LATE, "code": "NOT_WRITTEN"}),
    ]
    assert shown["errors"] == [{"message": each} for each in (TAKEN.message, UNKNOWN, LATE)]


@pytest.mark.parametrize("other", [Rejected(TAKEN), NotWritten("late")])
async def test_one_record_in_doubt_is_never_told_as_a_refusal(other):
    """Nothing may make a client send again what was perhaps written."""
    status, shown = await answer(batch_of({"n": 1}, {"n": 2}), other, Unknown("lost"))
    assert status == 422
    assert [result["data"]["applied"] for result in shown["results"]] == ["no", "maybe"]
    assert {"message": UNKNOWN} in shown["errors"]


@pytest.mark.parametrize("body", [create(), batch_of({"n": 1}), batch_of({"n": 1}, {"n": 2})])
async def test_when_nothing_was_written_for_no_fault_of_a_record_the_request_may_come_again(body):
    """A problem with the time, and with the operation that has the outcomes."""
    late = [NotWritten("late")] * len(body.get("batch", "x"))
    async with serving(Scripted(late)) as client:
        await anyio.sleep(100)
        response = await client.write(body)
        problem = check_problem(response, 503, f"nothing was written: {LATE}")
        assert problem["remedy"] == "send the request again later"
        millis = "000" if "batch" in body else "050"  # a batch waits for no company
        assert problem["time"] == f"2023-11-14T22:15:00.{millis}000Z"
        assert problem["retryAfter"] == f"2023-11-14T22:15:05.{millis}000Z"
        assert response.headers["retry-after"] == "5"
        operation = await client.operation(problem["context"]["operationId"])
        assert operation["status"] == "failure"


async def test_a_call_whose_answer_makes_no_sense_is_a_doubt_for_all():
    """Too few verdicts say nothing of any record."""
    status, shown = await answer(batch_of({"n": 1}, {"n": 2}), Written("1"))
    assert status == 422
    assert [result["data"]["applied"] for result in shown["results"]] == ["maybe", "maybe"]


async def test_a_call_that_was_refused_costs_only_the_record_that_it_names():
    """The others are sent again, and get their own ids."""
    destination = Scripted(Refused("bad call", {1: TAKEN}))
    async with serving(destination) as client:
        shown = (await client.write(batch_of({"n": 0}, {"n": 1}, {"n": 2}))).json()
    assert [each.get("recordId") for each in shown["results"]] == ["new-1", None, "new-2"]
    assert shown["results"][1] == failed("rejected", "no", SHOWN)
    assert destination.sizes == [3, 2]


async def test_a_retry_is_not_seen():
    """The caller waits for the outcome, not for a call."""
    destination = Scripted([Retry("locked", after=3)])
    async with serving(destination) as client:
        response = await client.write(create())
        assert response.status_code == 200
        assert anyio.current_time() >= 3.05
        assert destination.sizes == [1, 1]


async def test_a_group_that_was_refused_names_its_culprits():
    """Nothing is written; who is at fault gets the reason, the others that there are others."""
    destination = Scripted(Refused(TAKEN, {1: TAKEN}))
    async with serving(destination) as client:
        response = await client.write(group({"n": 0}, {"n": 1}))
    shown = response.json()
    assert response.status_code == 422
    assert shown["results"] == [
        failed("rolled_back", "no", {"message": OTHERS, "code": "ROLLED_BACK"}),
        failed("rejected", "no", SHOWN),
    ]
    assert shown["errors"] == [{"message": OTHERS}, {"message": TAKEN.message}]
    assert (destination.sizes, destination.groups) == ([2], [True])


@attrs.frozen
class _Strange:
    """Nothing that JSON knows."""


@pytest.mark.parametrize("data", [{"when": _Strange()}, {"n": float("nan")}, {"text": "\ud83d"}])
async def test_what_the_provider_returned_never_hides_that_the_record_was_written(data):
    """Data that JSON or UTF-8 cannot carry are left out or escaped; a 500 would make the client send it again."""
    status, shown = await answer(create(), Written("7", data))
    assert (status, shown["result"]["recordId"]) == (200, "7")


def test_what_is_kept_holds_no_exception_and_no_data():
    """A thousand operations do not keep sockets and payloads alive."""
    fate = fate_of(Written("7", {"a": 1}, ("warned",)))
    assert fate.kept() == attrs.evolve(fate, data=None)
    assert fate.kept().kept() == fate.kept()
    assert "warned" not in repr(fate) and "{" not in repr(fate)
    lost = fate_of(Unknown(ValueError("a secret")))
    assert "secret" not in str(attrs.asdict(lost))
    assert "secret" not in repr(fate_of(Rejected("a secret")))
