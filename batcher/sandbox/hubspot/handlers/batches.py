"""HubSpot's requests for many records: from JSON to the verbs of a batch and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
from starlette.responses import Response

from batcher.sandbox._calls import Call
from batcher.sandbox._faults import FaultKind, Faults
from batcher.sandbox._strikes import Strikes
from batcher.sandbox.hubspot.answers import Done, Problem, bad_json
from batcher.sandbox.hubspot.associations import associate
from batcher.sandbox.hubspot.batches import Batches
from batcher.sandbox.hubspot.records import name_of, shuffled

Inputs: TypeAlias = list[dict[str, Any]]
_MAX_INPUTS = 100
_MAX_ASSOCIATIONS = 2000
_LOCKED = 423


@attrs.frozen
class BatchHandlers:
    """One method for each kind of request."""

    batches: Batches
    faults: Faults
    created_status: int

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
        return self._carry_out(call, self.batches.archive, 204)

    def read(self, call: Call) -> Response:
        """Return records."""

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

    def _carry_out(
        self,
        call: Call,
        verb: Callable[[str, Inputs, Strikes], Done | None],
        status: int,
        *,
        most: int = _MAX_INPUTS,
    ) -> Response:
        check_lock(call)
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
        return Strikes.of(fault, self.faults, count, errors)


def check_lock(call: Call) -> None:
    """Refuse a request that meets a lock.

    :raises Problem: it does
    """
    if call.fault is not None and call.fault.kind is FaultKind.LOCK:
        raise Problem(_LOCKED, "", "The resource is currently locked")


def _inputs_of(call: Call, most: int) -> Inputs:
    """Return the inputs of a batch.

    :raises Problem: none, too many, or not in the form of a batch
    """
    inputs = call.content().get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise bad_json("Some required fields were not set: [inputs]")
    if not 1 <= len(inputs) <= most:
        words = f"The maximum number of inputs supported in a batch request is {most}, the minimum 1"
        raise Problem(400, "VALIDATION_ERROR", words)
    return inputs
