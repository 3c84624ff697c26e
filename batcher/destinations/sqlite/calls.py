"""One call of :class:`~batcher.destinations.sqlite.SQLite`: one transaction, and what may be claimed of it.

Everything here is synchronous; the caller sees to it that one thread at a time is at work on a connection.
"""

# ruff: noqa: S608 - the only parts put into a statement are checked names; every value is a parameter

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import eq
from typing import Any

from batcher.destinations._http.verifying import outcomes_of, unknown
from batcher.destinations.sqlite.tables import Rows, Table, holds_table
from batcher.errors import BatcherError
from batcher.outcomes import NotWritten, Outcome, Refused, Rejected, Retry, Verdict, Written

# What may pass by itself. Everything else (read-only, corrupt, not a database) will be the same in a minute.
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}


def connect(path: str, lock_timeout: float, tables: Mapping[str, Table]) -> sqlite3.Connection:
    """Open the file and make the declared tables.

    :raises sqlite3.Error: the file cannot be opened
    :raises BatcherError: it holds what the declarations forbid
    """
    connection = sqlite3.connect(path, timeout=lock_timeout, isolation_level=None, check_same_thread=False)
    try:
        # Readers do not wait for the writer, nor the writer for them. FULL, because with NORMAL a loss of power can
        # undo the last commits of a write-ahead log, and their callers have been told "written".
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with _begun(connection):
            for name, table in tables.items():
                Rows(connection, name, table).ensure_table()
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def write_call(
    connection: sqlite3.Connection,
    name: str,
    table: Table,
    kind: str,
    by: str | None,
    items: Sequence[bytes],
    all_or_none: bool,
) -> Sequence[Verdict]:
    """Write all items in one transaction and return a verdict for each.

    :raises Retry: nothing was applied, and the trouble may pass
    :raises Refused: a group with culprits, or a rule in the file that undoes the transaction; nothing was applied
    """
    rows = Rows(connection, name, table)
    try:
        with _begun(connection):
            rows.ensure_table()
            verdicts = _write_all(rows, kind, by, items)
            if all_or_none:
                _refuse_culprits(verdicts)
    except sqlite3.Error as error:
        if primary_code(error) in _PASSING:
            raise Retry(code_name(error)) from error
        return [NotWritten(code_name(error), attempts=1)] * len(items)
    except BatcherError as error:
        return [NotWritten(str(error), attempts=1)] * len(items)
    return _commit(connection, verdicts)


@contextmanager
def _begun(connection: sqlite3.Connection) -> Iterator[None]:
    """Begin a transaction; undo it if the block raises. To commit is the caller's."""
    if connection.in_transaction:
        # A rollback failed earlier. What it left behind was reported as not applied, and must never be committed.
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite may have rolled back by itself. If a rollback fails, the next transaction begins with another one, and
    # closing undoes it too: without COMMIT nothing is ever applied.
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _write_all(rows: Rows, kind: str, by: str | None, items: Sequence[bytes]) -> list[Written | Rejected]:
    verdicts: list[Written | Rejected] = []
    for index, item in enumerate(items):
        verdict = rows.write(kind, item, by)
        verdicts.append(verdict)
        if not rows.connection.in_transaction:
            # RAISE(ROLLBACK), in a trigger that somebody put into the file: the records before it are undone too.
            assert isinstance(verdict, Rejected), "only a violated rule of the file ends a transaction without an error"
            raise Refused(verdict.errors, {index: verdict.errors})
    return verdicts


def _refuse_culprits(verdicts: Sequence[Written | Rejected]) -> None:
    named = {index: verdict.errors for index, verdict in enumerate(verdicts) if isinstance(verdict, Rejected)}
    if named:
        raise Refused([error for errors in named.values() for error in errors], named)


def _commit(connection: sqlite3.Connection, verdicts: Sequence[Written | Rejected]) -> Sequence[Verdict]:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            # Still open, so nothing of it was committed.
            _roll_back(connection)
            raise Retry(code_name(error)) from error
        # The commit mark may be in the log although writing it was reported as failed. What was refused is not in
        # it, but perhaps was refused because of a neighbour that is gone now.
        return [Retry(code_name(error), applied="maybe" if isinstance(each, Written) else "no") for each in verdicts]
    return verdicts


def verify_call(connection: sqlite3.Connection, name: str, table: Table, items: Sequence[bytes]) -> list[Outcome]:
    """Return which of the records that may have been created are there, each as it was sent.

    :raises Retry: the trouble may pass
    """
    rows = Rows(connection, name, table)
    try:
        with _begun(connection):
            looked = [rows.look_for(item) for item in items]
    except sqlite3.Error as error:
        if primary_code(error) in _PASSING:
            raise Retry(code_name(error)) from error
        return unknown(len(items), code_name(error))
    _roll_back(connection)
    sent, found = [each for each, _ in looked], [row for _, row in looked if row is not None]
    absent = {each.key for each, row in looked if each.key is not None and row is None}
    return outcomes_of(sent, found, absent, eq)


def select(connection: sqlite3.Connection, what: str, name: str) -> list[tuple[Any, ...]]:
    """Return *what* of all rows; nothing if there is no table."""
    if not holds_table(connection, name):
        return []
    return connection.execute(f'SELECT {what} FROM "{name}" ORDER BY id').fetchall()


def primary_code(error: sqlite3.Error) -> int:
    """Return the code of an error, such as ``sqlite3.SQLITE_BUSY``."""
    # The low byte of an extended code: SQLITE_IOERR_FSYNC becomes SQLITE_IOERR.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def code_name(error: sqlite3.Error) -> str:
    """Return the name of an error's code, which quotes no payload."""
    return getattr(error, "sqlite_errorname", type(error).__name__)
