"""The summary: counts, examples, doubtful lines, exit code."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.cli._errors import ExitCode
from batcher.cli.load.entries import LEFT_OUT, outcome_entry
from batcher.cli.load.tally import Tally, counted
from batcher.outcomes import Accepted, ErrorDetail, NotWritten, Outcome, Rejected, Unknown, Written


def tally_of(*outcomes: Outcome, **figures: Any) -> Tally:
    tally = Tally(**figures)
    for line, outcome in enumerate(outcomes, start=2):
        tally.count(outcome_entry(line, outcome))
    return tally


def text_of(tally: Tally, left_alone: list[int] | None = None) -> str:
    return "\n".join(tally.sentences(left_alone or []))


def test_all_written() -> None:
    """
    Exit code 0, and no word about anything else.
    """
    tally = tally_of(Written("1"), Accepted("op"))

    assert (tally.settled, tally.failed, tally.exit_code()) == (2, 0, ExitCode.OK)
    assert [line.split()[:2] for line in text_of(tally).splitlines()] == [["1", "written"], ["1", "accepted,"]]


def test_failures_are_shown_by_example() -> None:
    """
    Three per kind, one line each whatever the provider wrote, and exit code 1.
    """
    tally = tally_of(Written("1"), *[Rejected("bad\n email " + "x" * 500)] * 5, NotWritten("closed"))
    lines = text_of(tally).splitlines()

    assert (tally.settled, tally.failed, tally.exit_code()) == (7, 6, ExitCode.RECORDS_FAILED)
    assert [line.split(":")[0].strip() for line in lines if ": bad email" in line] == ["line 3", "line 4", "line 5"]
    assert max(map(len, lines)) < 240


def test_doubtful_lines_are_listed() -> None:
    """
    Those of this run and those left alone, in order, in ranges, with the way out.
    """
    tally = tally_of(Unknown("lost"), Unknown("lost"), skipped_unresolved=3, skipped_written=10)
    text = text_of(tally, [4, 90, 91])

    assert "Perhaps written: lines 2-4, 90-91. Look" in text
    assert "10  written by an earlier run" in text
    assert "--resume --resend-unknown" in text
    assert tally.exit_code() is ExitCode.RECORDS_FAILED


@pytest.mark.parametrize(
    ("outcomes", "read_all", "goes_on"),
    [
        ([Written("1"), Unknown("lost"), Unknown("lost")], True, False),
        ([Written("1"), Unknown("lost"), NotWritten("down")], True, True),
        ([Written("1"), Unknown("lost")], False, True),
    ],
)
def test_a_way_out_that_does_nothing_is_not_named(outcomes: list[Outcome], read_all: bool, goes_on: bool) -> None:
    """
    Where all that is left may be written, plain --resume has nothing to send.
    """
    text = text_of(tally_of(*outcomes, gave_up=True, read_all=read_all))
    assert "--resume --resend-unknown sends them again" in text
    assert "Stopped: the destination wrote nothing any more" in text
    assert ("--resume goes on from here" in text) == goes_on


def test_lines_left_alone_are_a_failure_too() -> None:
    """
    Exit code 0 means that all of the file is written.
    """
    assert tally_of(Written("1"), skipped_unresolved=1).exit_code() is ExitCode.RECORDS_FAILED


def test_a_refused_second_attempt_is_doubtful() -> None:
    """
    What an earlier attempt may have written is listed, although the later one was refused: apart from the lines that
    are merely unknown, and without the advice to send it again.
    """
    tally = Tally()
    tally.count(outcome_entry(5, Rejected(ErrorDetail("taken", "DUPLICATE_VALUE")), tried_before=True))

    assert "an earlier attempt may have been applied: line 5." in text_of(tally)
    assert "--resend-unknown" not in text_of(tally)
    assert tally.exit_code() is ExitCode.RECORDS_FAILED

    tally.count(outcome_entry(6, Unknown("lost"), tried_before=True))
    tally.count(outcome_entry(7, NotWritten("down"), tried_before=True))
    tally.count(outcome_entry(8, Rejected(ErrorDetail("no key", "HTTP_401")), tried_before=True))

    assert "an earlier attempt may have been applied: line 5." in text_of(tally)
    assert "Perhaps written: lines 6-8. Look" in text_of(tally)


def test_a_long_list_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The summary stays readable however much went wrong, and memory stays bounded.
    """
    monkeypatch.setattr("batcher.cli.load.tally._KEPT", 50)
    tally = tally_of(*[Unknown("lost"), Written("1")] * 40, *[Unknown("lost")] * 20)

    assert "lines 2, 4, 6, " in text_of(tally)
    assert ", 40 and 40 more." in text_of(tally)


def test_an_interrupted_load_says_so() -> None:
    """
    Exit code 130, whatever else happened.
    """
    tally = tally_of(Rejected("bad"), interrupted=True)

    assert tally.exit_code() is ExitCode.INTERRUPTED
    assert "--resume goes on" in text_of(tally)


def test_lines_that_the_load_took_back_are_counted_apart() -> None:
    """
    Nothing refused them, and nobody else withdrew them.
    """
    tally = tally_of(NotWritten("down"), NotWritten(LEFT_OUT), NotWritten(LEFT_OUT), gave_up=True)
    lines = text_of(tally).splitlines()

    assert (lines[1].split(), lines[2].split()) == (["1", "not", "written"], ["line", "2:", "down"])
    assert lines[3].strip() == "2  not sent: the load stopped"
    assert (tally.failed, tally.exit_code()) == (3, ExitCode.GAVE_UP)


def test_one_is_singular() -> None:
    """
    Sentences count in English.
    """
    assert [counted(number, "record") for number in (0, 1, 2_000)] == ["0 records", "1 record", "2,000 records"]
