"""The input file: opened, identified, and read in chunks."""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal, Self

import attrs

from batcher.cli._errors import CommandError
from batcher.cli.load.formats import CSVRows, JSONRows, Row
from batcher.cli.load.lines import Lines

Format = Literal["csv", "jsonl"]

_FORMAT_OF: Final[dict[str, Format]] = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
# A chunk is read in one visit to a worker thread: long enough to pay for the visit, and bounded in
# bytes so that memory does not depend on how large records are.
_CHUNK_ROWS: Final = 200
_CHUNK_BYTES: Final = 1024 * 1024


def format_of(path: Path) -> Format:
    """Return the format that the name of a file promises.

    :raises CommandError: it promises none
    """
    _refuse_stdin(path)
    try:
        return _FORMAT_OF[path.suffix.lower()]
    except KeyError:
        known = ", ".join(_FORMAT_OF)
        raise CommandError(
            f"the format of {path} cannot be told from its suffix, which is none of {known}: "
            "give --format csv or --format jsonl"
        ) from None


def _refuse_stdin(path: Path) -> None:
    if path == Path("-"):
        raise CommandError("stdin is not supported, since a load can be resumed only from a file: save it to one first")


@attrs.define(eq=False)
class InputFile:
    """The records of one file, as of the moment when it was opened. Use it as a context manager."""

    path: Path
    size: int
    """Bytes to read; what is appended later is not read."""
    sha256: str
    """Of those bytes, in hexadecimal digits: what a results file is compared by."""
    _file: BinaryIO
    _lines: Lines
    _rows: Iterator[Row]

    @classmethod
    def open(cls, path: Path, rows: CSVRows | JSONRows) -> Self:
        """Open a regular file and read it once through for its checksum.

        :raises CommandError: it cannot be opened, is UTF-16, or has an unusable header
        """
        _refuse_stdin(path)
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise CommandError(f"the input {path} is not a regular file: save it to a file first")
            file = path.open("rb")
        except OSError as error:
            raise CommandError(f"the input {path} cannot be opened: {error.strerror}") from None
        try:
            size = os.fstat(file.fileno()).st_size
            if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise CommandError(f"the input {path} is UTF-16: save it as UTF-8")
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            lines = Lines(file, size)
            return cls(path, size, digest, file, lines, rows.read(lines))
        except BaseException:
            file.close()
            raise

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._lines.offset

    def take(self) -> list[Row]:
        """Return the next few records; none at the end of the file. Blocks while it reads."""
        chunk: list[Row] = []
        end = self.offset + _CHUNK_BYTES
        while len(chunk) < _CHUNK_ROWS and self.offset < end and (row := next(self._rows, None)) is not None:
            chunk.append(row)
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
