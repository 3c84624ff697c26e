"""What became of records whose answer was lost: the rule that all destinations share, and what counts as an echo."""

import operator

import pytest

from batcher.destinations._http.echoes import is_echo
from batcher.destinations._http.verifying import Found, Sent, outcomes_of, unique_names
from batcher.outcomes import Written

A, B = {"key": "a", "n": 1}, {"key": "b", "n": 2}
ROW_A, ROW_B = Found("a", "1", A, "data"), Found("b", "2", B)


@pytest.mark.parametrize(
    ("found", "absent", "kinds"),
    [
        ([ROW_A, ROW_B], (), ["written", "written"]),
        ([ROW_B, ROW_A], (), ["written", "written"]),
        ([ROW_A], ("b",), ["written", "not_written"]),
        ([], ("a", "b"), ["not_written", "not_written"]),
        ([ROW_A], (), ["written", "unknown"]),
        ([ROW_A, Found("b", "2", {**B, "n": 3})], (), ["written", "unknown"]),
        ([ROW_A, Found("b", "2", A)], (), ["written", "unknown"]),
        ([ROW_A, Found("b", "2", {})], (), ["written", "unknown"]),
        ([ROW_A, ROW_B, Found("b", "3", B)], (), ["written", "unknown"]),
        ([ROW_A, ROW_B, ROW_B], (), ["written", "unknown"]),
        ([ROW_A, Found("b", "1", B)], (), ["unknown", "unknown"]),
        ([ROW_A, ROW_B], ("b",), ["written", "unknown"]),
        ([ROW_A, Found(None, "2", B)], (), ["written", "unknown"]),
        ([ROW_A, ROW_B, Found("z", "3", {})], (), ["written", "written"]),
    ],
)
def test_a_record_is_known_only_by_its_own_value_and_all_its_data(found, absent, kinds):
    """Neither position nor a resemblance tells anything, and what contradicts itself is unknown."""
    outcomes = outcomes_of([Sent("a", A), Sent("b", B)], found, absent, operator.eq)
    assert [outcome.kind for outcome in outcomes] == kinds
    if kinds[0] == "written":
        assert outcomes[0] == Written("1", "data")


@pytest.mark.parametrize("absent", [(), ("a",)])
def test_of_two_records_with_one_value_nothing_is_told(absent):
    """One of them may be there and the other one not."""
    rows = [] if absent else [ROW_A]
    outcomes = outcomes_of([Sent("a", A), Sent("b", B), Sent("a", A)], [*rows, ROW_B], absent, operator.eq)
    assert [outcome.kind for outcome in outcomes] == ["unknown", "written", "unknown"]


def test_a_record_without_a_value_is_unknown_and_does_not_disturb():
    """Also two of them, and also if a row shows no value either."""
    sent = [Sent(None, A), Sent("b", B), Sent(None, A)]
    outcomes = outcomes_of(sent, [ROW_B, Found(None, "1", A)], ("a",), operator.eq)
    assert [outcome.kind for outcome in outcomes] == ["unknown", "written", "unknown"]


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("x", "x"),
        (" x ", "x"),
        ("X@Y", "x@y"),
        ("", None),
        ("  ", ""),
        (None, None),
        (None, ""),
        (True, True),
        (False, "false"),
        (1, 1.0),
        (1.5, 1.5),
        ("1.50", 1.5),
        (1, "1"),
        (1.0, "1"),
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000+0000"),
    ],
)
def test_what_a_provider_makes_of_a_value_is_its_echo(sent, found):
    """Trimmed, lowered, of another type, in another notation."""
    assert is_echo(sent, found)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("x", "y"),
        ("x", "X"),
        ("x", None),
        ("x", ""),
        ("", "x"),
        (None, "null"),
        (None, 0),
        (None, False),
        (True, 1),
        (1, True),
        (True, "True"),
        ("true", True),
        (0, None),
        (0, ""),
        (1, 2),
        (1, "2"),
        ("1", 2.0),
        ("x", 1),
        ("x", ["x"]),
        ("x", {"x": "x"}),
        (["x"], "x"),
        ("nan", float("nan")),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00.000"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
        ("2026-01-01", "2026-01-01T00:00:00Z"),
    ],
)
def test_any_other_value_is_none(sent, found):
    """Lower case that comes back in upper case is another writer's, and a truth is no number."""
    assert not is_echo(sent, found)


@pytest.mark.parametrize("given", [[("contacts", "email")], {"contacts": 1}, {1: "email"}, {"contacts": ["email"]}])
def test_unique_fields_are_a_mapping_of_names(given):
    """Anything else is refused where it is given."""
    with pytest.raises(TypeError, match="unique must be a mapping of object to field"):
        unique_names(given)


@pytest.mark.parametrize("given", [{"": "email"}, {"contacts": ""}])
def test_unique_fields_have_names(given):
    """An empty one is refused."""
    with pytest.raises(ValueError, match="not empty strings"):
        unique_names(given)
