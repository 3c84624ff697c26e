"""HubSpot: associations of records that exist already, made by a call of their own after the write. Pure.

The record is written by then, so whatever goes wrong here is a warning to its caller and never another outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from batcher.destinations._http.answers import Answer, json_of
from batcher.destinations._http.details import listed
from batcher.destinations._http.encoding import encode
from batcher.destinations.hubspot.answers import CARRIED_OUT
from batcher.destinations.hubspot.requests import BATCH_BYTES, INPUTS, Item, Link, Paths
from batcher.destinations.hubspot.results import details_of
from batcher.outcomes import Verdict, Written

# HubSpot, "Limits" of the batch endpoints of associations.
_MAX_LINKS = 2000


@attrs.frozen
class Wish:
    """One association that a caller wants."""

    index: int
    """The position of the written record in its own call."""
    source: str
    """Its id."""
    link: Link
    """To which record, and how."""

    @property
    def piece(self) -> bytes:
        """The input of the call."""
        return b'{"from":{"id":%b},%b' % (encode(self.source), self.link.piece)


@attrs.frozen
class LinkCall:
    """One call for associations between two kinds of records."""

    path: str
    wishes: tuple[Wish, ...] = attrs.field(repr=False)

    @property
    def body(self) -> bytes:
        """What to send."""
        return b"".join((INPUTS, b",".join(wish.piece for wish in self.wishes), b"]}"))

    def halves(self) -> list[LinkCall]:
        """Return two calls in its place, or none if it is too small for two."""
        middle = len(self.wishes) // 2
        parts = (self.wishes[:middle], self.wishes[middle:])
        return [LinkCall(self.path, part) for part in parts] if middle else []


def wishes_of(items: Sequence[Item], verdicts: Sequence[Verdict]) -> list[Wish]:
    """Return the associations of the records that were written and whose ids are known."""
    return [
        Wish(index, verdict.record_id, link)
        for index, (item, verdict) in enumerate(zip(items, verdicts, strict=True))
        if isinstance(verdict, Written) and verdict.record_id
        for link in item.links
    ]


def link_calls(source: str, wishes: Sequence[Wish], paths: Paths, max_bytes: int) -> list[LinkCall]:
    """Return the calls that make *wishes*: one for each kind of other record, unless one would be too large."""
    kinds: dict[str, list[Wish]] = {}
    for wish in wishes:
        kinds.setdefault(wish.link.object, []).append(wish)
    return [
        LinkCall(paths.links(source, kind), part)
        for kind, alike in kinds.items()
        for part in _parts(alike, max_bytes - BATCH_BYTES)
    ]


def _parts(wishes: Sequence[Wish], max_bytes: int) -> Iterator[tuple[Wish, ...]]:
    part: list[Wish] = []
    size = 0
    for wish in wishes:
        more = len(wish.piece) + 1
        if part and (len(part) == _MAX_LINKS or size + more > max_bytes):
            yield tuple(part)
            part, size = [], 0
        part.append(wish)
        size += more
    yield tuple(part)


def failures_of(answer: Answer, call: LinkCall) -> list[tuple[Wish, str]]:
    """Return the associations that were not made, or perhaps not, and why."""
    body = json_of(answer)
    if answer.status not in CARRIED_OUT:
        return [(wish, _words(body, f"HTTP_{answer.status}", call)) for wish in call.wishes]
    if answer.status == 204 and not answer.body:
        return []
    if answer.flaw is not None or not isinstance(body, dict):
        return [(wish, f"HTTP_{answer.status} without a JSON object") for wish in call.wishes]
    results, errors = listed(body.get("results")), listed(body.get("errors"))
    if not errors and not body.get("numErrors") and len(results) >= len(call.wishes):
        return []
    made = {_pair(result) for result in results if isinstance(result, dict)}
    return [(wish, _reason(wish, errors, call)) for wish in call.wishes if (wish.source, wish.link.to) not in made]


def warned(verdicts: Sequence[Verdict], failures: Sequence[tuple[Wish, str]]) -> list[Verdict]:
    """Return *verdicts* with a warning for each association that failed."""
    told = list(verdicts)
    for wish, reason in failures:
        warning = f"the association with {wish.link.object} {wish.link.to} may not have been made: {reason}"
        told[wish.index] = attrs.evolve(told[wish.index], warnings=(*told[wish.index].warnings, warning))
    return told


def unlinked(items: Sequence[Item], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return *verdicts* with a warning for each record whose associations cannot even be asked for."""
    warning = "its associations were not made: HubSpot did not tell the id of the record"
    return [
        attrs.evolve(verdict, warnings=(*verdict.warnings, warning))
        if item.links and isinstance(verdict, Written) and not verdict.record_id
        else verdict
        for item, verdict in zip(items, verdicts, strict=True)
    ]


def _pair(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return which records a result says it has linked; ids are texts or numbers here."""
    return _id(result, "fromObjectId", "from"), _id(result, "toObjectId", "to")


def _id(result: Mapping[str, Any], flat: str, nested: str) -> str:
    inner = result.get(nested)
    return str(result.get(flat) or (inner.get("id") if isinstance(inner, dict) else ""))


def _reason(wish: Wish, errors: Sequence[Any], call: LinkCall) -> str:
    """Return why an association was not made: in words of HubSpot only if they are about this record."""
    for error in errors:
        context = error.get("context") if isinstance(error, dict) else None
        if isinstance(context, dict) and _names(context, "fromObjectId", wish.source):
            return _message(error)
    return _words(errors[0] if len(errors) == 1 else None, "HubSpot does not say that it was", call)


def _names(context: Mapping[str, Any], name: str, record_id: str) -> bool:
    value = context.get(name)
    return record_id in [str(each) for each in (value if isinstance(value, list) else [value])]


def _words(error: Any, otherwise: str, call: LinkCall) -> str:
    """Return what an error about the whole call says: its code, for it may quote the data of another caller."""
    if len({wish.index for wish in call.wishes}) == 1 and isinstance(error, dict):
        return _message(error)
    return details_of(error, otherwise)[0].code or otherwise


def _message(error: Mapping[str, Any]) -> str:
    detail = details_of(error)[0]
    return f"{detail.message} ({detail.code})" if detail.code else detail.message
