"""HubSpot's requests for records: from JSON to the verbs of a batch, or to one record, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs
from starlette.responses import JSONResponse, Response

from batcher.destinations._http.decoding import NotJSON
from batcher.sandbox._app import Call
from batcher.sandbox._faults import FaultKind, Faults
from batcher.sandbox._reading import object_in
from batcher.sandbox._store import Row
from batcher.sandbox.hubspot.answers import Problem, bad_json, batch, not_found, to_json
from batcher.sandbox.hubspot.batches import MAX_INPUTS, Batches, Done, Strikes, parse_link
from batcher.sandbox.hubspot.records import Records, check_all, name_of, type_id_of

Inputs: TypeAlias = list[dict[str, Any]]
_MAX_ASSOCIATIONS = 2000
_LOCKED = 423


@attrs.frozen
class Handlers:
    """One method for each kind of request."""

    records: Records
    batches: Batches
    faults: Faults
    created_status: int

    # Batches

    def create(self, call: Call) -> Response:
        """Add records."""
        return self._carry_out(call, self.batches.create, self.created_status)

    def update(self, call: Call) -> Response:
        """Change records."""
        return self._carry_out(call, self.batches.update, 200)

    def upsert(self, call: Call) -> Response:
        """Add records or change them."""
        return self._carry_out(call, self.batches.upsert, 200)

    def archive(self, call: Call) -> Response:
        """Take records away."""

        def archive(type: str, inputs: Inputs, strikes: Strikes) -> None:
            self.batches.archive(type, inputs, strikes)

        self._carry_out(call, archive, 204)
        return Response(status_code=204)

    def read(self, call: Call) -> Response:
        """Return records."""

        def read(type: str, inputs: Inputs, strikes: Strikes) -> Done:
            given = _object_of(call.body)
            names = given.get("properties")
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                names = None
            return self.batches.read(type, inputs, strikes, given.get("idProperty"), names)

        return self._carry_out(call, read, 200)

    def associate(self, call: Call) -> Response:
        """Connect records that exist."""
        ends = (name_of(call.name("from")), name_of(call.name("to")))
        done = Done([], [])

        def associate(type: str, inputs: Inputs, strikes: Strikes) -> Done:
            for index in self.batches.dice.sample(range(len(inputs)), len(inputs)):
                if not strikes.skips(index):
                    self._associate(inputs[index], ends, done)
            return done

        return self._carry_out(call, associate, 201, type=ends[0], most=_MAX_ASSOCIATIONS)

    def _carry_out(
        self,
        call: Call,
        verb: Callable[[str, Inputs, Strikes], Done | None],
        status: int,
        *,
        type: str | None = None,
        most: int = MAX_INPUTS,
    ) -> Response:
        check_lock(call)
        inputs = _inputs_of(call.body, most)
        with self.records.store.transaction():
            done = verb(type or name_of(call.name("type")), inputs, self._strikes(call, len(inputs)))
        if done is None:
            return Response(status_code=status)
        return batch(done.results, done.errors, self.records.clock(), status=status)

    def _strikes(self, call: Call, count: int) -> Strikes:
        fault = call.fault
        if fault is None:
            return Strikes()
        return Strikes(
            dropped=self.faults.pick(fault, count, FaultKind.DROP),
            dropped_but_written=fault.applied,
            rejected=self.faults.pick(fault, count, FaultKind.REJECT),
            code=fault.code,
            message=fault.message,
        )

    def _associate(self, given: dict[str, Any], ends: Sequence[str], done: Done) -> None:
        # Version 3 names one type and has no list of them.
        source, _ = parse_link({"to": given.get("from"), "types": []})
        to, links = parse_link({"types": [], **given})
        for type, id in zip(ends, (source, to), strict=True):
            if self.records.find(type, id) is None:
                done.errors.append(not_found(type, [id]).to_error({"fromObjectId": [source], "toObjectId": [to]}))
                return
        self.records.store.associate(ends[0], source, ends[1], to, links or [("HUBSPOT_DEFINED", 0)])
        result = {
            "fromObjectTypeId": type_id_of(ends[0]),
            "fromObjectId": source,
            "toObjectTypeId": type_id_of(ends[1]),
            "toObjectId": to,
            "labels": [],
        }
        done.results.append(result)

    # Single records

    def create_one(self, call: Call) -> Response:
        """Add a record."""
        check_lock(call)
        with self.records.store.transaction():
            done = self.batches.create(name_of(call.name("type")), [_object_of(call.body)], Strikes())
        return JSONResponse(done.results[0], 201)

    def update_one(self, call: Call) -> Response:
        """Change a record."""
        check_lock(call)
        row = self._found(call)
        values = self.records.values(row.type, _object_of(call.body).get("properties"))
        check_all(self.records.problems(row.type, values))
        with self.records.store.transaction():
            return JSONResponse(to_json(self.records.update(row, values, named=False)))

    def read_one(self, call: Call) -> Response:
        """Return a record."""
        return JSONResponse(to_json(self._found(call)))

    def archive_one(self, call: Call) -> Response:
        """Take a record away, if it is there."""
        check_lock(call)
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


def check_lock(call: Call) -> None:
    """Refuse a request that meets a lock.

    :raises Problem: it does
    """
    if call.fault is not None and call.fault.kind is FaultKind.LOCK:
        raise Problem(_LOCKED, "", "The resource is currently locked")


def _object_of(body: bytes) -> dict[str, Any]:
    try:
        return object_in(body)
    except NotJSON as error:
        raise bad_json(str(error)) from None


def _inputs_of(body: bytes, most: int) -> list[dict[str, Any]]:
    """Return the inputs of a batch.

    :raises Problem: none, too many, or not in the form of a batch
    """
    inputs = _object_of(body).get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise bad_json("Some required fields were not set: [inputs]")
    if not 1 <= len(inputs) <= most:
        words = f"The maximum number of inputs supported in a batch request is {most}, the minimum 1"
        raise Problem(400, "VALIDATION_ERROR", words)
    return inputs
