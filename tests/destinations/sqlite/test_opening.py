"""SQLite: Opening and closing."""

import sqlite3
from pathlib import Path

import pytest

from batcher.destinations.sqlite import SQLite, Table
from batcher.errors import BatcherError, BatcherNotOpen
from batcher.outcomes import Written
from tests.destinations.sqlite.helpers import CONTACTS, Faulty, create, delete, duplicate, refusal, send

pytestmark = pytest.mark.anyio

# --- Opening and closing ---


async def test_what_was_written_is_there_again(file: Path) -> None:
    """A file that is opened again holds its records, its rules and its sequence of ids."""
    async with SQLite(file, objects=CONTACTS) as db:
        await send(db, create({"email": "a"}), create({"email": "b"}))
        await send(db, delete("2"))
    async with SQLite(str(file), objects=CONTACTS) as db:
        (again,) = await send(db, create({"email": "a"}))
        assert refusal(again) == duplicate()
        assert await send(db, create({"email": "c"})) == [Written("3")]


async def test_uniqueness_stays_in_the_file(file: Path) -> None:
    """Who opens the file without declarations meets its rules all the same, field by name."""
    async with SQLite(file, objects=CONTACTS) as db:
        await send(db, create({"email": "a"}))
    async with SQLite(file) as db:
        (again,) = await send(db, create({"email": "a"}))
        assert refusal(again) == duplicate()


async def test_commits_survive_a_loss_of_power(file: Path, connections: list[Faulty]) -> None:
    """The log is synchronised at each commit: what was told "written" is on the disk."""
    async with SQLite(file):
        assert connections[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connections[0].execute("PRAGMA synchronous").fetchone() == (2,)


async def test_closing_forgets_the_memory() -> None:
    """A database in memory lives from entering to leaving, and may be entered again."""
    db = SQLite(":memory:")
    async with db:
        await send(db, create({"n": 1}))
    async with db:
        assert await db.count("contacts") == 0


async def test_it_is_used_inside_async_with(path: str | Path) -> None:
    """Before and after, every use says so; entering twice does as well."""
    db = SQLite(path)
    for _ in range(2):
        with pytest.raises(BatcherNotOpen, match="is not open: use it inside"):
            await send(db, create({"n": 1}))
        with pytest.raises(BatcherNotOpen, match="is not open"):
            await db.rows("contacts")
        async with db:
            with pytest.raises(BatcherNotOpen, match="open already"):
                await db.__aenter__()


async def test_a_missing_directory(tmp_path: Path) -> None:
    """The error says what to give instead."""
    with pytest.raises(BatcherError, match=r"cannot open .*SQLITE_CANTOPEN.*directory that exists"):
        async with SQLite(tmp_path / "nowhere" / "crm.db"):
            raise AssertionError("opened")


async def test_a_file_that_is_no_database(file: Path) -> None:
    """A file of another kind is left alone."""
    file.write_text("email,name\n" * 1000)
    with pytest.raises(BatcherError, match=r"SQLITE_NOTADB.*path of a SQLite file"):
        async with SQLite(file):
            raise AssertionError("opened")
    assert file.read_text() == "email,name\n" * 1000


async def test_an_error_of_another_kind_is_told_in_the_words_of_sqlite(file: Path) -> None:
    """Where there is no better advice, SQLite itself has the word."""
    async with SQLite(file):
        pass
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(BatcherError, match=r"SQLITE_CORRUPT.*malformed"):
        async with SQLite(file, objects=CONTACTS):
            raise AssertionError("opened")


async def test_a_locked_file_cannot_be_opened(file: Path) -> None:
    """Opening waits for a lock only so long, then names it."""
    async with SQLite(file):
        pass
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BatcherError, match=r"SQLITE_BUSY.*another program"):
        async with SQLite(file, lock_timeout=0):
            raise AssertionError("opened")
    other.close()


async def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite without the operator that uniqueness rests on is refused in a sentence."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    with pytest.raises(BatcherError, match=r"too old: 3\.38\.0"):
        async with SQLite(":memory:"):
            raise AssertionError("opened")


async def test_a_unique_field_over_duplicates(file: Path, connections: list[Faulty]) -> None:
    """A declaration that the file already breaks is refused on opening, changes nothing, and leaves nothing open."""
    async with SQLite(file) as db:
        await send(db, create({"email": "a"}), create({"email": "a"}))
    with pytest.raises(BatcherError, match="field 'email' of object 'contacts' is declared unique, but"):
        async with SQLite(file, objects={"leads": Table(), **CONTACTS}):
            raise AssertionError("opened")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[-1].execute("SELECT 1")
    async with SQLite(file) as db:
        assert await db.count("contacts") == 2
    other = sqlite3.connect(file)
    assert other.execute("SELECT count(*) FROM sqlite_master WHERE name = 'leads'").fetchone() == (0,)
    other.close()
