"""The input file as a whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from batcher.cli._errors import CommandError
from batcher.cli.load.formats import CSVRows, JSONRows
from batcher.cli.load.input_file import InputFile, format_of


@pytest.mark.parametrize(
    ("name", "expected"), [("a.csv", "csv"), ("a.TSV", "csv"), ("a.b.jsonl", "jsonl"), ("a.ndjson", "jsonl")]
)
def test_the_suffix_names_the_format(name: str, expected: str) -> None:
    """
    Usual names need no --format.
    """
    assert format_of(Path(name)) == expected


def test_an_unknown_suffix_is_not_guessed() -> None:
    """
    The message names the file and the way out.
    """
    with pytest.raises(CommandError, match=r"contacts\.json cannot be told .*--format csv"):
        format_of(Path("contacts.json"))


def test_a_file_is_read_in_chunks_until_it_ends(tmp_path: Path) -> None:
    """
    All records come once, in order, and the offset ends at the size.
    """
    path = tmp_path / "a.csv"
    path.write_text("n\n" + "".join(f"{n}\n" for n in range(1_000)))

    with InputFile.open(path, CSVRows()) as file:
        taken = []
        while chunk := file.take():
            assert len(chunk) <= 200
            taken += [row.record for row in chunk]

        assert taken == [{"n": str(n)} for n in range(1_000)]
        assert file.offset == file.size == path.stat().st_size
        assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_chunks_are_bounded_in_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Large records do not make large chunks.
    """
    monkeypatch.setattr("batcher.cli.load.input_file._CHUNK_BYTES", 20)
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 123456}\n' * 5)

    with InputFile.open(path, JSONRows()) as file:
        assert [len(file.take()) for _ in range(4)] == [2, 2, 1, 0]


def test_what_cannot_be_an_input_is_refused(tmp_path: Path) -> None:
    """
    Missing files, folders, pipes and UTF-16: a sentence each.
    """
    (tmp_path / "utf16.csv").write_text("a\n1\n", encoding="utf-16")
    (tmp_path / "empty.csv").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.csv")

    for name, words in {
        "missing.csv": "cannot be opened: No such file",
        ".": "not a regular file",
        "pipe.csv": "not a regular file",
        "utf16.csv": "is UTF-16",
        "empty.csv": "is empty",
    }.items():
        with pytest.raises(CommandError, match=words):
            InputFile.open(tmp_path / name, CSVRows())
