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

from collections.abc import Collection, Sequence
from random import Random
from typing import Any, Final

import attrs

from batcher.sandbox._store import Row
from batcher.sandbox.hubspot.answers import Problem, bad_json, invalid, not_found, to_json
from batcher.sandbox.hubspot.records import ID, Records, check_all, shuffled

MAX_INPUTS: Final = 100
# What a number of a type can be: 32 bits.
_MANY: Final = 2**31


@attrs.frozen
class Done:
    """What came of a batch."""

    results: list[dict[str, Any]]
    errors: list[dict[str, Any]]


@attrs.frozen
class Strikes:
    """What faults do to single inputs, by their index."""

    dropped: Collection[int] = ()
    dropped_but_written: bool = False
    rejected: Collection[int] = ()
    code: str = ""
    message: str = ""

    def skips(self, index: int) -> bool:
        """Return whether an input is not even looked at."""
        return index in self.dropped and not self.dropped_but_written

    def check(self, index: int) -> None:
        """Refuse an input that is to be refused.

        :raises Problem: it is
        """
        if index in self.rejected:
            raise Problem(400, self.code or "VALIDATION_ERROR", self.message or "refused as ordered")


@attrs.frozen
class Batches:
    """The verbs, for one type of objects at a time.

    Call them inside of a transaction: what is raised means that nothing was written.

    :param echo_trace: results name their input, as the published schema says and no recorded answer does
    """

    records: Records
    dice: Random
    echo_trace: bool

    def create(self, type: str, inputs: list[dict[str, Any]], strikes: Strikes) -> Done:
        """Add records.

        :raises Problem: the batch is refused as a whole
        """
        values = [self.records.values(type, each.get("properties")) for each in inputs]
        return self._each(type, inputs, values, strikes, None)

    def upsert(self, type: str, inputs: list[dict[str, Any]], strikes: Strikes) -> Done:
        """Add records or change them, by a unique property.

        :raises Problem: the batch is refused as a whole
        """
        values = []
        targets: list[Row | None] = []
        addresses = [self._address(type, each, needs_property=True) for each in inputs]
        _check_distinct(addresses)
        for each, (property, id) in zip(inputs, addresses, strict=True):
            assert property is not None, "needed"
            targets.append(self.records.find(type, id, property))
            values.append({**self.records.values(type, each.get("properties")), property: id})
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
            if strikes.skips(index):
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
        problems = self.records.problems(type, values)
        if problems:
            raise invalid(problems)
        links = self._links(input)
        if target is not None:
            return self.records.update(target, values, named=named)
        row = self.records.create(type, values, named=named)
        for to, types in links:
            self.records.store.associate(type, row.id, "", to, types)
        return row

    def _links(self, input: dict[str, Any]) -> list[tuple[str, list[tuple[str, int]]]]:
        links = []
        given = input.get("associations") or []
        if not isinstance(given, list):
            raise bad_json("Cannot deserialize value of type `java.util.ArrayList`")
        for each in given:
            to, types = parse_link(each)
            if not types or not self.records.store.exists(to):
                raise Problem(400, "VALIDATION_ERROR", "One or more associations are not valid", {"id": [to]})
            links.append((to, types))
        return links

    def update(self, type: str, inputs: list[dict[str, Any]], strikes: Strikes) -> Done:
        """Change records.

        :raises Problem: the batch is refused as a whole
        """
        addresses = [self._address(type, each) for each in inputs]
        _check_distinct(addresses)
        values = [self.records.values(type, each.get("properties")) for each in inputs]
        check_all([problem for each in values for problem in self.records.problems(type, each)])
        results, missing = [], []
        for index in shuffled(self.dice, len(inputs)):
            property, id = addresses[index]
            if strikes.skips(index) or (property is None and not id.isdecimal()):
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
        """Take records away; ids without a record are passed over.

        :raises Problem: the batch is refused as a whole
        """
        addresses = [self._address(type, each) for each in inputs]
        _check_distinct(addresses)
        for index, (property, id) in enumerate(addresses):
            strikes.check(index)
            row = self.records.find(type, id, property)
            if row is not None and not strikes.skips(index):
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
        :raises Problem: the batch is refused as a whole
        """
        addresses = [self._address(type, {**each, "idProperty": property}) for each in inputs]
        _check_distinct(addresses)
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

    def _address(self, type: str, input: dict[str, Any], *, needs_property: bool = False) -> tuple[str | None, str]:
        id, property = input.get("id"), input.get("idProperty")
        if not isinstance(id, str):
            raise bad_json("Some required fields were not set: [id]")
        if property is None and not needs_property:
            return None, id
        if property == ID or not isinstance(property, str) or not self.records.knows_unique(type, property):
            words = f"Unable to perform update/upsert by non-unique {type} property {property}"
            raise Problem(400, "VALIDATION_ERROR", words)
        return property, self.records.value(property, id)


def parse_link(given: Any) -> tuple[str, list[tuple[str, int]]]:
    """Return to which record an association leads, and its types.

    :raises Problem: not in the form that HubSpot reads
    """
    try:
        types = [(str(each["associationCategory"]), int(each["associationTypeId"])) for each in given["types"]]
        if any(abs(number) >= _MANY for _, number in types):
            raise ValueError("more than HubSpot's numbers hold")
        return str(given["to"]["id"]), types
    except (KeyError, TypeError, ValueError):
        raise bad_json("Some required fields were not set: [to, types]") from None


def _traces(inputs: list[dict[str, Any]]) -> list[str] | None:
    """Return the trace id of each input; None unless each has one of its own."""
    traces = [each.get("objectWriteTraceId") for each in inputs]
    found = [trace for trace in traces if isinstance(trace, str) and trace]
    return found if len(set(found)) == len(traces) else None


def _check_distinct(addresses: Sequence[tuple[str | None, str]]) -> None:
    repeated = [id for index, (property, id) in enumerate(addresses) if (property, id) in addresses[:index]]
    if repeated:
        ids = list(dict.fromkeys(repeated))
        words = f"Duplicate IDs found in batch input: [{', '.join(ids)}]. IDs must be unique"
        raise Problem(400, "VALIDATION_ERROR", words, {"ids": ids})
