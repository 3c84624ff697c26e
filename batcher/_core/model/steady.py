"""Steady names: whatever a user names a lane or a record by, it is found again, and hurts nobody else.

A dict asks its keys for their hash, and whether they are equal, at moments that their owner knows nothing of. A key
whose hash changes while it is in use is lost in there, and one whose ``__eq__`` raises does so in the middle of a step.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import Enum
from typing import Any, Final

# What cannot change, and compares without a line of anybody's code.
_PLAIN: Final = frozenset({str, int, bytes, float, bool, type(None)})
_HASHES: Final = frozenset({kind.__hash__ for kind in (*_PLAIN, object, Enum)})
_EQUALS: Final = frozenset({kind.__eq__ for kind in (*_PLAIN, object)})


class Steady:
    """Stands for a key: with the hash that it had at first, and an equality that raises nothing."""

    __slots__ = ("_hash", "trouble", "value")

    def __init__(self, value: Hashable) -> None:
        self._hash = hash(value)
        self.value = value
        self.trouble: Exception | None = None  # in comparing it with what was there before

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        newcomer = other if type(other) is Steady else None
        if newcomer is not None:
            other = newcomer.value
        try:
            return self.value is other or bool(self.value == other)
        except Exception as error:
            if newcomer is not None:
                newcomer.trouble = error
            return False


def steady(value: Hashable) -> Hashable:
    """Return *value* if it stays what it is; or else what stands for it, and is equal to it.

    :raises Exception: what its ``__hash__`` raises, a ``TypeError`` if it has none
    """
    return value if _stays(value) else Steady(value)


def look_up(names: Mapping[Hashable, Any], name: Hashable) -> None:
    """Look for a new *name* among those that are there.

    :raises Exception: what came of comparing it: here, in time, and not where nobody expects it
    """
    names.get(name)
    if type(name) is Steady and name.trouble is not None:
        raise name.trouble


def _stays(value: Any) -> bool:
    kind: Any = type(value)
    if kind in _PLAIN:
        return True
    if kind.__hash__ is tuple.__hash__ and kind.__eq__ is tuple.__eq__:
        return _PLAIN.issuperset(map(type, value)) or all(map(_stays, value))
    return getattr(kind, "keeps_its_hash", False) or (kind.__hash__ in _HASHES and kind.__eq__ in _EQUALS)
