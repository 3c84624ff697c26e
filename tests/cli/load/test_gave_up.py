"""``batcher load`` to a destination that is down: it stops by itself, and says what became of each line."""

from __future__ import annotations

import socket
from typing import Any

import attrs
import pytest

from batcher.cli.load.entries import outcome_entry
from batcher.cli.load.in_vain import is_in_vain
from batcher.destinations import sqlite
from batcher.outcomes import ErrorDetail, NotWritten, Outcome, Rejected, Unknown, Written
from batcher.policies import RetryPolicy

LINES = 6_000


class Trouble:
    """Patches SQLite: the calls with these numbers write nothing and leave their records with *outcome*."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, in_trouble: Any) -> None:
        self.calls = 0
        send = sqlite.SQLite.send

        async def patched(database: sqlite.SQLite, lane: Any, items: Any, **options: Any) -> Any:
            self.calls += 1
            if in_trouble(self.calls):
                return [outcome] * len(items)
            return await send(database, lane, items, **options)

        monkeypatch.setattr(sqlite.SQLite, "send", patched)


@pytest.mark.parametrize("outcome", [NotWritten("down"), Unknown("lost")])
def test_a_destination_that_writes_nothing_ends_the_load(
    load: Any, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    """
    After a few calls no more lines are sent, the summary says why, the exit code is its own, and --resume goes on.
    """
    trouble = Trouble(monkeypatch, outcome, lambda number: number > 10)
    load.write_input(LINES)

    code, out, _ = load.run()

    assert (code, "Stopped: " in out, "--resume goes on" in out) == (3, True, True)
    left_out = [entry for entry in load.outcomes().values() if "not sent: the load stopped" in str(entry)]
    assert {(entry["outcome"], entry["applied"]) for entry in left_out} == {("not_written", "no")}
    assert (f"{len(left_out):,}  not sent: the load stopped" in out, "withdrawn by" in out) == (True, False)
    assert "withdrawn by" not in load.results.read_text()
    assert 15 <= trouble.calls < LINES / 100, "some lines were not sent"
    assert len(load.rows()) == 1_000
    assert len(load.outcomes()) < LINES
    assert list(load.applied().values()).count("yes") == 1_000
    assert "sending" not in load.applied().values()

    monkeypatch.undo()
    assert load.run("--resume", "--resend-unknown")[0] == 0
    load.assert_agreement()
    load.assert_complete()


def test_now_and_then_is_no_reason_to_stop(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The whole file is sent while any call writes something.
    """
    Trouble(monkeypatch, NotWritten("busy"), lambda number: number % 2)
    load.write_input(LINES)

    code, out, _ = load.run()

    assert (code, "Stopped" in out, len(load.outcomes())) == (1, False, LINES)
    assert len(load.rows()) >= LINES / 2


def test_refused_records_are_no_reason_to_stop(load: Any) -> None:
    """
    A destination that looks at each record and refuses it works.
    """
    load.write_input(LINES)

    code, out, _ = load.run("--required", "m")

    assert (code, "6,000  rejected" in out, "Stopped" in out) == (1, True, False)


def test_the_end_of_the_file_is_no_stop(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where something was written and nothing is left to send, the exit code is that of lines.
    """
    Trouble(monkeypatch, NotWritten("down"), lambda number: number > 1)
    load.write_input(300)

    code, out, _ = load.run()

    assert (code, "200  not written" in out, "Stopped" in out, len(load.outcomes())) == (1, True, False, 300)


@pytest.mark.parametrize("lines", [1, 2, 500])
@pytest.mark.parametrize("outcome", [NotWritten("down"), Unknown("lost"), Rejected(ErrorDetail("no key", "HTTP_401"))])
def test_a_short_file_of_which_nothing_was_written(
    load: Any, monkeypatch: pytest.MonkeyPatch, outcome: Outcome, lines: int
) -> None:
    """
    A destination that was never there is told in the same words as for a long file, and --resume goes on.
    """
    Trouble(monkeypatch, outcome, lambda number: True)
    load.write_input(lines)

    code, out, _ = load.run()

    assert (code, "Stopped: the destination wrote nothing" in out, "--resume goes on" in out) == (
        3,
        True,
        not isinstance(outcome, Unknown),
    )
    assert ("The rest of the file was not sent" in out, len(load.outcomes())) == (False, lines)

    monkeypatch.undo()
    assert load.run("--resume", "--resend-unknown")[0] == 0
    load.assert_complete()


def test_a_short_file_whose_records_are_at_fault(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A record that was looked at, or a file of which nothing was sent, is the affair of its lines.
    """
    load.write_input(2)
    assert load.run("--required", "m")[0] == 1
    load.results.unlink()
    Trouble(monkeypatch, NotWritten("down"), lambda number: True)
    load.input.write_text("n,m\n1\n")

    code, out, _ = load.run()

    assert (code, "1  rejected" in out, "Stopped" in out) == (1, True, False)


def test_a_refused_port_is_no_line_s_fault(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nothing is there at all: exit code 3 for two lines too.
    """
    monkeypatch.setenv("AMPERSAND_API_KEY", "open-sesame")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("batcher.cli.load.pump._RETRY", RetryPolicy(deadline=0, breaker=None))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    load.write_input(3)
    place = ("--to", "ampersand:demo/crm", "--group-ref", "acme", "--base-url", f"http://127.0.0.1:{port}")

    code, out, _ = load.main("load", str(load.input), "--object", "things", *place)

    assert (code, "3  not written" in out, "Stopped: " in out) == (3, True, True)


@pytest.mark.parametrize("code", ["HTTP_404", "HTTP_410", "HTTP_401"])
def test_missing_records_in_front_of_good_ones(load: Any, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """
    Where each call carries one record, a dozen refusals in a row say nothing, and "not found" is of the record however
    often it comes.
    """
    rules = sqlite.SQLite.rules
    monkeypatch.setattr(sqlite.SQLite, "rules", lambda *given: attrs.evolve(rules(*given), max_records=1))
    many = 90 if code == "HTTP_401" else 150
    trouble = Trouble(monkeypatch, Rejected(ErrorDetail("not there", code)), lambda number: number <= many)
    load.write_input(1_000)

    result, out, _ = load.run()

    assert (result, "Stopped" in out, trouble.calls) == (1, False, 1_000)
    assert len(load.rows()) == 1_000 - many


def test_calls_of_one_record_end_the_load_too(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A wrong key is noticed after about a hundred lines.
    """
    rules = sqlite.SQLite.rules
    monkeypatch.setattr(sqlite.SQLite, "rules", lambda *given: attrs.evolve(rules(*given), max_records=1))
    trouble = Trouble(monkeypatch, Rejected(ErrorDetail("no key", "HTTP_401")), lambda number: True)
    load.write_input(LINES)

    code, out, _ = load.run()

    assert (code, "Stopped: " in out, 100 <= trouble.calls < LINES) == (3, True, True)


@pytest.mark.parametrize("outcome", [NotWritten("busy"), Unknown("lost")])
def test_a_few_small_calls_in_vain_cost_no_other_line(
    load: Any, monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    """
    Every line is sent while nothing says that the destination is down: no breaker has lines told otherwise.
    """
    rules = sqlite.SQLite.rules
    monkeypatch.setattr(sqlite.SQLite, "rules", lambda *given: attrs.evolve(rules(*given), max_records=1))
    trouble = Trouble(monkeypatch, outcome, lambda number: 10 < number <= 60)
    load.write_input(500)

    code, out, _ = load.run()

    assert (code, "Stopped" in out, trouble.calls, len(load.rows())) == (1, False, 500, 450)
    assert "breaker" not in load.results.read_text()


@pytest.mark.parametrize(
    ("outcome", "in_vain"),
    [
        (Written("1"), False),
        (NotWritten("down"), True),
        (Unknown("lost"), True),
        (Rejected("no such city"), False),
        (Rejected(ErrorDetail("not known", "HTTP_401")), True),
        (Rejected(ErrorDetail("moved", "HTTP 301")), True),
        (Rejected(ErrorDetail("no such token", "INVALID_AUTHENTICATION")), True),
        (Rejected(ErrorDetail("session expired", "INVALID_SESSION_ID")), True),
        (Rejected(ErrorDetail("who are you", "invalid_client")), True),
        (Rejected(ErrorDetail("missing or unknown refresh token", "BAD_REFRESH_TOKEN")), True),
        (Rejected(ErrorDetail("no such value", "BAD_REQUEST")), False),
        (Rejected(ErrorDetail("no such value", "invalid_email")), False),
        (Rejected(ErrorDetail("required field not found", "HTTP_400")), False),
        (Rejected([ErrorDetail("forbidden", "HTTP_403"), ErrorDetail("taken", "DUPLICATE_VALUE")]), False),
    ],
)
def test_what_is_no_record_s_fault(outcome: Outcome, in_vain: bool) -> None:
    """
    A refusal counts if it is of the key, the quota or the address, and of nothing else.
    """
    assert is_in_vain(outcome_entry(2, outcome)) is in_vain


@pytest.mark.parametrize("code", ["HTTP_404", "HTTP 410"])
def test_not_found_is_of_the_record_that_travelled_alone(code: str) -> None:
    """
    Of a whole call it is the address that is wrong.
    """
    entry = outcome_entry(2, Rejected(ErrorDetail("not found", code)))

    assert (is_in_vain(entry), is_in_vain(entry, one_by_one=True)) == (True, False)
