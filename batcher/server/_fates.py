"""What the server keeps of an outcome, and how it shows it: without the record, without live exceptions. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from batcher.outcomes import (
    Accepted,
    Applied,
    ErrorDetail,
    NotWritten,
    Outcome,
    Rejected,
    RolledBack,
    Unknown,
    Written,
    describe_cause,
)

# The connectors' own words for a record that failed because of others.
_BECAUSE_OF_OTHERS = "record was not processed due to other records failures"


@attrs.frozen
class Fate:
    """The outcome of one record, as it is told to its caller."""

    outcome: str
    """The word for the kind, such as ``"written"``."""
    applied: Applied
    record_id: str | None = None
    data: Any = attrs.field(default=None, repr=False)
    """What the provider returned for this record. Answered at once, and not kept."""
    errors: tuple[ErrorDetail, ...] = attrs.field(default=(), repr=False)
    warnings: tuple[str, ...] = attrs.field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether the record was written, or taken over by a service that will write it."""
        return self.outcome in (Written.kind, Accepted.kind)

    def kept(self) -> Fate:
        """Return what is kept of it."""
        return attrs.evolve(self, data=None) if self.data is not None else self

    def reasons(self) -> dict[str, Any]:
        """Return, as JSON, why the record was not written; every caller of a batch gets those of its own record."""
        return {"outcome": self.outcome, "applied": self.applied, "errors": [_error(each) for each in self.errors]}

    def to_json(self, index: int) -> dict[str, Any]:
        """Return the fate of the record that came at *index*, as JSON."""
        shown: dict[str, Any] = {"index": index, "outcome": self.outcome, "applied": self.applied}
        if self.record_id is not None:
            shown["recordId"] = self.record_id
        if self.errors:
            shown["errors"] = [_error(each) for each in self.errors]
        if self.warnings:
            shown["warnings"] = [{"message": each} for each in self.warnings]
        return shown


def fate_of(outcome: Outcome) -> Fate:
    """Return what is told of *outcome*."""
    match outcome:
        case Written(record_id, data, warnings):
            return Fate(outcome.kind, outcome.applied, record_id, data, warnings=warnings)
        case Rejected(errors, isolated):
            doubt = () if isolated else (ErrorDetail("perhaps because of another record of its call", "NOT_ISOLATED"),)
            return _failed(outcome, *errors, *doubt)
        case RolledBack():
            return _failed(outcome, ErrorDetail(_BECAUSE_OF_OTHERS, "ROLLED_BACK"))
        case Unknown(cause):
            words = f"the record may or may not have been written ({describe_cause(cause)}): look before sending again"
            return _failed(outcome, ErrorDetail(words, "UNKNOWN"))
        case NotWritten(cause):
            return _failed(outcome, ErrorDetail(f"the record was not written ({describe_cause(cause)})", "NOT_WRITTEN"))
    return Fate(outcome.kind, outcome.applied)


def _failed(outcome: Outcome, *errors: ErrorDetail) -> Fate:
    return Fate(outcome.kind, outcome.applied, errors=errors)


def _error(error: ErrorDetail) -> dict[str, Any]:
    shown: dict[str, Any] = {"message": error.message}
    if error.code is not None:
        shown["code"] = error.code
    if error.fields:
        shown["fields"] = list(error.fields)
    return shown
