"""``batcher load`` to a destination that is down: it stops by itself, and says what became of each line."""

from __future__ import annotations

from typing import Any

import pytest

from batcher.cli._entries import is_in_vain, outcome_entry
from batcher.destinations import sqlite
from batcher.outcomes import ErrorDetail, NotWritten, Outcome, Rejected, Unknown, Written

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
    assert 15 <= trouble.calls < 35
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
    Where nothing is left to send, the lines say what happened, and the exit code is that of lines.
    """
    Trouble(monkeypatch, NotWritten("down"), lambda number: True)
    load.write_input(300)

    code, out, _ = load.run()

    assert (code, "300  not written" in out, len(load.outcomes())) == (1, True, 300)


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
