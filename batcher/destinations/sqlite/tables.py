"""The tables behind :class:`~batcher.destinations.sqlite.SQLite`: one per object, one JSON record per row.

Everything here is synchronous and runs inside a transaction that the caller began.
"""

# ruff: noqa: S608 - the only parts put into a statement are checked names; every value is a parameter

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from typing import Any

import attrs

from batcher.destinations._http.encoding import encode, encode_with_json
from batcher.destinations._http.verifying import Found, Sent
from batcher.errors import BatcherError
from batcher.outcomes import ErrorDetail, Rejected, Written

_OBJECT = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,62}")
# JSON escapes these, and SQLite compares the field names of a path with the escaped text; UTF-8 has no surrogates.
_NOT_IN_NAMES = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')
_ID = re.compile(r"[1-9][0-9]{0,18}")
_MAX_ID = 2**63 - 1
_BROKEN_INDEX = re.compile(r"index '[^']+:unique:((?:[0-9a-f]{2})+)'$")
_EMPTY = (None, "")
_NOT_FOUND = Rejected(ErrorDetail("no record has this id", code="NOT_FOUND", fields=("id",)))


def _to_names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"field names must be given as a list: [{names!r}], not {names!r}")
    return tuple(dict.fromkeys(names))


def _check_names(_: object, field: attrs.Attribute[Any], names: tuple[object, ...]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{field.name} must hold names of fields, not {type(name).__name__}")
        if not name or _NOT_IN_NAMES.search(name):
            rule = "must not be empty, nor hold a quotation mark, a backslash, a control character or a surrogate"
            raise ValueError(f"a name in {field.name} {rule}; found {name!r}")
        if name == "id":
            raise ValueError(f"'id' must not be in {field.name}: it is given by the database and always unique")


@attrs.frozen(kw_only=True)
class Table:
    """What the database demands of the records of one object.

    A field is *empty* if it is missing, None or ``""``. Values are the same if their JSON is the same: ``1``, ``1.0``,
    ``"1"`` and ``True`` are four different values, upper and lower case differ, and so does the order of keys.
    """

    unique: tuple[str, ...] = attrs.field(default=(), converter=_to_names, validator=_check_names)
    """Fields of which no two records hold the same value; empty ones do not count. ``upsert`` matches on these."""
    required: tuple[str, ...] = attrs.field(default=(), converter=_to_names, validator=_check_names)
    """Fields that must not be empty in any record that is written."""


def table_name(name: str) -> str:
    """Return the table of an object: its name in lower case, safe within double quotes.

    :raises ValueError: not a name for a table
    """
    folded = name.lower()
    # ASCII first: the Kelvin sign, for one, has an ASCII letter as its lower case.
    if not name.isascii() or not _OBJECT.fullmatch(folded):
        raise ValueError(
            f"object must be 1 to 63 of a-z, 0-9, '_', '-' and '.', the last two not first; found {name!r}"
        )
    if folded.startswith("sqlite_"):
        raise ValueError(f"object must not begin with 'sqlite_', which SQLite keeps for itself; found {name!r}")
    return folded


def holds_table(connection: sqlite3.Connection, name: str) -> bool:
    """Return whether the file has a table for the object."""
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
    return connection.execute(query, (name,)).fetchone() is not None


@attrs.frozen
class Rows:
    """The records of one object, within one transaction."""

    connection: sqlite3.Connection
    name: str
    table: Table

    def ensure_table(self) -> None:
        """Create what is not there yet: the table, and an index for each unique field.

        :raises BatcherError: the file holds something else under this name, or values that break the declaration
        """
        # AUTOINCREMENT, so that the id of a deleted record never names another one.
        self.connection.execute(
            f'CREATE TABLE IF NOT EXISTS "{self.name}" (id INTEGER PRIMARY KEY AUTOINCREMENT,'
            " record TEXT NOT NULL CHECK (json_type(record) = 'object'))"
        )
        shape = "(name = 'id' AND type = 'INTEGER' AND pk = 1) OR name = 'record'"
        query = f"SELECT count(*) FROM pragma_table_info(?) WHERE {shape}"
        if self.connection.execute(query, (self.name,)).fetchone() != (2,):
            raise BatcherError(f"the table {self.name!r} in the file has other columns than id and record: rename it")
        for field in self.table.unique:
            self._ensure_index(field)

    def _ensure_index(self, field: str) -> None:
        # In hexadecimal, because SQLite compares the names of indexes without regard to case. It also lets a
        # violation name its field, even if the index was declared by an earlier user of the file.
        index = f"{self.name}:unique:{field.encode().hex()}"
        try:
            self.connection.execute(f'CREATE UNIQUE INDEX IF NOT EXISTS "{index}" ON "{self.name}" ({_key(field)})')
        except sqlite3.IntegrityError as error:
            raise BatcherError(
                f"field {field!r} of object {self.name!r} is declared unique, but the file holds records with the same"
                " value: remove them, or the declaration"
            ) from error

    def write(self, kind: str, item: bytes, by: str | None) -> Written | Rejected:
        """Apply one encoded write; one that is refused leaves nothing behind.

        Look at ``connection.in_transaction`` afterwards: a trigger in the file can end the transaction.

        :raises sqlite3.Error: the trouble is not the record's
        """
        connection = self.connection
        connection.execute("SAVEPOINT record")
        try:
            verdict = self._apply(kind, json.loads(item), item, by)
        except (sqlite3.IntegrityError, sqlite3.DataError) as error:
            verdict = Rejected(_explain(error))
        if connection.in_transaction:
            if isinstance(verdict, Rejected):
                connection.execute("ROLLBACK TO record")
            connection.execute("RELEASE record")
        return verdict

    def _apply(self, kind: str, record: dict[str, Any], item: bytes, by: str | None) -> Written | Rejected:
        if kind == "create":
            return self._insert(record, item)
        if kind == "update":
            return self._update(record.pop("id"), record)
        if kind == "delete":
            return self._delete(record["id"])
        assert by is not None, "encode() lets no upsert pass without the field to match on"
        return self._upsert(record, item, by)

    def look_for(self, item: bytes) -> tuple[Sent, Found | None]:
        """Return an encoded record that may have been created, and the one with its unique value, if there is one.

        :raises sqlite3.Error: it cannot be told
        """
        record, text = json.loads(item), {"record": item.decode()}
        field = next((each for each in self.table.unique if record.get(each) not in _EMPTY), None)
        if field is None:
            return Sent(None, text), None
        value = encode(record[field]).decode()
        key, row = f"{field}: {value}", self._find(_key(field), value)
        return Sent(key, text), None if row is None else Found(key, str(row[0]), {"record": row[1]})

    def _insert(self, record: dict[str, Any], item: bytes) -> Written | Rejected:
        if missing := self._missing(record):
            return missing
        return Written(str(self._change(f'INSERT INTO "{self.name}" (record) VALUES (?)', item.decode()).lastrowid))

    def _update(self, record_id: str, changes: dict[str, Any]) -> Written | Rejected:
        key = _parse_id(record_id)
        found = self._find("id", key)
        if key is None or found is None:
            return _NOT_FOUND
        return self._merge(key, found[1], changes)

    def _upsert(self, record: dict[str, Any], item: bytes, by: str) -> Written | Rejected:
        found = self._find(_key(by), encode(record[by]).decode())
        verdict = self._insert(record, item) if found is None else self._merge(*found, record)
        return attrs.evolve(verdict, data={"created": found is None}) if isinstance(verdict, Written) else verdict

    def _delete(self, record_id: str) -> Written | Rejected:
        key = _parse_id(record_id)
        if self._find("id", key) is None:
            return _NOT_FOUND
        self._change(f'DELETE FROM "{self.name}" WHERE id = ?', key)
        return Written(record_id)

    def _find(self, what: str, value: object) -> tuple[int, str] | None:
        query = f'SELECT id, record FROM "{self.name}" WHERE {what} = ?'
        found: tuple[int, str] | None = self.connection.execute(query, (value,)).fetchone()
        return found

    def _merge(self, key: int, stored: str, changes: dict[str, Any]) -> Written | Rejected:
        merged = {**json.loads(stored), **changes}
        if missing := self._missing(merged):
            return missing
        try:
            # Not encode(): other programs may have stored numbers that orjson does not take.
            text = encode_with_json(merged).decode()
        except ValueError:
            return Rejected(ErrorDetail("the stored record cannot be written as UTF-8", code="UNREADABLE_RECORD"))
        self._change(f'UPDATE "{self.name}" SET record = ? WHERE id = ?', text, key)
        return Written(str(key))

    def _change(self, statement: str, *values: object) -> sqlite3.Cursor:
        cursor = self.connection.execute(statement, values)
        if cursor.rowcount != 1:
            # RAISE(IGNORE), in a trigger that somebody put into the file, is no error for SQLite.
            raise sqlite3.IntegrityError("a trigger ignores it")
        return cursor

    def _missing(self, record: dict[str, Any]) -> Rejected | None:
        fields = [field for field in self.table.required if record.get(field) in _EMPTY]
        if not fields:
            return None
        message = f"required fields are missing or empty: {', '.join(fields)}"
        return Rejected(ErrorDetail(message, code="REQUIRED_FIELD_MISSING", fields=tuple(fields)))


def _key(field: str) -> str:
    # The JSON text of the value, not json_extract(): that one takes 1 for true and "[1]" for [1], and ends a text at
    # its first NUL. Checked names make no trouble within the double quotes of a path.
    path = f'$."{field}"'.replace("'", "''")
    return f"nullif(nullif(record -> '{path}', 'null'), '\"\"')"


def _parse_id(record_id: str) -> int | None:
    # "01" and "1.0" name nothing: two spellings of one id would escape the order that identity keeps.
    key = int(record_id) if _ID.fullmatch(record_id) else None
    return key if key is not None and key <= _MAX_ID else None


def _explain(error: sqlite3.Error) -> ErrorDetail:
    if broken := _BROKEN_INDEX.search(str(error)):
        field = bytes.fromhex(broken[1]).decode(errors="replace")
        message = f"another record holds the same value of the unique field {field!r}"
        return ErrorDetail(message, code="DUPLICATE_VALUE", fields=(field,))
    if isinstance(error, sqlite3.DataError):
        return ErrorDetail("the record is larger than SQLite takes", code="RECORD_TOO_LARGE")
    return ErrorDetail(f"the database refused the record: {error}", code="CONSTRAINT_FAILED")
