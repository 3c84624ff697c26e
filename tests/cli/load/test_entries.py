"""Outcomes as entries of a results file."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.cli.load.entries import left_out, outcome_entry
from batcher.outcomes import Accepted, ErrorDetail, NotWritten, Outcome, Rejected, RolledBack, Unknown, Written


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Written("41"), {"outcome": "written", "applied": "yes", "id": "41"}),
        (Written(None, warnings=["w"]), {"outcome": "written", "applied": "yes", "id": None, "warnings": ["w"]}),
        (Accepted("op"), {"outcome": "accepted", "applied": "maybe", "operation": "op"}),
        (
            Rejected(ErrorDetail("taken", "DUPLICATE", ("email",))),
            {
                "outcome": "rejected",
                "applied": "no",
                "errors": [{"message": "taken", "code": "DUPLICATE", "fields": ("email",)}],
            },
        ),
        (
            RolledBack((1,), "m"),
            {"outcome": "rolled_back", "applied": "no", "errors": [{"message": "m", "code": None, "fields": ()}]},
        ),
        (
            Unknown(TimeoutError()),
            {
                "outcome": "unknown",
                "applied": "maybe",
                "errors": [{"message": "TimeoutError", "code": "TimeoutError", "fields": ()}],
            },
        ),
        (
            NotWritten("closed"),
            {"outcome": "not_written", "applied": "no", "errors": [{"message": "closed", "code": None, "fields": ()}]},
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Outcome) else "",
)
def test_an_entry_says_line_outcome_and_reason(outcome: Outcome, expected: dict[str, Any]) -> None:
    """
    Every outcome can be told from its entry, and whether it was applied.
    """
    assert outcome_entry(7, outcome) == {"line": 7, **expected}


def test_a_refused_second_attempt_says_nothing_about_the_first() -> None:
    """
    A line that is sent again and refused, for example as a duplicate of itself, stays *maybe*.
    """
    entry = outcome_entry(7, Rejected("taken"), tried_before=True)

    assert (entry["outcome"], entry["applied"]) == ("rejected", "maybe")
    assert "earlier attempt" in entry["note"]


def test_a_refusal_that_may_be_anothers_says_so() -> None:
    """
    Where the culprit of a call was not found, no line is accused alone.
    """
    assert "perhaps because of another line" in outcome_entry(7, Rejected("bad call", isolated=False))["note"]


def test_a_written_second_attempt_is_written() -> None:
    """
    Success needs no doubt.
    """
    assert outcome_entry(7, Written("1"), tried_before=True) == outcome_entry(7, Written("1"))


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (NotWritten("withdrawn by its caller"), "not sent: the load stopped"),
        (NotWritten("withdrawn by its caller", 2), "not sent again: the load stopped"),
        (Unknown("withdrawn by its caller"), "not sent again: the load stopped"),
    ],
)
def test_what_the_load_took_back_names_no_caller(outcome: Outcome, words: str) -> None:
    """
    Whether it was sent before is kept, and so is whether it was applied.
    """
    entry = outcome_entry(7, left_out(outcome))

    assert (entry["outcome"], entry["applied"]) == (outcome.kind, outcome.applied)
    assert [error["message"] for error in entry["errors"]] == [words]
