"""Sound answers: what a write function hands in may be made wrong, and costs nobody but its own record.

A class of the user's own whose ``__init__`` does not call that of ``Retry`` has no ``after``; an attribute may have
been changed since it was checked. Whatever reads an answer behind this door finds what the class promises.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from batcher.errors import RecordError
from batcher.outcomes import Outcome, Refused, Retry, Unknown

_READ: Final = (Retry, Refused, RecordError, Outcome)


def sound(answer: Any) -> Any:
    """Return what a call returned or raised, with whatever cannot be read replaced by what says so."""
    if isinstance(answer, (Retry, Refused)):
        try:
            return _copy(answer)
        except Exception as error:
            return TypeError(_words("raised", answer, error))
    if not isinstance(answer, (list, tuple)):
        return answer
    suspects = [kind for kind in set(map(type, answer)) if issubclass(kind, _READ)]
    return [_sound_item(item) if type(item) in suspects else item for item in answer] if suspects else answer


def _sound_item(item: Any) -> Any:
    try:
        return _copy(item)
    except Exception as error:
        return Unknown(_words("returned", item, error))


def _copy(verdict: Any) -> Any:
    """Return *verdict*, or one like it that nobody else holds.

    :raises Exception: it lacks something, or holds what it must not
    """
    if isinstance(verdict, Retry):
        return Retry(verdict.cause, verdict.after, verdict.pause_lane, verdict.applied)
    if isinstance(verdict, Refused):
        return Refused(verdict.errors, verdict.named, too_large=verdict.too_large)
    outcome = verdict.outcome if isinstance(verdict, RecordError) else verdict
    if not isinstance(outcome, Outcome):
        raise TypeError("its outcome is none")
    kind: type[Any] = type(outcome)
    for field in attrs.fields(kind) if attrs.has(kind) else ():
        getattr(outcome, field.name)
    return outcome


def _words(did: str, verdict: object, error: Exception) -> str:
    kind = type(verdict).__name__
    return (
        f"the write function {did} a {kind} that cannot be read ({type(error).__name__}): if {kind} is a class of your "
        "own, its __init__ must call super().__init__(...), and what that has checked must stay as it is"
    )
