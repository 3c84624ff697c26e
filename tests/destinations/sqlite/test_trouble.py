"""SQLite: Other programs in the same file, trouble, threads, time and cancellation."""

import asyncio
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CancelScope
from trio.testing import MockClock

from batcher.destinations.sqlite import SQLite
from batcher.errors import BatcherError, BatcherNotOpen
from batcher.outcomes import NotWritten, Refused, Retry, Written
from tests.destinations.sqlite.helpers import (
    CONTACTS,
    Faulty,
    create,
    delete,
    fault,
    refusal,
    send,
    update,
)

pytestmark = pytest.mark.anyio

# --- Other programs in the same file ---


@pytest.fixture
def other(file: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the file, which holds the table of contacts."""
    anyio.run(prepare, file)
    connection = sqlite3.connect(file, isolation_level=None)
    yield connection
    connection.close()


async def prepare(file: Path) -> None:
    async with SQLite(file, objects=CONTACTS) as db:
        await send(db, create({"email": "a"}))


async def test_a_foreign_table_is_not_touched(file: Path) -> None:
    """A table of other columns under the name of an object is refused on opening, or with the first write."""
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE Contacts (id INTEGER PRIMARY KEY, name TEXT)")
    other.close()
    with pytest.raises(BatcherError, match="'contacts' in the file has other columns"):
        async with SQLite(file, objects=CONTACTS):
            raise AssertionError("opened")
    async with SQLite(file) as db:
        verdicts = await send(db, create({"n": 1}), create({"n": 2}))
        assert [(type(each), each.attempts) for each in verdicts] == [(NotWritten, 1)] * 2
        assert "other columns" in verdicts[0].cause
        assert await send(db, create({"n": 1}, "leads")) == [Written("1")]


async def test_a_table_of_another_program_may_be_used(file: Path) -> None:
    """A table of the right columns serves, in whatever case its name was written."""
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE Contacts (id INTEGER PRIMARY KEY, record TEXT)")
    other.close()
    async with SQLite(file, objects=CONTACTS) as db:
        assert await send(db, create({"email": "a"})) == [Written("1")]
        assert await db.rows("contacts") == [{"email": "a", "id": "1"}]


async def test_a_lock_at_the_start_applies_nothing(file: Path, other: sqlite3.Connection) -> None:
    """While another program writes, a call is to be tried again, and nothing was applied; reading goes on."""
    async with SQLite(file, objects={}, lock_timeout=0) as db:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retry) as caught:
            await send(db, create({"email": "b"}))
        assert (str(caught.value), caught.value.applied) == ("SQLITE_BUSY", "no")
        assert await db.count("contacts") == 1
        other.execute("COMMIT")
        assert await send(db, create({"email": "b"})) == [Written("2")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("SELECT RAISE(ABORT, 'no')", "CONSTRAINT_FAILED"),
        ("INSERT INTO log VALUES (1); SELECT RAISE(FAIL, 'no')", "CONSTRAINT_FAILED"),
        ("INSERT INTO log VALUES (1); SELECT RAISE(IGNORE)", "CONSTRAINT_FAILED"),
    ],
)
@pytest.mark.parametrize("when", ["INSERT", "UPDATE", "DELETE"])
async def test_a_rule_of_the_file_refuses_one_record(
    file: Path, other: sqlite3.Connection, when: str, body: str, code: str
) -> None:
    """Whatever a trigger does to one record, it is told refused, leaves nothing behind, and the others are written."""
    other.execute("CREATE TABLE log (n)")
    async with SQLite(file) as db:
        await send(db, *[create({"email": str(n), "n": 0}) for n in range(2, 5)])
        record = "OLD" if when == "DELETE" else "NEW"
        other.execute(
            f"CREATE TRIGGER rule BEFORE {when} ON contacts WHEN {record}.record ->> '$.email' = '3' BEGIN {body}; END"
        )
        if when == "INSERT":
            other.execute("DELETE FROM contacts")
        verbs = {
            "INSERT": lambda n: create({"email": str(n)}),
            "UPDATE": lambda n: update(str(n), n=1),
            "DELETE": lambda n: delete(str(n)),
        }
        verdicts = await send(db, *[verbs[when](n) for n in range(2, 5)])
        assert [each.ok for each in verdicts] == [True, False, True]
        assert refusal(verdicts[1]) == (code, ())
        left = [row["email"] for row in await db.rows("contacts") if when != "UPDATE" or row.get("n") == 0]
        assert left == {"INSERT": ["2", "4"], "UPDATE": ["3"], "DELETE": ["a", "3"]}[when]
        assert other.execute("SELECT count(*) FROM log").fetchone() == (0,)


@pytest.mark.parametrize("all_or_none", [True, False])
async def test_a_rule_that_ends_the_transaction(file: Path, other: sqlite3.Connection, all_or_none: bool) -> None:
    """A trigger that undoes the whole transaction makes the call refused as a whole, with its culprit named."""
    other.execute(
        "CREATE TRIGGER rule BEFORE INSERT ON contacts WHEN NEW.record ->> '$.email' = 'c'"
        " BEGIN SELECT RAISE(ROLLBACK, 'no'); END"
    )
    async with SQLite(file) as db:
        with pytest.raises(Refused) as caught:
            await send(db, *[create({"email": each}) for each in "bcd"], all_or_none=all_or_none)
        assert [(index, errors[0].code) for index, errors in caught.value.named.items()] == [(1, "CONSTRAINT_FAILED")]
        assert await db.count("contacts") == 1
        assert await send(db, create({"email": "b"})) == [Written("2")]


async def test_a_foreign_record_may_hold_more_than_ours(file: Path, other: sqlite3.Connection) -> None:
    """A number that we would not take stays as another program stored it."""
    other.execute("""INSERT INTO contacts (record) VALUES ('{"email":"b","n":123456789012345678901234567890}')""")
    async with SQLite(file) as db:
        assert await send(db, update("2", m=1)) == [Written("2")]
        assert (await db.rows("contacts"))[1] == {"email": "b", "n": 123456789012345678901234567890, "m": 1, "id": "2"}


async def test_a_foreign_record_that_cannot_be_kept_refuses_its_own_update(
    file: Path, other: sqlite3.Connection
) -> None:
    """A stored record that is no UTF-8 when merged costs only the update of itself."""
    other.execute(r"""INSERT INTO contacts (record) VALUES ('{"email":"b","n":"\ud800"}')""")
    async with SQLite(file) as db:
        first, second = await send(db, update("1", n=1), update("2", m=1))
        assert first == Written("1")
        assert refusal(second) == ("UNREADABLE_RECORD", ())


async def test_another_program_cannot_store_what_is_no_record(other: sqlite3.Connection) -> None:
    """The file itself takes only JSON objects."""
    for text in ("[1]", "1", "{"):
        with pytest.raises(sqlite3.Error):
            other.execute("INSERT INTO contacts (record) VALUES (?)", (text,))


# --- Trouble ---


async def test_a_full_disk_applies_nothing(path: str | Path, connections: list[Faulty]) -> None:
    """A call that runs out of space is undone as a whole and may be tried again; then it works."""
    async with SQLite(path, objects=CONTACTS) as db:
        await send(db, create({"email": "a"}))
        connections[0].execute("PRAGMA max_page_count = 1")  # SQLite takes the current size
        with pytest.raises(Retry) as caught:
            await send(db, *[create({"email": f"{n}", "text": "x" * 2000}) for n in range(20)])
        assert (str(caught.value), caught.value.applied) == ("SQLITE_FULL", "no")
        assert await db.rows("contacts") == [{"email": "a", "id": "1"}]
        connections[0].execute("PRAGMA max_page_count = 1000000")
        assert await send(db, create({"email": "b"})) == [Written("2")]


async def test_a_database_that_takes_no_writes(path: str | Path, connections: list[Faulty]) -> None:
    """Trouble that will not pass is told at once, as known not written."""
    async with SQLite(path, objects=CONTACTS) as db:
        connections[0].execute("PRAGMA query_only = ON")
        verdicts = await send(db, create({"email": "a"}), create({"email": "b"}))
        assert verdicts == [NotWritten("SQLITE_READONLY", attempts=1)] * 2
        assert await db.count("contacts") == 0


async def test_a_record_too_large_for_sqlite(path: str | Path, connections: list[Faulty]) -> None:
    """A record beyond the limit of SQLite costs only itself."""
    async with SQLite(path) as db:
        await send(db, create({"n": 1}))
        connections[0].setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
        large, small = await send(db, create({"text": "x" * 1000}), create({"text": "x"}))
        assert refusal(large) == ("RECORD_TOO_LARGE", ())
        assert small == Written("2")


async def test_an_error_of_the_input_or_output_in_the_middle(path: str | Path, connections: list[Faulty]) -> None:
    """Trouble with the disk in the middle of a call undoes the whole call."""
    async with SQLite(path) as db:
        await send(db, create({"n": 1}))
        connections[0].faults["RELEASE record"] = fault("SQLITE_IOERR_WRITE")
        with pytest.raises(Retry) as caught:
            await send(db, create({"n": 2}), create({"n": 3}))
        assert (str(caught.value), caught.value.applied) == ("SQLITE_IOERR_WRITE", "no")
        assert await db.count("contacts") == 1


async def test_a_commit_that_may_have_worked(path: str | Path, connections: list[Faulty]) -> None:
    """If a commit fails and the transaction is over, what was to be written is "maybe"; what was refused is "no"."""
    async with SQLite(path, objects=CONTACTS) as db:
        connections[0].faults["COMMIT"] = fault("SQLITE_IOERR_FSYNC", "COMMIT")
        verdicts = await send(db, create({"email": "a"}), create({"n": 1}), create({"email": "b"}))
        assert [(type(each), str(each), each.applied) for each in verdicts] == [
            (Retry, "SQLITE_IOERR_FSYNC", "maybe"),
            (Retry, "SQLITE_IOERR_FSYNC", "no"),
            (Retry, "SQLITE_IOERR_FSYNC", "maybe"),
        ]
        assert await db.count("contacts") == 2


@pytest.mark.parametrize("all_or_none", [True, False])
async def test_a_commit_that_did_not_happen(path: str | Path, connections: list[Faulty], all_or_none: bool) -> None:
    """If a commit fails and the transaction is still open, it is rolled back, and nothing was applied."""
    async with SQLite(path, objects=CONTACTS) as db:
        connections[0].faults["COMMIT"] = fault("SQLITE_BUSY")
        with pytest.raises(Retry) as caught:
            await send(db, create({"email": "a"}), all_or_none=all_or_none)
        assert (str(caught.value), caught.value.applied) == ("SQLITE_BUSY", "no")
        assert not connections[0].in_transaction
        assert await db.count("contacts") == 0


async def test_a_failed_rollback_is_never_committed(path: str | Path, connections: list[Faulty]) -> None:
    """What a failed rollback left behind was told "not applied", and the next call does not commit it."""
    async with SQLite(path, objects=CONTACTS) as db:
        connections[0].faults["COMMIT"] = fault("SQLITE_BUSY")
        connections[0].faults["ROLLBACK"] = fault("SQLITE_IOERR")
        with pytest.raises(Retry) as caught:
            await send(db, create({"email": "a"}))
        assert caught.value.applied == "no"
        assert await send(db, create({"email": "b"})) == [Written("1")]
        assert await db.rows("contacts") == [{"email": "b", "id": "1"}]


async def test_trouble_without_a_code(path: str | Path, connections: list[Faulty]) -> None:
    """An error that SQLite gave no code is told by its type, and nothing was applied."""

    def closed(execute: Any) -> Any:
        raise sqlite3.ProgrammingError("no code")

    async with SQLite(path) as db:
        connections[0].faults["SAVEPOINT record"] = closed
        assert await send(db, create({"n": 1})) == [NotWritten("ProgrammingError", attempts=1)]
        assert await db.count("contacts") == 0


async def test_what_is_no_error_of_sqlite_is_not_hidden(path: str | Path, connections: list[Faulty]) -> None:
    """A bug is undone and raised as it is."""

    def bug(execute: Any) -> Any:
        raise ZeroDivisionError

    async with SQLite(path) as db:
        await send(db, create({"n": 1}))
        connections[0].faults["RELEASE record"] = bug
        with pytest.raises(ZeroDivisionError):
            await send(db, create({"n": 2}))
        assert not connections[0].in_transaction
        assert await db.count("contacts") == 1


# --- Threads, time and cancellation ---


async def test_calls_take_turns(file: Path) -> None:
    """Calls made at the same time are all answered, each with its own ids."""
    answers: dict[int, Any] = {}

    async def call(name: int) -> None:
        answers[name] = await send(db, *[create({"name": name, "n": n}, f"object_{name % 2}") for n in range(5)])

    async with SQLite(file) as db:
        async with anyio.create_task_group() as tasks:
            for name in range(10):
                tasks.start_soon(call, name)
        for half in (0, 1):
            stored = {row["id"]: (row["name"], row["n"]) for row in await db.rows(f"object_{half}")}
            told = {
                verdict.record_id: (name, n) for name in range(half, 10, 2) for n, verdict in enumerate(answers[name])
            }
            assert stored == told


async def test_work_that_has_begun_is_finished(file: Path, other: sqlite3.Connection) -> None:
    """A cancelled call waits for its thread, and its outcome is the one of the database."""
    verdicts: list[Any] = []

    async def call(scope: Any) -> Any:
        with scope:
            verdicts.extend(await send(db, create({"email": "b"})))

    async with SQLite(file, lock_timeout=60) as db:
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as tasks:
            scope = CancelScope()
            tasks.start_soon(call, scope)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            other.execute("COMMIT")
        assert verdicts == [Written("2")]
        assert await db.count("contacts") == 2


async def test_a_call_cancelled_before_its_turn_does_nothing(file: Path, other: sqlite3.Connection) -> None:
    """A call that waits for another one's thread leaves no trace if it is cancelled."""
    async with SQLite(file, lock_timeout=60) as db:
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, db, create({"email": "b"}))
            await anyio.wait_all_tasks_blocked()
            async with anyio.create_task_group() as late:
                late.start_soon(send, db, create({"email": "c"}))
                await anyio.wait_all_tasks_blocked()
                late.cancel_scope.cancel()
            other.execute("COMMIT")
        assert [row["email"] for row in await db.rows("contacts")] == ["a", "b"]


async def test_closing_is_not_cancelled(file: Path) -> None:
    """A cancelled host closes the file all the same."""
    db = SQLite(file)
    with CancelScope() as scope:
        async with db:
            await send(db, create({"n": 1}))
            scope.cancel()
    with pytest.raises(BatcherNotOpen):
        await db.count("contacts")
    assert not Path(f"{file}-wal").exists()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancelled_task_of_asyncio_leaves_its_thread_alone(file: Path, other: sqlite3.Connection) -> None:
    """A native cancellation does not wait for the thread; reading and closing wait for it instead."""
    async with SQLite(file, lock_timeout=60) as db:
        other.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(send(db, create({"email": "b"})))
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        counting = asyncio.create_task(db.count("contacts"))
        await anyio.wait_all_tasks_blocked()
        assert not counting.done()
        other.execute("COMMIT")
        assert await counting == 2


@pytest.mark.parametrize("delay", [2.5, timedelta(seconds=2.5)])
async def test_every_call_is_delayed(monkeypatch: pytest.MonkeyPatch, delay: float | timedelta) -> None:
    """A call waits as long as was asked for, before it does its work."""
    waited = []

    async def sleep(seconds: Any) -> Any:
        waited.append((seconds, await db.count("contacts")))

    async with SQLite(":memory:", delay=delay) as db:
        monkeypatch.setattr(anyio, "sleep", sleep)
        await send(db, create({"n": 1}))
        await send(db, create({"n": 2}))
        assert waited == [(2.5, 0), (2.5, 1)]


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_memory_works_in_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database in memory uses no thread, which virtual time would not wait for."""
    monkeypatch.setattr(anyio.to_thread, "run_sync", None)
    async with SQLite(":memory:", delay=3600) as db:
        start = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for n in range(3):
                tasks.start_soon(send, db, create({"n": n}))
        assert anyio.current_time() == start + 3600
        assert await db.count("contacts") == 3
