"""Records as JSON: checked and copied first, then encoded. Pure.

The check is stricter than either encoder, so that the fate, the size and the bytes of a record do not depend on
whether ``orjson`` is installed.

==========================================  ====================================================
in a record                                 becomes
==========================================  ====================================================
None, bool                                  itself
int within +-(2**53 - 1)                    int; an ``IntEnum`` member its number
finite float                                float; ``numpy.float64`` is one
str without lone surrogates                 str; a member of a ``str`` enum its text
list, tuple, named tuple                    list
dict and every other mapping with str keys  dict
anything else                               :class:`~batcher.errors.InvalidRecord`
==========================================  ====================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, TypeAlias

from batcher.errors import InvalidRecord
from batcher.outcomes import ErrorDetail

# Readers that hold numbers as IEEE 754 doubles round larger integers without a word: RFC 8259, section 6.
MAX_INTEGER = 2**53 - 1
# Far deeper than any record of a SaaS system, and far from the recursion limits of the encoders. A record that
# contains itself ends here too.
MAX_DEPTH = 32

_SHOWN_CHARACTERS = 100
_Path: TypeAlias = tuple[object, ...]


def check_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of *record* in plain types, which shares nothing mutable with it.

    :param record: field to value; nested at most ``MAX_DEPTH`` levels, the record included
    :raises InvalidRecord: not a mapping, or a value that JSON does not hold; the message names the field, not the value
    """
    if not isinstance(record, (dict, Mapping)):  # dict first: an abstract class is slow to ask
        raise InvalidRecord(f"record must be a mapping of field to value, not {type(record).__name__}")
    return _mapping(record, ())


def _value(value: object, path: _Path) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        return _integer(value, path)
    if isinstance(value, float):
        return _float(value, path)
    if isinstance(value, Mapping):
        return _mapping(value, path)
    if isinstance(value, (list, tuple)):
        _check_depth(path)
        return [_value(each, (*path, index)) for index, each in enumerate(value)]
    raise _refusal(path, f"holds {kind.__name__}, which JSON does not know: {_way_out(value)}")


def _text(value: str, path: _Path) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            problem = "has a lone surrogate, which UTF-8 cannot carry: repair or remove it"
            raise _refusal(path, problem) from None
    # The text itself: a subclass, such as a member of a str enum, may print as something else.
    return str.__str__(value)


def _integer(value: int, path: _Path) -> int:
    number = int.__int__(value)
    if not -MAX_INTEGER <= number <= MAX_INTEGER:
        raise _refusal(
            path, "holds an integer beyond 2**53 - 1, which many JSON readers round: convert it to a string first"
        )
    return number


def _float(value: float, path: _Path) -> float:
    number = float.__float__(value)
    if not isfinite(number):
        raise _refusal(path, "holds a float that is not finite, which JSON does not know: use None or a string")
    return number


def _mapping(value: Mapping[Any, Any], path: _Path) -> dict[str, Any]:
    _check_depth(path)
    checked: dict[str, Any] = {}
    for key, each in value.items():
        name = key if type(key) is str and key.isascii() else _name(key, path)
        if name in checked:
            # Possible for subclasses of str with an equality of their own. One of the two would be lost.
            raise _refusal((*path, name), "is there twice: keep one of the two")
        # What most fields hold is seen at a glance, and taken as it is; the rest is looked at closely.
        kind = type(each)
        plain = (kind is str and each.isascii()) or (kind is int and -MAX_INTEGER <= each <= MAX_INTEGER)
        checked[name] = each if plain else _value(each, (*path, name))
    return checked


def _name(key: object, path: _Path) -> str:
    if not isinstance(key, str):
        raise _refusal(path, f"has a field name of type {type(key).__name__}: field names must be strings")
    return _text(key, (*path, key))


def _check_depth(path: _Path) -> None:
    if len(path) >= MAX_DEPTH:
        raise _refusal(path, f"is nested deeper than {MAX_DEPTH} levels (does it contain itself?): flatten it")


def _way_out(value: object) -> str:
    if hasattr(value, "isoformat"):
        return "convert it to a string first, for example with .isoformat()"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "convert it to a string first, for example with base64"
    if isinstance(value, Iterable):
        return "convert it to a list first"
    return "convert it to a string or a number first"


def _refusal(path: _Path, problem: str) -> InvalidRecord:
    if not path:
        return InvalidRecord(f"record {problem}")
    fields = (_printable(path[0]),)
    return InvalidRecord(ErrorDetail(f"field {_describe(path)} {problem}", fields=fields))


def _describe(path: _Path) -> str:
    dotted = "".join(f"[{step}]" if isinstance(step, int) else f".{_printable(step)}" for step in path)[1:]
    shown = dotted if len(dotted) <= _SHOWN_CHARACTERS else f"{dotted[:_SHOWN_CHARACTERS]}..."
    return repr(shown)


def _printable(step: object) -> str:
    # A name with a lone surrogate is refused too, and the message about it must be printable.
    return str.__str__(step).encode(errors="backslashreplace").decode() if isinstance(step, str) else str(step)


# Made once: json.dumps() makes a new encoder at every call with options.
_stdlib = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_with_json(value: Any) -> bytes:
    """Encode what :func:`check_json` returned, or a part of it, as compact UTF-8."""
    return _stdlib.encode(value).encode()


encode: Callable[[Any], bytes]
"""The faster of the encoders that are installed. Their bytes are the same."""

check_and_encode: Callable[[Mapping[str, Any]], tuple[Mapping[str, Any], bytes]]
"""Return what :func:`check_json` returns, or the record itself if it holds the same, and that encoded.

What is returned may be the caller's own record: take from it what is needed, and do not keep it.
"""


def check_and_encode_with_json(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
    """See :data:`check_and_encode`."""
    checked = check_json(record)
    return checked, encode(checked)


try:
    from orjson import OPT_STRICT_INTEGER
    from orjson import dumps as _orjson_dumps
except ImportError:
    encode = encode_with_json
    check_and_encode = check_and_encode_with_json
else:

    def encode_with_orjson(value: Any) -> bytes:
        """Encode what :func:`check_json` returned, or a part of it, as the bytes of :func:`encode_with_json`."""
        # For the values that the check lets through, the encoders differ in one thing: 1e-07 here is 1e-7 there.
        return encode_with_json(value) if _holds_exponent(value) else _orjson_dumps(value)

    def check_and_encode_with_orjson(record: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
        """See :data:`check_and_encode`. What the types in a flat record leave open, orjson checks."""
        if type(record) is dict and _WITHOUT_EXPONENT.issuperset(map(type, record.values())):
            try:
                return record, _orjson_dumps(record, None, OPT_STRICT_INTEGER)
            except TypeError:
                pass  # a lone surrogate, a large integer, or a name that is not quite a str: check_json() says which
        return check_and_encode_with_json(record)

    encode = encode_with_orjson
    check_and_encode = check_and_encode_with_orjson


# What most records hold and nothing else. Then no value needs a look of its own.
_WITHOUT_EXPONENT = frozenset({str, int, bool, type(None)})


def _holds_exponent(value: Any) -> bool:
    kind = type(value)
    if kind is float:
        return "e" in float.__repr__(value)
    if kind is not dict and kind is not list:
        return False
    parts = value.values() if kind is dict else value
    return not _WITHOUT_EXPONENT.issuperset(map(type, parts)) and any(map(_holds_exponent, parts))
