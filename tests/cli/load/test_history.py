"""What a results file says of each line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batcher.cli.load.history import DamagedEntry, History


def history_of(*entries: dict[str, Any]) -> History:
    history = History(100)
    for entry in entries:
        history.replay(json.dumps(entry).encode())
    return history


def test_the_last_entry_about_a_line_holds() -> None:
    """
    A mark takes back a refusal, an outcome ends a mark.
    """
    history = history_of(
        {"sending": [2, 3, 4, 5]},
        {"line": 2, "outcome": "written", "applied": "yes"},
        {"line": 3, "outcome": "rejected", "applied": "no"},
        {"line": 4, "outcome": "rejected", "applied": "no"},
        {"line": 5, "outcome": "unknown", "applied": "maybe"},
        {"sending": [4, 7]},
    )

    assert [line for line in range(10) if history.is_written(line)] == [2]
    assert [line for line in range(10) if history.is_unresolved(line)] == [4, 5, 7] == list(history.unresolved())
    assert history.written == 1


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "is not JSON"),
        (b"\0\0\n", "is not JSON"),
        (b"[1]", "is not an object"),
        (b'{"sending": 3}', "marks no list"),
        (b'{"sending": [0]}', "names a line that the input does not have: 0"),
        (b'{"sending": ["2"]}', "names a line that the input does not have: '2'"),
        (b'{"line": 101, "applied": "no"}', "does not have: 101"),
        (b'{"applied": "no"}', "does not have: None"),
        (b'{"line": 1, "applied": "perhaps"}', "says neither"),
    ],
)
def test_what_is_no_entry_is_not_taken_in(raw: bytes, words: str) -> None:
    """
    A damaged file is reported, never interpreted.
    """
    history = History(100)

    with pytest.raises(DamagedEntry, match=words):
        history.replay(raw)
    assert list(history.unresolved()) == []
