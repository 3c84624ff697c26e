"""What comes in as a collection, up to 200 records of up to 10 runs of a type; and which rows it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import attrs

from batcher.destinations._http.decoding import NotJSON
from batcher.sandbox._calls import Call
from batcher.sandbox.salesforce.answers import CallError, unsupported
from batcher.sandbox.salesforce.ids import to_long
from batcher.sandbox.salesforce.records import ATTRIBUTES, Records

_MAX_RECORDS: Final = 200
_MAX_RUNS: Final = 10


@attrs.frozen
class Input:
    """One record of a call."""

    type: str
    record: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def id(self) -> Any:
        """The id that it carries, if any."""
        return self.record.get("id", self.record.get("Id"))


def inputs_of(records: Records, given: Any) -> list[Input]:
    """Return the records of a call.

    :raises CallError: none, too many, in too many runs, or one without a type that exists
    """
    _check_count(given if isinstance(given, list) else ())
    inputs = [Input(_type_of(each), each) for each in given]
    for input in inputs:
        if records.describe(input.type) is None:
            raise unsupported(input.type)
    _check_runs(inputs)
    return inputs


def inputs_of_ids(records: Records, ids: Sequence[str]) -> list[Input]:
    """Return the records that a call names by id.

    :raises CallError: as above, or an id that is none
    """
    _check_count(ids)
    inputs = []
    for given in ids:
        id = to_long(given)
        if id is None:
            raise CallError(400, "MALFORMED_ID", f"malformed id {given}")
        # The prefix of an id tells the type; what has no record has none that matters.
        inputs.append(Input(records.store.type_of(id) or id[:3], {"id": id}))
    _check_runs(inputs)
    return inputs


def listed(given: str) -> list[str]:
    """Return the parts of a list with commas, as it stands in a query."""
    return [each.strip() for each in given.split(",") if each.strip()]


def wanted(call: Call, records: Records) -> set[str]:
    """Return the ids of the rows that a request holds while it is applied; none if it cannot be read."""
    try:
        body = call.content() if call.body else {}
    except NotJSON:
        return set()
    ids = [call.name("id"), *listed(call.query("ids"))]
    held = [records.locks("", {"id": id}) for id in ids]
    given = body.get("records", [body])
    rows = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    held += [records.locks(str(_type_in(row, call.name("type"))), row) for row in rows]
    return set().union(*held)


def _check_count(given: Sequence[Any]) -> None:
    if not given:
        raise CallError(400, "REQUIRED_FIELD_MISSING", "At least 1 record is required")
    if len(given) > _MAX_RECORDS:
        words = f"record limit reached. cannot submit more than {_MAX_RECORDS} records into this call"
        raise CallError(400, "EXCEEDED_ID_LIMIT", words)


def _check_runs(inputs: Sequence[Input]) -> None:
    runs = sum(1 for _ in groupby(inputs, key=lambda input: input.type))
    if runs > _MAX_RUNS:
        words = (
            f"Cannot have more than {_MAX_RUNS} chunks in a single operation. "
            "Please rearrange the data to reduce chunking."
        )
        raise CallError(400, "LIMIT_EXCEEDED", words)


def _type_of(record: Any) -> str:
    type = _type_in(record) if isinstance(record, dict) else None
    if not isinstance(type, str):
        raise CallError(400, "INVALID_INPUT", "each record must have attributes with its type")
    return type


def _type_in(record: Mapping[str, Any], otherwise: str | None = None) -> Any:
    attributes = record.get(ATTRIBUTES)
    return attributes.get("type") if isinstance(attributes, dict) else otherwise
