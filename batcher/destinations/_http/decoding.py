"""JSON that comes in from outside: read strictly, so that nothing of it is lost without a word. Pure.

Python's decoder keeps the last of two fields of one name, takes ``NaN``, and raises four kinds of error.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from batcher.outcomes import ErrorDetail


class NotJSON(ValueError):
    """What was read is no JSON, or no JSON that others would read in the same way.

    :param problem: the rest of a sentence that begins with what was read, without payload
    :param code: one lower-case word for results files
    :param fields: names that are at fault
    """

    def __init__(self, problem: str, code: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(problem)
        self.code = code
        self.fields = fields

    def detail(self, what: str) -> ErrorDetail:
        """Return the problem of *what*, such as ``"the line"``."""
        return ErrorDetail(f"{what} {self}", self.code, self.fields)


def decode(raw: bytes) -> Any:
    """Return the value that *raw* is the JSON of.

    :raises NotJSON: not UTF-8, not JSON, nested too deep, with a number that is none, or with two fields of one name
    """
    try:
        return _decoder.decode(raw.decode())
    except NotJSON:
        raise
    except UnicodeDecodeError:
        problem = NotJSON("holds bytes that are not UTF-8", "not_utf8")
    except json.JSONDecodeError as error:
        where = f"character {error.colno}" if error.lineno == 1 else f"line {error.lineno}, character {error.colno}"
        problem = NotJSON(f"is not JSON: {error.msg} at {where}", "not_json")
    except (RecursionError, ValueError) as error:  # nested too deep; a number of too many digits
        problem = NotJSON(f"is not usable JSON: {type(error).__name__}", "not_json")
    raise problem  # without the decoder's own error, which holds all that was read


def _refuse_constant(name: str) -> NoReturn:
    raise NotJSON(f"holds {name}, which is no number in JSON", "not_a_number")


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        times = Counter(name for name, _ in pairs)  # one pass: there may be as many names as the sender likes
        twice = tuple(name for name in record if times[name] > 1)
        raise NotJSON("names a field more than once", "duplicate_field", twice)
    return record


_decoder = json.JSONDecoder(object_pairs_hook=_to_object, parse_constant=_refuse_constant)
