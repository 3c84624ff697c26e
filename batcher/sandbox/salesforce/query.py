"""As much of SOQL as comparing a database needs.

That is ``SELECT fields FROM type [WHERE field = 'x' | field IN ('x', ...) [AND ...]] [LIMIT n]``. ``IN`` ignores case,
as SOQL does for all texts but ids.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

import attrs

from batcher.sandbox._store import Row
from batcher.sandbox.salesforce.answers import to_json, value_of

_QUERY: Final = re.compile(
    r"\s*SELECT\s+(?P<fields>.+?)\s+FROM\s+(?P<type>\w+)(?:\s+WHERE\s+(?P<where>.+?))?(?:\s+LIMIT\s+(?P<limit>\d+))?\s*",
    re.IGNORECASE | re.DOTALL,
)
_LITERAL: Final = re.compile(r"'(?P<text>(?:[^'\\]|\\.)*)'|(?P<word>[\w.+-]+)")
_ONE: Final = re.sub(r"\?P<\w+>", "", _LITERAL.pattern)
_CONDITION: Final = re.compile(
    rf"\s*(?P<field>\w+)\s*(?:=\s*(?P<one>{_ONE})|IN\s*\((?P<any>\s*(?:{_ONE})\s*(?:,\s*(?:{_ONE})\s*)*)\))\s*(?:AND\b|$)",
    re.IGNORECASE,
)
_NAMED: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_COUNT: Final = "count()"


@attrs.frozen
class Condition:
    """What a field must hold."""

    field: str
    values: Collection[str]
    folds: bool
    """Whether case makes no difference."""

    def holds(self, row: Row) -> bool:
        """Return whether a record fulfils it."""
        value = _text(row, self.field)
        return (value.casefold() if self.folds else value) in self.values


@attrs.frozen
class Query:
    """One query."""

    type: str
    fields: Sequence[str]
    conditions: Sequence[Condition]
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
        found = [row for row in rows if all(each.holds(row) for each in self.conditions)]
        if self.limit is not None:
            found = found[: self.limit]
        if self.fields[0].lower() == _COUNT:
            return {"totalSize": len(found), "done": True, "records": []}
        records = [to_json(row, version, self.fields) for row in found]
        return {"totalSize": len(records), "done": True, "records": records}


def _conditions(where: str) -> list[Condition]:
    conditions = []
    at = 0
    while at < len(where):
        found = _CONDITION.match(where, at)
        if found is None:
            raise ValueError("unexpected condition")
        field, folds = found["field"], found["any"] is not None and found["field"].lower() != "id"
        values = [_plain(literal) for literal in _LITERAL.finditer(found["one"] or found["any"])]
        conditions.append(Condition(field, {value.casefold() if folds else value for value in values}, folds))
        at = found.end()
    return conditions


def _plain(literal: re.Match[str]) -> str:
    if literal["text"] is None:
        return literal["word"]
    return re.sub(r"\\(.)", lambda found: _NAMED.get(found[1].lower(), found[1]), literal["text"])


def _text(row: Row, name: str) -> str:
    value = value_of(row, name)
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
