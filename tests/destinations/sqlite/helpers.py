"""What the tests of the SQLite destination share."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from batcher.destinations.sqlite import SQLite, Table
from batcher.outcomes import Rejected
from batcher.writes import Association, Write

LINKS: Any = [Association("1", 1)]
CONTACTS = {"contacts": Table(unique=["email"], required=["email"])}


def create(record: dict[str, Any], object: str = "contacts") -> Write:
    return Write(object, "create", record)


def update(record_id: str, object: str = "contacts", **fields: Any) -> Write:
    return Write(object, "update", {"id": record_id, **fields})


def delete(record_id: str, object: str = "contacts") -> Write:
    return Write(object, "delete", {"id": record_id})


def upsert(record: dict[str, Any], by: str = "email", object: str = "contacts") -> Write:
    return Write(object, "upsert", record, by=by)


async def send(db: SQLite, *writes: Any, all_or_none: bool = False) -> Sequence[Any]:
    prepared = [db.encode(write) for write in writes]
    assert len({each.lane for each in prepared}) == 1
    return await db.send(prepared[0].lane, [each.item for each in prepared], all_or_none=all_or_none)


def refusal(verdict: Any) -> tuple[str | None, tuple[str, ...]]:
    assert isinstance(verdict, Rejected)
    (error,) = verdict.errors
    return error.code, error.fields


def duplicate(field: str = "email") -> tuple[str, tuple[str, ...]]:
    return "DUPLICATE_VALUE", (field,)


NOT_FOUND = "NOT_FOUND", ("id",)
MISSING_EMAIL = "REQUIRED_FIELD_MISSING", ("email",)


class Faulty(sqlite3.Connection):
    """A connection whose statements fail on demand, before or after they did their work."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.faults: dict[str, Callable[[Any], Any]] = {}

    def execute(self, statement: Any, *args: Any) -> Any:
        fault = self.faults.pop(statement, None)
        return super().execute(statement, *args) if fault is None else fault(super().execute)


def fault(name: str, *statements: str) -> Callable[[Any], Any]:
    """Run other statements instead, then fail with the code of that name."""

    def run(execute: Any) -> Any:
        for statement in statements:
            execute(statement)
        error = sqlite3.OperationalError("told to fail")
        error.sqlite_errorname = name
        error.sqlite_errorcode = getattr(sqlite3, name)
        raise error

    return run
