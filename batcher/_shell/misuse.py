"""What users hand in by mistake, found where a batcher is made: only what is wrong for certain, with the way out.

A plain ``def`` may return what can be awaited, so whether it does is found out when it has run.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from inspect import (
    CO_ITERABLE_COROUTINE,
    isasyncgenfunction,
    iscoroutine,
    iscoroutinefunction,
    isgeneratorfunction,
    signature,
)
from typing import Any, Final

import attrs

from batcher.policies import AutoBatchPolicy, Limits, RetryPolicy

_POLICIES: Final[dict[str, type]] = {"auto_batch": AutoBatchPolicy, "retry": RetryPolicy, "limits": Limits}
_A_BATCH: Final = "an async function of a key and a list of records"


def check_batch_function(name: str, function: object) -> None:
    """Refuse what cannot be called with a key and records and be awaited.

    :raises TypeError: it is called *name* in the message
    """
    way_out = f"define it as 'async def {name}(key, records)'"
    if iscoroutine(function):
        function.close()  # whoever forgot that is told so here, and not by a warning as well
        raise TypeError(f"{name} must be {_A_BATCH}, not a call of one: leave out its parentheses")
    # A stand-in of a test has whatever attribute it is asked for, but can be called; no destination can.
    if is_destination(function) and (isinstance(function, type) or not callable(function)):
        shown = function.__name__ if isinstance(function, type) else type(function).__name__
        raise TypeError(f"{name} must be {_A_BATCH}, not the destination {shown}: use Writer({shown}(...))")
    if not callable(function):
        raise TypeError(f"{name} must be {_A_BATCH}, not {type(function).__name__}: {way_out}")
    if isinstance(function, type) and not hasattr(function, "__await__"):
        raise TypeError(f"{name} must be {_A_BATCH}, not the class {function.__name__}: give an instance of it")
    if _is(function, _yields):
        raise TypeError(f"{name} must be {_A_BATCH}, not a generator: return a list instead of yielding items")
    _check_takes(name, function, 2, _A_BATCH, way_out)


def check_plain_function(name: str, function: object, rule: str) -> None:
    """Refuse what cannot be called with one argument, or returns nothing that is of use before it is awaited.

    :raises TypeError: it is called *name* in the message, and must be *rule*
    """
    if not callable(function):
        raise TypeError(f"{name} must be {rule}, not {type(function).__name__}")
    if _is(function, iscoroutinefunction) or _is(function, _yields):
        raise TypeError(f"{name} must be {rule}, not an async one or a generator: define it with 'def', and return")
    _check_takes(name, function, 1, rule, "let it take one")


def misplaced(who: str, unknown: Iterable[str]) -> TypeError:
    """Return the error for keyword arguments that *who* does not have, and which policy they belong to."""
    name = next(iter(unknown))
    for argument, policy in _POLICIES.items():
        if name in attrs.fields_dict(policy):
            words = f"it belongs to {policy.__name__}: {who}(..., {argument}={policy.__name__}({name}=...))"
            return TypeError(f"{who}() has no argument {name!r}; {words}")
    return TypeError(f"{who}() has no argument {name!r}")


def is_destination(thing: object) -> bool:
    """Return whether *thing* is a destination, or the class of one."""
    return all(hasattr(thing, name) for name in ("encode", "rules", "send", "__aenter__", "__aexit__"))


def check_many(records: object, what: str) -> None:
    """Refuse what is one record, or cannot be gone through here.

    :param what: one of them, in words
    :raises TypeError: it is neither a list nor anything like it
    """
    kind = type(records).__name__
    if isinstance(records, AsyncIterable):
        way_out = f"collect it first, [{what} async for {what} in ...], or submit() each one"
    elif isinstance(records, (Mapping, str, bytes, bytearray, memoryview)):
        way_out = f"put a single {what} into a list, [{what}]; list(...) gives its parts, if these are meant"
    elif not isinstance(records, Iterable) and not hasattr(records, "__getitem__"):
        way_out = f"put a single {what} into a list, [{what}]"
    else:
        return
    raise TypeError(f"submit_all() takes a list of {what}s, or another iterable, not {kind}: {way_out}")


def name_unhashable(error: TypeError, **arguments: object) -> TypeError:
    """Return what says which of *arguments* cannot be hashed; or *error*, if that is something else."""
    for name, value in arguments.items():
        if not _has_hash(value):
            way_out = "give a tuple, say, instead of a list" if isinstance(value, list) else "give a tuple or a string"
            return TypeError(f"{name} must be hashable, and a {type(value).__name__} is unhashable: {way_out}")
    return error


def _has_hash(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    except Exception:  # the user's own, and what has been raised is about something else
        return True
    return True


def _is(function: Callable[..., Any], kind: Callable[[object], bool]) -> bool:
    return kind(function) or kind(getattr(function, "__call__", None))  # noqa: B004


def _yields(function: object) -> bool:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    awaitable = getattr(code, "co_flags", 0) & CO_ITERABLE_COROUTINE  # what types.coroutine makes can be awaited
    return isasyncgenfunction(function) or (isgeneratorfunction(function) and not awaitable)


def _check_takes(name: str, function: Callable[..., Any], count: int, rule: str, way_out: str) -> None:
    """Refuse a function that cannot be called with *count* arguments by position."""
    if getattr(function, "__signature__", None) is not None:
        return  # somebody's word, perhaps that of a function inside, which gets other arguments
    try:
        # Not of a wrapped function: the wrapper may add arguments.
        parameters = signature(function, follow_wrapped=False)
    except (ValueError, TypeError):  # of built-in ones often nothing is known
        return
    try:
        parameters.bind(*[None] * count)
    except TypeError as error:
        takes = "a key and a list of records" if count == 2 else "one argument"
        raise TypeError(f"{name} must be {rule}, and cannot be called with {takes}: {error}; {way_out}") from None
