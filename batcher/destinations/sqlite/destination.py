"""SQLite as a destination: a real database, in a file or in memory, that stands in for a SaaS system."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from batcher.destinations._http.encoding import check_and_encode, encode
from batcher.destinations.protocol import Prepared
from batcher.destinations.sqlite.calls import code_name, connect, primary_code, select, verify_call, write_call
from batcher.destinations.sqlite.tables import Table, table_name
from batcher.errors import BatcherError, BatcherNotOpen, InvalidRecord
from batcher.outcomes import ErrorDetail, Outcome, Verdict
from batcher.policies import LaneRules, to_seconds
from batcher.writes import Write, WriteType

T = TypeVar("T")

_MEMORY = ":memory:"
# SQLite counts milliseconds in 32 bits, and a call that meets a lock is tried again anyway.
_MAX_LOCK_TIMEOUT = 3600.0
# The JSON operator -> came with 3.38.0, of February 2022.
_OLDEST_SQLITE = (3, 38, 0)
_WAYS_OUT = {
    sqlite3.SQLITE_BUSY: "another program holds it, end that one's transaction",
    sqlite3.SQLITE_CANTOPEN: "give a path in a directory that exists and may be written to",
    sqlite3.SQLITE_NOTADB: "give the path of a SQLite file, or of a file that does not exist yet",
}


class SQLite:
    """Write records into a SQLite database: a table per object, a JSON record per row, ids given by the database.

    An update replaces the fields it gives and keeps the others. An upsert matches on a field declared unique, and its
    ``Written.data`` is ``{"created": bool}``. A refused record costs only itself; a group is one transaction. The codes
    of refusals: ``DUPLICATE_VALUE``, ``REQUIRED_FIELD_MISSING``, ``NOT_FOUND``, ``CONSTRAINT_FAILED`` (a rule that
    somebody else put into the file), ``RECORD_TOO_LARGE``, ``UNREADABLE_RECORD`` (stored by another program).

    Under ``RetryPolicy(on_unknown="verify")`` the file is asked which creates of a lost answer were applied, where the
    object has a unique field.

    A file gets the companions ``-wal`` and ``-shm`` while it is open. Other programs may use it at the same time. Work
    that has begun is finished when its call is cancelled.

    :param path: of the file, made if it does not exist; ``":memory:"`` keeps all in memory until it is closed, and uses
        no thread
    :param objects: name of an object to its :class:`Table`. Other objects are made on their first write, without rules.
        Names are the same in upper and lower case. Uniqueness once declared stays in the file
    :param max_records: records that one call may carry
    :param delay: seconds or timedelta that every call waits before it works, to feel like a remote system
    :param lock_timeout: seconds or timedelta to wait, within a call, for the transaction of another program. It is
        short because a call that meets a lock is tried again; 3600 at most
    :raises TypeError: an argument of another type
    :raises ValueError: a name that cannot be a table, or a figure out of range
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        objects: Mapping[str, Table] | None = None,
        max_records: int = 100,
        delay: float | timedelta = 0.0,
        lock_timeout: float | timedelta = 1.0,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path must be a string or a path object, not {type(path).__name__}")
        self._path = os.fspath(path)
        if not self._path:
            raise ValueError(f"path must be the path of a file or {_MEMORY!r}, not an empty string")
        self._tables = _fold(objects or {})
        self._max_records = LaneRules(max_records=max_records).max_records
        self._delay = to_seconds("delay", delay)
        self._lock_timeout = to_seconds("lock_timeout", lock_timeout)
        if self._lock_timeout > _MAX_LOCK_TIMEOUT:
            raise ValueError(f"lock_timeout must be at most {_MAX_LOCK_TIMEOUT:.0f} seconds, not {self._lock_timeout}")
        self._connection: sqlite3.Connection | None = None
        self._limiter: CapacityLimiter | None = None
        # The limiter is enough for cancel scopes, which let a thread finish. A cancelled asyncio task does not wait
        # for its thread, and the next call must not meet it on the connection.
        self._at_work = threading.Lock()

    def __repr__(self) -> str:
        return f"SQLite({self._path!r})"

    def encode(self, write: Write) -> Prepared:
        """Validate what is special here, and encode, or raise :class:`~batcher.errors.InvalidRecord`."""
        if write.associations or write.headers:
            what = "associations" if write.associations else "headers"
            raise InvalidRecord(f"SQLite takes no {what}: leave them out")
        try:
            name = table_name(write.object)
        except ValueError as error:
            raise InvalidRecord(str(error)) from None
        record, encoded = check_and_encode(write.record)
        lane: tuple[str, ...] = (name, write.type.value)
        identity: Hashable = None
        if write.type in (WriteType.UPDATE, WriteType.DELETE):
            identity = ("sqlite", name, "id", record["id"])
        elif "id" in record:
            raise InvalidRecord(ErrorDetail("'id' is given by the database: leave it out, or update", fields=("id",)))
        if write.by is not None:
            if write.by not in self._table(name).unique:
                problem = f"by={write.by!r} is not declared unique for the object {name!r}"
                way_out = "add it to objects={...: Table(unique=...)}"
                raise InvalidRecord(ErrorDetail(f"{problem}: {way_out}", fields=(write.by,)))
            lane = (*lane, write.by)
            identity = ("sqlite", name, write.by, encode(record[write.by]))
        # One more for the separator.
        return Prepared(lane, encoded, len(encoded) + 1, identity)

    def _table(self, name: str) -> Table:
        return self._tables.get(name, Table())

    def rules(self, lane: Hashable) -> LaneRules:
        """Return what one call of this lane may carry."""
        name, kind, *_ = cast(tuple[str, ...], lane)
        creates = kind == WriteType.CREATE.value
        verifiable = creates and bool(self._table(name).unique)
        return LaneRules(max_records=self._max_records, idempotent=not creates, verifiable=verifiable)

    async def send(self, lane: Hashable, items: Sequence[Any], *, all_or_none: bool) -> Sequence[Verdict]:
        """Write the items in one transaction; see :meth:`Destination.send`."""
        name, kind, *by = cast(tuple[str, ...], lane)
        await anyio.sleep(self._delay)
        return await self._run(write_call, name, self._table(name), kind, by[0] if by else None, items, all_or_none)

    async def verify(self, lane: Hashable, items: Sequence[Any]) -> Sequence[Outcome]:
        """Find out which creates of a lost answer were applied; see :meth:`Verifier.verify`."""
        name = cast(tuple[str, ...], lane)[0]
        await anyio.sleep(self._delay)
        return await self._run(verify_call, name, self._table(name), items)

    async def rows(self, object: str) -> list[dict[str, Any]]:
        """Return all records of *object* by ascending id, each with its ``id`` as a string; none if there is no table.

        :raises ValueError: not the name of an object
        :raises BatcherNotOpen: outside of ``async with``
        """
        rows = await self._run(select, "id, record", table_name(object))
        return [{**json.loads(record), "id": str(key)} for key, record in rows]

    async def count(self, object: str) -> int:
        """Return the number of records of *object*; 0 if there is no table. Raises as :meth:`rows` does."""
        rows = await self._run(select, "count(*)", table_name(object))
        return int(rows[0][0]) if rows else 0

    async def __aenter__(self) -> Self:
        """Open the file and make the declared tables.

        :raises BatcherError: the file cannot be opened, or holds what the declarations forbid
        """
        if self._connection is not None:
            raise BatcherNotOpen(f"{self!r} is open already: enter it once")
        self._limiter = CapacityLimiter(1)
        if self._path == _MEMORY:
            self._open()
        else:
            await to_thread.run_sync(self._open, limiter=self._limiter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, after the work that is under way."""
        with CancelScope(shield=True):
            await self._run(self._close)

    async def _run(self, function: Callable[..., T], *args: Any) -> T:
        self._check_open()
        if self._path == _MEMORY:
            return self._alone(function, *args)
        return await to_thread.run_sync(partial(self._alone, function, *args), limiter=self._limiter)

    def _alone(self, function: Callable[..., T], *args: Any) -> T:
        with self._at_work:
            return function(self._check_open(), *args)

    def _check_open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise BatcherNotOpen(f"{self!r} is not open: use it inside 'async with'")
        return self._connection

    def _open(self) -> None:
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise BatcherError(f"SQLite {sqlite3.sqlite_version} is too old: 3.38.0 or later is needed")
        try:
            self._connection = connect(self._path, self._lock_timeout, self._tables)
        except sqlite3.Error as error:
            way_out = _WAYS_OUT.get(primary_code(error), str(error))
            raise BatcherError(f"cannot open the database {self._path!r} ({code_name(error)}): {way_out}") from error

    def _close(self, connection: sqlite3.Connection) -> None:
        self._connection = None
        connection.close()


def _fold(objects: Mapping[str, Table]) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    for declared, table in objects.items():
        name = table_name(declared)
        if name in tables:
            raise ValueError(f"objects declares {name!r} twice, in other upper and lower case: keep one")
        if not isinstance(table, Table):
            raise TypeError(f"objects[{declared!r}] must be a Table, not {type(table).__name__}")
        tables[name] = table
    return tables
