"""The results file: appended to, locked, repaired, never overwritten."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from batcher.cli._errors import CommandError
from batcher.cli.load.results import ResultsFile

LOAD = {"file": "/a.csv", "sha256": "5c", "object": "contacts", "type": "create", "by": None, "to": "sqlite:/x.db"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def create(path: Path) -> ResultsFile:
    return ResultsFile.create(path, LOAD, max_line=1_000)


def resume(path: Path, load: Mapping[str, Any] = LOAD) -> ResultsFile:
    return ResultsFile.resume(path, load, max_line=1_000)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_header_marks_and_outcomes_in_the_order_of_events(path: Path) -> None:
    """
    What is in the file is what happened.
    """
    with create(path) as results:
        results.begin()
        results.begin()
        results.mark([2, 3])
        results.append([{"line": 2, "outcome": "written", "applied": "yes"}])

    header, *rest = entries(path)
    assert header == {"batcher_results": 1, **LOAD}
    assert rest == [{"sending": [2, 3]}, {"line": 2, "outcome": "written", "applied": "yes"}]


def test_a_mark_is_on_disk_before_it_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The mark is written and synced; only then may the call be made.
    """
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    with create(path) as results:
        results.begin()
        results.mark([2])

        assert synced[-1].endswith(b'{"sending": [2]}\n')


def test_a_resumed_file_knows_its_history_and_is_appended_to(path: Path) -> None:
    """
    Nothing that an earlier run said is lost.
    """
    with create(path) as results:
        results.begin()
        results.mark([2, 3])
        results.append([{"line": 2, "outcome": "written", "applied": "yes"}])
    before = path.read_bytes()

    with resume(path) as results:
        results.begin()
        assert results.history.is_written(2)
        assert list(results.history.unresolved()) == [3]
        results.mark([4])

    assert path.read_bytes() == before + b'{"sending": [4]}\n'


def test_a_torn_last_line_is_cut_off(path: Path) -> None:
    """
    A file torn at any byte is resumed, and readable afterwards.
    """
    with create(path) as results:
        results.begin()
        results.mark([2])
        results.append([{"line": 2, "outcome": "written", "applied": "yes"}])
    whole = path.read_bytes()
    complete = [0, *(index + 1 for index, byte in enumerate(whole) if byte == ord("\n"))]

    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with resume(path) as results:
            results.begin()
            results.mark([9])
        kept = max(end for end in complete if end <= length)
        header = b"" if kept else whole[: complete[1]]
        assert path.read_bytes() == header + whole[:kept] + b'{"sending": [9]}\n'


def test_an_existing_file_is_never_overwritten(path: Path) -> None:
    """
    Without --resume it is refused, and untouched.
    """
    path.write_text("precious")

    with pytest.raises(CommandError, match="exists already: add --resume"):
        create(path)
    assert path.read_text() == "precious"


def test_resuming_needs_a_file(path: Path) -> None:
    """
    A mistyped name does not send everything again.
    """
    with pytest.raises(CommandError, match="there is no results file"):
        resume(path)
    assert not path.exists()


def test_places_where_no_file_can_be(tmp_path: Path) -> None:
    """
    A missing or a wrong folder is a sentence.
    """
    with pytest.raises(CommandError, match="cannot be made: No such file"):
        create(tmp_path / "missing" / "results.jsonl")
    with pytest.raises(CommandError, match="cannot be opened: Is a directory"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"object": "leads"}, "object was 'contacts' and is now 'leads'"),
        ({"sha256": "6d"}, r"a\.csv has changed since this load began \(the results file is .*--results"),
        ({"sha256": "6d", "file": "/b.csv"}, r"b\.csv is not the file that this load began with, /a\.csv \("),
        ({"delimiter": ";"}, "delimiter was None and is now ';'"),
    ],
)
def test_another_load_is_not_continued(path: Path, change: dict[str, str], words: str) -> None:
    """
    Line numbers mean something only for the same input, read in the same way, to the same place.
    """
    with create(path) as results:
        results.begin()
    before = path.read_bytes()

    with pytest.raises(CommandError, match=words):
        resume(path, {**LOAD, **change})
    assert path.read_bytes() == before


def test_a_moved_input_is_the_same_input(path: Path) -> None:
    """
    Content counts, not the name.
    """
    with create(path) as results:
        results.begin()

    with resume(path, {**LOAD, "file": "/elsewhere/a.csv"}):
        pass


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name,city\nAda,London\n", "line 1 .* is not JSON"),
        (b'{"a": 1}\n', "line 1 .* is not a header"),
        (b"[]\n", "line 1 .* is not a header"),
        (b'{"batcher_results": 2}\n', "batcher_results was 2 and is now 1"),
        (json.dumps({"batcher_results": 1, **LOAD}).encode() + b"\n\0\0\n", "line 2 .* is not JSON"),
    ],
)
def test_what_is_not_a_results_file_is_left_alone(path: Path, content: bytes, words: str) -> None:
    """
    A wrong --results changes nothing.
    """
    path.write_bytes(content)

    with pytest.raises(CommandError, match=words):
        resume(path)
    assert path.read_bytes() == content


def test_two_loads_at_once_are_refused(path: Path) -> None:
    """
    The second one is told, whether it resumes or not; after the first one it may.
    """
    with create(path) as results:
        results.begin()
        with pytest.raises(CommandError, match="another load is writing"):
            resume(path)

    with resume(path):
        pass


def test_without_locks_it_works_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Windows has no advisory locks.
    """
    monkeypatch.setitem(sys.modules, "fcntl", None)

    with create(path) as results:
        results.begin()
        with resume(path):
            pass


def test_a_load_that_never_began_leaves_nothing_behind(path: Path) -> None:
    """
    After a wrong argument, the same command without it can be run.
    """
    with create(path):
        pass

    assert not path.exists()


def test_a_failed_append_leaves_no_half_entry(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A full disk loses the entry that did not fit, not the file.
    """
    with create(path) as results:
        results.begin()
        before = path.read_bytes()
        full = FullDisk(results._file, room=7)
        monkeypatch.setattr(results, "_file", full)
        with pytest.raises(OSError, match="No space left"):
            results.append([{"line": 2, "outcome": "written", "applied": "yes"}])
        assert path.read_bytes() == before

        full.room = 10_000
        results.mark([3])

    assert path.read_bytes() == before + b'{"sending": [3]}\n'


class FullDisk:
    """A file on a disk with little room."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> Any:
        return self.file.__enter__()

    def __exit__(self, *error: object) -> None:
        self.file.__exit__(*error)

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        written: int = self.file.write(data[: self.room])
        self.room -= written
        return written
