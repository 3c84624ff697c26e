"""As much of SOQL as comparing a database needs.

That is ``SELECT fields FROM type [WHERE field = 'x' [AND ...]] [LIMIT n]``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import attrs

from batcher.sandbox._store import Row

_QUERY: Final = re.compile(
    r"\s*SELECT\s+(?P<fields>.+?)\s+FROM\s+(?P<type>\w+)(?:\s+WHERE\s+(?P<where>.+?))?(?:\s+LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION: Final = re.compile(
    r"\s*(?P<field>\w+)\s*=\s*(?:'(?P<text>(?:[^'\\]|\\.)*)'|(?P<word>[\w.+-]+))\s*(?:AND\b|$)", re.IGNORECASE
)
_COUNT: Final = "count()"


@attrs.frozen
class Query:
    """One query.

    :raises ValueError: not in the form above
    """

    type: str
    fields: Sequence[str]
    conditions: Sequence[tuple[str, str]]
    limit: int | None

    @classmethod
    def parse(cls, given: str) -> Query:
        """Return the query that a text means.

        :raises ValueError: none
        """
        found = _QUERY.fullmatch(given)
        if found is None:
            raise ValueError("unexpected token")
        fields = [each.strip() for each in found["fields"].split(",")]
        if not all(re.fullmatch(r"\w+", each) or each.lower() == _COUNT for each in fields):
            raise ValueError("unexpected field")
        limit = found["limit"]
        return cls(found["type"], fields, _conditions(found["where"] or ""), None if limit is None else int(limit))

    def answer(self, rows: Sequence[Row], version: str) -> dict[str, Any]:
        """Return what the query finds among the records of its type."""
        found = [row for row in rows if all(_text(row, name) == value for name, value in self.conditions)]
        if self.limit is not None:
            found = found[: self.limit]
        if self.fields[0].lower() == _COUNT:
            return {"totalSize": len(found), "done": True, "records": []}
        records = [shown(row, version, self.fields) for row in found]
        return {"totalSize": len(records), "done": True, "records": records}


def shown(row: Row, version: str, fields: Sequence[str] = ()) -> dict[str, Any]:
    """Return a record as it is read, with all fields or some."""
    attributes = {"type": row.type, "url": f"/services/data/{version}/sobjects/{row.type}/{row.id}"}
    names = fields or ("Id", *row.fields)
    return {"attributes": attributes, **{name: _value(row, name) for name in names}}


def _conditions(where: str) -> list[tuple[str, str]]:
    conditions = []
    at = 0
    while at < len(where):
        found = _CONDITION.match(where, at)
        if found is None:
            raise ValueError("unexpected condition")
        text = found["text"]
        conditions.append((found["field"], found["word"] if text is None else re.sub(r"\\(.)", r"\1", text)))
        at = found.end()
    return conditions


def _value(row: Row, name: str) -> Any:
    return row.id if name.lower() == "id" else row.fields.get(name)


def _text(row: Row, name: str) -> str:
    value = _value(row, name)
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
