"""Records as JSON: one fate, one size and one spelling, whichever encoder is installed."""

import importlib.util
import json
import sys
from collections import OrderedDict, UserDict
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from batcher.destinations._http import encoding
from batcher.destinations._http.encoding import (
    MAX_DEPTH,
    MAX_INTEGER,
    check_and_encode,
    check_and_encode_with_json,
    check_and_encode_with_orjson,
    check_json,
    encode,
    encode_with_json,
    encode_with_orjson,
)
from batcher.errors import InvalidRecord
from batcher.writes import WriteType

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)


def fields(values: Any) -> Any:
    return st.dictionaries(st.text(max_size=8), values, max_size=4)


VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | fields(inner), max_leaves=10)
RECORDS = fields(VALUES)


class Level(IntEnum):
    HIGH = 3


class Colour(Enum):
    RED = "red"


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"


class Alone(str):
    """Equal to nothing, so that one dict can hold the same name twice."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Odd(float):
    def __repr__(self) -> str:
        return "odd"


class Point(NamedTuple):
    x: int
    y: int


def types_of(value: Any) -> Any:
    if type(value) is dict:
        return {key: types_of(each) for key, each in value.items()}
    if type(value) is list:
        return [types_of(each) for each in value]
    return type(value)


def nested(levels: int) -> dict[str, Any]:
    """A record that holds dicts in dicts: so many levels, itself included."""
    record: dict[str, Any] = {}
    for _ in range(levels - 1):
        record = {"in": record}
    return record


def refusal(record: Any) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as caught:
        check_json(record)
    return caught.value


@given(RECORDS)
@example({"a": 1e-7, "b": [1e16, {"c": 1e22}]})
@example({"a": [0.00001234], "b": {"c": 5e-324}})
@example({"a": -0.0, "b": 0.1, "c": 1e15})
@example({'"\\/': "\x00\x1f\x7f\u0080\u2028\u2029\ufeff\U0001f600"})
@example({"": MAX_INTEGER, "a": -MAX_INTEGER})
def test_both_encoders_write_the_same_bytes(record: dict[str, Any]) -> None:
    """Whatever passes the check has one spelling, and reads back as what it was, with the same types."""
    checked = check_json(record)
    encoded = encode_with_json(checked)

    assert encode_with_orjson(checked) == encoded
    assert encode(checked) == encoded
    back = json.loads(encoded)
    assert back == checked == record
    assert types_of(back) == types_of(checked)
    assert repr(back) == repr(checked)  # tells -0.0 from 0.0


def test_every_character_has_one_spelling() -> None:
    """The encoders agree on each code point that UTF-8 can carry."""
    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)

    assert encode_with_orjson(check_json({text: text})) == encode_with_json({text: text})


@given(SCALARS)
def test_a_single_value_has_one_spelling(value: Any) -> None:
    """A part of a record is encoded as it is within the record."""
    assert encode_with_orjson(value) == encode_with_json(value)
    assert b'{"a":' + encode(value) + b"}" == encode({"a": value})


@given(RECORDS)
def test_what_is_checked_passes_again_unchanged(record: dict[str, Any]) -> None:
    """Checking what was checked changes nothing."""
    checked = check_json(record)

    assert repr(check_json(checked)) == repr(checked)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (WriteType.CREATE, "create"),
        (Loud("quiet"), "quiet"),
        (Level.HIGH, 3),
        (Odd(1.5), 1.5),
        (True, True),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=(1,)), {"a": [1]}),
        (MappingProxyType({Loud("a"): 1}), {"a": 1}),
    ],
)
def test_subclasses_become_plain_types(value: Any, plain: Any) -> None:
    """Enums of strings and numbers, other mappings and tuples are taken as the plain value that they hold."""
    checked = check_json({"field": value})

    assert checked == {"field": plain}
    assert types_of(checked) == types_of({"field": plain})
    assert encode_with_orjson(checked) == encode_with_json(checked)


FLAT = st.dictionaries(
    st.text(max_size=4) | st.sampled_from([Loud("a"), Alone("a"), Alone("a"), 1, None, "\ud800"]),
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
        st.sampled_from([MAX_INTEGER, MAX_INTEGER + 1, -MAX_INTEGER, -MAX_INTEGER - 1, 2**64, "\ud800", Loud("a")]),
        st.sampled_from([Level.HIGH, Colour.RED, Odd(1.5), UUID(int=5), datetime(2026, 1, 2), Decimal(1), b"a"]),
        st.sampled_from([(1,), [1e-7], {"a": [1]}, OrderedDict(a=1)]),
    ),
    max_size=4,
)


@given(RECORDS | FLAT | FLAT.map(OrderedDict) | FLAT.map(MappingProxyType))
@example({"a": MAX_INTEGER})
@example({"a": MAX_INTEGER + 1})
@example({"a": "\ud800"})
@example({"\ud800": "a"})
@example({Loud("a"): 1})
@example({Alone("a"): 1, Alone("a"): 2})
@example({1: 1})
@example({"a": 1e-7})
@example({"a": float("nan")})
@example({"a": UUID(int=5)})
@example({"a": Colour.RED})
@example({"a": Loud("a")})
@example({})
def test_checked_and_encoded_at_once_or_one_after_the_other(record: Any) -> None:
    """The same bytes and the same values, or a refusal in the same words, with either encoder."""
    checked, refused = None, None
    try:
        checked = check_json(record)
    except InvalidRecord as error:
        refused = error.detail
    for at_once in (check_and_encode_with_json, check_and_encode_with_orjson):
        if checked is None:
            with pytest.raises(InvalidRecord) as caught:
                at_once(record)
            assert caught.value.detail == refused
            assert not isinstance(caught.value.__context__, TypeError)  # orjson's own words are not chained
        else:
            taken, encoded = at_once(record)
            assert encoded == encode_with_json(checked)
            assert repr(dict(taken)) == repr(checked)
            assert types_of(dict(taken)) == types_of(checked)


def test_a_flat_record_is_encoded_without_a_copy() -> None:
    """What most records are needs no second look; what holds another value, or is another mapping, is copied."""
    flat: dict[str, Any] = {"a": "é", "n": 1, "yes": True, "none": None}

    assert check_and_encode(flat)[0] is flat
    others: list[dict[str, Any]] = [{"a": 1.5}, {"a": []}, OrderedDict(a=1)]
    for other in others:
        assert check_and_encode(other)[0] is not other


def test_the_copy_shares_nothing() -> None:
    """Changing the caller's record afterwards, at any depth, changes nothing."""
    record: dict[str, Any] = {"a": {"b": [{"c": 1}]}}
    checked = check_json(record)

    record["a"]["b"][0]["c"] = 2
    record["a"]["b"].append(3)
    record["d"] = 4

    assert checked == {"a": {"b": [{"c": 1}]}}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
        (-float("inf"), "not finite"),
        (MAX_INTEGER + 1, r"2\*\*53"),
        (-MAX_INTEGER - 1, r"2\*\*53"),
        pytest.param(10**5000, "convert it to a string", id="huge"),
        ("a\ud800", "lone surrogate"),
        (datetime(2026, 1, 2), r"holds datetime.*isoformat"),
        (date(2026, 1, 2), r"holds date,.*isoformat"),
        (b"bytes", "holds bytes.*base64"),
        (bytearray(b"bytes"), "holds bytearray.*base64"),
        ({1, 2}, "holds set.*list"),
        (iter([1]), "list_iterator.*list"),
        (Decimal("1.5"), "holds Decimal.*string or a number"),
        (UUID(int=5), "holds UUID.*string"),
        (Colour.RED, "holds Colour.*string"),
        (object(), "holds object"),
    ],
)
@pytest.mark.parametrize("bury", [lambda value: value, lambda value: [{"deep": (0, value)}]], ids=["top", "deep"])
def test_what_json_does_not_hold_is_refused_in_words(value: Any, words: str, bury: Any) -> None:
    """The refusal says the field, the rule and the way out, and never the value."""
    error = refusal({"first": 1, "field": bury(value)})

    assert error.detail.fields == ("field",)
    assert str(error).startswith("field 'field")
    with pytest.raises(InvalidRecord, match=words):
        raise error
    assert "1.5" not in str(error)
    assert "2026" not in str(error)


def test_the_path_leads_to_the_value() -> None:
    """The message names the way to the value through fields and positions."""
    error = refusal({"address": {"lines": ["a", {"at": Decimal(1)}]}})

    assert "'address.lines[1].at'" in str(error)
    assert error.detail.fields == ("address",)


def test_a_long_path_is_cut() -> None:
    """Names of any length leave the message readable."""
    error = refusal({"x" * 5000: Decimal(1)})

    assert len(str(error)) < 300
    assert error.detail.fields == ("x" * 5000,)


@pytest.mark.parametrize("key", [1, None, True, b"a", ("a",), Colour.RED])
@pytest.mark.parametrize(
    ("wrap", "fields"), [(lambda inner: inner, ()), (lambda inner: {"a": [inner]}, ("a",))], ids=["top", "deep"]
)
def test_field_names_are_strings(key: Any, wrap: Any, fields: Any) -> None:
    """No other type of key is turned into a string by guess."""
    error = refusal(wrap({key: 1}))

    assert error.detail.fields == fields
    assert f"of type {type(key).__name__}: field names must be strings" in str(error)


def test_a_name_with_a_lone_surrogate_is_refused_printably() -> None:
    """A name that cannot be encoded is refused in a message that can."""
    error = refusal({"a\udc80": 1})

    assert "lone surrogate" in str(error)
    assert str(error).encode()
    assert error.detail.fields[0].encode()


@pytest.mark.parametrize(("first", "second"), [(Alone, Alone), (Alone, str), (str, Alone)])
def test_a_name_is_there_once(first: type[str], second: type[str]) -> None:
    """Two keys that read the same are refused, because one of them would be lost."""
    error = refusal({first("email"): 1, second("email"): 2})

    assert "'email' is there twice" in str(error)
    assert error.detail.fields == ("email",)


def test_depth_has_a_limit() -> None:
    """The deepest record that is allowed passes, and one level more does not."""
    deepest = nested(MAX_DEPTH)

    assert encode_with_orjson(check_json(deepest)) == encode_with_json(deepest)
    assert f"deeper than {MAX_DEPTH} levels" in str(refusal(nested(MAX_DEPTH + 1)))


def test_cycles_end() -> None:
    """A record that contains itself is refused by the limit of depth, through dicts and through lists."""
    record: dict[str, Any] = {"a": {}}
    record["a"]["b"] = record
    items: list[Any] = []
    items.append(items)

    assert "contain itself" in str(refusal(record))
    assert "contain itself" in str(refusal({"a": items}))


@pytest.mark.parametrize("record", [[("a", 1)], "text", None, 1])
def test_a_record_is_a_mapping(record: dict[str, Any]) -> None:
    """What is no mapping of field to value is no record."""
    assert f"not {type(record).__name__}" in str(refusal(record))


def test_the_standard_library_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without orjson the standard encoder takes its place; with it, orjson is used."""
    monkeypatch.setitem(sys.modules, "orjson", None)
    spec = importlib.util.spec_from_file_location("json_without_orjson", encoding.__file__)
    assert spec is not None
    assert spec.loader is not None
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)

    assert alone.encode is alone.encode_with_json
    assert alone.check_and_encode is alone.check_and_encode_with_json
    assert not hasattr(alone, "encode_with_orjson")
    assert alone.encode({"a": [1e-7, "é"]}) == encode({"a": [1e-7, "é"]}) == '{"a":[1e-07,"é"]}'.encode()
    assert alone.check_and_encode({"a": (1,)}) == ({"a": [1]}, b'{"a":[1]}')
    assert encode is encode_with_orjson
    assert check_and_encode is check_and_encode_with_orjson
