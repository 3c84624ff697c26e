"""HubSpot's batches: which inputs are carried out, and what is said of each. No HTTP.

=========  =================================================================================================
create,    every input with an ``objectWriteTraceId`` of its own: each fares alone (207). Otherwise one bad
upsert     input refuses all
update     unknown ids fare alone (207), ids that are no numbers disappear; a bad property refuses all
archive    nothing is said of any input
=========  =================================================================================================

Inputs are carried out and results given in a random order, so that neither position nor age of an id tells whose it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import attrs

from batcher.sandbox._faults import Strikes
from batcher.sandbox._store import Row
from batcher.sandbox.hubspot.answers import Done, Problem, bad_json, not_found, to_json
from batcher.sandbox.hubspot.associations import links_of
from batcher.sandbox.hubspot.records import ID, Records, check_all, shuffled


@attrs.frozen
class Batches:
    """The verbs, for one type of objects at a time.

    Call them inside of a transaction: a Problem that is raised refuses the batch as a whole.

    :param echo_trace: results name their input, as the published schema says and no recorded answer does
    """

    records: Records
    dice: Random
    echo_trace: bool

    def create(self, type: str, inputs: list[dict[str, Any]], strikes: Strikes) -> Done:
        """Add records."""
        values = [self.records.values(each.get("properties")) for each in inputs]
        return self._each(type, inputs, values, strikes, None)

    def upsert(self, type: str, inputs: list[dict[str, Any]], strikes: Strikes) -> Done:
        """Add records or change them, by a unique property."""
        values = []
        targets: list[Row | None] = []
        addresses = self._addresses(type, inputs, needs_property=True)
        for each, (property, id) in zip(inputs, addresses, strict=True):
            assert property is not None, "needed"
            targets.append(self.records.find(type, id, property))
            values.append({**self.records.values(each.get("properties")), property: id})
        return self._each(type, inputs, values, strikes, targets)

    def _each(
        self,
        type: str,
        inputs: list[dict[str, Any]],
        values: list[dict[str, str]],
        strikes: Strikes,
        targets: list[Row | None] | None,
    ) -> Done:
        traces = _traces(inputs)
        if traces is None:
            check_all([problem for each in values for problem in self.records.problems(type, each)])
        results, errors = [], []
        for index in shuffled(self.dice, len(inputs)):
            if index in strikes.skipped:
                continue
            target = targets[index] if targets is not None else None
            try:
                strikes.check(index)
                row = self._write(type, inputs[index], values[index], target, named=traces is not None)
            except Problem as problem:
                if traces is None:
                    raise
                errors.append(problem.to_error({"objectWriteTraceId": [traces[index]]}))
                continue
            if index not in strikes.dropped:
                trace = traces[index] if traces is not None and self.echo_trace else None
                results.append(to_json(row, new=None if targets is None else target is None, trace=trace))
        return Done(results, errors)

    def _write(
        self, type: str, input: dict[str, Any], values: dict[str, str], target: Row | None, *, named: bool
    ) -> Row:
        check_all(self.records.problems(type, values))
        links = links_of(self.records, input)
        if target is not None:
            return self.records.update(target, values, named=named)
        row = self.records.create(type, values, named=named)
        for to, types in links:
            self.records.store.associate(type, row.id, "", to, types)
        return row

    def update(self, type: str, inputs: list[dict[str, Any]], strikes: Strikes) -> Done:
        """Change records."""
        addresses = self._addresses(type, inputs)
        values = [self.records.values(each.get("properties")) for each in inputs]
        check_all([problem for each in values for problem in self.records.problems(type, each)])
        results, missing = [], []
        for index in shuffled(self.dice, len(inputs)):
            property, id = addresses[index]
            if index in strikes.skipped or (property is None and not id.isdecimal()):
                continue
            strikes.check(index)
            row = self.records.find(type, id, property)
            if row is None:
                missing.append(id)
                continue
            row = self.records.update(row, values[index], named=False)
            if index not in strikes.dropped:
                results.append(to_json(row))
        return Done(results, [not_found(type, missing).to_error({})] if missing else [])

    def archive(self, type: str, inputs: list[dict[str, Any]], strikes: Strikes) -> None:
        """Take records away; ids without a record are passed over."""
        addresses = self._addresses(type, inputs)
        for index, (property, id) in enumerate(addresses):
            strikes.check(index)
            row = self.records.find(type, id, property)
            if row is not None and index not in strikes.skipped:
                self.records.store.archive(row, self.records.clock())

    def read(
        self,
        type: str,
        inputs: list[dict[str, Any]],
        strikes: Strikes,
        property: str | None,
        names: Sequence[str] | None,
    ) -> Done:
        """Return records, by id or by a unique property; one error names all that are not there.

        :param property: the unique one
        :param names: properties to show besides the usual ones; None shows all
        """
        addresses = self._addresses(type, [{**each, "idProperty": property} for each in inputs])
        rows, missing = [], []
        for index, (given, id) in enumerate(addresses):
            strikes.check(index)
            row = self.records.find(type, id, given)
            if row is None:
                missing.append(id)
            elif index not in strikes.dropped:
                rows.append(row)
        results = [to_json(rows[index], names=names) for index in shuffled(self.dice, len(rows))]
        return Done(results, [not_found(type, missing).to_error({})] if missing else [])

    def _addresses(
        self, type: str, inputs: list[dict[str, Any]], *, needs_property: bool = False
    ) -> list[tuple[str | None, str]]:
        addresses = [self._address(type, each, needs_property=needs_property) for each in inputs]
        repeated = dict.fromkeys(each[1] for index, each in enumerate(addresses) if each in addresses[:index])
        if repeated:
            words = f"Duplicate IDs found in batch input: [{', '.join(repeated)}]. IDs must be unique"
            raise Problem(400, "VALIDATION_ERROR", words, {"ids": list(repeated)})
        return addresses

    def _address(self, type: str, input: dict[str, Any], *, needs_property: bool) -> tuple[str | None, str]:
        id, property = input.get("id"), input.get("idProperty")
        if not isinstance(id, str):
            raise bad_json("Some required fields were not set: [id]")
        if property is None and not needs_property:
            return None, id
        if property == ID or not isinstance(property, str) or not self.records.knows_unique(type, property):
            words = f"Unable to perform update/upsert by non-unique {type} property {property}"
            raise Problem(400, "VALIDATION_ERROR", words)
        return property, self.records.value(property, id)


def _traces(inputs: list[dict[str, Any]]) -> list[str] | None:
    """Return the trace id of each input; None unless each has one of its own."""
    traces = [each.get("objectWriteTraceId") for each in inputs]
    found = [trace for trace in traces if isinstance(trace, str) and trace]
    return found if len(set(found)) == len(traces) else None
