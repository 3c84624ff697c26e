"""The writer over a real database, P12 taken as given, and P5 over real transactions."""

from __future__ import annotations

import asyncio
from functools import partial
from threading import Thread
from typing import Any, Self

import anyio
import pytest

from batcher import (
    AutoBatchPolicy,
    BatcherClosed,
    BatcherNotOpen,
    InvalidGroup,
    InvalidRecord,
    Limits,
    NestedSubmit,
    Overloaded,
    RecordRejected,
    Rejected,
    RolledBack,
    Write,
    Writer,
    Written,
)
from batcher.destinations import SQLite, Table
from batcher.policies import LaneRules
from batcher.testing import ScriptedDestination
from tests.api import gather

pytestmark = pytest.mark.anyio


def database(**options: Any) -> SQLite:
    return SQLite(":memory:", objects={"contacts": Table(unique=["email"], required=["email"])}, **options)


async def test_the_everyday_verbs_write_to_a_real_database():
    """create, update, upsert, delete: what the first example of the design shows."""
    db = database()
    async with Writer(db) as crm:
        written = await crm.create("contacts", {"email": "ada@example.com"})
        assert isinstance(written, Written)
        await crm.update("contacts", {"id": written.record_id, "phone": "1"})
        await crm.upsert("contacts", {"email": "ada@example.com", "name": "Ada"}, by="email")
        other = await crm.upsert("contacts", {"email": "bob@example.com"}, by="email")
        assert isinstance(other, Written)
        await crm.delete("contacts", other.record_id)
        assert await db.rows("contacts") == [
            {"id": "1", "email": "ada@example.com", "phone": "1", "name": "Ada"},
        ]


async def test_p04_only_the_bad_record_of_a_batch_fails():
    """One call, 100 callers, two of them with an error of their own."""
    db = database()
    async with Writer(db) as crm:
        emails = [f"{n % 99}@example.com" for n in range(100)]
        results = await gather(*(partial(crm.create, "contacts", {"email": email}) for email in emails[:-1]))
        assert all(isinstance(result, Written) for result in results)
        with pytest.raises(RecordRejected, match="DUPLICATE_VALUE") as caught:
            await crm.create("contacts", {"email": emails[-1]})
        assert isinstance(caught.value.record, Write)
        assert crm.statistics().calls == 2
        assert await db.count("contacts") == 99


async def test_p12_changing_the_record_after_submitting_changes_nothing():
    """It is encoded at the door."""
    db = database()
    async with Writer(db, auto_batch=AutoBatchPolicy(max_delay=10)) as crm:
        record = {"email": "ada@example.com", "tags": ["a"]}
        receipt = crm.submit_nowait(Write("contacts", "create", record))
        record["email"] = "changed"
        record["tags"].append("b")  # type: ignore[attr-defined]
        await receipt
        assert (await db.rows("contacts"))[0]["email"] == "ada@example.com"
        assert (await db.rows("contacts"))[0]["tags"] == ["a"]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (Write("contacts", "create", {"email": float("nan")}), "email"),
        (Write("contacts", "create", {"email": 2**53}), "email"),
        (Write("contacts", "create", {"email": object()}), "email"),
        (Write("contacts", "create", {1: "x"}), "field names must be strings"),  # type: ignore[dict-item]
        (Write("contacts", "create", {"email": "x"}, headers={"A": "b"}), "headers"),
        (Write("contacts", "update", {"email": "x"}), "'id' is missing"),
        (Write("contacts", "create", {"email": "x" * 1_000_001}), "1,?000,?0.. bytes exceed the 1,?000,?000"),
    ],
)
async def test_p12_what_can_never_be_written_fails_its_own_submit_at_once(write, message):
    """It joins no batch and costs nobody else anything, by whichever verb."""
    async with Writer(database()) as crm:
        for call in (crm.submit, crm.enqueue):
            with pytest.raises(InvalidRecord, match=message):
                await call(write)
        with pytest.raises(InvalidRecord, match=message):
            crm.submit_nowait(write)
        good = Write("contacts", "create", {"email": "good@example.com"})
        first, second, third = await crm.submit_all([write, good, write])
        assert (type(first), type(second), type(third)) == (Rejected, Written, Rejected)
        assert crm.statistics().accepted == 1


async def test_p05_a_group_is_one_transaction():
    """All of it or nothing, and each member learns why."""
    db = database()
    async with Writer(db) as crm:
        await crm.create("contacts", {"email": "taken@example.com"})
        emails = ["a@example.com", "taken@example.com", "b@example.com"]
        writes = [Write("contacts", "create", {"email": email}) for email in emails]
        outcomes = await crm.submit_all(writes, all_or_none=True)
        assert isinstance(outcomes[1], Rejected)
        assert outcomes[0] == outcomes[2] == RolledBack((1,), outcomes[1].errors)
        assert await db.count("contacts") == 1
        assert all(outcome.ok for outcome in await crm.submit_all(writes[::2], all_or_none=True))
        assert await db.count("contacts") == 3


async def test_p05_groups_that_cannot_be_are_refused_in_words():
    """Several lanes, an invalid member, or a destination that cannot: nothing is accepted."""

    class Partial(SQLite):
        def rules(self, lane: Any) -> LaneRules:
            return LaneRules(all_or_none=False)

    good = Write("contacts", "create", {"email": "a@example.com"})
    async with Writer(database()) as crm:
        with pytest.raises(InvalidGroup, match="the group spans 2 lanes"):
            await crm.submit_all([good, Write("companies", "create", {"name": "x"})], all_or_none=True)
        with pytest.raises(InvalidGroup, match="member 1 of the group: record is empty"):
            await crm.submit_all([good, Write("contacts", "create", {})], all_or_none=True)
        assert await crm.submit_all([], all_or_none=True) == []
        assert crm.statistics().accepted == 0
    async with Writer(Partial(":memory:")) as crm:
        with pytest.raises(InvalidGroup, match="cannot apply these writes all or none"):
            await crm.submit_all([good], all_or_none=True)


async def test_p06_an_update_and_a_delete_of_one_record_go_in_order():
    """They are in different lanes; the identity holds them together."""
    db = database()
    async with Writer(db) as crm:
        written = await crm.create("contacts", {"email": "a@example.com"})
        assert isinstance(written, Written)
        update = crm.submit_nowait(Write("contacts", "update", {"id": written.record_id, "n": 1}))
        delete = crm.submit_nowait(Write("contacts", "delete", {"id": written.record_id}))
        again = crm.submit_nowait(Write("contacts", "update", {"id": written.record_id, "n": 2}))
        await crm.flush()
        assert [receipt.outcome.kind for receipt in (update, delete, again) if receipt.outcome] == [
            "written",
            "written",
            "rejected",
        ]


async def test_p06_submits_for_one_record_are_calls_one_after_the_other():
    """Each waits in its own task, and goes when the one before it is settled."""
    destination = ScriptedDestination(seconds=1)
    async with Writer(destination, auto_batch=AutoBatchPolicy(max_delay=0)) as crm:
        await crm.create("contacts", {"n": 0})
        updates = [Write("contacts", "update", {"id": "1", "n": n}) for n in (1, 2, 3)]
        await gather(*(partial(crm.submit, update) for update in updates))
    calls = destination.calls[1:]
    assert sorted(record["n"] for call in calls for record in call.records) == [1, 2, 3]
    assert [call.at - calls[0].at for call in calls] == [0, 1, 2]


async def test_submit_inside_the_destination_of_the_same_writer_is_refused():
    """It may wait for itself for ever."""

    class Recursive(ScriptedDestination):
        async def send(self, *_: Any, **__: Any) -> list[Any]:
            with pytest.raises(NestedSubmit, match=r"submit\(\) inside"):
                await crm.submit(Write("contacts", "create", {"n": 2}))
            return [Written("1")]

    async with Writer(Recursive(), auto_batch=AutoBatchPolicy(max_delay=0)) as crm:
        assert await crm.submit(Write("contacts", "create", {"n": 1})) == Written("1")
        assert crm.statistics().accepted == 1


async def test_p11_submit_before_entering_after_closing_or_in_another_loop_is_refused():
    """Nothing is accepted of which nobody will ever hear again."""
    write = Write("contacts", "create", {"n": 1})
    elsewhere: list[BaseException] = []

    def in_another_loop() -> None:
        try:
            asyncio.run(asyncio.wait_for(crm.submit(write), 5))
        except BaseException as error:
            elsewhere.append(error)

    crm = Writer(ScriptedDestination())
    with pytest.raises(BatcherNotOpen, match="before entering"):
        await crm.submit(write)
    async with crm:
        thread = Thread(target=in_another_loop)
        thread.start()
        thread.join(20)
    with pytest.raises(BatcherClosed):
        await crm.submit(write)
    assert [type(error) for error in elsewhere] == [BatcherNotOpen]
    assert crm.statistics().accepted == 0


async def test_the_verbs_of_the_batcher_take_a_write():
    """enqueue() gives a receipt, submit_nowait() may be overloaded, others are refused."""
    limits = Limits(max_pending_records=1, max_lane_records=1)
    async with Writer(database(delay=1), limits=limits) as crm:
        receipt = await crm.enqueue(Write("contacts", "create", {"email": "a@example.com"}), deadline=100)
        assert receipt.submitted.record == {"email": "a@example.com"}
        with pytest.raises(Overloaded):
            crm.submit_nowait(Write("contacts", "create", {"email": "b@example.com"}))
        assert (await receipt).ok
        with pytest.raises(TypeError, match=r"a Writer takes Write\(object, type, record\), not dict"):
            await crm.submit({"email": "x"})  # type: ignore[arg-type]


async def test_operations_belong_to_destinations_that_have_them():
    """Reading one is the destination's; others say that there is nothing to read."""

    class Slow(SQLite):
        async def operation(self, operation_id: str, *, wait: bool) -> tuple[str, bool]:
            return operation_id, wait

    async with Writer(Slow(":memory:")) as crm:
        assert await crm.operation("op", wait=True) == ("op", True)
    async with Writer(database()) as crm:
        with pytest.raises(TypeError, match="SQLite has no operations: it answers at once"):
            await crm.operation("op")


async def test_a_cancelled_submit_is_withdrawn():
    """P8 holds for writes as for any record."""
    db = database()
    async with Writer(db, auto_batch=AutoBatchPolicy(max_delay=10)) as crm:
        with anyio.move_on_after(1):
            await crm.create("contacts", {"email": "a@example.com"})
        assert crm.statistics().pending == 0
        assert await db.count("contacts") == 0


class Fragile(SQLite):
    """A destination that fails to open, or to close."""

    def __init__(self, *, opens: bool = True) -> None:
        super().__init__(":memory:")
        self.opens = opens
        self.seen: list[Any] = []

    async def __aenter__(self) -> Self:
        if not self.opens:
            raise OSError("cannot open")
        await super().__aenter__()
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.seen.append(error)
        await super().__aexit__(None, None, None)
        raise OSError("cannot close")


async def test_a_destination_that_cannot_open_or_close_is_heard_but_hides_nothing(caplog):
    """The body's own exception leaves bare; a failure to close is raised if there is nothing else, or logged."""
    with pytest.raises(OSError, match="cannot open"):
        async with Writer(Fragile(opens=False)):
            raise AssertionError("never entered")
    with pytest.raises(OSError, match="cannot close"):
        async with Writer(Fragile()):
            pass
    destination, error = Fragile(), ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with Writer(destination):
            raise error
    assert caught.value is error
    assert destination.seen == [error]
    assert "closing the destination failed" in caplog.text


async def test_two_that_enter_one_writer_at_once():
    """The second one is refused before it touches the destination of the first."""

    class Slow(SQLite):
        async def __aenter__(self) -> Self:
            await anyio.sleep(1)
            await super().__aenter__()
            return self

    writer = Writer(Slow(":memory:"))

    async def second() -> None:
        await anyio.sleep(0.5)
        with pytest.raises(BatcherNotOpen, match="lives once"):
            await writer.__aenter__()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second)
        async with writer:
            assert isinstance(await writer.create("contacts", {"a": 1}), Written)


async def test_a_writer_lives_once_and_closes_its_destination():
    """Opened with the writer, closed after the last call; also if the body raises."""
    db = database()
    writer = Writer(db)
    with pytest.raises(BatcherNotOpen, match="async with Writer"):
        await writer.create("contacts", {"email": "a"})
    with pytest.raises(ValueError, match="mine"):
        async with writer:
            receipt = writer.submit_nowait(Write("contacts", "create", {"email": "a@example.com"}))
            raise ValueError("mine")
    assert (await receipt).ok
    with pytest.raises(BatcherNotOpen, match="lives once"):
        async with writer:
            pass
    assert repr(writer) == "<Writer closed: 0 pending, 0 in flight>"
