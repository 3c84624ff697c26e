"""HubSpot: which records are there, by a property that is unique. Pure.

A read by ``idProperty`` answers 200, or 207 if some are missing: those are named in an error ``OBJECT_NOT_FOUND``. What
is neither in the results nor named there is unknown, as HubSpot drops things without a word. Whether it answers 404 if
all are missing is not documented; whom such an answer names is missing, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from batcher.destinations._http.answers import Answer, json_of
from batcher.destinations._http.details import listed, texts
from batcher.destinations._http.echoes import is_echo
from batcher.destinations._http.encoding import encode
from batcher.destinations._http.verifying import Fields, Found, Question, Sent, outcomes_of, unanswered, unique_names
from batcher.destinations.hubspot.answers import check_passing
from batcher.destinations.hubspot.requests import Item, Verb, folded
from batcher.destinations.hubspot.results import IDS, details_of, has_ended, result_of
from batcher.outcomes import Outcome, Retry

READ = Verb("read")
# What HubSpot itself keeps unique. Contacts have a name and a number.
_ALWAYS = {"contacts": "email", "0-1": "email"}
_COMPANIES = ("companies", "company", "0-2")
_MISSING = "OBJECT_NOT_FOUND"
_ANSWERED = frozenset({200, 207})
_NONE = 404
_LINKS = "its associations could not be checked: the answer to the create was lost"


def checked_unique(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return object to unique property, for what was *given* and what is so anyway.

    :raises TypeError: not a mapping of names
    :raises ValueError: an empty name, or a property of which it is known that it is not unique
    """
    named = unique_names(given)
    if any(name.lower() in _COMPANIES and field.lower() == "domain" for name, field in named.items()):
        raise ValueError(
            "unique must not name the domain of companies, which several may share in HubSpot: make a property with"
            " unique values"
        )
    return _ALWAYS | named


def question_of(items: Sequence[Item], by: str, path: str) -> Question:
    """Return what to ask.

    :param by: the unique property
    :param path: where objects are read
    """
    sent = tuple(_sent(json.loads(item.piece), by) for item in items)
    # Each value once: HubSpot refuses a batch that names one record twice.
    values = {each.key: each.fields[by].strip() for each in sent if each.key is not None}
    names = sorted({name for each in sent for name in each.fields})
    inputs = [{"id": value} for value in values.values()]
    body = encode({"idProperty": by, "properties": names, "inputs": inputs})
    return Question(by, sent, (path, body) if inputs else None)


def _sent(members: Mapping[str, Any], by: str) -> Sent:
    fields = members["properties"]
    key = folded(fields.get(by, ""))
    return Sent(key or None, fields, (_LINKS,) if "associations" in members else ())


def outcomes(answer: Answer, question: Question, *, now: float) -> list[Outcome]:
    """Return what became of each record.

    :param now: seconds since 1970, to which the times in an answer are compared
    :raises Retry: nothing was learned; ask again later
    """
    status, body = answer.status, json_of(answer)
    if status >= 400:
        check_passing(answer, body, now)
    absent = set(_absent([body, *listed(body.get("errors"))])) if isinstance(body, dict) else set()
    if status == _NONE and absent:
        return outcomes_of(question.sent, [], absent, _is_same)
    if status not in _ANSWERED:
        return unanswered(len(question.sent), status, details_of(body))
    if answer.flaw is not None:
        raise Retry(f"HTTP {status}: {answer.flaw}")
    if not isinstance(body, dict) or not isinstance(body.get("results"), list) or not has_ended(body):
        raise Retry(f"HTTP {status} without the records that were asked for")
    found = [each for value in body["results"] if (each := _found(value, question.by)) is not None]
    return outcomes_of(question.sent, found, absent, _is_same)


def _found(value: Any, by: str) -> Found | None:
    """Return a record; None if it is none, so that nothing is said of whomever it is of."""
    result = result_of(value)
    if result is None:
        return None
    own = result.properties.get(by)
    # One that was archived meanwhile is there, and is not.
    fields: Fields = {} if value.get("archived") else result.properties
    return Found(folded(own) if isinstance(own, str) else None, result.record_id, fields, result.data)


def _absent(errors: Sequence[Any]) -> Iterable[str]:
    for error in errors:
        context = error.get("context") if isinstance(error, dict) and error.get("category") == _MISSING else None
        if isinstance(context, dict):
            yield from (folded(value) for name in IDS for value in texts(context.get(name)))


def _is_same(sent: Fields, found: Fields) -> bool:
    return all(is_echo(value, found.get(name)) for name, value in sent.items())
