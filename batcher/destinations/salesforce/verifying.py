"""Salesforce: which records are there, by a field that is unique. Pure.

The question is one query, sent in the body of a composite request: an address has room for a few dozen values, and the
whole counts as one call. What the answer does not hold is not there, if the answer is whole and holds nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from batcher.destinations._http.answers import Answer, json_of, wait_of
from batcher.destinations._http.details import NO_REASON
from batcher.destinations._http.echoes import is_echo
from batcher.destinations._http.encoding import encode
from batcher.destinations._http.verifying import Fields, Found, Question, Sent, outcomes_of, unanswered, unique_names
from batcher.destinations.salesforce.answers import check_passing, details_of
from batcher.destinations.salesforce.requests import Item, same_id
from batcher.outcomes import Outcome, Retry

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# "SOQL and SOSL Limits": characters of a query. Text fields that can be unique hold 255.
_MOST_SOQL = 100_000
_MOST_KEY = 255
# What a composite request replaces by an answer to a request before.
_REFERENCE = "@{"
_NAMED = "found"


def checked_unique(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return object, in lower case, to unique field.

    :raises TypeError: not a mapping of names
    :raises ValueError: no name of an object or a field
    """
    named = unique_names(given)
    for name in (each for pair in named.items() for each in pair):
        if not _NAME.fullmatch(name):
            raise ValueError(f"unique must hold names of objects and of fields, not {name!r}")
    return {name.lower(): field for name, field in named.items()}


def question_of(items: Sequence[Item], by: str, object: str, version: str) -> Question:
    """Return what to ask.

    :param by: the unique field
    :param version: of the API
    """
    folded, root = by.lower(), f"/services/data/v{version}"
    sent = tuple(_sent(json.loads(item.piece), folded) for item in items)
    soql = _soql(sent, folded, object)
    if soql is None:
        return Question(folded, sent, None)
    one = {"method": "GET", "url": f"{root}/query?q={quote(soql, safe='')}", "referenceId": _NAMED}
    return Question(folded, sent, (f"{root}/composite", encode({"compositeRequest": [one]})))


def _soql(sent: Sequence[Sent], by: str, object: str) -> str | None:
    """Return the query; None if no record has a value by which it could be looked for, or if it would be too long."""
    asked = [each for each in sent if each.key is not None]
    values = sorted({_literal(each.fields[by]) for each in asked})
    names = sorted({name for each in asked for name in each.fields})
    soql = f"SELECT {','.join(['Id', *names])} FROM {object} WHERE {by} IN ({','.join(values)})"  # noqa: S608
    return soql if values and len(soql) <= _MOST_SOQL else None


def _sent(record: dict[str, Any], by: str) -> Sent:
    del record["attributes"]
    fields = {name.lower(): value for name, value in record.items()}
    # A value with others in it names another record, and cannot be asked for in this way.
    plain = all(_NAME.fullmatch(name) and not isinstance(value, (list, dict)) for name, value in fields.items())
    value = fields.get(by)
    return Sent(_key(value) if plain and _can_be_asked(value) else None, fields)


def _can_be_asked(value: Any) -> bool:
    if isinstance(value, str):
        # What Salesforce would trim is not looked for as it was sent.
        whole = 0 < len(value) <= _MOST_KEY and value == value.strip()
        return whole and value.isprintable() and _REFERENCE not in value
    return isinstance(value, int) and not isinstance(value, bool)


def _literal(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _key(value: Any) -> str | None:
    """Return what two values have in common that a query may take for one: it ignores case."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold() if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def outcomes(answer: Answer, question: Question, *, now: float) -> list[Outcome]:
    """Return what became of each record.

    :param now: seconds since 1970, to which a time to come back is compared
    :raises Retry: nothing was learned; ask again later
    """
    status, body = answer.status, json_of(answer)
    check_passing(status, body, wait_of(answer, now))
    if status == 200 and answer.flaw is not None:
        raise Retry(f"HTTP {status}: {answer.flaw}")
    if status == 200:  # there is an answer inside of the answer, with a status of its own
        status, body = _inner(body)
        check_passing(status, body, None)
    if status != 200:
        return unanswered(len(question.sent), status, details_of(body) or [NO_REASON])
    records, is_whole = _records(body)
    found = [_found(each, question) for each in records]
    asked = {each.key for each in question.sent if each.key is not None}
    here = {each.key for each in found}
    absent = {key for key in asked if key not in here} if is_whole and here <= asked else set()
    by = question.by
    return outcomes_of(question.sent, found, absent, lambda sent, shown: _is_same(sent, shown, by))


def _inner(body: Any) -> tuple[int, Any]:
    """Return the status and the body of the answer to the query."""
    responses = body.get("compositeResponse") if isinstance(body, dict) else None
    one = responses[0] if isinstance(responses, list) and len(responses) == 1 else None
    if not isinstance(one, dict) or one.get("referenceId") != _NAMED or not isinstance(one.get("httpStatusCode"), int):
        raise Retry("HTTP 200 without an answer to the query")
    return one["httpStatusCode"], one.get("body")


def _records(body: Any) -> tuple[list[dict[str, Any]], bool]:
    """Return the records of an answer, and whether they are all that were found."""
    records = body.get("records") if isinstance(body, dict) else None
    if not isinstance(records, list):
        raise Retry("HTTP 200 without the records that were asked for")
    good = [each for each in records if isinstance(each, dict) and isinstance(each.get("Id"), str) and each["Id"]]
    return good, body.get("done") is True and body.get("totalSize") == len(records) == len(good)


def _found(record: dict[str, Any], question: Question) -> Found:
    fields = {name.lower(): value for name, value in record.items()}
    return Found(_key(fields.get(question.by)), record["Id"], fields)


def _is_same(sent: Fields, found: Fields, by: str) -> bool:
    """Return whether all that was sent was found; its unique value in the very same case, for that may matter."""
    if isinstance(sent[by], str) and sent[by] != found[by]:
        return False
    return all(name in found and _is_echo(value, found[name]) for name, value in sent.items())


def _is_echo(sent: Any, found: Any) -> bool:
    ids = isinstance(sent, str) and isinstance(found, str) and len(sent) == 15 and len(found) == 18
    return is_echo(sent, found) or (ids and same_id(found) == sent)
