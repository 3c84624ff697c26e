"""Whose data came back, where an answer names no record. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

_Fields: TypeAlias = dict[str, str]


class Echoes:
    """Records that were sent, one of which may be recognised by the data that come back.

    :param sent: field to value, for each record
    """

    def __init__(self, sent: Sequence[Mapping[str, Any]]) -> None:
        self._sent = [_normalised(record) for record in sent]
        # Of records that are alike the last one stays; no echo contradicts the others, so it gets nothing either.
        self._owners = {frozenset(fields.items()): index for index, fields in enumerate(self._sent)}
        self._known = set().union(*self._sent)

    def matched(self, data: Sequence[Mapping[str, Any]]) -> dict[int, int]:
        """Return position of a record to that of its data, for the records that one of *data* is of, and only one."""
        owners = [self._owner(each) for each in data]
        times = Counter(owners)
        return {owner: index for index, owner in enumerate(owners) if owner is not None and times[owner] == 1}

    def _owner(self, data: Mapping[str, Any]) -> int | None:
        """Return the position of the only record that *data* can be of; None if there is none, or doubt.

        They have all that it has, nothing that only another one has, and contradict each of the others.
        """
        echo = _normalised(data)
        # Fields that nobody sent are the provider's own; one that only another record has speaks against this one.
        owner = self._owners.get(frozenset((name, echo[name]) for name in self._known & echo.keys()))
        others = (fields for index, fields in enumerate(self._sent) if index != owner)
        return owner if owner is not None and all(_contradicts(echo, fields) for fields in others) else None


def is_echo(sent: Any, found: Any) -> bool:
    """Return whether *found* is what a provider makes of *sent*, and not only alike.

    Texts come back trimmed or in lower case, numbers as texts and the reverse, times in another notation, and what is
    empty as nothing. That what was sent in lower case comes back in upper case is nobody's doing but another writer's.
    """
    if sent is None or (isinstance(sent, str) and not sent.strip()):
        return found is None or found == ""
    if isinstance(sent, bool) or isinstance(found, bool):
        return bool(sent is found) or (isinstance(sent, bool) and found == str(sent).lower())
    if isinstance(found, (int, float)):
        return isinstance(sent, (int, float, str)) and _number(sent) == found
    if not isinstance(found, str) or not isinstance(sent, (int, float, str)):
        return False
    text = sent.strip() if isinstance(sent, str) else _text(sent)
    return found.strip() in (text, text.lower()) or _is_same_moment(text, found)


def _number(value: float | str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _is_same_moment(one: str, other: str) -> bool:
    try:
        # Without a time zone neither is a moment.
        moments = [datetime.fromisoformat(text) for text in (one, other) if "T" in text]
    except ValueError:
        return False
    return len(moments) == 2 and moments[0] == moments[1] and None not in [each.tzinfo for each in moments]


def _contradicts(echo: _Fields, sent: _Fields) -> bool:
    return any(name in echo and echo[name] != value for name, value in sent.items())


def _normalised(fields: Mapping[str, Any]) -> _Fields:
    """Return *fields* as they may come back: everything a string, letters in another case, empty ones left out."""
    texts = {name: _text(value) for name, value in fields.items()}
    return {name: text for name, text in texts.items() if text}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip().casefold()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True).casefold()
