"""The database of a sandbox: records with fields, and the keys by which they are found. Inline, without a thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    number INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, fields TEXT NOT NULL,
    archived INTEGER NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, UNIQUE (type, id)
);
CREATE TABLE IF NOT EXISTS keys (
    type TEXT, field TEXT, value TEXT, id TEXT, PRIMARY KEY (type, field, value, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_of_record ON keys (type, id);
CREATE INDEX IF NOT EXISTS records_by_id ON records (id);
CREATE TABLE IF NOT EXISTS associations (
    from_type TEXT, from_id TEXT, to_type TEXT, to_id TEXT, category TEXT, type_id INTEGER,
    PRIMARY KEY (from_type, from_id, to_type, to_id, category, type_id)
) WITHOUT ROWID;
"""
_COLUMNS = "type, id, fields, archived, created, updated"


@attrs.frozen
class Row:
    """One record."""

    type: str
    id: str
    fields: dict[str, Any] = attrs.field(repr=False)
    archived: bool = False
    created: float = 0.0
    updated: float = 0.0


class Store:
    """Records of any type.

    :param path: of the database file; ``":memory:"`` for none
    """

    def __init__(self, path: str | Path = ":memory:") -> None:
        # The app is built in one thread and may be served in another, never in two at a time.
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # What a stand-in forgets when the machine stops is no loss.
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)
        self._last = int(self._database.execute("SELECT coalesce(max(number), 0) FROM records").fetchone()[0])

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all that is written inside, or nothing if the body raises."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def next_number(self) -> int:
        """Return a number that no record has had in this run."""
        self._last += 1
        return self._last

    def insert(self, number: int, row: Row, keys: Mapping[str, str]) -> None:
        """Add a record.

        :param keys: field to the value by which the record is found
        """
        values = (number, row.type, row.id, json.dumps(row.fields), row.archived, row.created, row.updated)
        self._database.execute("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        self._set_keys(row, keys)

    def save(self, row: Row, keys: Mapping[str, str]) -> None:
        """Replace a record."""
        self._database.execute(
            "UPDATE records SET fields = ?, archived = ?, updated = ? WHERE type = ? AND id = ?",
            (json.dumps(row.fields), row.archived, row.updated, row.type, row.id),
        )
        self._database.execute("DELETE FROM keys WHERE type = ? AND id = ?", (row.type, row.id))
        self._set_keys(row, keys)

    def archive(self, row: Row, now: float) -> None:
        """Take a record away; its keys are free again."""
        self.save(attrs.evolve(row, archived=True, updated=now), {})

    def _set_keys(self, row: Row, keys: Mapping[str, str]) -> None:
        rows = [(row.type, field, value, row.id) for field, value in keys.items()]
        self._database.executemany("INSERT INTO keys VALUES (?, ?, ?, ?)", rows)

    def get(self, type: str, id: str) -> Row | None:
        """Return a record, archived or not."""
        found = self._database.execute(f"SELECT {_COLUMNS} FROM records WHERE type = ? AND id = ?", (type, id))  # noqa: S608
        return next(map(_row, found), None)

    def find(self, type: str, field: str, value: str) -> list[Row]:
        """Return the records with this key; archived ones have none."""
        query = "SELECT id FROM keys WHERE type = ? AND field = ? AND value = ? ORDER BY id"
        found = self._database.execute(query, (type, field, value)).fetchall()
        return [row for (id,) in found if (row := self.get(type, id)) is not None]

    def exists(self, id: str) -> bool:
        """Return whether a record of any type has this id and is not archived."""
        query = "SELECT EXISTS (SELECT 1 FROM records WHERE id = ? AND NOT archived)"
        return bool(self._database.execute(query, (id,)).fetchone()[0])

    def type_of(self, id: str) -> str | None:
        """Return the type of the record with an id, archived or not."""
        found = self._database.execute("SELECT type FROM records WHERE id = ?", (id,)).fetchone()
        return None if found is None else str(found[0])

    def rows(self, type: str, *, archived: bool = False) -> list[Row]:
        """Return the records of a type in the order in which they were created, with the *archived* ones or without."""
        found = self._database.execute(
            f"SELECT {_COLUMNS} FROM records WHERE type = ? AND archived <= ? ORDER BY number",  # noqa: S608
            (type, archived),
        )
        return list(map(_row, found))

    def associate(
        self, from_type: str, from_id: str, to_type: str, to_id: str, types: Iterable[tuple[str, int]]
    ) -> None:
        """Connect two records, once per type of association."""
        rows = [(from_type, from_id, to_type, to_id, category, number) for category, number in types]
        self._database.executemany("INSERT OR IGNORE INTO associations VALUES (?, ?, ?, ?, ?, ?)", rows)

    def associations(self, from_type: str) -> list[dict[str, Any]]:
        """Return what the records of a type are connected with; the type is empty where the request did not name it."""
        query = (
            "SELECT from_id, to_type, to_id, category, type_id FROM associations WHERE from_type = ? ORDER BY 1, 2, 3"
        )
        names = ("from_id", "to_type", "to_id", "category", "type_id")
        return [dict(zip(names, row, strict=True)) for row in self._database.execute(query, (from_type,))]


def _row(columns: tuple[Any, ...]) -> Row:
    type, id, fields, archived, created, updated = columns
    return Row(type, id, json.loads(fields), bool(archived), created, updated)
