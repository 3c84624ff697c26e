"""Salesforce's requests for many records: from JSON to the verbs of a collection and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._calls import Call
from batcher.sandbox._faults import FaultKind, Faults
from batcher.sandbox._store import Row
from batcher.sandbox._strikes import Strikes
from batcher.sandbox.salesforce.answers import LOCKED, CallError, ItemError, bad_field, to_json
from batcher.sandbox.salesforce.batches import ID_FIELD, Act, Batches
from batcher.sandbox.salesforce.inputs import Input, inputs_of, inputs_of_ids, listed
from batcher.sandbox.salesforce.records import Records

_MAX_READ = 2000


@attrs.frozen
class BatchHandlers:
    """One method for each kind of request."""

    batches: Batches
    faults: Faults

    def create(self, call: Call) -> Response:
        """Add records."""
        return self._carry_out(call, self.batches.create, *self._given(call))

    def update(self, call: Call) -> Response:
        """Change records."""
        return self._carry_out(call, self.batches.update(), *self._given(call))

    def upsert(self, call: Call) -> Response:
        """Add records of one type or change them, by an external id."""
        type, field = call.name("type"), call.name("field")
        if field != ID_FIELD and not self.batches.records.addresses(type, field):
            raise bad_field(field)
        inputs, all_or_none = self._given(call)
        if any(input.type != type for input in inputs):
            raise CallError(400, "INVALID_INPUT", "all records must be of the type in the address")
        return self._carry_out(call, self.batches.upsert(field, inputs), inputs, all_or_none)

    def delete(self, call: Call) -> Response:
        """Take records away. Only here the flag is part of the address."""
        inputs = inputs_of_ids(self.batches.records, listed(call.query("ids")))
        return self._carry_out(call, self.batches.delete, inputs, call.query("allOrNone").lower() == "true")

    def read(self, call: Call) -> Response:
        """Return records of one type in the order of their ids, null for those that are not there."""
        given = call.content() if call.body else {}
        ids = given.get("ids", listed(call.query("ids")))
        fields = given.get("fields", listed(call.query("fields")))
        if not _are_texts(ids) or not _are_texts(fields) or len(ids) > _MAX_READ:
            raise CallError(400, "INVALID_INPUT", f"ids and fields must be lists of texts, of at most {_MAX_READ} ids")
        found = [self._find(call.name("type"), id) for id in ids]
        return JSONResponse([None if row is None else to_json(row, call.name("version"), fields) for row in found])

    def _find(self, type: str, id: object) -> Row | None:
        try:
            return self.batches.records.target(type, id)
        except ItemError:
            return None

    def _given(self, call: Call) -> tuple[list[Input], bool]:
        body = call.content()
        return inputs_of(self.batches.records, body.get("records")), body.get("allOrNone") is True

    def _carry_out(self, call: Call, act: Act, inputs: list[Input], all_or_none: bool) -> Response:
        errors = struck(call, inputs, self.batches.records, self.faults)
        strikes = Strikes.of(call.fault, self.faults, len(inputs), errors)
        items = self.batches.carry_out(act, inputs, strikes, all_or_none=all_or_none)
        items = [item for index, item in enumerate(items) if index not in strikes.dropped]
        if call.fault is not None and call.fault.kind is FaultKind.SHUFFLE:
            self.faults.shuffle(items)
        return JSONResponse(items)


def struck(call: Call, inputs: Sequence[Input], records: Records, faults: Faults) -> dict[int, ItemError]:
    """Return why faults and held rows refuse single records, by their index."""
    errors = {
        index: ItemError(LOCKED, "unable to obtain exclusive access to this record or 1 records")
        for index, input in enumerate(inputs)
        if call.locked & records.locks(input.type, input.record)
    }
    fault = call.fault
    if fault is not None:
        usual = LOCKED if fault.kind is FaultKind.LOCK else "FIELD_CUSTOM_VALIDATION_EXCEPTION"
        error = ItemError(fault.code or usual, fault.message or "as ordered")
        errors |= dict.fromkeys(faults.pick(fault, len(inputs), FaultKind.REJECT, FaultKind.LOCK), error)
    return errors


def _are_texts(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(each, str) for each in given)
