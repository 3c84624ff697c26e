"""HubSpot's requests, for many records and for single ones: from HTTP to batches and records, and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import attrs
from starlette.responses import JSONResponse, Response

from batcher.sandbox._calls import Call, Handler
from batcher.sandbox._faults import FaultKind, Faults, Strikes
from batcher.sandbox._store import Row
from batcher.sandbox.hubspot.answers import Done, Problem, bad_json, to_json
from batcher.sandbox.hubspot.associations import associate
from batcher.sandbox.hubspot.batches import Batches
from batcher.sandbox.hubspot.records import Records, check_all, name_of, shuffled

Inputs: TypeAlias = list[dict[str, Any]]
Verb: TypeAlias = Callable[[str, Inputs, Strikes], Done | None]
_MAX_INPUTS = 100
_MAX_ASSOCIATIONS = 2000
_LOCKED = 423


@attrs.frozen
class BatchHandlers:
    """What answers requests for many records."""

    batches: Batches
    faults: Faults
    created_status: int

    def verbs(self) -> dict[str, Handler]:
        """Return what answers each verb of a batch."""
        plain: dict[str, tuple[Verb, int]] = {
            "create": (self.batches.create, self.created_status),
            "update": (self.batches.update, 200),
            "upsert": (self.batches.upsert, 200),
            "archive": (self.batches.archive, 204),
        }
        handlers = {name: partial(self._carry_out, verb=verb, status=status) for name, (verb, status) in plain.items()}
        return {**handlers, "read": self._read}

    def _read(self, call: Call) -> Response:
        def read(type: str, inputs: Inputs, strikes: Strikes) -> Done:
            given = call.content()
            names = given.get("properties")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                names = None
            return self.batches.read(type, inputs, strikes, given.get("idProperty"), names)

        return self._carry_out(call, read, 200)

    def associate(self, call: Call) -> Response:
        """Connect records that exist."""
        ends = (name_of(call.name("from")), name_of(call.name("to")))

        def connect(_: str, inputs: Inputs, strikes: Strikes) -> Done:
            done = Done()
            for index in shuffled(self.batches.dice, len(inputs)):
                if index not in strikes.skipped:
                    associate(self.batches.records, ends, inputs[index], done)
            return done

        return self._carry_out(call, connect, 201, most=_MAX_ASSOCIATIONS)

    def _carry_out(self, call: Call, verb: Verb, status: int, *, most: int = _MAX_INPUTS) -> Response:
        _check_lock(call)
        inputs = _inputs_of(call, most)
        with self.batches.records.store.transaction():
            done = verb(name_of(call.name("type")), inputs, self._strikes(call, len(inputs)))
        if done is None:
            return Response(status_code=status)
        return done.to_response(self.batches.records.clock(), status)

    def _strikes(self, call: Call, count: int) -> Strikes:
        fault = call.fault
        if fault is None:
            return Strikes()
        error = Problem(400, fault.code or "VALIDATION_ERROR", fault.message or "refused as ordered")
        errors = dict.fromkeys(self.faults.pick(fault, count, FaultKind.REJECT), error)
        return self.faults.strikes(fault, count, errors)


@attrs.frozen
class RecordHandlers:
    """What answers requests for single records: one method for each kind."""

    batches: Batches
    records: Records

    def create(self, call: Call) -> Response:
        """Add a record."""
        _check_lock(call)
        with self.records.store.transaction():
            done = self.batches.create(name_of(call.name("type")), [call.content()], Strikes())
        return JSONResponse(done.results[0], 201)

    def read(self, call: Call) -> Response:
        """Return a record."""
        return JSONResponse(to_json(self._found(call)))

    def update(self, call: Call) -> Response:
        """Change a record."""
        _check_lock(call)
        row = self._found(call)
        values = self.records.values(call.content().get("properties"))
        check_all(self.records.problems(row.type, values))
        with self.records.store.transaction():
            return JSONResponse(to_json(self.records.update(row, values, named=False)))

    def archive(self, call: Call) -> Response:
        """Take a record away, if it is there."""
        _check_lock(call)
        row = self.records.find(name_of(call.name("type")), call.name("id"))
        if row is not None:
            with self.records.store.transaction():
                self.records.store.archive(row, self.records.clock())
        return Response(status_code=204)

    def _found(self, call: Call) -> Row:
        row = self.records.find(name_of(call.name("type")), call.name("id"), call.query("idProperty") or None)
        if row is None:
            raise Problem(404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
        return row


def _check_lock(call: Call) -> None:
    if call.fault is not None and call.fault.kind is FaultKind.LOCK:
        raise Problem(_LOCKED, "", "The resource is currently locked")


def _inputs_of(call: Call, most: int) -> Inputs:
    inputs = call.content().get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise bad_json("Some required fields were not set: [inputs]")
    if not 1 <= len(inputs) <= most:
        words = f"The maximum number of inputs supported in a batch request is {most}, the minimum 1"
        raise Problem(400, "VALIDATION_ERROR", words)
    return inputs
